"""What the treasury holds: Etherscan's token balances, or a balance file.

A token is its address. Anybody may name a worthless token USDC and send it to a wallet, so symbols
that the provider reports are never believed.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import SecretStr

from stableyield.errors import ContractError, MissingDataError
from stableyield.sources.ask import Reading, fetched_of, reply_now
from stableyield.sources.base import Fetched, Span
from stableyield.sources.defillama import snapshot_day
from stableyield.sources.etherscan import (
    ETHEREUM,
    ETHERSCAN_URL,
    SOURCE,
    etherscan_request,
    result_of,
)
from stableyield.sources.failures import RejectedFeedError
from stableyield.sources.http import HttpClient, Reply
from stableyield.sources.payload import (
    Cleaning,
    bad_shape,
    records,
    shown,
    texts_of,
)
from stableyield.sources.request import Request

WARM_WALLET = "wallet"
_PAGE_ROWS = 100
_MOST_PAGES = 50
_LARGEST_AMOUNT = 1e15
_MOST_DECIMALS = 77  # of 10 ** 77, the last below 2 ** 256


@dataclass(frozen=True)
class WalletBalances:
    """``account.addresstokenbalance`` of Etherscan V2; table ``balances``.

    Parameters
    ----------
    client : HttpClient
    key : SecretStr, optional
        Without it nothing is asked.
    address : str
        The wallet.
    tokens : mapping of str to str
        Token by contract address: the only ones that are believed.
    base_url : str
    chain_id : int
    """

    client: HttpClient
    key: SecretStr | None
    address: str
    tokens: Mapping[str, str]
    base_url: str = ETHERSCAN_URL
    chain_id: int = ETHEREUM

    @property
    def name(self) -> str:
        """Provider and route."""
        return f"{SOURCE} token balances"

    def fetch(self, span: Span) -> Fetched:
        """What the wallet holds now: location, token, amount (token units), sorted.

        Known tokens that the provider does not list are held at 0.

        Raises
        ------
        MissingDataError
            For another day than today.
        SourceError
            When the provider fails, or answers with status "0".
        """
        snapshot_day(span, self.client.clock.utc_now(), self.name)
        replies: list[Reply[Reading]] = []
        while not replies or replies[-1].value.n_rows == _PAGE_ROWS:
            request = self._request(len(replies) + 1)
            # never from disk: a plan may have moved money since
            replies.append(reply_now(self.client, request, self._reader(request), 0.0))
        found = fetched_of(replies)
        held = found.tables["balances"].groupby("token")["amount"].sum()
        by_token = {token: float(held.get(token, 0.0)) for token in self.tokens.values()}
        rows = [(WARM_WALLET, token, amount) for token, amount in sorted(by_token.items())]
        return Fetched({"balances": _table(rows)}, found.provenance, found.masked, found.examples)

    def _request(self, page: int) -> Request:
        if page > _MOST_PAGES:
            raise RejectedFeedError(
                f"the wallet has more than {_MOST_PAGES * _PAGE_ROWS} tokens",
                source=SOURCE,
                where=self.name,
                remedy="use a balance file for this wallet",
            )
        params = {
            "chainid": str(self.chain_id),
            "module": "account",
            "action": "addresstokenbalance",
            "address": self.address,
            "page": str(page),
            "offset": str(_PAGE_ROWS),
        }
        return etherscan_request(self.base_url, self.key, self.address, params)

    def _reader(self, request: Request) -> Any:
        return lambda value: self._read(value, request)

    def _read(self, value: Any, request: Request) -> Reading:
        result = [] if _is_empty(value) else result_of(value, request)
        rows = records(result, request) if result else []
        known = {address.lower(): token for address, token in self.tokens.items()}
        addresses = [text or "" for text in texts_of(rows, "TokenAddress", request)]
        believed = [
            (known[address.lower()], i)
            for i, address in enumerate(addresses)
            if address.lower() in known
        ]
        cleaning = Cleaning()
        strangers = [address for address in addresses if address.lower() not in known]
        cleaning.add(
            "tokens of unknown address",
            len(strangers),
            *(f"{request.where}: {address}" for address in strangers[:3]),
        )
        table = _table(
            (WARM_WALLET, token, _token_units(rows[i], i, request)) for token, i in believed
        )
        return Reading({"balances": table}, len(rows), cleaning)


def read_balances(path: Path) -> pd.DataFrame:
    """Balances from a file: location (``wallet`` or a pool_id), token, amount (token units).

    CSV with ``token,amount`` and, optionally, ``location`` (empty: the wallet); or JSON as in the
    problem file: ``{"wallet": {token: amount}, "positions": [{pool_id, token, amount}]}``.

    Raises
    ------
    MissingDataError
        When there is no such file.
    ContractError
        When it cannot be read, an amount is not a possible number, or a balance is there twice.
    """
    if not path.is_file():
        raise MissingDataError("no such file", where=str(path), remedy="check the path")
    try:
        text = path.read_text(encoding="utf-8-sig")
        named = _from_json(text, path) if path.suffix == ".json" else _from_csv(text, path)
    except (json.JSONDecodeError, csv.Error, UnicodeDecodeError) as error:
        raise ContractError(
            f"cannot be read: {error}", where=str(path), remedy="give UTF-8 CSV or JSON"
        ) from error
    seen: dict[tuple[str, str], str] = {}
    for place, location, token, amount in named:
        _check_amount(amount, f"{path.name}, {place}", token)
        if (first := seen.setdefault((location, token), place)) != place:
            raise ContractError(
                f"{token} in {location} is there twice ({first} and {place})",
                where=path.name,
                remedy="give each balance once",
            )
    return _table((location, token, amount) for _, location, token, amount in named)


def balances_on(balances: pd.DataFrame, day: date) -> pd.DataFrame:
    """Balances as the store's ``daily_balances`` has them: with the day they were observed on."""
    return balances.assign(date=pd.Timestamp(day), basis="observed")


