"""Risk groups: how calm a pool's APY has been, from 1 (calm) to 3 (wild).

Everything is measured in percentage points of the daily APY, up to and including the day of the
decision. The parameters are fractions (0.01 = 1 percentage point) and are converted here, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stableyield.errors import InputError

if TYPE_CHECKING:
    from stableyield.config import AllocationParameters

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHORT_WINDOW_DAYS = 7
LONG_WINDOW_DAYS = 30
_PP_PER_FRACTION = 100.0
# A value *at* a limit belongs to the calmer group; 1.1 - 0.1 must count as 1.0.
_TOLERANCE_PP = 1e-9


@dataclass(frozen=True, eq=False)
class RiskGroups:
    """Risk group of each pool and the three measures that it follows from.

    Attributes
    ----------
    group : ndarray of int64, shape (n_pools,)
        1, 2 or 3.
    delta_pp : ndarray of float64, shape (n_pools,)
        ``|APY_t - APY_{t-1}|`` in percentage points; NaN when either day is unknown.
    stddev_7d_pp, stddev_30d_pp : ndarray of float64, shape (n_pools,)
        Sample standard deviation of the APY levels of the last 7 and 30 calendar days, in
        percentage points; NaN with fewer than 2 known days.
    """

    group: Ints
    delta_pp: Floats
    stddev_7d_pp: Floats
    stddev_30d_pp: Floats


def risk_groups(apy_pct: Floats, parameters: AllocationParameters) -> RiskGroups:
    """Risk group of each pool on the last day of ``apy_pct``.

    Parameters
    ----------
    apy_pct : ndarray of shape (n_days, n_pools)
        Daily APY in percent, one row a calendar day, NaN where unknown. Only the last 30 rows are
        read.
    parameters : AllocationParameters
        The ``group1_*`` and ``group2_*`` limits.

    Returns
    -------
    RiskGroups
        Every pool has a group: 3 without an APY today or yesterday, or with fewer than 2 known
        days in a window.

    Raises
    ------
    InputError
        When ``apy_pct`` is not a table with at least one day.
    """
    if apy_pct.ndim != 2 or len(apy_pct) == 0:
        raise InputError(
            f"apy_pct has shape {apy_pct.shape}",
            remedy="pass an array of shape (n_days, n_pools) with at least one day",
        )
    window = apy_pct[-LONG_WINDOW_DAYS:]
    window = np.where(np.isfinite(window), window, np.nan)
    yesterday = window[-2] if len(window) > 1 else np.full(window.shape[1], np.nan)
    delta_pp: Floats = np.abs(window[-1] - yesterday)
    short_pp = _sample_stddev(window[-SHORT_WINDOW_DAYS:])
    long_pp = _sample_stddev(window)
    return RiskGroups(
        classify(delta_pp, short_pp, long_pp, parameters), delta_pp, short_pp, long_pp
    )


def classify(
    delta_pp: Floats, stddev_7d_pp: Floats, stddev_30d_pp: Floats, parameters: AllocationParameters
) -> Ints:
    """Group 1, 2 or 3 from the three measures.

    Parameters
    ----------
    delta_pp, stddev_7d_pp, stddev_30d_pp : ndarray of shape (n_pools,)
        Percentage points. The sign of ``delta_pp`` does not matter. NaN leads to group 3.
    parameters : AllocationParameters

    Returns
    -------
    ndarray of int64, shape (n_pools,)
        The calmest group all of whose limits hold; limits are inclusive.
    """
    measures = (np.abs(delta_pp), stddev_7d_pp, stddev_30d_pp)

    def within(*limits: float) -> NDArray[np.bool_]:
        limits_pp = (limit * _PP_PER_FRACTION + _TOLERANCE_PP for limit in limits)
        delta, short, long = map(np.less_equal, measures, limits_pp)
        return np.asarray(delta & short & long)

    calm = within(
        parameters.group1_apy_delta_max,
        parameters.group1_7d_stddev_max,
        parameters.group1_30d_stddev_max,
    )
    moderate = within(
        parameters.group2_apy_delta_max,
        parameters.group2_7d_stddev_max,
        parameters.group2_30d_stddev_max,
    )
    return np.where(calm, 1, np.where(moderate, 2, 3)).astype(np.int64)


def _sample_stddev(values: Floats) -> Floats:
    """Standard deviation (n - 1) of each column without its NaN; NaN with fewer than 2 values."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):  # absurd rates: infinite or NaN, group 3
        mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1)
        squares = np.where(known, values - mean, 0.0) ** 2
        variance = squares.sum(axis=0) / np.maximum(count - 1, 1)
    result: Floats = np.where(count >= 2, np.sqrt(variance), np.nan)
    return result
