"""The drift watch on forecasts that were stored when they were made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TypeAlias

import numpy as np
import pandas as pd

from stableyield.errors import ContractError
from stableyield.forecast.base import Forecast, Forecaster, checked_horizon
from stableyield.forecast.drift import (
    DayScore,
    DriftRules,
    Verdict,
    day_score,
    judge,
    latest_scored,
)
from stableyield.forecast.past import past_of
from stableyield.forecast.watched import WatchedForecaster, outcome_of, point_of
from stableyield.market.panel import MarketView


@dataclass(frozen=True, eq=False)
class Past:
    """What was forecast, and what came of it.

    Parameters
    ----------
    stored : DataFrame
        As `verdict_on_stored` reads them; at least one row.
    view : MarketView
        Day t, with every pool that was forecast: those that are gone since count too.
    """

    stored: pd.DataFrame
    view: MarketView


Archive: TypeAlias = Callable[[date, date, int], Past | None]
"""The forecasts of the origins from one day to another for a horizon; None: there are none."""


@dataclass(frozen=True, eq=False)
class StoredWatch:
    """A forecaster under watch, judged by the forecasts of it that were stored.

    Parameters
    ----------
    watch : WatchedForecaster
        The model, its fallbacks and the rules; what it would say of past days is not asked.
    archive : Archive
    """

    watch: WatchedForecaster
    archive: Archive
    _verdicts: dict[tuple[date, int], Verdict] = field(default_factory=dict, init=False, repr=False)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.watch.name

    def forecast(self, view: MarketView, horizon_days: int) -> Forecast:
        """The model's forecast, or the best baseline's with a flag that says why.

        Raises
        ------
        ParameterError
            When ``horizon_days`` is not a whole number from 1 to 365.
        """
        return self.watch.served(view, self.verdict(view, horizon_days))

    def verdict(self, view: MarketView, horizon_days: int) -> Verdict:
        """How the stored forecasts did on the last scored days known at ``view.day``.

        Raises
        ------
        ParameterError
            When ``horizon_days`` is not a whole number from 1 to 365.
        """
        key = (view.day, checked_horizon(horizon_days))
        if key not in self._verdicts:
            self._verdicts[key] = self.watch.allowed(self._judged(*key))
        return self._verdicts[key]

    def _judged(self, day: date, horizon_days: int) -> Verdict:
        watch = self.watch
        last = day - timedelta(days=horizon_days)
        first = last - timedelta(days=2 * watch.rules.window_days - 1)
        past = self.archive(first, last, horizon_days)
        if past is None:
            return judge(day, watch.methods, (), horizon_days, watch.rules)
        return verdict_on_stored(past.stored, past.view, horizon_days, watch.fallbacks, watch.rules)


def verdict_on_stored(
    stored: pd.DataFrame,
    view: MarketView,
    horizon_days: int,
    fallbacks: Sequence[Forecaster],
    rules: DriftRules,
) -> Verdict:
    """The verdict on forecasts that were stored when they were made.

    Parameters
    ----------
    stored : DataFrame
        Rows of `Forecast.to_frame` of one model, with ``method``; of several rows of one pool
        and exec date the last one counts. Rows of later days or other horizons are not read.
    view : MarketView
        Day t.
    horizon_days : int
    fallbacks : sequence of Forecaster
        Baselines; they forecast the past days again, from what was known then.
    rules : DriftRules

    Raises
    ------
    ContractError
        When the rows are of several methods, or of none.
    """
    methods = sorted(set(stored["method"]))
    if len(methods) != 1:
        raise ContractError(
            f"the stored forecasts are of {len(methods)} methods",
            where=f"day {view.day}",
            remedy="give the rows of one method",
        )
    past = past_of(view)
    own = stored[stored["horizon_days"] == horizon_days]
    by_day = {pd.Timestamp(str(d)).date(): rows for d, rows in own.groupby("exec_date")}

    def score_of(origin: date) -> DayScore:
        if origin not in by_day:
            return DayScore(origin, 0, (0.0,) * (len(fallbacks) + 1))
        then = past.as_of(origin)
        own = _stored_forecast(by_day[origin], then, horizon_days, methods[0])
        rivals = [point_of(each, then, horizon_days) for each in fallbacks]
        return day_score(origin, own, rivals, outcome_of(view, then, horizon_days))

    last = view.day - timedelta(days=horizon_days)
    scores = latest_scored(score_of, past.first_day, last, rules)
    names = (methods[0], *(each.name for each in fallbacks))
    return judge(view.day, names, scores, horizon_days, rules)


def _stored_forecast(
    rows: pd.DataFrame, then: MarketView, horizon_days: int, method: str
) -> Forecast:
    """Stored rows as the forecast they were; a pool without a row is unknown."""
    by_pool = rows.drop_duplicates("pool_id", keep="last").set_index("pool_id")
    by_pool = by_pool.reindex(list(then.pool_ids))
    unknown = np.full(len(then.pools), np.nan)
    apy, q10, q90 = (
        by_pool[f"pred_global_apy{part}"].to_numpy(dtype=np.float64)
        for part in ("", "_q10", "_q90")
    )
    return Forecast(
        exec_day=then.day,
        horizon_days=horizon_days,
        method=method,
        pool_ids=then.pool_ids,
        apy_pct=apy,
        apy_q10_pct=q10,
        apy_q50_pct=unknown,
        apy_q90_pct=q90,
        tvl_usd=unknown,
        tvl_q10_usd=unknown,
        cold_start=np.zeros(len(then.pools), dtype=bool),
    )
