"""Pools with little history: drawn towards what comparable pools pay.

The models see a young pool's few values and its neighbours like any other pool's. What they
forecast is then drawn towards the median of the established pools nearest in kind - same token and
protocol, else same token, else same protocol, else all - with the weight of ``horizon / 60`` rows
against the pool's own: next to nothing for tomorrow, half a row for a month. On validation spans
more made forecasts of one and seven days worse and helped at thirty.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import Floats
from stableyield.forecast.inputs import Inputs
from stableyield.forecast.windows import carried_forward, trailing_median

PRIOR_ROWS_A_DAY = 1.0 / 60.0
MIN_NEIGHBOURS = 2
LEVEL_DAYS = 7
MAX_AGE_DAYS = 3


def drawn_to_neighbours(
    point_pct: Floats,
    inputs: Inputs,
    pool: NDArray[np.intp],
    is_cold: NDArray[np.bool_],
    horizon_days: int,
) -> Floats:
    """The point forecasts, those of cold pools drawn towards their neighbours' level.

    Parameters
    ----------
    point_pct : ndarray of shape (n_rows,)
    inputs : Inputs
        The last row is today.
    pool : ndarray of int, shape (n_rows,)
        Column of each forecast in ``inputs``.
    is_cold : ndarray of bool, shape (n_pools,)
        By column of ``inputs``.
    horizon_days : int
    """
    prior_rows = PRIOR_ROWS_A_DAY * horizon_days
    n_own = np.isfinite(inputs.apy).sum(axis=0)[pool]
    prior = neighbour_levels(inputs, is_cold)[pool]
    weight = np.where(is_cold[pool] & np.isfinite(prior), prior_rows / (n_own + prior_rows), 0.0)
    return point_pct + weight * (np.where(weight > 0.0, prior, point_pct) - point_pct)


def neighbour_levels(inputs: Inputs, is_cold: NDArray[np.bool_]) -> Floats:
    """Median level of the established pools nearest in kind; shape (n_pools,); NaN without any.

    A pool's level is its median of the last 7 days. A group counts from two established pools on.
    """
    recent = inputs.apy[-LEVEL_DAYS:]
    is_alive = np.isfinite(carried_forward(recent, MAX_AGE_DAYS)[-1])
    level = np.where(is_alive & ~is_cold, trailing_median(recent, LEVEL_DAYS)[-1], np.nan)
    both = inputs.token_of * (int(inputs.protocol_of.max(initial=0)) + 1) + inputs.protocol_of
    result = np.full(len(level), np.nan)
    for group_of in (both, inputs.token_of, inputs.protocol_of, np.zeros_like(both)):
        medians = _group_medians(level, group_of)
        result = np.where(np.isfinite(result), result, medians)
    return result


def _group_medians(level: Floats, group_of: NDArray[np.int64]) -> Floats:
    medians = np.full(len(level), np.nan)
    for group in np.unique(group_of):
        members = group_of == group
        known = level[members & np.isfinite(level)]
        if len(known) >= MIN_NEIGHBOURS:
            medians[members] = np.median(known)
    return medians
