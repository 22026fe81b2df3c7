"""Scores of forecasts that are lined up with their targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.domain.rates import Floats
from stableyield.forecast.base import Forecast
from stableyield.forecast.segments import SEGMENTS

MIN_RANKED_POOLS = 5
"""Pools that a day needs to count for the rank correlation."""

Mask = NDArray[np.bool_]


@dataclass(eq=False)
class Answers:
    """What one method said for one horizon: arrays of shape (n_origins, n_pools); it is filled."""

    mean: Floats
    q10: Floats
    q90: Floats
    seconds: float = 0.0

    @classmethod
    def unknown(cls, shape: tuple[int, int]) -> Answers:
        """Nothing said yet."""
        mean, q10, q90 = np.full((3, *shape), np.nan)
        return cls(mean, q10, q90)

    def put(self, row: int, columns: NDArray[np.intp], forecast: Forecast, seconds: float) -> None:
        """Enter the forecast of one origin."""
        self.mean[row, columns] = forecast.apy_pct
        self.q10[row, columns] = forecast.apy_q10_pct
        self.q90[row, columns] = forecast.apy_q90_pct
        self.seconds += seconds


@dataclass(frozen=True, eq=False)
class Scored:
    """Everything about one horizon, lined up.

    Parameters
    ----------
    horizon_days : int
    answers : mapping of method to Answers
    target : ndarray of shape (n_origins, n_pools)
        NaN where it is not complete.
    segments : ndarray of int, shape (n_origins, n_pools)
        Index into `SEGMENTS`; -1: the pool was not known.
    """

    horizon_days: int
    answers: Mapping[str, Answers]
    target: Floats
    segments: NDArray[np.int8]

    def rows(self, quantile: str = "mean") -> Mask:
        """Where the target and every method's forecast are known.

        Of a quantile: every method's that states that quantile at all.
        """
        known = np.isfinite(self.target)
        for answers in self.answers.values():
            stated = np.isfinite(getattr(answers, quantile))
            if quantile == "mean" or stated.any():
                known = known & stated
        return known


def score_rows(
    scored: Scored, *, reference: str, baselines: tuple[str, ...]
) -> list[dict[str, Any]]:
    """One row a method and segment, in the columns of the scores file.

    Parameters
    ----------
    scored : Scored
    reference : str
        Method that ``skill_vs_last`` is measured against.
    baselines : tuple of str
        Methods of which the one with the smallest MAE on the same rows is the best baseline.
    """
    kept = {name: scored.rows(name) for name in ("mean", "q10", "q90")}
    result = []
    for segment in ("all", *SEGMENTS):
        inside = scored.segments >= 0
        if segment != "all":
            inside = scored.segments == SEGMENTS.index(segment)
        rows = kept["mean"] & inside
        ranks = _Ranks.of(scored.target, rows)
        mae = {name: _mean(_error(a, scored, rows)) for name, a in scored.answers.items()}
        rivals = [mae[name] for name in baselines if np.isfinite(mae.get(name, np.nan))]
        for method, answers in scored.answers.items():
            error = _error(answers, scored, rows)
            result.append(
                {
                    "horizon_days": scored.horizon_days,
                    "method": method,
                    "segment": segment,
                    "n": int(rows.sum()),
                    "mae": mae[method],
                    "median_ae": float(np.median(error)) if len(error) else np.nan,
                    "rmse": float(np.sqrt(_mean(error**2))),
                    "skill_vs_last": _skill(mae[method], mae[reference]),
                    "skill_vs_best_baseline": _skill(mae[method], min(rivals, default=np.nan)),
                    "rank_corr": ranks.correlation(answers.mean),
                    **_quantile_scores(answers, scored.target, kept, rows),
                    "seconds": answers.seconds,
                }
            )
    return result


def _error(answers: Answers, scored: Scored, rows: Mask) -> Floats:
    """Absolute errors of the point forecast, percentage points."""
    return np.abs(answers.mean[rows] - scored.target[rows])


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _skill(mae: float, other: float) -> float:
    """``1 - MAE / other's MAE``; undefined where the other is perfect or has no rows."""
    return 1.0 - mae / other if other > 0.0 else float("nan")


def _quantile_scores(
    answers: Answers, target: Floats, kept: Mapping[str, Mask], rows: Mask
) -> dict[str, float]:
    """Pinball loss and coverage; NaN for a method that does not state the quantile."""
    low, high = rows & kept["q10"], rows & kept["q90"]
    gap = target[low] - answers.q10[low]
    upper = answers.q90[high]
    states_low, states_high = np.isfinite(gap).all(), np.isfinite(upper).all()
    return {
        "pinball_q10": _mean(np.maximum(0.1 * gap, -0.9 * gap)) if states_low else np.nan,
        "coverage_q10": _mean(gap < 0.0) if states_low else np.nan,
        "coverage_q90": _mean(target[high] <= upper) if states_high else np.nan,
    }


@dataclass(frozen=True, eq=False)
class _Ranks:
    """Ranks of the targets across pools, by origin, ready to be compared."""

    rows: Mask
    target: Floats

    @classmethod
    def of(cls, target: Floats, rows: Mask) -> _Ranks:
        days = rows.sum(axis=1) >= MIN_RANKED_POOLS
        rows = rows & days[:, None]
        return cls(rows, _centred_ranks(target, rows))

    def correlation(self, values: Floats) -> float:
        """Mean over origins of Spearman's correlation; NaN where no origin has one.

        An origin counts with at least 5 pools, not all equal.
        """
        ranks = _centred_ranks(values, self.rows)
        cross = (ranks * self.target).sum(axis=1)
        norm = np.sqrt((ranks**2).sum(axis=1) * (self.target**2).sum(axis=1))
        return _mean(cross[norm > 0.0] / norm[norm > 0.0])


def _centred_ranks(values: Floats, rows: Mask) -> Floats:
    """Average ranks of the kept values of each row, minus their mean; 0 elsewhere."""
    ranks = pd.DataFrame(np.where(rows, values, np.nan)).rank(axis=1).to_numpy()
    centre = (rows.sum(axis=1, keepdims=True) + 1) / 2.0
    result: Floats = np.where(rows, ranks - centre, 0.0)
    return result
