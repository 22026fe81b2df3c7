"""What really happened to what is held: for the books, never for a decision."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stableyield.backtest.day import DayInputs
from stableyield.backtest.ledger import PoolDay
from stableyield.backtest.places import Places
from stableyield.config import AllocationParameters
from stableyield.domain.portfolio import Book
from stableyield.domain.rates import day_return
from stableyield.errors import MissingDataError
from stableyield.market.panel import MarketView

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MAX_RETURN_AGE_DAYS = 7
NOTHING: Floats = np.zeros(0)


def realised(
    tomorrow: MarketView,
    book: Book,
    parameters: AllocationParameters,
    today: MarketView | None = None,
    places: Places | None = None,
) -> PoolDay:
    """What the day of ``tomorrow`` did to the pools that ``book`` holds.

    A pool that is on the live list of ``today`` and not on that of ``tomorrow`` is delisted on
    that day: it pays back its value less ``delisting_loss``, and its unknown return is no gap in
    the data.

    Parameters
    ----------
    tomorrow : MarketView
    book : Book
        After the plan of ``today``.
    parameters : AllocationParameters
    today : MarketView, optional
        Of the exec day; without it nothing is taken for a delisting.
    places : Places, optional
        Where the book is in ``tomorrow``, if that is known.

    Raises
    ------
    MissingDataError
        When a held pool has no realised return and ``missing_actual`` is ``raise``.
    """
    if not book.layout.keys:
        return PoolDay(NOTHING)
    places = places or Places(book.layout, tomorrow.directory)
    # -1, the place of a pool that the market does not know, is that of the NaN at the end
    earned = _of_positions(tomorrow.realised_return, places)
    gone = {} if today is None else _paid_back(today, tomorrow, places, parameters.delisting_loss)
    if parameters.missing_actual != "zero":
        left = np.array([pool_id in gone for pool_id, _ in book.layout.keys], dtype=bool)
        earned = _completed(tomorrow, places, earned, ~left, parameters)
    is_shared = parameters.own_impact == "pro_rata"
    return PoolDay(
        returns=earned,
        others_usd=_of_positions(_deposits_usd(tomorrow), places) if is_shared else None,
        stranded=places.stranded,
        paid_back=gone,
    )


def _of_positions(values: Floats, places: Places) -> Floats:
    """The value of each position's pool; NaN where the market does not know the pool."""
    if places.all_known:
        return values[places.column]
    return np.append(values, np.nan)[places.column]


def _paid_back(
    today: MarketView, tomorrow: MarketView, places: Places, loss: float
) -> dict[str, float]:
    """Held pools that leave the live list, and the share of its value that each pays back."""
    # the columns of a view are the first columns of every later one
    listed = today.is_listed
    left = listed & ~tomorrow.is_listed[: len(listed)]
    if not left.any():
        return {}
    gone = {tomorrow.pool_ids[i] for i in left.nonzero()[0].tolist()}
    return {pool_id: 1.0 - loss for pool_id in places.layout.pool_ids if pool_id in gone}


def _completed(
    tomorrow: MarketView,
    places: Places,
    earned: Floats,
    is_there: Bools,
    parameters: AllocationParameters,
) -> Floats:
    """The returns where none of a pool that has not left is missing, or with its last one."""
    unknown = np.isnan(earned) & is_there
    if not unknown.any():
        return earned
    if parameters.missing_actual == "raise":
        raise MissingDataError(
            f"pool {places.layout.keys[int(unknown.argmax())][0]} has no realised return",
            where=f"day {tomorrow.day}",
            remedy="set missing_actual to zero or last, or complete pool_daily",
        )
    completed = earned.copy()
    for n in np.flatnonzero(unknown & places.is_known).tolist():
        completed[n] = _last_return(tomorrow, int(places.column[n]))
    return completed


def _deposits_usd(tomorrow: MarketView) -> Floats:
    """What shares a pool's revenue: all deposits; the TVL, which may be less, where unknown."""
    series = tomorrow.pool_series
    deposits, tvl = series.deposits_usd[-1], series.tvl_usd[-1]
    shared: Floats = np.where(np.isfinite(deposits), deposits, tvl)
    return shared


def _last_return(tomorrow: MarketView, i: int) -> float:
    """Last known return of pool number ``i``; NaN when older than a week."""
    by_price = tomorrow.pool_series.return_1d[-MAX_RETURN_AGE_DAYS:, i]
    by_rate = day_return(tomorrow.pool_series.apy_pct[-MAX_RETURN_AGE_DAYS:, i] / 100.0)
    recent = np.where(np.isfinite(by_price), by_price, by_rate)
    known = recent[np.isfinite(recent)]
    return float(known[-1]) if len(known) else float("nan")


def forecast_yield_usd(inputs: DayInputs, book: Book, prices_usd: Mapping[str, float]) -> float:
    """What the mean forecasts promise for one day; pools without a forecast promise nothing."""
    if not book.layout.keys:
        return 0.0
    places = inputs.places(book.layout)
    columns = places.held(inputs.view, inputs.parameters).columns
    rates = places.of_positions(inputs.outlook(columns).returns, np.nan)
    promised = book.worth(prices_usd).values_usd * rates
    is_promised = np.isfinite(promised)
    if places.stranded is not None:
        is_promised &= ~places.stranded
    # one after the other, in the order of the book
    return float(np.cumsum(np.where(is_promised, promised, 0.0))[-1])
