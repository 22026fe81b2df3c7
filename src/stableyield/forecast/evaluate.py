"""Rolling-origin evaluation: every forecaster on the same pools and days, against what came.

On each origin a forecaster sees `MarketPanel.as_of` of that day and nothing else. The whole panel
is only used to know the targets. A (pool, origin) counts when its target is complete and every
method has a forecast for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from time import perf_counter

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.domain.rates import Floats
from stableyield.errors import ParameterError
from stableyield.forecast.base import Forecaster, checked_horizon
from stableyield.forecast.baselines import BASELINES, baseline
from stableyield.forecast.scores import Answers, Scored, score_rows
from stableyield.forecast.segments import segment_of_pools
from stableyield.forecast.windows import horizon_mean
from stableyield.market.panel import MarketPanel, MarketView

REFERENCE = "last"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of forecasters on a panel.

    Parameters
    ----------
    scores : DataFrame
        One row a horizon, method and segment: horizon_days, method, segment, n, mae, median_ae,
        rmse (percentage points of the point forecast), skill_vs_last, skill_vs_best_baseline,
        rank_corr (mean over days of Spearman's across pools), pinball_q10, coverage_q10 (share
        of outcomes below q10), coverage_q90, seconds (of all forecasts of that method and
        horizon). NaN: undefined.
    start, end : date
        First and last origin.
    step_days : int
        Days between origins.
    """

    scores: pd.DataFrame
    start: date
    end: date
    step_days: int

    def summary(self) -> str:
        """The scores over all rows as Markdown: one table a horizon, best first."""
        lines = [f"Origins {self.start} .. {self.end}, every {self.step_days} d."]
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
    "mae",
    "median_ae",
    "skill_vs_last",
    "rank_corr",
    "pinball_q10",
    "coverage_q10",
    "coverage_q90",
    "seconds",
)


def evaluate(
    panel: MarketPanel,
    forecasters: Sequence[Forecaster],
    *,
    horizons: Sequence[int] = (1, 7, 30),
    start: date | None = None,
    end: date | None = None,
    step_days: int = 1,
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

    Raises
    ------
    ParameterError
        When there is no origin, a name repeats, or a horizon is out of bounds.
    DayOutOfRangeError
        When ``start`` or ``end`` is outside the panel.
    """
    horizons = tuple(checked_horizon(horizon) for horizon in horizons)
    forecasters = _with_reference(forecasters)
    origins = _origins(panel, start or panel.first_day, end or panel.last_day, step_days)
    truth = panel.as_of(panel.last_day)
    targets = _targets(truth, origins, horizons)
    answers, segments = _ask(panel, forecasters, horizons, origins)
    rows = []
    for horizon in horizons:
        by_method = {f.name: answers[horizon, f.name] for f in forecasters}
        scored = Scored(horizon, by_method, targets[horizon], segments)
        rows += score_rows(scored, reference=REFERENCE, baselines=tuple(BASELINES))
    return Evaluation(pd.DataFrame(rows), origins[0], origins[-1], step_days)


def _ask(
    panel: MarketPanel,
    forecasters: Sequence[Forecaster],
    horizons: Sequence[int],
    origins: Sequence[date],
) -> tuple[dict[tuple[int, str], Answers], NDArray[np.int8]]:
    """All forecasts by (horizon, method), and each pool's segment on each origin."""
    column_of = panel.as_of(panel.last_day).pool_index
    shape = (len(origins), len(column_of))
    answers = {(h, f.name): Answers.unknown(shape) for h in horizons for f in forecasters}
    segments = np.full(shape, -1, dtype=np.int8)
    for row, day in enumerate(origins):
        view = panel.as_of(day)
        columns = np.array([column_of[pool_id] for pool_id in view.pool_ids], dtype=np.intp)
        segments[row, columns] = segment_of_pools(view.pool_series.apy_pct)
        for horizon in horizons:
            for forecaster in forecasters:
                began = perf_counter()
                forecast = forecaster.forecast(view, horizon)
                seconds = perf_counter() - began
                answers[horizon, forecaster.name].put(row, columns, forecast, seconds)
    return answers, segments


def _with_reference(forecasters: Sequence[Forecaster]) -> tuple[Forecaster, ...]:
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


def _targets(
    truth: MarketView, origins: Sequence[date], horizons: Sequence[int]
) -> dict[int, Floats]:
    """Observed mean APY of each horizon; arrays of shape (n_origins, n_pools)."""
    rows: NDArray[np.intp] = np.searchsorted(truth.days, np.array(origins, dtype="datetime64[D]"))
    apy = truth.pool_series.apy_pct
    return {h: horizon_mean(apy, h)[rows] for h in horizons}


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"
