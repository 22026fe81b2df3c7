"""Fitting on one refit day: models on all complete origins, weights and calibration on the latest.

Two fits are made. The first learns from the origins before the holdout and forecasts the holdout,
the most recent complete origins: from these forecasts come the weight of the carried members and
the factors of the quantiles. The second learns from everything and is the one that serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import Floats
from stableyield.forecast.boosting import Trees
from stableyield.forecast.calibration import Factors, QuantileModels, fit_factors, fit_quantiles
from stableyield.forecast.combination import PRIOR_CARRY_WEIGHT, carry_weight
from stableyield.forecast.features import FEATURE_GROUPS, FeatureGroup
from stableyield.forecast.inputs import Inputs
from stableyield.forecast.point_models import PointModels, fit_point_models
from stableyield.forecast.training import LearnedSettings, Rows, origins, rows_of

CARRY_HORIZON_DAYS = 7
CARRY_ABOVE_DAYS = 10
"""Horizons above this also use what is forecast for 7 days: far fewer of their own outcomes are
independent, and levels shift between them."""
MIN_HOLDOUT_ROWS = 200
MIN_ORIGIN_DAYS = 21


@dataclass(frozen=True, eq=False)
class Lessons:
    """What can be learned on a refit day, for any horizon.

    Parameters
    ----------
    inputs : Inputs
        Rows up to and including the refit day.
    rows : Rows
        Pool-days of the window.
    settings : LearnedSettings
    """

    inputs: Inputs
    rows: Rows
    settings: LearnedSettings

    def outcomes(self, horizon_days: int) -> Floats:
        """What came, percent; shape (n_rows,); NaN where it is not complete by the refit day."""
        outcome = self.inputs.outcome_pct(horizon_days, self.settings.target)
        result: Floats = outcome[self.rows.day, self.rows.pool]
        return result

    def until(self, last_origin: int, horizon_days: int) -> tuple[Rows, Floats]:
        """Rows and outcomes of the origins up to ``last_origin``."""
        outcome = self.outcomes(horizon_days)
        kept = np.isfinite(outcome) & (self.rows.day <= last_origin)
        return self.rows.take(kept), outcome[kept]

    @cached_property
    def near(self) -> PointModels:
        """The point models of 7 days, which long horizons share."""
        return self.point_models(len(self.inputs.days) - 1 - CARRY_HORIZON_DAYS, CARRY_HORIZON_DAYS)

    def point_models(self, last_origin: int, horizon_days: int) -> PointModels:
        """The point models from the origins up to ``last_origin``."""
        rows, outcome = self.until(last_origin, horizon_days)
        trees = Trees(rows.features, self.settings.boosting)
        return fit_point_models(rows, outcome, horizon_days, self.settings, trees)


def lessons_of(
    inputs: Inputs, settings: LearnedSettings, groups: Sequence[FeatureGroup] = FEATURE_GROUPS
) -> Lessons:
    """The pool-days of the window that ends the day before the last row of ``inputs``."""
    days = origins(inputs, len(inputs.days) - 2, settings)
    return Lessons(inputs, rows_of(inputs, days, groups), settings)


@dataclass(frozen=True, eq=False)
class FittedModel:
    """Everything that one refit day and horizon gave.

    Parameters
    ----------
    point, carried : PointModels
        Of the horizon itself, and of 7 days where the horizon is long.
    carry_weight : float
        Weight of the carried forecast.
    quantiles : QuantileModels
    factors : Factors
    n_rows, n_holdout_rows : int
    first_origin, last_origin : datetime64
    """

    point: PointModels
    carried: PointModels | None
    carry_weight: float
    quantiles: QuantileModels
    factors: Factors
    n_rows: int
    n_holdout_rows: int
    first_origin: np.datetime64
    last_origin: np.datetime64

    def predict(self, rows: Rows) -> tuple[Floats, Floats, Floats]:
        """Point, q10 and q90 of each row, percent; not yet in order."""
        point = mixed(self.point, self.carried, self.carry_weight, rows)
        return point, *self.quantiles.interval(rows, point, self.factors)


def mixed(
    point: PointModels, carried: PointModels | None, carry_weight: float, rows: Rows
) -> Floats:
    """The point forecast, with the share of the carried one."""
    own = point.predict(rows)
    if carried is None:
        return own
    return (1.0 - carry_weight) * own + carry_weight * carried.predict(rows)


def fit_model(lessons: Lessons, horizon_days: int) -> FittedModel | None:
    """The model of one horizon; None where there is too little to learn from."""
    settings = lessons.settings
    last = len(lessons.inputs.days) - 1 - horizon_days
    rows, outcome = lessons.until(last, horizon_days)
    if not is_enough(rows, settings):
        return None
    is_long = horizon_days > CARRY_ABOVE_DAYS
    held = rows.day > last - settings.holdout_days
    weight, factors = _learned_on_holdout(lessons, rows, outcome, held, horizon_days)
    trees = Trees(rows.features, settings.boosting)
    return FittedModel(
        lessons.near
        if horizon_days == CARRY_HORIZON_DAYS
        else fit_point_models(rows, outcome, horizon_days, settings, trees),
        lessons.near if is_long else None,
        weight,
        fit_quantiles(rows, outcome, horizon_days, settings, trees),
        factors,
        len(rows),
        int(held.sum()),
        lessons.inputs.days[rows.day.min()],
        lessons.inputs.days[rows.day.max()],
    )


def is_enough(rows: Rows, settings: LearnedSettings) -> bool:
    """Whether these rows can be learned from."""
    return len(rows) >= settings.min_rows and bool(np.ptp(rows.day) >= MIN_ORIGIN_DAYS)


def _learned_on_holdout(
    lessons: Lessons, rows: Rows, outcome: Floats, held: NDArray[np.bool_], horizon_days: int
) -> tuple[float, Factors]:
    """Weight of the carried forecast and factors of the quantiles, from what was held out.

    The models in use here are those that could have been fitted before the holdout began.
    """
    settings = lessons.settings
    is_long = horizon_days > CARRY_ABOVE_DAYS
    weight = PRIOR_CARRY_WEIGHT if is_long else 0.0
    cut = len(lessons.inputs.days) - 1 - horizon_days - settings.holdout_days
    before, known = lessons.until(cut - horizon_days, horizon_days)
    holdout = rows.take(held)
    if not is_enough(before, settings) or len(holdout) < MIN_HOLDOUT_ROWS:
        return weight, Factors.none()
    trees = Trees(before.features, settings.boosting)
    quantiles = fit_quantiles(before, known, horizon_days, settings, trees)
    if is_long:
        own = fit_point_models(before, known, horizon_days, settings, trees).predict(holdout)
        carried = lessons.point_models(cut - CARRY_HORIZON_DAYS, CARRY_HORIZON_DAYS)
        blocks = float(np.ptp(holdout.day)) / horizon_days
        weight = carry_weight(own, carried.predict(holdout), outcome[held], blocks)
    return weight, fit_factors(quantiles, holdout, outcome[held])
