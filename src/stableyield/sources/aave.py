"""Aave's own interface: supply and borrow rates of the last year, keyless, as a fallback.

It gives averages over its sampling interval, as APY in fractions; sizes are not in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stableyield.domain.rates import apy_to_apr
from stableyield.errors import MissingDataError
from stableyield.sources.ask import TODAY, Freshness, Reading, ask
from stableyield.sources.base import Fetched, Span
from stableyield.sources.defillama import PoolKey
from stableyield.sources.failures import ProviderError
from stableyield.sources.http import HttpClient
from stableyield.sources.payload import (
    Bounds,
    Cleaning,
    checked,
    in_span,
    member,
    moments_of,
    numbers_of,
    records,
    shown,
    values_of,
)
from stableyield.sources.request import Request

SOURCE = "aave"
AAVE_URL = "https://api.v3.aave.com/graphql"
_QUERY = (
    "query Rates($supply: SupplyAPYHistoryRequest!, $borrow: BorrowAPYHistoryRequest!) { "
    "supplyAPYHistory(request: $supply) { date avgRate { value } } "
    "borrowAPYHistory(request: $borrow) { date avgRate { value } } }"
)
_WINDOWS = ((7, "LAST_WEEK"), (30, "LAST_MONTH"), (182, "LAST_SIX_MONTHS"), (365, "LAST_YEAR"))
_APY = Bounds(-0.9999, 1e4)  # fractions


@dataclass(frozen=True, slots=True)
class AaveReserve:
    """A reserve as Aave names it.

    Parameters
    ----------
    chain_id : int
    market, token : str
        Addresses of the market's pool contract and of the underlying token.
    """

    chain_id: int
    market: str
    token: str


@dataclass(frozen=True)
class AaveRates:
    """``supplyAPYHistory`` and ``borrowAPYHistory``; table ``lend_borrow_daily`` of one market.

    Parameters
    ----------
    client : HttpClient
    market : PoolKey
        Under which the rows are kept.
    reserve : AaveReserve
    url : str
    freshness : Freshness
    """

    client: HttpClient
    market: PoolKey
    reserve: AaveReserve
    url: str = AAVE_URL
    freshness: Freshness = TODAY

    @property
    def name(self) -> str:
        """Provider and route."""
        return f"{SOURCE} rates"

    def fetch(self, span: Span) -> Fetched:
        """The rows of ``span``, as far as the last year goes.

        Raises
        ------
        MissingDataError
            When ``span`` begins more than a year ago.
        SourceError
            When the provider fails, answers with errors, or changed its format.
        """
        reserve = self.reserve
        one = {
            "chainId": reserve.chain_id,
            "market": reserve.market,
            "underlyingToken": reserve.token,
            "window": self._window(span),
        }
        body = {"query": _QUERY, "variables": {"supply": one, "borrow": one}}
        request = Request(SOURCE, "rates", self.url, self.market.pool_id, body=body)
        return ask(self.client, request, self._read, span, self.freshness)

    def _window(self, span: Span) -> str:
        age_days = (self.client.clock.utc_now().date() - span.first).days
        for days, window in _WINDOWS:
            if age_days < days:
                return window
        raise MissingDataError(
            f"only the last 365 days are served, {span} was asked for",
            where=self.name,
            remedy="ask for later days, or import a file of lend/borrow history",
        )

    def _read(self, value: Any, span: Span, request: Request) -> Reading:
        if isinstance(value, dict) and value.get("errors"):
            raise ProviderError(
                f"errors in an HTTP 200: {shown(value['errors'])}",
                source=SOURCE,
                status=200,
                where=request.where,
                remedy="check chain, market and token of the reserve",
            )
        data = member(value, "data", request)
        cleaning = Cleaning()
        supply = _rates(data, "supplyAPYHistory", request, cleaning)
        borrow = _rates(data, "borrowAPYHistory", request, cleaning)
        frame = pd.concat([supply, borrow], axis=1, keys=["supply_apr_pct", "borrow_apr_pct"])
        dated = frame.rename_axis("date").reset_index().assign(**self.market.market_columns)
        dated = in_span(dated, span, self.client.clock.utc_now().date(), cleaning)
        tables = checked("lend_borrow_daily", dated, request, cleaning)
        sentence = "Rates of Aave's own interface are averages, and were converted from APY."
        return Reading(tables, len(supply) + len(borrow), cleaning, (sentence,))


def _rates(data: Any, name: str, request: Request, cleaning: Cleaning) -> pd.Series[Any]:
    """APR in percent by UTC day, the last reading of each."""
    points = records(member(data, name, request), request)
    moments = moments_of(points, "date", request)
    rates = records(values_of(points, "avgRate", request), request)
    apy = numbers_of(rates, "value", request, cleaning, _APY, as_text=True)
    apr_pct = pd.Series(np.asarray(100.0 * apy_to_apr(apy)), pd.DatetimeIndex(moments)).sort_index(
        kind="stable"
    )
    days = pd.DatetimeIndex(apr_pct.index).floor("D")
    cleaning.add("earlier readings of the same day", int(days.duplicated(keep="last").sum()))
    daily = pd.Series(apr_pct.to_numpy(), days)
    return daily[~days.duplicated(keep="last")]
