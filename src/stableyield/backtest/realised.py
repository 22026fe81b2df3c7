"""What really happened to what is held: for the books, never for a decision."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stableyield.backtest.day import DayInputs
from stableyield.backtest.ledger import PoolDay
from stableyield.config import AllocationParameters
from stableyield.domain.portfolio import Book
from stableyield.domain.rates import day_return
from stableyield.errors import MissingDataError
from stableyield.market.panel import MarketView

MAX_RETURN_AGE_DAYS = 7


def realised(tomorrow: MarketView, book: Book, parameters: AllocationParameters) -> PoolDay:
    """What the day of ``tomorrow`` did to the pools that ``book`` holds.

    Raises
    ------
    MissingDataError
        When a held pool has no realised return and ``missing_actual`` is ``raise``.
    """
    returns, others, tokens = {}, {}, {}
    for pool_id in book.pool_ids:
        i = tomorrow.pool_index.get(pool_id)
        earned = float("nan") if i is None else float(tomorrow.realised_return[i])
        if np.isnan(earned) and parameters.missing_actual == "raise":
            raise MissingDataError(
                f"pool {pool_id} has no realised return",
                where=f"day {tomorrow.day}",
                remedy="set missing_actual to zero or last, or complete pool_daily",
            )
        if i is None:
            continue
        if np.isnan(earned) and parameters.missing_actual == "last":
            earned = _last_return(tomorrow, i)
        tokens[pool_id] = tomorrow.pools[i].tokens
        returns[pool_id] = earned
        others[pool_id] = _deposits_usd(tomorrow, i)
    diluted = others if parameters.own_impact == "pro_rata" else None
    return PoolDay(returns, diluted, tokens)


def _deposits_usd(tomorrow: MarketView, i: int) -> float:
    """What shares the pool's revenue: all deposits; the TVL, which may be less, where unknown."""
    deposits, tvl = tomorrow.pool_series.deposits_usd[-1, i], tomorrow.pool_series.tvl_usd[-1, i]
    return float(deposits if np.isfinite(deposits) else tvl)


def _last_return(tomorrow: MarketView, i: int) -> float:
    """Last known return of pool number ``i``; NaN when older than a week."""
    by_price = tomorrow.pool_series.return_1d[-MAX_RETURN_AGE_DAYS:, i]
    by_rate = day_return(tomorrow.pool_series.apy_pct[-MAX_RETURN_AGE_DAYS:, i] / 100.0)
    recent = np.where(np.isfinite(by_price), by_price, by_rate)
    known = recent[np.isfinite(recent)]
    return float(known[-1]) if len(known) else float("nan")


def forecast_yield_usd(inputs: DayInputs, book: Book, prices: Mapping[str, float]) -> float:
    """What the mean forecasts promise for one day; pools without a forecast promise nothing."""
    total = 0.0
    for (pool_id, token), amount in book.positions.items():
        i = inputs.view.pool_index.get(pool_id)
        if i is None or token not in inputs.view.pools[i].tokens:
            continue
        rate = day_return(float(inputs.forecast.apy_pct[i]) / 100.0)
        total += amount * prices[token] * rate if np.isfinite(rate) else 0.0
    return total
