"""The learned forecaster: boosted trees and a linear model on causal features, calibrated.

``forecast`` is a pure function of the view. Refit days are days of the calendar, models learn from
rows up to the refit day alone, and what is kept between calls is found again by the market, the
refit day and the horizon: it saves time and never changes an answer.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property
from operator import is_
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.pool import Pool
from stableyield.domain.rates import Floats
from stableyield.forecast.base import Forecast, checked_horizon, is_cold_start
from stableyield.forecast.baselines import baseline
from stableyield.forecast.bounds import bounded
from stableyield.forecast.cold_start import drawn_to_neighbours
from stableyield.forecast.features import FEATURE_GROUPS, LOOKBACK_DAYS, FeatureGroup, feature_hash
from stableyield.forecast.fitting import FittedModel, Lessons, fit_model, lessons_of
from stableyield.forecast.inputs import POOL_FIELDS, inputs_of
from stableyield.forecast.stability import instability_groups, next_instability_groups
from stableyield.forecast.training import LearnedSettings, Rows, rows_of, window_days
from stableyield.forecast.tvl import TvlModel, fit_tvl
from stableyield.market.panel import MarketView

VERSION = 1
KEPT_MODELS = 24
FALLBACKS = ((2, "last"), (14, "reversion"), (365, "ewma"))
"""Longest horizon, and the baseline with the smallest error up to it on the validation spans."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """What serves from one refit day on, for one horizon; an absent model had too few rows."""

    refit_day: date
    apy: FittedModel | None
    tvl: TvlModel | None


@dataclass(eq=False)
class _Memory:
    """Fitted models of one market, by refit day and horizon."""

    arrays: tuple[object, ...] = ()
    pools: tuple[Pool, ...] = ()
    lessons: tuple[date, Lessons] | None = None
    fitted: OrderedDict[tuple[date, int], Fitted] = field(default_factory=OrderedDict)

    def of(self, view: MarketView) -> _Memory:
        """The memory itself; emptied when the view is of another market than before.

        All views of one market are cut from the same arrays, whose pools come in one order.
        """
        arrays = _arrays_of(view)
        same = len(arrays) == len(self.arrays) and all(map(is_, arrays, self.arrays))
        pairs = zip(self.pools, view.pools, strict=False)
        if not (same and all(_kind_of(one) == _kind_of(other) for one, other in pairs)):
            self.arrays, self.pools, self.lessons = arrays, (), None
            self.fitted.clear()
        self.pools = max(self.pools, view.pools, key=len)
        return self


def _arrays_of(view: MarketView) -> tuple[object, ...]:
    """The arrays that a view was cut from: all that the forecaster reads."""
    read = (
        *(getattr(view.pool_series, name) for name in POOL_FIELDS),
        view.gas.gas_gwei,
        view.gas.eth_usd,
        view.days,
    )
    return tuple(array if array.base is None else array.base for array in read)


def _kind_of(pool: Pool) -> tuple[str, str, tuple[str, ...]]:
    return pool.pool_id, pool.protocol, pool.tokens


class LearnedForecaster:
    """Forecasts the mean APY of a horizon from what similar situations led to.

    Parameters
    ----------
    settings : LearnedSettings, optional
    groups : sequence of FeatureGroup, optional
        What the models see; `FEATURE_GROUPS` unless given.

    Attributes
    ----------
    fit_seconds : float
        Wall seconds that this instance has spent on fitting so far.
    """

    name = "learned"

    def __init__(
        self,
        settings: LearnedSettings | None = None,
        groups: Sequence[FeatureGroup] = FEATURE_GROUPS,
    ) -> None:
        self.settings = settings or LearnedSettings()
        self.groups = tuple(groups)
        self.fit_seconds = 0.0
        self._memory = _Memory()

    def __getstate__(self) -> dict[str, Any]:
        """Without the models: they are found again from the view."""
        return {"settings": self.settings, "groups": self.groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["settings"], state["groups"])  # type: ignore[misc]

    @cached_property
    def model_version(self) -> str:
        """Version of the method, hash of the feature list and hash of the settings."""
        settings = hashlib.sha256(repr(self.settings).encode()).hexdigest()[:12]
        return f"learned-{VERSION}+features.{feature_hash(self.groups)}+settings.{settings}"

    def forecast(self, view: MarketView, horizon_days: int) -> Forecast:
        """Mean APY and TVL of the days t+1 .. t+H of every pool of ``view``.

        NaN where a pool has no credible row in the last 3 days, or fewer than two in the last
        92. A pool that has not moved for 30 days is forecast to stay, without spread. The
        quantiles contain the point forecast; all stay between 0 (twice the lowest rate of the
        last 92 days if that was a loss) and twice the highest.

        A market with too few rows to learn from is forecast by a baseline (``last`` up to 2 days
        ahead, ``reversion`` up to 14, ``ewma`` beyond), which ``flags`` says.

        Raises
        ------
        ParameterError
            When ``horizon_days`` is not a whole number from 1 to 365.
        """
        horizon_days = checked_horizon(horizon_days)
        fitted = self._fitted(view, horizon_days)
        if fitted.apy is None:
            return self._fallback(view, horizon_days, fitted.refit_day)
        return self._serve(view, horizon_days, fitted.apy, fitted.tvl)

    def _serve(
        self, view: MarketView, horizon_days: int, model: FittedModel, tvl_model: TvlModel | None
    ) -> Forecast:
        """Today's rows through the models."""
        inputs = inputs_of(view, LOOKBACK_DAYS)
        today = np.array([len(inputs.days) - 1], dtype=np.intp)
        rows = rows_of(inputs, today, self.groups)
        place = _placing(view, rows)
        is_cold = is_cold_start(view.pool_series.apy_pct)
        point, low, high = model.predict(rows)
        drawn = drawn_to_neighbours(
            point, inputs, rows.pool, is_cold[_order_of(view)], horizon_days
        )
        low, high = low + drawn - point, high + drawn - point
        apy, q10, q50, q90 = map(
            place, bounded(inputs.apy[:, rows.pool], rows.last, drawn, low, high)
        )
        unknown = np.full(len(rows), np.nan)
        sizes = (unknown, unknown) if tvl_model is None else tvl_model.predict(rows, inputs)
        tvl, tvl_q10 = map(place, sizes)
        recent_pct = view.pool_series.apy_pct[-LOOKBACK_DAYS:]
        return Forecast(
            exec_day=view.day,
            horizon_days=horizon_days,
            method=self.name,
            pool_ids=view.pool_ids,
            apy_pct=apy,
            apy_q10_pct=q10,
            apy_q50_pct=q50,
            apy_q90_pct=q90,
            tvl_usd=tvl,
            tvl_q10_usd=tvl_q10,
            cold_start=is_cold,
            instability_group=instability_groups(recent_pct),
            next_instability_group=next_instability_groups(recent_pct, apy),
            model_version=self.model_version,
        )

    @property
    def training_info(self) -> dict[str, Any]:
        """What the models kept now were trained on, by refit day and horizon; for storage.

        The scores of the last days are not in it: they belong to what was served
        (`stableyield.forecast.provenance`).
        """
        return {
            "model_version": self.model_version,
            "features_hash": feature_hash(self.groups),
            "feature_groups": [group.__qualname__ for group in self.groups],
            "settings": asdict(self.settings),
            "models": [
                {"refit_day": day.isoformat(), "horizon_days": horizon, **_described(fitted.apy)}
                for (day, horizon), fitted in sorted(self._memory.fitted.items(), key=_when)
            ],
        }

    def refit_day(self, day: date) -> date:
        """The last refit day up to ``day``: refits hang on the calendar, not on who asked when."""
        return day - timedelta(days=day.toordinal() % self.settings.refit_every_days)

    def _fitted(self, view: MarketView, horizon_days: int) -> Fitted:
        """The models that serve ``view.day``."""
        memory = self._memory.of(view)
        refit_day = self.refit_day(view.day)
        key = (refit_day, horizon_days)
        if key not in memory.fitted:
            began = perf_counter()
            memory.fitted[key] = self._fit(memory, view, refit_day, horizon_days)
            self.fit_seconds += perf_counter() - began
            if len(memory.fitted) > KEPT_MODELS:
                memory.fitted.popitem(last=False)
        memory.fitted.move_to_end(key)
        return memory.fitted[key]

    def _fit(self, memory: _Memory, view: MarketView, refit_day: date, horizon_days: int) -> Fitted:
        """Models of one refit day and horizon; none when the history begins after that day."""
        if np.datetime64(refit_day) < view.days[0]:
            return Fitted(refit_day, None, None)
        if memory.lessons is None or memory.lessons[0] != refit_day:
            memory.lessons = (refit_day, self._lessons(view, refit_day))
        lessons = memory.lessons[1]
        return Fitted(refit_day, fit_model(lessons, horizon_days), fit_tvl(lessons, horizon_days))

    def _lessons(self, view: MarketView, refit_day: date) -> Lessons:
        """What was known on the refit day, whatever came since."""
        n_days = int(np.searchsorted(view.days, np.datetime64(refit_day), side="right"))
        known = inputs_of(view, len(view.days)).rows(0, n_days)
        span = window_days(len(known.pool_ids), self.settings) + LOOKBACK_DAYS
        return lessons_of(known.rows(max(n_days - span, 0), n_days), self.settings, self.groups)

    def _fallback(self, view: MarketView, horizon_days: int, refit_day: date) -> Forecast:
        """The baseline that did best for such horizons, under this forecaster's name."""
        rule = next(name for last, name in FALLBACKS if horizon_days <= last)
        forecast = baseline(rule).forecast(view, horizon_days)
        return replace(
            forecast,
            method=self.name,
            model_version=f"{self.model_version}+fallback.{forecast.model_version}",
            flags=(
                f"too little history up to the refit day {refit_day} to learn from: "
                f"the baseline {rule!r} forecasts",
                *forecast.flags,
            ),
        )


def _when(entry: tuple[tuple[date, int], Fitted]) -> tuple[date, int]:
    return entry[0]


def _described(model: FittedModel | None) -> dict[str, Any]:
    if model is None:
        return {"n_rows": 0}
    return {
        "n_rows": model.n_rows,
        "n_holdout_rows": model.n_holdout_rows,
        "first_origin": str(model.first_origin),
        "last_origin": str(model.last_origin),
        "carry_weight": model.carry_weight,
    }


def _order_of(view: MarketView) -> NDArray[np.intp]:
    """Columns of the view in the order of pool ids: that of `Inputs`."""
    return np.array(sorted(range(len(view.pools)), key=view.pool_ids.__getitem__), dtype=np.intp)


def _placing(view: MarketView, rows: Rows) -> Callable[[Floats], Floats]:
    """Puts one value a row into the view's pool order; NaN for pools without a row."""
    columns = _order_of(view)[rows.pool]

    def place(values: Floats) -> Floats:
        whole = np.full(len(view.pools), np.nan)
        whole[columns] = values
        return whole

    return place
