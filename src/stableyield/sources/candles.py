"""Daily candles of CoinMarketCap (paid): open, high, low, close and market capitalisation.

A candle closes at 23:59:59 of its day. Coins go by CoinMarketCap's numbers, since many coins share
a symbol; a coin that is not in `CMC_IDS` is added by its number, see `candle_ids`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from pydantic import SecretStr

from stableyield.errors import MissingDataError, ParameterError
from stableyield.sources.ask import TODAY, Freshness, Reading, fetched_of, reply_of
from stableyield.sources.base import Fetched, Span
from stableyield.sources.failures import KeyRefusedError, ProviderError
from stableyield.sources.http import HttpClient
from stableyield.sources.payload import (
    PRICE_USD,
    Bounds,
    Cleaning,
    Records,
    in_span,
    member,
    moments_of,
    numbers_of,
    records,
    shown,
    values_of,
)
from stableyield.sources.prices import priced
from stableyield.sources.request import Request, Secret, joined

SOURCE = "coinmarketcap"
CMC_URL = "https://pro-api.coinmarketcap.com"
CMC_KEY_SETTING = "STABLEYIELD_CMC_KEY"
CMC_IDS: Mapping[str, str] = MappingProxyType({"3408": "USDC", "825": "USDT", "4943": "DAI"})
"""Token by its number at CoinMarketCap: the three that are shipped."""

_MARKET_CAP_USD = Bounds(1e-6, 1e13)  # CoinMarketCap writes 0 where it does not know
_CANDLE = {name: f"{name}_usd" for name in ("open", "high", "low", "close")}
_HOW_TO_ADD = (
    "the number stands on the coin's page at coinmarketcap.com (UCID); give it as "
    "candle_ids(tokens, {token: number}), or to the daily run as STABLEYIELD_CMC_IDS"
)


def candle_ids(
    tokens: Iterable[str] | None = None, own_ids: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Token by CoinMarketCap number, as `CandlePrices` wants it.

    Parameters
    ----------
    tokens : iterable of str, optional
        The tokens that are wanted; absent: all whose number is known.
    own_ids : mapping of str to str, optional
        Numbers by token, beside those of `CMC_IDS` and, for the same token, instead of them.

    Raises
    ------
    MissingDataError
        When the number of a token is not known; says how to add it.
    ParameterError
        For something else than a number, or a number that is given to two tokens.
    """
    known = {token: coin for coin, token in CMC_IDS.items()} | dict(own_ids or {})
    wanted = list(known if tokens is None else dict.fromkeys(tokens))
    if missing := [token for token in wanted if token not in known]:
        raise MissingDataError(
            f"the number of {', '.join(missing)} at CoinMarketCap is not known",
            where=f"{SOURCE} ohlcv",
            remedy=_HOW_TO_ADD,
        )
    found: dict[str, str] = {}
    for token in wanted:
        if (other := found.setdefault(known[token], token)) != token:
            raise ParameterError(
                f"number {known[token]} is given to {other} and to {token}",
                where=f"{SOURCE} ohlcv",
                remedy=_HOW_TO_ADD,
            )
    _check_numbers(found)
    return found


@dataclass(frozen=True)
class CandlePrices:
    """CoinMarketCap's daily candles; table ``prices_daily`` with open, high and low.

    Parameters
    ----------
    client : HttpClient
    key : SecretStr, optional
        Without it nothing is asked.
    tokens : mapping of str to str
        Token by CoinMarketCap number (as text): from `candle_ids`.
    base_url : str
    freshness : Freshness

    Raises
    ------
    ParameterError
        When a key of ``tokens`` is no number.
    """

    client: HttpClient
    key: SecretStr | None
    tokens: Mapping[str, str] = field(default_factory=lambda: CMC_IDS)
    base_url: str = CMC_URL
    freshness: Freshness = TODAY

    def __post_init__(self) -> None:
        _check_numbers(self.tokens)

    @property
    def name(self) -> str:
        """Provider and route."""
        return f"{SOURCE} ohlcv"

    def fetch(self, span: Span) -> Fetched:
        """Candles of ``span``, one request a token.

        A coin that CoinMarketCap calls otherwise than the token is named in the assumptions.

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
                source=SOURCE,
                where=self.name,
                remedy=f"set {CMC_KEY_SETTING}, or use DefiLlama's closes (without lows)",
            )
        secret = Secret(self.key, "header", "X-CMC_PRO_API_KEY", CMC_KEY_SETTING)
        replies = [
            reply_of(
                self.client,
                self._request(coin, span, secret),
                partial(self._read, token),
                span,
                self.freshness,
            )
            for coin, token in sorted(self.tokens.items())
        ]
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
        return Request(SOURCE, "ohlcv", url, coin, params, secret=secret)

    def _read(self, token: str, value: Any, span: Span, request: Request) -> Reading:
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
        coin = _coin(member(value, "data", request))
        quotes = records(member(coin, "quotes", request), request)
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
        reading = priced(_possible(frame, cleaning), len(quotes), request, cleaning)
        return replace(reading, assumptions=_other_name(coin, token, request))


def _check_numbers(tokens: Mapping[str, str]) -> None:
    for coin, token in tokens.items():
        if not (coin.isascii() and coin.isdecimal()):
            raise ParameterError(
                f"{coin!r} is no CoinMarketCap number (of {token}): symbols are shared by several "
                "coins",
                where=f"{SOURCE} ohlcv",
                remedy=_HOW_TO_ADD,
            )


def _coin(data: Any) -> Any:
    """The one coin in ``data``, which is it or holds it under its id."""
    if isinstance(data, dict) and "quotes" not in data and len(data) == 1:
        data = next(iter(data.values()))
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    return data


def _other_name(coin: Mapping[str, Any], token: str, request: Request) -> tuple[str, ...]:
    """What to say when a number may be a wrong one."""
    theirs = coin.get("symbol")
    if not isinstance(theirs, str) or theirs.casefold() == token.casefold():
        return ()
    return (f"Number {request.item} of CoinMarketCap is {shown(theirs)}; it is taken as {token}.",)


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
