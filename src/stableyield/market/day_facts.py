"""What follows on each day from the rows up to it, made for many days at once.

Row ``s`` of every result depends on rows ``<= s`` alone, and each column on itself: a view of one
day and a walk through many call the same functions and get the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from stableyield.domain.rates import day_return
from stableyield.market.series import PoolSeries

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LIST_TIMEOUT_DAYS = 7  # a pool without a row for this long is off the live list


@dataclass(frozen=True, eq=False)
class DayFacts:
    """What follows from the rows of ``series`` on its last day.

    Parameters
    ----------
    series : PoolSeries of shape (n_days, n_pools)
    row_age_days : ndarray of shape (n_pools,)
        Days since each pool's last row (0: it has one today).
    realised_return : ndarray of shape (n_pools,)
        Growth (fraction) of one unit over the day; NaN where unknown.

    The arrays are read-only: what one policy did to them, the books would read.
    """

    series: PoolSeries
    row_age_days: Ints
    realised_return: Floats

    def __post_init__(self) -> None:
        self.row_age_days.setflags(write=False)
        self.realised_return.setflags(write=False)


def row_ages(series: PoolSeries, n_days: int = 1) -> Ints:
    """Days since each pool's last row, on each of the last ``n_days``; shape (n_days, n_pools).

    The number of days so far where a pool has none yet.
    """
    n_before = len(series.apy_pct) - n_days
    first = _ages_of_last(series.apy_pct[: n_before + 1], series.tvl_usd[: n_before + 1])
    if n_days == 1:
        return first[None]
    has_row = np.isfinite(series.apy_pct[-n_days:]) | np.isfinite(series.tvl_usd[-n_days:])
    number = np.arange(n_days)[:, None]
    last = np.where(has_row, number, -first.max(initial=0) - 1)
    last[0] = -first
    ages: Ints = number - np.maximum.accumulate(last, axis=0)
    return ages


def _ages_of_last(apy_pct: Floats, tvl_usd: Floats) -> Ints:
    """Days since each pool's last row, on the last day; shape (n_pools,)."""
    # most pools have a recent row: only the others are looked at further back
    recent = slice(None, -1 - LIST_TIMEOUT_DAYS, -1)
    ages = first_known(apy_pct[recent], tvl_usd[recent])
    old = np.flatnonzero(ages >= LIST_TIMEOUT_DAYS)
    if len(old):
        ages[old] = first_known(apy_pct[::-1, old], tvl_usd[::-1, old])
    return ages


def realised_returns(series: PoolSeries, n_days: int = 1) -> Floats:
    """Growth of one unit over each of the last ``n_days``; shape (n_days, n_pools).

    The share-price return where there is one, else the day return of the day's APY.
    """
    by_price = series.return_1d[-n_days:]
    with np.errstate(invalid="ignore"):  # an APY below -100 %, which cannot be, is unknown
        by_rate = day_return(series.apy_pct[-n_days:] / 100.0)
    result: Floats = np.where(np.isfinite(by_price), by_price, by_rate)
    return result


def stacked(values: Floats, n_days: int, reach_days: int) -> Floats:
    """The last ``reach_days`` rows up to each of the last ``n_days``, side by side.

    Shape (reach_days, n_days * n_columns): what is done to each column of it is done for every day
    at once, and none sees a row after its own day. Days before the first are NaN.
    """
    n_rows, n_columns = n_days - 1 + reach_days, values.shape[1]
    missing = n_rows - len(values)
    if missing > 0:
        values = np.concatenate([np.full((missing, n_columns), np.nan), values])
    if n_days == 1:
        return values[-reach_days:]
    windows = sliding_window_view(values[-n_rows:], reach_days, axis=0)
    return windows.transpose(2, 0, 1).reshape(reach_days, n_days * n_columns)


def first_known(*arrays: Floats) -> Ints:
    """First row with a value in any of the arrays, by column; n_days where there is none."""
    has = np.logical_or.reduce([np.isfinite(array) for array in arrays])
    first: Ints = np.where(has.any(axis=0), has.argmax(axis=0), has.shape[0])
    return first
