"""The drift watch over a past span, from the forecasts of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import numpy as np
import pandas as pd

from stableyield.forecast.baselines import BASELINES
from stableyield.forecast.bootstrap import sums_by_origin
from stableyield.forecast.collect import Rows
from stableyield.forecast.drift import DayScore, DriftRules, drift_frame, held_errors, judge


def drift_of_rows(
    rows: Mapping[int, Rows], model: str, origins: Sequence[date], rules: DriftRules
) -> pd.DataFrame:
    """Verdicts on every day on which an origin became scored; all horizons under one another.

    The window counts scored *origins*: with origins a week apart, 30 of them are 30 weeks.
    Empty where no other method is a baseline.
    """
    verdicts = []
    for horizon, found in rows.items():
        rivals = [m for m in found.methods if m in BASELINES and m != model]
        if not rivals:
            continue
        methods = (model, *rivals)
        scored: list[DayScore] = []
        for score in _day_scores(found, methods, origins):
            if score.n:
                scored.append(score)
                day = score.origin + timedelta(days=horizon)
                latest = scored[-rules.window_days :]
                verdicts.append(judge(day, methods, latest, horizon, rules))
    return drift_frame(verdicts)


def _day_scores(rows: Rows, methods: Sequence[str], origins: Sequence[date]) -> list[DayScore]:
    places = [rows.row_of(method) for method in methods]
    n = np.bincount(rows.origin, minlength=rows.n_origins)
    sums = sums_by_origin(held_errors(rows.errors[places]), rows.origin, rows.n_origins)
    low, high = rows.gaps[places[0], 0], rows.gaps[places[0], 2]
    stated = np.isfinite(low) & np.isfinite(high)
    counts = sums_by_origin(
        np.stack([stated, stated & (low < 0.0), stated & (high <= 0.0)]).astype(np.float64),
        rows.origin,
        rows.n_origins,
    ).astype(int)
    return [
        DayScore(day, int(n[i]), tuple(sums[i].tolist()), *counts[i].tolist())
        for i, day in enumerate(origins)
    ]
