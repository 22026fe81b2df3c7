"""Drift watch: whether the model is still better than the baselines, on days that can be scored.

A forecast of origin s for H days is scored on day s + H, when its whole outcome is known. On day t
the last 30 scored origins are therefore s <= t - H. Everything here is made of numbers known at t.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice

import numpy as np
import pandas as pd

from stableyield.domain.rates import Floats
from stableyield.errors import ParameterError
from stableyield.forecast.base import Forecast

ERROR_LIMIT_POINTS = 100.0
"""An error counts for at most this: one glitch does not decide who forecasts for all pools."""
DRIFT_COLUMNS = (
    *("date", "method", "horizon_days", "n_days", "n", "mae", "baseline", "mae_baseline"),
    *("coverage_q10", "coverage_q90", "is_fallback"),
)


@dataclass(frozen=True)
class DriftRules:
    """When a model is replaced.

    Parameters
    ----------
    window_days : int
        Scored origins that are looked at.
    min_scored_days : int
        With fewer of them the model is not judged yet, and serves.
    tolerance : float
        Share by which the model's MAE may exceed the best baseline's: 0.01 is one percent.

    Raises
    ------
    ParameterError
        When a value is out of bounds.
    """

    window_days: int = 30
    min_scored_days: int = 10
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.min_scored_days <= self.window_days <= 365:
            raise ParameterError(
                f"min_scored_days is {self.min_scored_days}, window_days {self.window_days}",
                remedy="give 1 <= min_scored_days <= window_days <= 365",
            )
        if not 0.0 <= self.tolerance <= 1.0:
            raise ParameterError(f"tolerance is {self.tolerance}", remedy="give a share, 0 to 1")


@dataclass(frozen=True)
class DayScore:
    """How the forecasts of one origin turned out, on the pools that every method forecast.

    Parameters
    ----------
    origin : date
    n : int
        Pools that could be scored; a day with none is no scored day.
    error_sums : tuple of float
        Sum of absolute errors, percentage points, each at most 100: the model's, then each
        baseline's.
    n_quantiles, n_below_q10, n_within_q90 : int
        Pools with the model's q10 and q90; outcomes below q10; outcomes not above q90.
    """

    origin: date
    n: int
    error_sums: tuple[float, ...]
    n_quantiles: int = 0
    n_below_q10: int = 0
    n_within_q90: int = 0


@dataclass(frozen=True)
class Verdict:
    """The state of the watch on a day.

    Parameters
    ----------
    day : date
        t.
    method : str
        The model.
    horizon_days, n_days, n : int
        Scored origins, and forecasts on them.
    mae : float
        Of the model over these, percentage points; NaN without a scored day.
    baseline : str
        The best baseline on the same forecasts; empty without a scored day.
    mae_baseline, coverage_q10, coverage_q90 : float
    is_fallback : bool
        The baseline serves.
    maes : tuple of (str, float)
        MAE of the model and of every baseline.
    needed_days : int
        Scored days that it takes to judge.
    """

    day: date
    method: str
    horizon_days: int
    n_days: int
    n: int
    mae: float
    baseline: str
    mae_baseline: float
    coverage_q10: float
    coverage_q90: float
    is_fallback: bool
    maes: tuple[tuple[str, float], ...] = ()
    needed_days: int = 0

    @property
    def is_judged(self) -> bool:
        """Whether there are enough scored days; without them the model serves."""
        return self.n_days >= self.needed_days

    @property
    def server(self) -> str:
        """Who serves."""
        return self.baseline if self.is_fallback else self.method

    @property
    def account(self) -> str:
        """The state of the watch in a sentence, whatever it is."""
        if self.is_fallback:
            return self.sentence
        if not self.is_judged:
            return (
                f"{self.method} is not judged yet: {self.n_days} of the {self.needed_days} scored "
                f"days that it takes; a day is scored {self.horizon_days} d later"
            )
        return (
            f"{self.method} serves: its MAE over the last {self.n_days} scored days is "
            f"{self.mae:.4g} points, that of the best baseline, {self.baseline}, "
            f"{self.mae_baseline:.4g}"
        )

    @property
    def sentence(self) -> str:
        """What a reader of the forecast must know; empty while the model serves and is judged."""
        if self.is_fallback:
            return (
                f"fallback: {self.baseline} serves, because the MAE of {self.method} over the "
                f"last {self.n_days} scored days is {self.mae:.4g} points against "
                f"{self.mae_baseline:.4g}"
            )
        return ""


def day_score(
    origin: date, model: Forecast, rivals_pct: Sequence[Floats], target: Floats
) -> DayScore:
    """The score of one origin.

    Parameters
    ----------
    origin : date
    model : Forecast
    rivals_pct : sequence of ndarray of shape (n_pools,)
        The APY that each baseline forecast for the same pools, percent; NaN where unknown.
    target : ndarray of shape (n_pools,)
        Outcome, percent; NaN where unknown.
    """
    points = (model.apy_pct, *rivals_pct)
    rows = np.isfinite([target, *points]).all(axis=0)
    stated = rows & np.isfinite(model.apy_q10_pct) & np.isfinite(model.apy_q90_pct)
    return DayScore(
        origin,
        int(rows.sum()),
        tuple(float(held_errors(target[rows] - point[rows]).sum()) for point in points),
        int(stated.sum()),
        int((target[stated] < model.apy_q10_pct[stated]).sum()),
        int((target[stated] <= model.apy_q90_pct[stated]).sum()),
    )


def held_errors(errors: Floats) -> Floats:
    """Absolute errors, none above `ERROR_LIMIT_POINTS`."""
    return np.minimum(np.abs(errors), ERROR_LIMIT_POINTS)


def latest_scored(
    score_of: Callable[[date], DayScore], first: date, last: date, rules: DriftRules
) -> list[DayScore]:
    """The last scored origins, the latest first; it looks back at most two windows."""
    days = min((last - first).days + 1, 2 * rules.window_days)
    scores = (score_of(last - timedelta(days=i)) for i in range(max(days, 0)))
    return list(islice((score for score in scores if score.n), rules.window_days))


def judge(
    day: date, methods: Sequence[str], scores: Sequence[DayScore], horizon: int, rules: DriftRules
) -> Verdict:
    """The verdict on day ``day`` from the last scored origins.

    Parameters
    ----------
    day : date
        t: every origin in ``scores`` is at least ``horizon`` days before it.
    methods : sequence of str
        The model, then the baselines; at least one.
    scores : sequence of DayScore
    horizon : int
    rules : DriftRules
    """
    n = sum(score.n for score in scores)
    n_quantiles = sum(score.n_quantiles for score in scores)
    sums = np.array([score.error_sums for score in scores]).reshape(-1, len(methods)).sum(axis=0)
    maes = sums / n if n else np.full(len(methods), np.nan)
    best = 1 + int(np.argmin(maes[1:]))
    is_judged = len(scores) >= rules.min_scored_days
    return Verdict(
        day=day,
        method=methods[0],
        horizon_days=horizon,
        n_days=len(scores),
        n=n,
        mae=float(maes[0]),
        baseline=methods[best] if n else "",
        mae_baseline=float(maes[best]),
        coverage_q10=_share(sum(score.n_below_q10 for score in scores), n_quantiles),
        coverage_q90=_share(sum(score.n_within_q90 for score in scores), n_quantiles),
        is_fallback=bool(is_judged and maes[0] > maes[best] * (1.0 + rules.tolerance)),
        maes=tuple(zip(methods, maes.tolist(), strict=True)),
        needed_days=rules.min_scored_days,
    )


def drift_frame(verdicts: Iterator[Verdict] | Sequence[Verdict]) -> pd.DataFrame:
    """Verdicts as rows, in the columns `DRIFT_COLUMNS`: what a store keeps, a row a day."""
    rows = [
        {"date": pd.Timestamp(each.day)}
        | {name: getattr(each, name) for name in DRIFT_COLUMNS if name != "date"}
        for each in verdicts
    ]
    return pd.DataFrame(rows, columns=list(DRIFT_COLUMNS))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
