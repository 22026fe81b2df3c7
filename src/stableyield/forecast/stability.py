"""How much a pool's APY moves: the instability columns and the segments of an evaluation."""

from __future__ import annotations

import numpy as np

from stableyield.domain.rates import Floats
from stableyield.forecast.windows import last_known, last_std

INSTABILITY_GROUPS = ("low", "medium", "high", "insufficient")
WEEK_DAYS = 7
MONTH_DAYS = 30
MIN_ROWS = 7
"""Rows among the last 30 days below which a pool's movement is not classified."""

# Largest 7-day and 30-day standard deviation, in percentage points: the default limits of risk
# groups 1 and 2 (`AllocationParameters`), without their one-day-move rule.
LOW_LIMITS_PCT = (1.5, 2.0)
MEDIUM_LIMITS_PCT = (4.0, 5.0)


def recent_std_pct(apy_pct: Floats) -> tuple[Floats, Floats]:
    """Standard deviation of the APY over the last 7 and 30 days, points; shape (n_pools,) each."""
    recent = apy_pct[-MONTH_DAYS:]
    moves = recent - last_known(recent)
    return last_std(moves, WEEK_DAYS), last_std(moves, MONTH_DAYS)


def instability_groups(apy_pct: Floats) -> tuple[str, ...]:
    """The group of each pool from the movement of its APY over the last 7 and 30 days.

    ``low``: both standard deviations within 1.5 and 2 points; ``medium``: within 4 and 5;
    ``high``: above; ``insufficient``: fewer than 7 rows in the last 30 days, or fewer than two in
    the last 7.

    Parameters
    ----------
    apy_pct : ndarray of shape (n_days, n_pools)
        Percent; the last row is today.
    """
    week, month = recent_std_pct(apy_pct)
    is_low = (week <= LOW_LIMITS_PCT[0]) & (month <= LOW_LIMITS_PCT[1])
    is_medium = (week <= MEDIUM_LIMITS_PCT[0]) & (month <= MEDIUM_LIMITS_PCT[1])
    rows = np.isfinite(apy_pct[-MONTH_DAYS:]).sum(axis=0)
    insufficient = (rows < MIN_ROWS) | ~np.isfinite(week)
    code = np.select([insufficient, is_low, is_medium], [3, 0, 1], default=2)
    return tuple(INSTABILITY_GROUPS[i] for i in code.tolist())


def next_instability_groups(apy_pct: Floats, forecast_apy_pct: Floats) -> tuple[str, ...]:
    """The group of each pool tomorrow if its APY then is ``forecast_apy_pct`` (n_pools,)."""
    return instability_groups(np.vstack([apy_pct[-MONTH_DAYS:], forecast_apy_pct]))
