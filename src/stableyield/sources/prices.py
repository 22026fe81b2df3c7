"""Daily token prices: DefiLlama's closes (keyless) and CoinMarketCap's candles (paid).

A record of DefiLlama's stablecoin prices dated D 00:00 holds the price at the **end** of D. A
point of its coins chart holds the price at its own moment: points are asked for at the last second
of each day. A CoinMarketCap candle closes at 23:59:59 of its day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from pydantic import SecretStr

from stableyield.errors import ParameterError
from stableyield.sources.ask import TODAY, Freshness, Reading, ask, fetched_of
from stableyield.sources.base import Fetched, Span
from stableyield.sources.failures import KeyRefusedError, ProviderError
from stableyield.sources.http import HttpClient
from stableyield.sources.payload import (
    PRICE_USD,
    Bounds,
    Cleaning,
    Records,
    bad_shape,
    checked,
    in_span,
    member,
    moments_of,
    numbers_of,
    parse_json,
    records,
    seconds_of,
    shown,
    values_of,
)
from stableyield.sources.request import Request, Secret, joined

STABLECOINS_URL = "https://stablecoins.llama.fi"
COINS_URL = "https://coins.llama.fi"
CMC_URL = "https://pro-api.coinmarketcap.com"
CMC_KEY_SETTING = "STABLEYIELD_CMC_KEY"

# Identifiers of CoinGecko, under which DefiLlama lists stablecoins.
COINGECKO_IDS: Mapping[str, str] = MappingProxyType(
    {
        "usd-coin": "USDC",
        "tether": "USDT",
        "dai": "DAI",
        "usds": "USDS",
        "ethena-usde": "USDe",
        "frax": "FRAX",
        "crvusd": "crvUSD",
        "gho": "GHO",
        "paypal-usd": "PYUSD",
        "liquity-usd": "LUSD",
        "first-digital-usd": "FDUSD",
        "true-usd": "TUSD",
        "paxos-standard": "USDP",
        "ripple-usd": "RLUSD",
    }
)
_MARKET_CAP_USD = Bounds(1e-6, 1e13)  # CoinMarketCap writes 0 where it does not know
_CANDLE = {name: f"{name}_usd" for name in ("open", "high", "low", "close")}
_BEFORE_CLOSE, _AFTER_CLOSE = timedelta(hours=6), timedelta(minutes=15)


@dataclass(frozen=True)
class StablecoinCloses:
    """``GET /stablecoinprices``: closes of all stablecoins; table ``prices_daily``.

    Parameters
    ----------
    client : HttpClient
    tokens : mapping of str to str
        Token by CoinGecko id; others are left out.
    base_url : str
    freshness : Freshness
    """

    client: HttpClient
    tokens: Mapping[str, str] = field(default_factory=lambda: COINGECKO_IDS)
    base_url: str = STABLECOINS_URL
    freshness: Freshness = TODAY

    @property
    def name(self) -> str:
        """Provider and route."""
        return "defillama stablecoinprices"

    def fetch(self, span: Span) -> Fetched:
        """Closes of ``span``; a coin without a price on a day has no row.

        Raises
        ------
        SourceError
            When the provider fails or changed its format.
        """
        request = Request(
            "defillama", "stablecoinprices", joined(self.base_url, "stablecoinprices")
        )
        return ask(
            self.client, request, lambda value: self._read(value, span, request), self.freshness
        )

    def _read(self, value: Any, span: Span, request: Request) -> Reading:
        days = records(value, request)
        cleaning = Cleaning()
        undated = [row.get("date") in {0, "0"} for row in days]  # a header row that they send
        days = [row for row, is_undated in zip(days, undated, strict=True) if not is_undated]
        moments = moments_of(days, "date", request)
        prices = values_of(days, "prices", request)
        rows = [
            {"day": day, "id": coin, "price": price}
            for day, by_coin in enumerate(prices)
            for coin, price in _items(by_coin, day, request)
            if coin in self.tokens
        ]
        frame = pd.DataFrame(
            {
                "token": [self.tokens[row["id"]] for row in rows],
                "date": moments.take([row["day"] for row in rows]).to_numpy(),
                "close_usd": numbers_of(rows, "price", request, cleaning, PRICE_USD),
            }
        )
        frame = in_span(frame, span, self.client.clock.utc_now().date(), cleaning)
        return _priced(frame, len(days), request, cleaning)


@dataclass(frozen=True)
class CoinCloses:
    """``GET /chart/{coins}``: closes of coins by address; table ``prices_daily``.

    Parameters
    ----------
    client : HttpClient
    tokens : mapping of str to str
        Token by ``chain:address`` or ``coingecko:id``.
    base_url : str
    freshness : Freshness
    """

    client: HttpClient
    tokens: Mapping[str, str]
    base_url: str = COINS_URL
    freshness: Freshness = TODAY

    @property
    def name(self) -> str:
        """Provider and route."""
        return "defillama coins chart"

    def fetch(self, span: Span) -> Fetched:
        """Closes of ``span``: the point nearest to the end of each day, if there is one near.

        Raises
        ------
        SourceError
            When the provider fails or changed its format.
        """
        coins = ",".join(sorted(self.tokens))
        if not coins:
            raise ParameterError("no coin is asked for", where=self.name)
        params = {
            "start": str(seconds_of(span.first, end=True)),
            "span": str(span.n_days),
            "period": "1d",
        }
        request = Request(
            "defillama", "coins-chart", joined(self.base_url, "chart", coins), coins, params
        )
        return ask(
            self.client, request, lambda value: self._read(value, span, request), self.freshness
        )

    def _read(self, value: Any, span: Span, request: Request) -> Reading:
        coins = member(value, "coins", request)
        cleaning = Cleaning()
        parts, n_rows = [], 0
        for coin, token in sorted(self.tokens.items()):
            if coin not in coins:
                cleaning.add("coins that the provider does not know", 1, f"{self.name}: {coin}")
                continue
            rows = member(coins[coin], "prices", request)
            if not rows:
                continue
            points = records(rows, request)
            n_rows += len(points)
            closes = pd.DataFrame(
                {
                    "token": token,
                    "date": _closing_days(moments_of(points, "timestamp", request)),
                    "close_usd": numbers_of(points, "price", request, cleaning, PRICE_USD),
                }
            )
            far = closes["date"].isna()
            cleaning.add("points far from the end of a day", int(far.sum()))
            parts.append(closes[~far])
        if not parts:
            return Reading({}, 0, cleaning)
        frame = pd.concat(parts, ignore_index=True)
        frame = in_span(frame, span, self.client.clock.utc_now().date(), cleaning)
        return _priced(frame, n_rows, request, cleaning)


@dataclass(frozen=True)
class CandlePrices:
    """CoinMarketCap's daily candles; table ``prices_daily`` with open, high, low and volume.

    Parameters
    ----------
    client : HttpClient
    key : SecretStr, optional
        Without it nothing is asked.
    tokens : mapping of str to str
        Token by CoinMarketCap id (a number, as text): symbols are shared by several coins.
    base_url : str
    freshness : Freshness
    """

    client: HttpClient
    key: SecretStr | None
    tokens: Mapping[str, str]
    base_url: str = CMC_URL
    freshness: Freshness = TODAY

    @property
    def name(self) -> str:
        """Provider and route."""
        return "coinmarketcap ohlcv"

    def fetch(self, span: Span) -> Fetched:
        """Candles of ``span``, one request a token.

        Raises
        ------
        KeyRefusedError
            When there is no key, or it is not taken.
        SourceError
            When the provider fails or changed its format.
        """
        if self.key is None:
            raise KeyRefusedError(
                "this provider needs a key",
                source="coinmarketcap",
                where=self.name,
                remedy=f"set {CMC_KEY_SETTING}, or use DefiLlama's closes (without lows)",
            )
        secret = Secret(self.key, "header", "X-CMC_PRO_API_KEY", CMC_KEY_SETTING)
        replies = []
        for coin, token in sorted(self.tokens.items()):
            request = self._request(coin, span, secret)

            def read(body: bytes, request: Request = request, token: str = token) -> Reading:
                return self._read(parse_json(body, request), token, span, request)

            replies.append(
                self.client.fetch(
                    request,
                    read,
                    refresh=self.freshness.refresh,
                    keep_days=self.freshness.keep_days,
                )
            )
        return fetched_of(replies)

    def _request(self, coin: str, span: Span, secret: Secret) -> Request:
        params = {
            "id": coin,
            "interval": "daily",
            "time_start": str(span.first - timedelta(days=1)),  # it answers from the day after
            "time_end": str(span.last),
            "count": str(span.n_days + 1),
        }
        url = joined(self.base_url, "v2", "cryptocurrency", "ohlcv", "historical")
        return Request("coinmarketcap", "ohlcv", url, coin, params, secret=secret)

    def _read(self, value: Any, token: str, span: Span, request: Request) -> Reading:
        status = member(value, "status", request)
        if code := member(status, "error_code", request):
            said = request.masked(str(status.get("error_message")))
            raise ProviderError(
                f"error {shown(code)}: {said}",
                source=request.source,
                status=200,
                where=request.where,
                remedy="check the id and the plan",
            )
        quotes = records(_quotes(member(value, "data", request), request), request)
        usd = [member(by, "USD", request) for by in values_of(quotes, "quote", request)]
        cleaning = Cleaning()
        frame = pd.DataFrame(
            {
                "token": token,
                "date": moments_of(quotes, "time_close", request),
                **{
                    name: numbers_of(usd, theirs, request, cleaning, PRICE_USD)
                    for theirs, name in _CANDLE.items()
                },
                "market_cap_usd": _market_caps(usd, request, cleaning),
            }
        )
        frame = in_span(frame, span, self.client.clock.utc_now().date(), cleaning)
        return _priced(_possible(frame, cleaning), len(quotes), request, cleaning)


def _items(by_coin: Any, day: int, request: Request) -> list[tuple[str, Any]]:
    if not isinstance(by_coin, dict):
        raise bad_shape(
            request, f"prices is {shown(by_coin)}: an object is wanted", f"row {day + 1}"
        )
    return list(by_coin.items())


def _closing_days(moments: pd.Series[Any]) -> pd.Series[Any]:
    """The day whose end is near each moment; unknown where none is.

    Near is up to 6 hours before the end, or 15 minutes after it: a later price would be the next
    day's.
    """
    days = (moments - _AFTER_CLOSE).dt.floor("D")
    ends = days + timedelta(days=1)
    return days.where(moments >= ends - _BEFORE_CLOSE)


def _quotes(data: Any, request: Request) -> Any:
    """The quotes of the one coin in ``data``, which is it or holds it under its id."""
    if isinstance(data, dict) and "quotes" not in data and len(data) == 1:
        data = next(iter(data.values()))
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    return member(data, "quotes", request)


def _market_caps(usd: Records, request: Request, cleaning: Cleaning) -> np.ndarray[Any, Any]:
    known = [{"market_cap": row.get("market_cap") or None} for row in usd]
    return numbers_of(known, "market_cap", request, cleaning, _MARKET_CAP_USD)


def _possible(frame: pd.DataFrame, cleaning: Cleaning) -> pd.DataFrame:
    """Candles whose low and high do not hold open and close lose their low and high."""
    inside = frame[["open_usd", "close_usd"]]
    wrong = (frame["low_usd"] > inside.min(axis=1)) | (frame["high_usd"] < inside.max(axis=1))
    cleaning.add("candles whose low or high is impossible", int(wrong.sum()))
    return frame.assign(
        low_usd=frame["low_usd"].mask(wrong), high_usd=frame["high_usd"].mask(wrong)
    )


def _priced(frame: pd.DataFrame, n_rows: int, request: Request, cleaning: Cleaning) -> Reading:
    """Only rows with a close: a day without one has no row."""
    priced = frame[frame["close_usd"].notna()].reset_index(drop=True)
    return Reading(checked("prices_daily", priced, request, cleaning), n_rows, cleaning)