def _is_empty(value: Any) -> bool:
    """Whether this is how Etherscan says that a wallet holds nothing."""
    return (
        isinstance(value, dict)
        and value.get("result") == []
        and "no token" in str(value.get("message", "")).lower()
    )


def _token_units(row: Mapping[str, Any], position: int, request: Request) -> float:
    """Raw integer amount over 10 ** decimals, divided exactly."""
    texts = [row.get("TokenQuantity"), row.get("TokenDivisor")]
    if not all(isinstance(text, str) and text.isascii() and text.isdecimal() for text in texts):
        what = f"TokenQuantity {shown(texts[0])} or TokenDivisor {shown(texts[1])}: not a count"
        raise bad_shape(request, what, f"row {position + 1}")
    raw, decimals = texts
    if int(str(decimals)) > _MOST_DECIMALS:
        raise bad_shape(request, f"TokenDivisor is {decimals}", f"row {position + 1}")
    amount = float(Decimal(str(raw)).scaleb(-int(str(decimals))))
    if not amount <= _LARGEST_AMOUNT:
        raise bad_shape(request, f"{amount:g} tokens cannot be true", f"row {position + 1}")
    return amount


def _table(rows: Iterable[tuple[str, str, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=["location", "token", "amount"])
    return frame.astype({"location": "str", "token": "str", "amount": "float64"})


def _from_csv(text: str, path: Path) -> list[tuple[str, str, str, float]]:
    rows = csv.DictReader(text.splitlines(), skipinitialspace=True)
    if missing := [name for name in ("token", "amount") if name not in (rows.fieldnames or ())]:
        raise ContractError(
            f"column {missing[0]!r} is missing",
            where=str(path),
            remedy="give token, amount and, optionally, location",
        )
    return [
        (
            f"line {rows.line_num}",
            (row.get("location") or "").strip() or WARM_WALLET,
            (row["token"] or "").strip(),
            _number(row["amount"]),
        )
        for row in rows
    ]


def _from_json(text: str, path: Path) -> list[tuple[str, str, str, float]]:
    value = json.loads(text)
    if not isinstance(value, dict) or not set(value) <= {"wallet", "positions"}:
        raise ContractError(
            "an object with wallet and positions is wanted",
            where=str(path),
            remedy="see the problem file in docs/formats.md",
        )
    wallet, positions = value.get("wallet", {}), value.get("positions", [])
    if not isinstance(wallet, dict) or not isinstance(positions, list):
        raise ContractError("wallet is an object, positions is a list", where=str(path))
    found = [
        (f"wallet {token}", WARM_WALLET, token, _number(amount)) for token, amount in wallet.items()
    ]
    for i, one in enumerate(positions, 1):
        if not isinstance(one, dict) or not {"pool_id", "token", "amount"} <= set(one):
            raise ContractError("pool_id, token, amount are wanted", where=f"{path}, position {i}")
        found.append(
            (f"position {i}", str(one["pool_id"]), str(one["token"]), _number(one["amount"]))
        )
    return found


def _number(value: Any) -> float:
    """The number, or NaN for anything that is none."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return math.nan


def _check_amount(amount: float, where: str, token: str) -> None:
    if not token:
        raise ContractError("no token is named", where=where, remedy="name the token")
    if not 0.0 <= amount <= _LARGEST_AMOUNT:
        raise ContractError(
            f"the amount of {token} is not a number from 0 to {_LARGEST_AMOUNT:g}",
            where=where,
            remedy="give the amount in token units, with a point in decimals",
        )
