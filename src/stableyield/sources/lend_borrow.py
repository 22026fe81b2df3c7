"""DefiLlama's lending markets: the paid history, and the keyless snapshot that rebuilds it.

The table holds APR. A supply rate whose convention is not known is taken as APY (the lower
reading), a borrow rate as APR (the higher one): what is unknown never flatters a loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from pydantic import SecretStr

from stableyield.domain.rates import apy_to_apr
from stableyield.market.layouts.projects import rate_convention
from stableyield.sources.ask import TODAY, Freshness, Reading, ask, ask_now
from stableyield.sources.base import Fetched, Span
from stableyield.sources.defillama import SOURCE, YIELDS_URL, PoolKey, snapshot_day
from stableyield.sources.http import HttpClient
from stableyield.sources.payload import (
    APY_PCT,
    SHARE,
    USD,
    Cleaning,
    Floats,
    Records,
    checked,
    in_span,
    member,
    moments_of,
    numbers_of,
    records,
    texts_of,
    values_of,
)
from stableyield.sources.request import KEY_PLACE, Request, Secret, joined

PRO_URL = "https://pro-api.llama.fi"
KEY_SETTING = "STABLEYIELD_DEFILLAMA_KEY"
ALTERNATIVES = (
    f"set {KEY_SETTING} to a key of the pro plan",
    "keep the keyless daily snapshot (lendBorrow) from now on",
    "take the last year of Aave markets from its GraphQL interface",
    "import a file of lend/borrow history (stableyield market import)",
)
_RATES = {
    "supply_apr_pct": "apyBase",
    "borrow_apr_pct": "apyBaseBorrow",
    "supply_reward_apr_pct": "apyReward",
    "borrow_reward_apr_pct": "apyRewardBorrow",
}
_SIZES = {"supplied_usd": "totalSupplyUsd", "borrowed_usd": "totalBorrowUsd"}


@dataclass(frozen=True)
class LendBorrowHistory:
    """``GET /{KEY}/yields/chartLendBorrow/{pool}``: table ``lend_borrow_daily`` of one market.

    Parameters
    ----------
    client : HttpClient
    market : PoolKey
    key : SecretStr, optional
        Of the pro plan; without it the keyless route is asked, which answers HTTP 402 since 2025.
    pro_url, keyless_url : str
    freshness : Freshness
    """

    client: HttpClient
    market: PoolKey
    key: SecretStr | None = None
    pro_url: str = PRO_URL
    keyless_url: str = YIELDS_URL
    freshness: Freshness = TODAY

    @property
    def name(self) -> str:
        """Provider and route."""
        return f"{SOURCE} chartLendBorrow"

    def fetch(self, span: Span) -> Fetched:
        """The rows of ``span``, one a UTC day, the last reading of each.

        Raises
        ------
        PaymentRequiredError
            For HTTP 402; names the alternatives.
        SourceError
            When the provider fails or changed its format.
        """
        return ask(self.client, self._request(), self._read, span, self.freshness)

    def _request(self) -> Request:
        pool_id, secret = self.market.pool_id, None
        url = joined(self.keyless_url, "chartLendBorrow", pool_id)
        if self.key is not None:
            secret = Secret(self.key, "path", "", KEY_SETTING)
            url = joined(self.pro_url, KEY_PLACE, "yields", "chartLendBorrow", pool_id)
        return Request(
            SOURCE,
            "chartLendBorrow",
            url,
            pool_id,
            secret=secret,
            alternatives=ALTERNATIVES,
        )

    def _read(self, value: Any, span: Span, request: Request) -> Reading:
        rows = records(member(value, "data", request), request)
        cleaning = Cleaning()
        protocol = self.market.protocol
        frame = pd.DataFrame(_numbers(rows, (_RATES, APY_PCT), request, cleaning)).assign(
            date=moments_of(rows, "timestamp", request),
            **self.market.market_columns,
            **_numbers(rows, (_SIZES, USD), request, cleaning),
        )
        convention = np.full(len(frame), rate_convention(protocol), dtype=object)
        frame["supply_apr_pct"] = _supply_apr_pct(frame["supply_apr_pct"].to_numpy(), convention)
        frame["borrow_apr_pct"] = _borrow_apr_pct(frame["borrow_apr_pct"].to_numpy(), convention)
        frame = in_span(frame, span, self.client.clock.utc_now().date(), cleaning)
        tables = checked("lend_borrow_daily", frame, request, cleaning)
        return Reading(tables, len(rows), cleaning, _sentences([protocol]))


@dataclass(frozen=True)
class LendBorrowSnapshot:
    """``GET /lendBorrow``: every lending market as it is now; table ``lend_borrow_daily``.

    Parameters
    ----------
    client : HttpClient
    universe : Fetched
        Of the same day (`stableyield.sources.defillama.PoolUniverse`): it knows chain, protocol,
        symbol and supply rate, which this answer does not hold.
    base_url : str
    """

    client: HttpClient
    universe: Fetched
    base_url: str = YIELDS_URL

    @property
    def name(self) -> str:
        """Provider and route."""
        return f"{SOURCE} lendBorrow"

    def fetch(self, span: Span) -> Fetched:
        """Today's markets; the answer bears no date and is stamped with the day asked for.

        Raises
        ------
        MissingDataError
            For another day than today.
        SourceError
            When the provider fails or changed its format.
        """
        day = snapshot_day(span, self.client.clock.utc_now(), self.name)
        request = Request(SOURCE, "lendBorrow", joined(self.base_url, "lendBorrow"))
        return ask_now(self.client, request, self._read, day)

    def _read(self, value: Any, day: date, request: Request) -> Reading:
        rows = records(value, request)
        cleaning = Cleaning()
        rates = {name: _RATES[name] for name in ("borrow_apr_pct", "borrow_reward_apr_pct")}
        frame = pd.DataFrame(
            {
                "market_id": texts_of(rows, "pool", request),
                **_numbers(rows, (rates, APY_PCT), request, cleaning),
                **_numbers(rows, (_SIZES, USD), request, cleaning),
                **_numbers(rows, ({"ltv": "ltv"}, SHARE), request, cleaning),
                "borrowable": pd.Series(values_of(rows, "borrowable", request), dtype=object),
            }
        )
        repeats = frame["market_id"].duplicated(keep="last")
        cleaning.add("repeated markets", int(repeats.sum()))
        joined_rows = frame[~repeats].merge(self._supply(), on="market_id")
        cleaning.add("markets not in the universe", int((~repeats).sum()) - len(joined_rows))
        convention = joined_rows["protocol"].map(rate_convention).to_numpy()
        joined_rows["borrow_apr_pct"] = _borrow_apr_pct(
            joined_rows["borrow_apr_pct"].to_numpy(), convention
        )
        dated = joined_rows.assign(date=pd.Timestamp(day))
        tables = checked("lend_borrow_daily", dated, request, cleaning)
        return Reading(tables, len(rows), cleaning, _sentences(dated["protocol"].unique()))

    def _supply(self) -> pd.DataFrame:
        """Identity and supply rates of the universe: an APY is the APR ``log(1 + apy)``."""
        pools, daily = self.universe.tables["pools"], self.universe.tables["pool_daily"]
        both = pools[["pool_id", "chain", "protocol", "symbol"]].merge(daily, on="pool_id")
        supply = both[["chain", "protocol", "symbol"]].assign(
            market_id=both["pool_id"],
            supply_apr_pct=_apr_pct(both["apy_base_pct"].to_numpy()),
            supply_reward_apr_pct=both["apy_reward_pct"],
        )
        found: pd.DataFrame = supply
        return found


def _numbers(
    rows: Records, fields: tuple[dict[str, str], Any], request: Request, cleaning: Cleaning
) -> dict[str, Floats]:
    names, bounds = fields
    return {
        name: numbers_of(rows, theirs, request, cleaning, bounds) for name, theirs in names.items()
    }


def _supply_apr_pct(rate_pct: Floats, convention: np.ndarray[Any, Any]) -> Floats:
    return np.where(convention == "simple", rate_pct, _apr_pct(rate_pct))


def _borrow_apr_pct(rate_pct: Floats, convention: np.ndarray[Any, Any]) -> Floats:
    return np.where(convention == "compounded", _apr_pct(rate_pct), rate_pct)


def _apr_pct(apy_pct: Floats) -> Floats:
    with np.errstate(divide="ignore"):  # an APY of -100 % has no APR
        apr = apy_to_apr(apy_pct / 100.0)
    return np.where(np.isfinite(apr), 100.0 * apr, np.nan)


def _sentences(protocols: Any) -> tuple[str, ...]:
    unknown = sorted(name for name in map(str, protocols) if rate_convention(name) == "unknown")
    if not unknown:
        return ()
    return (
        f"Whether rates of {', '.join(unknown)} are APR or APY is not known: supply is taken as "
        "APY, borrow as APR, each the reading that flatters less.",
    )
