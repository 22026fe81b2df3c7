"""Point forecasts of the baselines: one function from a history to a forecast on every day.

Row ``s`` of a result is the forecast of the mean of the next H days that would have been made from
rows ``<= s``. The last row is today's forecast; the others are the past forecasts whose errors
make the quantiles. Adding a constant to a pool's history adds it to the pool's forecasts.

Where only today's forecast is wanted, `last_row` is the short way to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np

from stableyield.domain.rates import Floats
from stableyield.forecast.windows import (
    exponential_mean,
    exponential_reach_days,
    horizon_mean,
    last_exponential_mean,
    last_mean,
    median_of_last_axis,
    ratio,
    trailing_mean,
    trailing_median,
    trailing_std,
)

PRIOR_PERSISTENCE = 0.5
PRIOR_POOL_DAYS = 50.0
SCORE_LIMIT = 3.0


@dataclass(frozen=True, eq=False)
class History:
    """What a rule may look at.

    Parameters
    ----------
    moves : ndarray of shape (n_days, n_pools)
        The series as differences from a constant of the pool; NaN where unknown.
    last : ndarray of shape (n_days, n_pools)
        The last known move of each day, if it is recent enough; NaN otherwise.
    horizon_days : int
        H.
    """

    moves: Floats
    last: Floats
    horizon_days: int


PointRule = Callable[[History], Floats]


def last_value(history: History) -> Floats:
    """The last known value stays."""
    return history.last


def mean_of_days(history: History, days: int) -> Floats:
    """The mean of the last ``days`` days comes back."""
    return trailing_mean(history.moves, days)


def median_of_days(history: History, days: int) -> Floats:
    """The median of the last ``days`` days comes back."""
    return trailing_median(history.moves, days)


def weighted_mean(history: History, half_life_days: float) -> Floats:
    """The exponentially weighted mean comes back (EWMA)."""
    return exponential_mean(history.moves, half_life_days)


def reversion(history: History, days: int) -> Floats:
    """The last value returns towards the trailing mean: ``mean + phi (last - mean)``.

    ``phi``, the share of the distance that remains over the horizon, is one number for all pools,
    in [0, 1]: least squares of (target - mean) on (last - mean) over past origins. Both are
    divided by the pool's 30-day standard deviation and held to +-3 of them, so that no pool and no
    spike decides alone. On row ``s`` only origins ``<= s - H`` count, beside 50 pool-days of the
    prior phi = 0.5.
    """
    mean = trailing_mean(history.moves, days)
    distance = history.last - mean
    std = trailing_std(history.moves, 30)
    before = _scores(distance, std)
    after = _scores(horizon_mean(history.moves, history.horizon_days) - mean, std)
    scored = np.isfinite(before) & np.isfinite(after)
    cross = np.where(scored, before * after, 0.0).sum(axis=1)
    square = np.where(scored, before * before, 0.0).sum(axis=1)
    phi = _complete(cross, history.horizon_days) + PRIOR_PERSISTENCE * PRIOR_POOL_DAYS
    phi /= _complete(square, history.horizon_days) + PRIOR_POOL_DAYS
    result: Floats = mean + np.clip(phi, 0.0, 1.0)[:, None] * distance
    return result


@dataclass(frozen=True)
class LastRow:
    """Today's forecast alone: the last row of a rule, bit by bit, from few days and pool by pool.

    Parameters
    ----------
    reach_days : int
        Days that it looks at.
    point : callable
        From the moves of these days to today's forecast; shapes (n_days, n_pools), (n_pools,).
    """

    reach_days: int
    point: Callable[[Floats], Floats]


def last_row(rule: PointRule) -> LastRow | None:
    """The short way to today's forecast; None where a rule needs its whole history for it."""
    kind, options = (rule.func, rule.keywords) if isinstance(rule, partial) else (rule, {})
    short = _LAST_ROWS.get(kind)
    return None if short is None else short(**options)


def _last_value() -> LastRow:
    return LastRow(1, lambda moves: np.zeros(moves.shape[1]))  # its move since itself


def _mean_of_days(days: int) -> LastRow:
    return LastRow(days, partial(last_mean, days=days))


def _median_of_days(days: int) -> LastRow:
    return LastRow(days, lambda moves: median_of_last_axis(moves.T))


def _weighted_mean(half_life_days: float) -> LastRow:
    mean = partial(last_exponential_mean, half_life_days=half_life_days)
    return LastRow(exponential_reach_days(half_life_days), mean)


_LAST_ROWS: Mapping[Callable[..., Floats], Callable[..., LastRow]] = MappingProxyType(
    {
        last_value: _last_value,
        mean_of_days: _mean_of_days,
        median_of_days: _median_of_days,
        weighted_mean: _weighted_mean,
    }
)


def _scores(distance: Floats, std: Floats) -> Floats:
    return np.clip(ratio(distance, std), -SCORE_LIMIT, SCORE_LIMIT)


def _complete(by_origin: Floats, horizon_days: int) -> Floats:
    """On each row, the sum over the origins whose target is complete by then: ``<= s - H``."""
    result = np.zeros_like(by_origin)
    result[horizon_days:] = np.cumsum(by_origin)[: max(len(by_origin) - horizon_days, 0)]
    return result
