"""What really happened to what is held: for the books, never for a decision."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stableyield.backtest.day import DayInputs
from stableyield.backtest.ledger import PoolDay
from stableyield.config import AllocationParameters
from stableyield.domain.portfolio import Book
from stableyield.domain.rates import day_return
from stableyield.errors import MissingDataError
from stableyield.market.panel import MarketView

Floats = NDArray[np.float64]

MAX_RETURN_AGE_DAYS = 7


def realised(
    tomorrow: MarketView,
    book: Book,
    parameters: AllocationParameters,
    today: MarketView | None = None,
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

    Raises
    ------
    MissingDataError
        When a held pool has no realised return and ``missing_actual`` is ``raise``.
    """
    if not book.positions:
        return PoolDay({}, None, {})
    index, pools = tomorrow.pool_index, tomorrow.pools
    ids = [pool_id for pool_id in book.pool_ids if pool_id in index]
    columns = np.array([index[pool_id] for pool_id in ids], dtype=np.intp)
    earned = tomorrow.realised_return[columns]
    gone = {} if today is None else _paid_back(today, tomorrow, ids, parameters.delisting_loss)
    strict = parameters.missing_actual == "raise"
    if strict and (unknown := _unknown(book, ids, earned, gone)):
        raise MissingDataError(
            f"pool {unknown} has no realised return",
            where=f"day {tomorrow.day}",
            remedy="set missing_actual to zero or last, or complete pool_daily",
        )
    if parameters.missing_actual == "last":
        for n in np.flatnonzero(np.isnan(earned)).tolist():
            if ids[n] in gone:
                continue
            earned[n] = _last_return(tomorrow, int(columns[n]))
    return PoolDay(
        returns=dict(zip(ids, earned.tolist(), strict=True)),
        others_usd=(
            dict(zip(ids, _deposits_usd(tomorrow, columns).tolist(), strict=True))
            if parameters.own_impact == "pro_rata"
            else None
        ),
        tokens={pool_id: pools[i].tokens for pool_id, i in zip(ids, columns.tolist(), strict=True)},
        paid_back=gone,
    )


def _paid_back(
    today: MarketView, tomorrow: MarketView, ids: Sequence[str], loss: float
) -> dict[str, float]:
    """Held pools that leave the live list, and the share of its value that each pays back."""
    # the columns of a view are the first columns of every later one
    listed = today.is_listed
    left = (listed & ~tomorrow.is_listed[: len(listed)]).nonzero()[0].tolist()
    if not left:
        return {}
    gone = {tomorrow.pool_ids[i] for i in left}
    return {pool_id: 1.0 - loss for pool_id in ids if pool_id in gone}


def _unknown(book: Book, ids: list[str], earned: Floats, gone: Collection[str]) -> str | None:
    """The first held pool whose return is unknown and that has not left, if there is one."""
    known = {pool_id for pool_id, r in zip(ids, earned.tolist(), strict=True) if not np.isnan(r)}
    known.update(gone)
    return next((pool_id for pool_id in book.pool_ids if pool_id not in known), None)


def _deposits_usd(tomorrow: MarketView, columns: NDArray[np.intp]) -> Floats:
    """What shares a pool's revenue: all deposits; the TVL, which may be less, where unknown."""
    series = tomorrow.pool_series
    deposits, tvl = series.deposits_usd[-1, columns], series.tvl_usd[-1, columns]
    shared: Floats = np.where(np.isfinite(deposits), deposits, tvl)
    return shared


def _last_return(tomorrow: MarketView, i: int) -> float:
    """Last known return of pool number ``i``; NaN when older than a week."""
    by_price = tomorrow.pool_series.return_1d[-MAX_RETURN_AGE_DAYS:, i]
    by_rate = day_return(tomorrow.pool_series.apy_pct[-MAX_RETURN_AGE_DAYS:, i] / 100.0)
    recent = np.where(np.isfinite(by_price), by_price, by_rate)
    known = recent[np.isfinite(recent)]
    return float(known[-1]) if len(known) else float("nan")


def forecast_yield_usd(inputs: DayInputs, book: Book, prices: Mapping[str, float]) -> float:
    """What the mean forecasts promise for one day; pools without a forecast promise nothing."""
    if not book.positions:
        return 0.0
    index, pools = inputs.view.pool_index, inputs.view.pools
    rates = day_return(inputs.expected.apy_pct / 100.0).tolist()
    total = 0.0
    for (pool_id, token), amount in book.positions.items():
        i = index.get(pool_id)
        if i is None or token not in pools[i].tokens:
            continue
        rate = rates[i]
        total += amount * prices[token] * rate if math.isfinite(rate) else 0.0
    return total
