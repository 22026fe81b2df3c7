"""Segments of an evaluation: what kind of pool it was at the origin, from data known then."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import Floats
from stableyield.forecast.base import is_cold_start
from stableyield.forecast.stability import LOW_LIMITS_PCT, MONTH_DAYS, recent_std_pct
from stableyield.forecast.windows import last_known, median_of_last_axis

SEGMENTS = ("calm", "volatile", "spike", "cold")
SPIKE_RATIO = 2.0


def segment_of_pools(apy_pct: Floats) -> NDArray[np.int8]:
    """Index into `SEGMENTS` of each pool; shape (n_pools,).

    ``cold``: fewer than 30 rows in the last 180 days; else ``spike``: the last APY is above twice
    its 30-day median; else ``volatile``: the 7-day standard deviation is above 1.5 points or the
    30-day one above 2 (the default limits of risk group 1); else ``calm``.

    Parameters
    ----------
    apy_pct : ndarray of shape (n_days, n_pools)
        Percent; the last row is the origin.
    """
    recent = apy_pct[-MONTH_DAYS:]
    is_spike = last_known(recent) > SPIKE_RATIO * median_of_last_axis(recent.T)
    week, month = recent_std_pct(apy_pct)
    is_volatile = (week > LOW_LIMITS_PCT[0]) | (month > LOW_LIMITS_PCT[1])
    kinds = [is_cold_start(apy_pct), is_spike, is_volatile]
    return np.select(kinds, [3, 2, 1], default=0).astype(np.int8)
