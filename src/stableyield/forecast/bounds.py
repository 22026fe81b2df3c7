"""Forecasts held to what a pool can plausibly do."""

from __future__ import annotations

import numpy as np

from stableyield.domain.rates import Floats
from stableyield.forecast.windows import trailing_count, trailing_std

MAX_RATIO = 2.0
LOWEST_PCT = -100.0
REST_DAYS = 30
REST_ROWS = 7


def bounded(
    history_pct: Floats, last_pct: Floats, point_pct: Floats, low_pct: Floats, high_pct: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Mean, q10, q50 and q90 in order and within bounds, percent; shape (n_pools,) each.

    All stay between 0, or twice the lowest rate of ``history_pct`` if that was a loss (not below
    -100 %: no more than everything can be lost), and twice the highest. A pool that has not moved
    for 30 days (with at least 7 rows) stays where it is, without spread.

    Parameters
    ----------
    history_pct : ndarray of shape (n_days, n_pools)
    last_pct, point_pct, low_pct, high_pct : ndarray of shape (n_pools,)
    """
    known = np.isfinite(history_pct)
    lowest = MAX_RATIO * np.min(history_pct, axis=0, initial=0.0, where=known)
    lowest = np.maximum(lowest, LOWEST_PCT)
    highest = MAX_RATIO * np.max(history_pct, axis=0, initial=0.0, where=known)
    recent = history_pct[-REST_DAYS:]
    at_rest = trailing_std(recent, REST_DAYS)[-1] == 0.0
    at_rest &= trailing_count(recent, REST_DAYS)[-1] >= REST_ROWS
    point, low, high = (
        np.where(at_rest, last_pct, np.clip(values, lowest, highest))
        for values in (point_pct, low_pct, high_pct)
    )
    return point, np.minimum(low, point), point, np.maximum(high, point)
