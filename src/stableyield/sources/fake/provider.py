"""All providers in one: routes, documents and faults (see docs/sources.md)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from stableyield.domain.rates import apr_to_apy
from stableyield.errors import InputError, ParameterError
from stableyield.sources.candles import CMC_IDS
from stableyield.sources.fake.documents import MarketDocuments, token_address
from stableyield.sources.fake.faults import FaultPlan
from stableyield.sources.fake.server import Answer, Call
from stableyield.sources.payload import seconds_of
from stableyield.sources.prices import COINGECKO_IDS

_DECIMALS = 6
_ETHEREUM = "Ethereum"


@dataclass(frozen=True)
class FakeSettings:
    """What the fake providers serve besides the market.

    Parameters
    ----------
    wallet : mapping of str to float
        Token amounts that Etherscan reports of any address.
    faults : sequence of str
        See `FaultPlan`.
    candle_tokens : mapping of str to str
        Token by CoinMarketCap id.
    """

    wallet: Mapping[str, float] = field(default_factory=dict)
    faults: Sequence[str] = ()
    candle_tokens: Mapping[str, str] = field(default_factory=lambda: CMC_IDS)


class FakeProvider:
    """Answers calls of every source from a market, as of a day that can be moved.

    Parameters
    ----------
    documents : MarketDocuments
    today : date
        The last day that is shown; see ``/control``.
    settings : FakeSettings, optional
    """

    def __init__(
        self, documents: MarketDocuments, today: date, settings: FakeSettings | None = None
    ) -> None:
        self.settings = settings or FakeSettings()
        self.today = today
        self._documents = documents
        self._faults = FaultPlan(self.settings.faults)
        self._lock = threading.Lock()  # documents are made on first use
        self._routes: Mapping[str, Callable[[Call], Answer]] = {
            "/control": self._control,
            "/yields/pools": lambda _: _data(documents.pools(self.today)),
            "/yields/chart/": lambda call: _data(documents.chart(_item(call), self.today)),
            "/yields/lendBorrow": lambda _: _json(documents.lend_borrow_now(self.today)),
            "/yields/chartLendBorrow/": lambda _: _json({"message": "Upgrade to a paid plan"}, 402),
            "/pro/": lambda call: _data(documents.lend_borrow(_item(call), self.today)),
            "/stablecoins/stablecoinprices": lambda _: self._stablecoins(),
            "/coins/chart/": self._coins,
            "/cmc/v2/cryptocurrency/ohlcv/historical": self._candles,
            "/etherscan": self._etherscan,
            "/aave/graphql": self._aave,
        }

    def respond(self, call: Call) -> Answer:
        """The answer to a call, with the fault that is due."""
        for prefix, answer in self._routes.items():
            if call.path.startswith(prefix):
                with self._lock:
                    try:
                        found = answer(call)
                    except (InputError, ValueError, KeyError) as error:
                        return _json({"message": str(error)}, 400)
                return found if prefix == "/control" else self._faults.apply(call.path, found)
        return _json({"message": f"no such route: {call.path}"}, 404)

    def _control(self, call: Call) -> Answer:
        if "today" in call.query:
            self.today = date.fromisoformat(call.query["today"])
        if "fault" in call.query:
            self._faults.add(call.query["fault"])
        tokens = {token_address(_ETHEREUM, token): token for token in self.settings.wallet}
        return _json(
            {"today": str(self.today), "wallet_tokens": tokens, "coins": self._coins_by_name()}
        )

    def _coins_by_name(self) -> dict[str, str]:
        return {"coingecko:ethereum": "ETH", **self._documents.tokens_by_coin}

    def _stablecoins(self) -> Answer:
        ids = {token: coin for coin, token in COINGECKO_IDS.items()}
        rows = [
            {
                "date": seconds_of(day),
                "prices": {ids[token]: usd for token, usd in closes.items() if token in ids},
            }
            for day, closes in self._documents.closes(self.today)
        ]
        return _json(rows)

    def _coins(self, call: Call) -> Answer:
        first = datetime.fromtimestamp(int(call.query["start"]), UTC).date()
        days = [first + timedelta(days=i) for i in range(int(call.query["span"]))]
        closes = dict(self._documents.closes(self.today))
        names = self._coins_by_name()
        found: dict[str, Any] = {}
        for coin in _item(call).split(","):
            if (token := names.get(coin)) is None:
                continue
            points = [
                {"timestamp": seconds_of(day, end=True) - 40, "price": usd}
                for day in days
                if day <= self.today and (usd := self._close(token, day, closes)) is not None
            ]
            found[coin] = {"symbol": token, "confidence": 0.99, "prices": points}
        return _json({"coins": found})

    def _close(
        self, token: str, day: date, closes: Mapping[date, Mapping[str, float]]
    ) -> float | None:
        if token == "ETH":
            gas = self._documents.gas(day)
            return None if gas is None else gas[1]
        return closes.get(day, {}).get(token)

    def _candles(self, call: Call) -> Answer:
        if not call.headers.get("x-cmc_pro_api_key"):
            return _json({"status": {"error_code": 1002, "error_message": "API key missing."}}, 401)
        token = self.settings.candle_tokens[call.query["id"]]
        first = date.fromisoformat(call.query["time_start"]) + timedelta(days=1)
        last = min(date.fromisoformat(call.query["time_end"]), self.today)
        quotes = [
            {
                "time_close": f"{row['date']:%Y-%m-%d}T23:59:59.999Z",
                "quote": {
                    "USD": {
                        **{name: row[f"{name}_usd"] for name in ("open", "high", "low", "close")},
                        "volume": 0.0,
                        "market_cap": row["market_cap_usd"],
                    }
                },
            }
            for row in self._documents.candles(token, first, last)
        ]
        status = {"error_code": 0, "error_message": None}
        return _json({"status": status, "data": {"symbol": token, "quotes": quotes}})

    def _etherscan(self, call: Call) -> Answer:
        if not call.query.get("apikey"):
            return _not_ok("Missing/Invalid API Key")
        action = call.query.get("action")
        if action == "addresstokenbalance":
            return self._balances(int(call.query["page"]), int(call.query["offset"]))
        gas = self._documents.gas(self.today)
        if gas is None or action not in {"gasoracle", "ethprice"}:
            return _not_ok("Error! Missing Or invalid Action name")
        gwei, eth_usd = (repr(number) for number in gas)
        if action == "ethprice":
            return _ok({"ethbtc": "0", "ethusd": eth_usd, "ethusd_timestamp": "0"})
        names = ("SafeGasPrice", "ProposeGasPrice", "FastGasPrice", "suggestBaseFee")
        return _ok({"LastBlock": "1", **dict.fromkeys(names, gwei), "gasUsedRatio": "0.5"})

    def _balances(self, page: int, offset: int) -> Answer:
        rows = [
            {
                "TokenAddress": token_address(_ETHEREUM, token),
                "TokenName": token,
                "TokenSymbol": token,
                "TokenQuantity": str(round(amount * 10**_DECIMALS)),
                "TokenDivisor": str(_DECIMALS),
            }
            for token, amount in sorted(self.settings.wallet.items())
        ][(page - 1) * offset : page * offset]
        if not rows:
            return _json({"status": "0", "message": "No tokens found", "result": []})
        return _ok(rows)

    def _aave(self, call: Call) -> Answer:
        """Rates of the lending pool whose token has the address that is asked for."""
        asked = json.loads(call.body)["variables"]["supply"]["underlyingToken"]
        for pool in self._documents.pools(self.today):
            if asked in pool["underlyingTokens"]:
                rows = self._documents.lend_borrow(pool["pool"], self.today)
                if rows[-1]["apyBaseBorrow"] is not None:
                    break
        else:
            return _json({"errors": [{"message": f"no reserve of {asked}"}]})
        return _json(
            {
                "data": {
                    "supplyAPYHistory": _averages(rows, "apyBase"),
                    "borrowAPYHistory": _averages(rows, "apyBaseBorrow"),
                }
            }
        )


def known_routes() -> tuple[str, ...]:
    """What is served, for the help text."""
    return ("/yields", "/pro/KEY", "/stablecoins", "/coins", "/cmc", "/etherscan", "/aave/graphql")


def wallet_of(pairs: Sequence[str]) -> dict[str, float]:
    """``TOKEN=AMOUNT`` texts as a mapping.

    Raises
    ------
    ParameterError
        When one is no assignment of a number.
    """
    found = {}
    for pair in pairs:
        token, _, amount = pair.partition("=")
        try:
            found[token] = float(amount)
        except ValueError:
            raise ParameterError(f"{pair!r} is no TOKEN=AMOUNT") from None
    return found


def _item(call: Call) -> str:
    """The last part of the path: what the call is about."""
    return call.path.rpartition("/")[2]


def _averages(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [
        {"date": row["timestamp"], "avgRate": {"value": repr(apr_to_apy(row[name] / 100.0))}}
        for row in rows
        if row[name] is not None
    ]


def _json(document: Any, status: int = 200) -> Answer:
    return Answer(json.dumps(document).encode(), status, {"Content-Type": "application/json"})


def _data(rows: list[dict[str, Any]]) -> Answer:
    return _json({"status": "success", "data": rows})


def _ok(result: Any) -> Answer:
    return _json({"status": "1", "message": "OK", "result": result})


def _not_ok(result: str) -> Answer:
    return _json({"status": "0", "message": "NOTOK", "result": result})
