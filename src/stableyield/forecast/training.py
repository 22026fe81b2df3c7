"""Rows to learn from: the pool-days of a window whose outcome was complete by the refit day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import Floats
from stableyield.errors import ParameterError
from stableyield.forecast.boosting import BoostingSettings, Matrix
from stableyield.forecast.features import (
    FEATURE_GROUPS,
    FeatureGroup,
    Known,
    compute,
    smallest_movement,
)
from stableyield.forecast.inputs import Inputs
from stableyield.forecast.targets import TARGETS, Target
from stableyield.forecast.windows import (
    exponential_mean,
    seen_twice,
    trailing_mean,
    trailing_median,
    trailing_std,
)

MIN_WINDOW_DAYS = 120
MAX_CELLS = 600_000
"""Pools x days of a training window: with many pools the window shrinks, down to 120 days."""


@dataclass(frozen=True)
class LearnedSettings:
    """How the learned forecaster is fitted.

    Parameters
    ----------
    seed : int
        Of the trees' subsampling.
    refit_every_days : int
        Models are fitted anew on the days whose proleptic ordinal is a multiple of it.
    window_days : int
        Origins of the last ``window_days`` days are learned from; at least 120.
    holdout_days : int
        The most recent origins, kept apart to learn weights and to calibrate quantiles.
    min_rows, max_rows : int
        Fewer pool-days than ``min_rows`` are not learned from; of more than ``max_rows`` every
        second, third, ... day is taken.
    weight_power : float
        A row counts by its pool's movement to this power: 0 is the error in units of the pool's
        own movement, 1 is the error in points.
    target : {"quoted", "realised"}
        What is forecast: the mean of the APY column, or the growth of the share price where it
        is known (`stableyield.forecast.targets`).
    boosting, quantile_boosting, tvl_boosting : BoostingSettings
        Of the point forecast, of its quantiles and of the TVL.

    Raises
    ------
    ParameterError
        When a value is out of bounds.
    """

    seed: int = 7
    refit_every_days: int = 14
    window_days: int = 730
    holdout_days: int = 45
    min_rows: int = 600
    max_rows: int = 25_000
    weight_power: float = 0.5
    target: Target = "quoted"
    boosting: BoostingSettings = field(default_factory=BoostingSettings)
    quantile_boosting: BoostingSettings = field(
        default_factory=lambda: BoostingSettings(n_trees=100, num_leaves=7)
    )
    tvl_boosting: BoostingSettings = field(
        default_factory=lambda: BoostingSettings(n_trees=60, num_leaves=5, min_data_in_leaf=200)
    )

    def __post_init__(self) -> None:
        bounds = {
            "seed": (0, 2**31 - 1),
            "refit_every_days": (1, 365),
            "window_days": (MIN_WINDOW_DAYS, 3650),
            "holdout_days": (14, 365),
            "min_rows": (100, 10**7),
            "max_rows": (1000, 10**7),
            "weight_power": (0.0, 2.0),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high or (name != "weight_power" and value != int(value)):
                raise ParameterError(f"{name} is {value}", remedy=f"give {low} to {high}")
        if self.target not in TARGETS:
            raise ParameterError(
                f"target is {self.target!r}", remedy=f"choose one of {', '.join(TARGETS)}"
            )


@dataclass(frozen=True, eq=False)
class Rows:
    """Pool-days as the models see them.

    Parameters
    ----------
    names : tuple of str, length n_features
    features : ndarray of float32, shape (n_rows, n_features)
    anchors : mapping of str to ndarray of shape (n_rows,)
        Simple forecasts that the models learn a change from, and the pool's own 60-day mean and
        deviation; percent.
    scale : ndarray of shape (n_rows,)
        Movement of the pool, points: the unit of those changes.
    day, pool : ndarray of int, shape (n_rows,)
        Row and column in the `Inputs` they were taken from.
    """

    names: tuple[str, ...]
    features: Matrix
    anchors: Mapping[str, Floats]
    scale: Floats
    day: NDArray[np.intp]
    pool: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.scale)

    def take(self, kept: NDArray[np.bool_]) -> Rows:
        """The rows where ``kept`` is true."""
        return replace(
            self,
            features=self.features[kept],
            anchors={name: values[kept] for name, values in self.anchors.items()},
            scale=self.scale[kept],
            day=self.day[kept],
            pool=self.pool[kept],
        )

    def columns(self, prefixes: tuple[str, ...]) -> Matrix:
        """The features whose names start with one of ``prefixes``."""
        kept = [i for i, name in enumerate(self.names) if name.startswith(prefixes)]
        return self.features[:, kept]

    @cached_property
    def last(self) -> Floats:
        """The last value, percent."""
        return self.anchors["last"]

    @cached_property
    def smallest_scale(self) -> Floats:
        """The scale of a pool that does not move, points."""
        return smallest_movement(self.last)


def rows_of(
    inputs: Inputs, days: NDArray[np.intp], groups: Sequence[FeatureGroup] = FEATURE_GROUPS
) -> Rows:
    """Rows of all pools that can be forecast on the given days.

    A pool can be forecast from its second known APY on, while its last one is at most three days
    old.

    Parameters
    ----------
    inputs : Inputs
    days : ndarray of int
        Row numbers of ``inputs``, increasing.
    groups : sequence of FeatureGroup
    """
    known = Known(inputs)
    names, values = compute(known, days, groups)
    usable = np.isfinite(known.last[days]) & seen_twice(inputs.apy)[days]
    day, pool = np.nonzero(usable)
    anchors = {
        "last": known.last,
        "ewma2": exponential_mean(inputs.apy, 2.0),
        "ewma7": known.ewma,
        "median7": trailing_median(inputs.apy, 7),
        "mean60": trailing_mean(inputs.apy, 60),
        "std60": trailing_std(inputs.apy, 60),
    }
    return Rows(
        names,
        values[usable],
        {name: anchor[days][usable] for name, anchor in anchors.items()},
        known.scale[days][usable],
        days[day],
        pool,
    )


def window_days(n_pools: int, settings: LearnedSettings) -> int:
    """Days of origins that a fit learns from."""
    fitting = max(MAX_CELLS // max(n_pools, 1), MIN_WINDOW_DAYS)
    return min(settings.window_days, fitting)


def origins(inputs: Inputs, last: int, settings: LearnedSettings) -> NDArray[np.intp]:
    """Rows of the window of origins that ends with row ``last``, thinned to ``max_rows``."""
    first = max(last + 1 - window_days(inputs.apy.shape[1], settings), 0)
    n_rows = int(np.isfinite(inputs.apy[first : last + 1]).sum())
    step = max(1, -(-n_rows // settings.max_rows))
    return np.arange(last, first - 1, -step, dtype=np.intp)[::-1]
