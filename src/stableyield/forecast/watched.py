"""A model under watch: the best baseline serves while the model is worse than it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import numpy as np

from stableyield.domain.rates import Floats
from stableyield.errors import ParameterError
from stableyield.forecast.base import Forecast, Forecaster, checked_horizon
from stableyield.forecast.baselines import BASELINES, Baseline, baseline
from stableyield.forecast.drift import (
    DayScore,
    DriftRules,
    Verdict,
    day_score,
    judge,
    latest_scored,
)
from stableyield.forecast.past import market_identity, past_of
from stableyield.forecast.windows import horizon_mean
from stableyield.market.panel import MarketPanel, MarketView


def all_baselines() -> tuple[Forecaster, ...]:
    """Every baseline with its defaults."""
    return tuple(baseline(name) for name in BASELINES)


@dataclass(eq=False)
class _Memory:
    """Past scores and forecasts of one market, kept between days: they are never asked for."""

    market: Floats | None = None
    scores: dict[tuple[int, date], DayScore] = field(default_factory=dict)
    said: dict[tuple[int, date], Forecast] = field(default_factory=dict)

    def of(self, view: MarketView) -> _Memory:
        """The memory itself; emptied when the view is of another market than before."""
        market = market_identity(view)
        if market is not self.market:
            self.market = market
            self.scores.clear()
            self.said.clear()
        return self

    def forget_before(self, day: date) -> None:
        """Drop what no later day will ask for."""
        for kept in (self.scores, self.said):
            for key in [key for key in kept if key[1] < day]:
                del kept[key]


@dataclass(frozen=True, eq=False)
class WatchedForecaster:
    """Serves ``model``, and the best of ``fallbacks`` while the model is worse than it.

    The verdict on day t is made of the model's and the baselines' forecasts of past days, made
    again from what was known on those days, and of outcomes known at t: it is a function of the
    view alone. Forecasts and scores of one market are kept in this instance, so that going
    through the days in order costs one forecast of each method a day; what is kept never changes
    an answer.

    Parameters
    ----------
    model : Forecaster
    fallbacks : tuple of Forecaster
        All baselines unless given.
    rules : DriftRules
    may_replace : bool
        False: the model is measured, and serves whatever comes of it.

    Raises
    ------
    ParameterError
        When there is no fallback, or one has the model's name.
    """

    model: Forecaster
    fallbacks: tuple[Forecaster, ...] = field(default_factory=all_baselines)
    rules: DriftRules = field(default_factory=DriftRules)
    may_replace: bool = True
    _memory: _Memory = field(default_factory=_Memory, repr=False)

    def __post_init__(self) -> None:
        if not self.fallbacks or self.model.name in [each.name for each in self.fallbacks]:
            raise ParameterError(
                f"{self.model.name!r} cannot be watched with the fallbacks "
                f"{', '.join(each.name for each in self.fallbacks) or 'none'}",
                remedy="give at least one, none of them the model itself",
            )

    @property
    def name(self) -> str:
        """The model's name: what a fallback served is in the forecast's ``method`` and flags."""
        return self.model.name

    @property
    def fit_seconds(self) -> float:
        """Seconds that the model has spent on fitting so far; 0 where it does not say."""
        return float(getattr(self.model, "fit_seconds", 0.0))

    @property
    def training_info(self) -> Any:
        """What the model says of its training; None where it says nothing."""
        return getattr(self.model, "training_info", None)

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The model and the fallbacks by name."""
        return (self.model.name, *(each.name for each in self.fallbacks))

    def forecast(self, view: MarketView, horizon_days: int) -> Forecast:
        """The model's forecast, or the best baseline's with a flag that says why.

        Raises
        ------
        ParameterError
            When ``horizon_days`` is not a whole number from 1 to 365.
        """
        return self.served(view, self.verdict(view, horizon_days))

    def served(self, view: MarketView, verdict: Verdict) -> Forecast:
        """The forecast that a verdict on ``view.day`` lets serve."""
        own = self.said_by_model(view, verdict.horizon_days)
        if not verdict.is_fallback:
            return own
        server = self.fallbacks[self.methods.index(verdict.baseline) - 1]
        forecast = server.forecast(view, verdict.horizon_days)
        return replace(forecast, flags=(*forecast.flags, verdict.sentence))

    def verdict(self, view: MarketView, horizon_days: int) -> Verdict:
        """How the model did on the last scored days known at ``view.day``.

        Raises
        ------
        ParameterError
            When ``horizon_days`` is not a whole number from 1 to 365.
        """
        horizon_days = checked_horizon(horizon_days)
        memory = self._memory.of(view)
        last = view.day - timedelta(days=horizon_days)
        past = past_of(view)

        def score_of(origin: date) -> DayScore:
            key = (horizon_days, origin)
            if key not in memory.scores:
                then = past.as_of(origin)
                memory.scores[key] = day_score(
                    origin,
                    self.said_by_model(then, horizon_days),
                    [point_of(each, then, horizon_days) for each in self.fallbacks],
                    outcome_of(view, then, horizon_days),
                )
            return memory.scores[key]

        scores = latest_scored(score_of, past.first_day, last, self.rules)
        memory.forget_before(last - timedelta(days=2 * self.rules.window_days + 365))
        verdict = judge(view.day, self.methods, scores, horizon_days, self.rules)
        return self.allowed(verdict)

    def allowed(self, verdict: Verdict) -> Verdict:
        """The verdict, without its consequence where the model may not be replaced."""
        return verdict if self.may_replace else replace(verdict, is_fallback=False)

    def said_by_model(self, view: MarketView, horizon_days: int) -> Forecast:
        """What the model itself says, whoever serves."""
        said, key = self._memory.of(view).said, (horizon_days, view.day)
        if key not in said:
            said[key] = self.model.forecast(view, horizon_days)
        return said[key]


def point_of(forecaster: Forecaster, view: MarketView, horizon_days: int) -> Floats:
    """The ``apy_pct`` of a forecast; of a baseline, without the work for its quantiles."""
    if isinstance(forecaster, Baseline):
        return forecaster.expected(view, horizon_days)[0]
    return forecaster.forecast(view, horizon_days).apy_pct


def outcome_of(now: MarketView, then: MarketView, horizon_days: int) -> Floats:
    """Mean APY of the ``horizon_days`` after ``then.day``, as known now; shape (n_pools then,)."""
    row = len(then.days) - 1
    rows = now.pool_series.apy_pct[row : row + horizon_days + 1, : len(then.pools)]
    if len(rows) <= horizon_days:
        return np.full(len(then.pools), np.nan)
    result: Floats = horizon_mean(rows, horizon_days)[0]
    return result


def drift_record(
    panel: MarketPanel, watched: WatchedForecaster, horizon_days: int, days: Sequence[date]
) -> list[Verdict]:
    """The verdicts of a run through ``days``, as they would have been made on each of them."""
    return [watched.verdict(panel.as_of(day), horizon_days) for day in days]
