"""Quantiles of a forecast from the method's own past errors, scaled by each pool's movement.

At decision day t the error of an origin s counts if its whole target was observed: s <= t - H.
Each error is divided by the pool's movement scale *as known at s*; the quantiles of these ratios,
taken over all pools together, are multiplied by the scale of today (a split-conformal interval
with a normalised score: Papadopoulos et al. 2002, Lei et al. 2018, section 5.2). Ratios and
quantiles, not moments: a spike of 1e5 % in one pool moves nobody else's interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stableyield.domain.rates import Floats
from stableyield.forecast.windows import median_of_last_axis, ratio, trailing_count, trailing_std

SCALE_DAYS = 30
ESTABLISHED_ROWS = 20
"""Rows among the last 30 days from which a pool's own movement is trusted alone."""
MIN_ERRORS = 30
"""Scored errors of all pools together below which quantiles are unknown."""


@dataclass(frozen=True, eq=False)
class PastForecasts:
    """What a method would have said on past days, and what came: shape (n_days, n_pools).

    The last row is today; its target, and that of the H - 1 rows before, is NaN.

    Parameters
    ----------
    points : ndarray
        Point forecast of each origin.
    targets : ndarray
        Observed target of each origin; NaN where it is not complete today.
    scale : ndarray
        Movement scale of each origin, as known on it (`movement_scale`).
    """

    points: Floats
    targets: Floats
    scale: Floats


def movement_scale(moves: Floats, unit: Floats) -> Floats:
    """Scale of each pool's movement on each day; shape (n_days, n_pools).

    The standard deviation of the last 30 days where 20 of them are known. With fewer rows it is
    mixed, in proportion, with what the established pools of that day show: their median standard
    deviation per ``unit``, times the pool's own unit.

    Parameters
    ----------
    moves : ndarray of shape (n_days, n_pools)
        The series as differences from a constant of the pool.
    unit : ndarray of shape (n_days, n_pools)
        What movement is proportional to: the APY's level, or 1 for a logarithm.
    """
    own = trailing_std(moves, SCALE_DAYS)
    rows = trailing_count(moves, SCALE_DAYS)
    is_established = rows >= ESTABLISHED_ROWS
    relative = np.where(is_established, ratio(own, unit), np.nan)
    typical = median_of_last_axis(relative)[:, None] * unit
    weight = np.minimum(rows / ESTABLISHED_ROWS, 1.0)
    mixed = weight * own + (1.0 - weight) * typical
    result: Floats = np.where(is_established | ~np.isfinite(mixed), own, mixed)
    return result


def error_quantiles(past: PastForecasts, levels: Floats, own_weight: Floats) -> Floats:
    """Quantiles of today's error; shape (n_levels, n_pools); NaN where unknown.

    A pool that has not moved for 30 days has no spread.

    Parameters
    ----------
    past : PastForecasts
    levels : ndarray of shape (n_levels,)
        Increasing, in (0, 1).
    own_weight : ndarray of shape (n_pools,)
        Weight of the quantiles of a pool's own errors, in [0, 1]; the pooled ones have the rest.
    """
    errors = past.targets - past.points
    ratios = ratio(errors, past.scale)
    unknown = np.full((len(levels), errors.shape[1]), np.nan)
    if np.isfinite(errors).sum() < MIN_ERRORS:
        return unknown
    is_known = np.isfinite(ratios).sum() >= MIN_ERRORS  # not so if nothing has ever moved
    pooled = quantiles_by_column(ratios.reshape(-1, 1), levels) if is_known else unknown
    own = quantiles_by_column(ratios, levels)
    mixed = np.where(np.isfinite(own), own_weight * own + (1.0 - own_weight) * pooled, pooled)
    scale = past.scale[-1]
    result: Floats = np.where(scale == 0.0, 0.0, mixed * scale)
    return result


def quantiles_by_column(values: Floats, levels: Floats) -> Floats:
    """Quantiles of the known values of each column, linearly interpolated (numpy's default).

    Shape (n_levels, n_columns); NaN where a column has no value.
    """
    ordered = np.sort(values.T, axis=1)  # NaN comes last
    count = np.isfinite(ordered).sum(axis=1)
    place = np.maximum(count - 1, 0)[:, None] * levels
    below = np.floor(place).astype(np.intp)
    low = np.take_along_axis(ordered, below, axis=1)
    high = np.take_along_axis(ordered, np.ceil(place).astype(np.intp), axis=1)
    result: Floats = (low + (place - below) * (high - low)).T
    return result
