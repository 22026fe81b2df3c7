"""Rolling-origin evaluation: every forecaster on the same pools and days, against what came.

On each origin a forecaster sees `MarketPanel.as_of` of that day and nothing else. The whole panel
is only used to know the targets. A (pool, origin) counts when its target is complete and every
method has a forecast for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from stableyield.errors import ParameterError
from stableyield.forecast.base import Forecast, Forecaster, checked_horizon
from stableyield.forecast.baselines import BASELINES, baseline
from stableyield.forecast.collect import Plan, Rows, Timing, collect
from stableyield.forecast.decision_value import HOLD_DAYS, DecisionDiary, decision_value
from stableyield.forecast.drift import DriftRules
from stableyield.forecast.drift_of_rows import drift_of_rows
from stableyield.forecast.gas_scores import score_gas
from stableyield.forecast.misses import worst_misses
from stableyield.forecast.scores import Judging, coverage_rows, score_rows, tvl_rows
from stableyield.forecast.targets import Target
from stableyield.market.panel import MarketPanel, MarketView

REFERENCE = "last"
TOO_GOOD_SKILL = 0.6
"""Skill above which a leak is likelier than a discovery."""


@dataclass(frozen=True)
class EvaluationSettings:
    """How forecasts are judged.

    Parameters
    ----------
    target : str
        ``quoted``: the mean of the APY column; ``realised``: annualised growth of the share price
        where it is known.
    n_draws, seed : int
        Of the bootstrap.
    rules : DriftRules
        Of the drift record.
    progress : callable, optional
        Called with the origins done and their number.
    """

    target: Target = "quoted"
    n_draws: int = 500
    seed: int = 0
    rules: DriftRules = field(default_factory=DriftRules)
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of forecasters on a panel; every unknown number is NaN, and ``notes`` says why.

    Parameters
    ----------
    scores : DataFrame
        One row a horizon, method and segment, in the columns `scores.SCORE_COLUMNS`: errors in
        percentage points, skills against the last value and the best baseline with 5 % and 95 %
        bounds of a paired block bootstrap, rank correlation, pinball loss, coverage, seconds.
    coverage : DataFrame
        One row a horizon, method and group (all, volatility class, month).
    tvl_scores : DataFrame
        One row a horizon and method.
    decision_value, decision_weeks : DataFrame
        One row a method, and one a week and method; empty without a horizon of 7 days.
    worst_misses : DataFrame
        Ten rows a horizon and method.
    drift : DataFrame
        The drift watch of the first method, from the forecasts of this evaluation.
    gas_scores : DataFrame
        The gas price forecast, one row a horizon; empty in a market without gas prices.
    start, end : date
        First and last origin.
    step_days : int
        Days between origins.
    target : str
    methods : tuple of str
    n_origins : int
    warnings, notes : tuple of str
        What must be looked at before the numbers are believed, and why numbers are missing.
    """

    scores: pd.DataFrame
    coverage: pd.DataFrame
    tvl_scores: pd.DataFrame
    decision_value: pd.DataFrame
    decision_weeks: pd.DataFrame
    worst_misses: pd.DataFrame
    drift: pd.DataFrame
    gas_scores: pd.DataFrame
    start: date
    end: date
    step_days: int
    target: str
    methods: tuple[str, ...]
    n_origins: int
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def horizons(self) -> tuple[int, ...]:
        """Horizons in the order asked for."""
        return tuple(int(h) for h in self.scores["horizon_days"].unique())

    @property
    def n_scored(self) -> dict[int, int]:
        """Scored forecasts of each method, by horizon."""
        rows = self.scores[self.scores["segment"] == "all"].drop_duplicates("horizon_days")
        return {int(h): int(n) for h, n in zip(rows["horizon_days"], rows["n"], strict=True)}

    @property
    def lead(self) -> str:
        """The method that is judged: the first one that is not a baseline, else the first."""
        return lead_of(self.methods)

    def renamed(self, method: str, name: str) -> Evaluation:
        """The same with another name for a method, everywhere but in ``warnings``."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        frames: dict[str, Any] = {
            key: value.replace({"method": {method: name}})
            for key, value in values.items()
            if isinstance(value, pd.DataFrame) and "method" in value
        }
        methods = tuple(name if each == method else each for each in self.methods)
        return replace(self, **frames, methods=methods)

    def summary(self) -> str:
        """The scores over all rows as Markdown: warnings, then a table a horizon, best first."""
        lines = [f"Origins {self.start} .. {self.end}, every {self.step_days} d."]
        lines += [f"\n**Warning:** {warning}" for warning in self.warnings]
        everything = self.scores[self.scores["segment"] == "all"]
        for horizon, rows in everything.groupby("horizon_days"):
            lines += ["", f"### {horizon} d ahead, {rows['n'].iloc[0]} forecasts", ""]
            lines += [f"| method | {' | '.join(SUMMARY_COLUMNS)} |"]
            lines += ["|---|" + "---:|" * len(SUMMARY_COLUMNS)]
            for _, row in rows.sort_values("mae", kind="stable").iterrows():
                cells = [_cell(float(row[column])) for column in SUMMARY_COLUMNS]
                lines.append(f"| {row['method']} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"


SUMMARY_COLUMNS = (
    *("mae", "median_ae", "skill_vs_last", "skill_low", "skill_high", "skill_q50_vs_last"),
    *("rank_corr", "pinball_q10", "coverage_q10", "coverage_q90", "seconds"),
)


def evaluate(
    panel: MarketPanel,
    forecasters: Sequence[Forecaster],
    *,
    horizons: Sequence[int] = (1, 7, 30),
    start: date | None = None,
    end: date | None = None,
    step_days: int = 1,
    settings: EvaluationSettings | None = None,
) -> Evaluation:
    """Score ``forecasters`` on every ``step_days``-th day from ``start`` to ``end``.

    Parameters
    ----------
    panel : MarketPanel
    forecasters : sequence of Forecaster
        The baseline ``last`` is added when it is not among them: skill is measured against it.
    horizons : sequence of int
        Days ahead, 1 .. 365.
    start, end : date, optional
        First and last origin; the panel's own when absent. An origin whose horizon ends after
        the panel's last day has no target and is not scored.
    step_days : int
    settings : EvaluationSettings, optional

    Raises
    ------
    ParameterError
        When there is no origin, a name or horizon repeats, or a horizon is out of bounds.
    DayOutOfRangeError
        When ``start`` or ``end`` is outside the panel.
    """
    settings = settings or EvaluationSettings()
    plan = Plan(
        with_reference(forecasters),
        checked_horizons(horizons),
        tuple(_origins(panel, start or panel.first_day, end or panel.last_day, step_days)),
        settings.target,
        settings.progress,
    )
    diary = DecisionDiary.of(panel, plan.origins)
    decision_days = diary.decision_days

    def witness(number: int, view: MarketView, horizon: int, said: Mapping[str, Forecast]) -> None:
        if horizon == HOLD_DAYS and plan.origins[number] in decision_days:
            diary.enter(view, said)

    rows, timings = collect(panel, plan, witness)
    judging = Judging(REFERENCE, tuple(BASELINES), step_days, settings.n_draws, settings.seed)
    tables = _tables(panel, plan, rows, timings, judging)
    weeks = diary.frame()
    return Evaluation(
        **tables,
        decision_value=decision_value(weeks, settings.n_draws, settings.seed),
        decision_weeks=weeks,
        gas_scores=score_gas(panel, plan.horizons, plan.origins, (settings.n_draws, settings.seed)),
        drift=drift_of_rows(rows, lead_of(plan.methods), plan.origins, settings.rules),
        start=plan.origins[0],
        end=plan.origins[-1],
        step_days=step_days,
        target=settings.target,
        methods=plan.methods,
        n_origins=len(plan.origins),
        warnings=_warnings(tables["scores"]),
        notes=_notes(panel, plan, rows),
    )


def _tables(
    panel: MarketPanel,
    plan: Plan,
    rows: Mapping[int, Rows],
    timings: Mapping[tuple[int, str], Timing],
    judging: Judging,
) -> dict[str, pd.DataFrame]:
    """The tables that are made a horizon after the other."""
    months = np.array([f"{day:%Y-%m}" for day in plan.origins])
    truth = panel.as_of(panel.last_day)
    found: dict[str, list[dict[str, Any]]] = {"scores": [], "coverage": [], "tvl_scores": []}
    misses = []
    for horizon in plan.horizons:
        clock = {method: timings[horizon, method] for method in plan.methods}
        found["scores"] += score_rows(rows[horizon], clock, judging)
        found["coverage"] += coverage_rows(rows[horizon], months)
        found["tvl_scores"] += tvl_rows(rows[horizon], judging)
        misses.append(worst_misses(rows[horizon], truth, plan.origins))
    tables = {name: pd.DataFrame(each) for name, each in found.items()}
    return tables | {"worst_misses": pd.concat(misses, ignore_index=True)}


def lead_of(methods: Sequence[str]) -> str:
    """The first method that is no baseline; else the first that is not the reference."""
    others = [method for method in methods if method not in BASELINES]
    return (others or [m for m in methods if m != REFERENCE] or list(methods))[0]


def checked_horizons(horizons: Sequence[int]) -> tuple[int, ...]:
    """Horizons as plain ints.

    Raises
    ------
    ParameterError
        When there is none, one is not a whole number from 1 to 365, or one repeats.
    """
    checked = tuple(checked_horizon(horizon) for horizon in horizons)
    if not checked or len(set(checked)) < len(checked):
        raise ParameterError(
            f"horizons are {', '.join(map(str, checked)) or 'none'}",
            remedy="give at least one, each once",
        )
    return checked


def with_reference(forecasters: Sequence[Forecaster]) -> tuple[Forecaster, ...]:
    """The forecasters, and ``last`` before them when it is not among them.

    Raises
    ------
    ParameterError
        When two have one name.
    """
    names = [forecaster.name for forecaster in forecasters]
    for name in names:
        if names.count(name) > 1:
            raise ParameterError(f"two forecasters are called {name!r}", remedy="rename one")
    added = () if REFERENCE in names else (baseline(REFERENCE),)
    return (*added, *forecasters)


def _origins(panel: MarketPanel, start: date, end: date, step_days: int) -> list[date]:
    if step_days < 1 or end < start:
        raise ParameterError(
            f"no origin from {start} to {end} every {step_days} days",
            remedy="give a start that is not after the end, and a step of at least 1 day",
        )
    for day in (start, end):
        panel.as_of(day)  # refuses a day outside the history
    n_origins = (end - start).days // step_days + 1
    return [start + timedelta(days=step_days * i) for i in range(n_origins)]


def _warnings(scores: pd.DataFrame) -> tuple[str, ...]:
    """One sentence for each method and horizon whose skill is too good to be true."""
    everything = scores[scores["segment"] == "all"]
    best = everything[["skill_vs_last", "skill_q50_vs_last"]].max(axis=1)
    return tuple(
        f"{row['method']} has a skill of {skill:.2f} at {row['horizon_days']} d, "
        "which is too good: check for a leak"
        for (_, row), skill in zip(everything.iterrows(), best, strict=True)
        if skill > TOO_GOOD_SKILL
    )


def _notes(panel: MarketPanel, plan: Plan, rows: Mapping[int, Rows]) -> tuple[str, ...]:
    """Why numbers are missing."""
    n_pools = len(panel.as_of(panel.last_day).pools)
    result = []
    for horizon, found in rows.items():
        n_scored = len(np.unique(found.pool))
        last_scorable = panel.last_day - timedelta(days=horizon)
        if plan.origins[0] > last_scorable:
            why = f"every outcome ends after the market's last day, {panel.last_day}"
            result.append(f"{horizon} d: nothing is scored, {why}")
        elif n_scored < n_pools:
            why = "without a complete outcome, or not forecast by every method"
            what = "nothing is scored" if n_scored == 0 else f"{n_scored} of {n_pools} pools scored"
            result.append(f"{horizon} d: {what}; the others were {why}")
    if HOLD_DAYS not in plan.horizons:
        result.append(f"no decision value: {HOLD_DAYS} d is not among the horizons")
    return tuple(result)


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"
