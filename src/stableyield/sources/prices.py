"""Daily token prices: DefiLlama's closes (keyless).

A record of DefiLlama's stablecoin prices dated D 00:00 holds the price at the **end** of D. A
point of its coins chart holds the price at its own moment: points are asked for at the last second
of each day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pandas as pd

from stableyield.errors import ParameterError
from stableyield.sources.ask import TODAY, Freshness, Reading, ask
from stableyield.sources.base import Fetched, Span
from stableyield.sources.http import HttpClient
from stableyield.sources.payload import (
    PRICE_USD,
    Cleaning,
    bad_shape,
    checked,
    in_span,
    member,
    moments_of,
    numbers_of,
    records,
    seconds_of,
    shown,
    values_of,
)
from stableyield.sources.request import Request, joined

STABLECOINS_URL = "https://stablecoins.llama.fi"
COINS_URL = "https://coins.llama.fi"

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
        return ask(self.client, request, self._read, span, self.freshness)

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
        return priced(frame, len(days), request, cleaning)


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
        return ask(self.client, request, self._read, span, self.freshness)

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
        return priced(frame, n_rows, request, cleaning)


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


def priced(frame: pd.DataFrame, n_rows: int, request: Request, cleaning: Cleaning) -> Reading:
    """Only rows with a close: a day without one has no row."""
    known = frame[frame["close_usd"].notna()].reset_index(drop=True)
    return Reading(checked("prices_daily", known, request, cleaning), n_rows, cleaning)
