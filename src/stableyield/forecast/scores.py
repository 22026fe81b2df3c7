"""Scores of forecasts that are lined up with their outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import Floats
from stableyield.forecast.bootstrap import block_length, ratio_interval, sums_by_origin
from stableyield.forecast.collect import QUANTILES, Rows, Timing
from stableyield.forecast.ranks import rank_correlations
from stableyield.forecast.segments import VOLATILITY_CLASSES

LEVELS = np.array([0.1, 0.5, 0.9])
Mask = NDArray[np.bool_]
SCORE_COLUMNS = (
    *("horizon_days", "method", "segment", "n", "mae", "median_ae", "rmse", "skill_vs_last"),
    *("skill_vs_best_baseline", "rank_corr", "pinball_q10", "coverage_q10", "coverage_q90"),
    *("seconds", "bias", "skill_low", "skill_high", "best_baseline", "mae_q50"),
    *("skill_q50_vs_last", "skill_q50_low", "skill_q50_high", "skill_q50_vs_best_baseline"),
    *("pinball_q50", "pinball_q90", "coverage_q50", "n_quantiles"),
    *("seconds_per_refit", "seconds_per_predict"),
)
"""Columns of the scores table: those of the scores file first, in its order."""


@dataclass(frozen=True)
class Judging:
    """How scores are made.

    Parameters
    ----------
    reference : str
        Method that ``skill_vs_last`` is measured against.
    baselines : tuple of str
        Methods of which the one with the smallest MAE on the same rows is the best baseline.
    step_days : int
        Days between origins.
    n_draws, seed : int
        Of the bootstrap.
    """

    reference: str
    baselines: tuple[str, ...]
    step_days: int
    n_draws: int
    seed: int

    def interval(self, sums: Floats, reference: Floats, horizon_days: int) -> Floats:
        """Bounds of the skill of each method; shape (2, n_methods)."""
        length = block_length(horizon_days, self.step_days)
        return ratio_interval(sums, reference, length, (self.n_draws, self.seed))


def score_rows(rows: Rows, timings: Mapping[str, Timing], judging: Judging) -> list[dict[str, Any]]:
    """One row a method and segment, in the columns `SCORE_COLUMNS`.

    Parameters
    ----------
    rows : Rows
    timings : mapping of method to Timing
    judging : Judging
    """
    clock = {
        method: {
            "seconds": timings[method].seconds,
            "seconds_per_refit": timings[method].seconds_per_refit,
            "seconds_per_predict": timings[method].seconds_per_predict,
        }
        for method in rows.methods
    }
    result = []
    for segment, inside in rows.kinds.masks().items():
        points = _point_scores(rows, inside, judging)
        medians = _median_scores(rows, inside, judging)
        quantiles = _quantile_scores(rows, inside)
        for i, method in enumerate(rows.methods):
            found = {name: values[i] for name, values in (points | medians | quantiles).items()}
            found |= clock[method]
            head = {"horizon_days": rows.horizon_days, "method": method, "segment": segment}
            result.append({name: (head | found)[name] for name in SCORE_COLUMNS})
    return result


def coverage_rows(rows: Rows, months: NDArray[np.str_]) -> list[dict[str, Any]]:
    """Shares of outcomes at or below each quantile, overall, by volatility class and by month.

    Parameters
    ----------
    rows : Rows
    months : ndarray of str, shape (n_origins,)
        Month of each origin, ``2024-03``.
    """
    month_of = months[rows.origin]
    groups = [("all", "all", np.ones(len(rows), dtype=bool))]
    groups += [
        ("volatility", name, rows.kinds.volatility == i)
        for i, name in enumerate(VOLATILITY_CLASSES)
    ]
    groups += [("month", str(name), month_of == name) for name in np.unique(months)]
    result = []
    for kind, name, inside in groups:
        found = _quantile_scores(rows, inside)
        for i, method in enumerate(rows.methods):
            row = {"horizon_days": rows.horizon_days, "method": method, "by": kind, "group": name}
            result.append(
                row
                | {"n": found["n_quantiles"][i]}
                | {f"coverage_{q}": found[f"coverage_{q}"][i] for q in QUANTILES}
            )
    return result


def tvl_rows(rows: Rows, judging: Judging) -> list[dict[str, Any]]:
    """Scores of the TVL forecasts, one row a method, on rows where every method states one.

    ``mae_log`` is the mean absolute error of ``log(1 + USD)``: every pool counts alike.
    ``wape_pct`` is the sum of absolute errors in USD as a share of the sum of outcomes: every
    dollar counts alike. Each has its skill against the reference.
    """
    known = np.isfinite(rows.tvl_log_gap)
    states = np.asarray(known.any(axis=1))
    kept = (known | ~states[:, None]).all(axis=0) & states.any()
    log_gap, gap = (np.abs(_doubles(g[:, kept])) for g in (rows.tvl_log_gap, rows.tvl_gap))
    outcome = rows.tvl_target[kept]
    reference = rows.row_of(judging.reference)
    by_origin = sums_by_origin(log_gap, rows.origin[kept], rows.n_origins)
    low, high = judging.interval(by_origin, by_origin[:, reference], rows.horizon_days)
    mae, wape = _means(log_gap), _means(gap) / _above_zero(_means(outcome[None]))
    result = []
    for i, method in enumerate(rows.methods):
        low_gap = rows.tvl_q10_gap[i, kept]
        result.append(
            {
                "horizon_days": rows.horizon_days,
                "method": method,
                "n": int(kept.sum()) if states[i] else 0,
                "mae_log": mae[i],
                "bias_log": -_mean(_doubles(rows.tvl_log_gap[i, kept])),
                "skill_log_vs_last": _skill(mae, mae[reference])[i],
                "skill_log_low": low[i],
                "skill_log_high": high[i],
                "wape_pct": 100.0 * wape[i],
                "skill_usd_vs_last": _skill(wape, wape[reference])[i],
                "coverage_q10": _mean(low_gap[np.isfinite(low_gap)] < 0.0),
            }
        )
    return result


def _point_scores(rows: Rows, inside: Mask, judging: Judging) -> dict[str, Any]:
    """Scores of the point forecast, an array over methods each."""
    errors = rows.errors[:, inside]
    absolute = np.abs(errors)
    mae = _means(absolute)
    reference = rows.row_of(judging.reference)
    by_origin = sums_by_origin(absolute, rows.origin[inside], rows.n_origins)
    low, high = judging.interval(by_origin, by_origin[:, reference], rows.horizon_days)
    best = _best(mae, rows.methods, judging.baselines)
    n_rows = errors.shape[1]
    middle = np.median(absolute, axis=1) if n_rows else np.full(len(mae), np.nan)
    return {
        "n": [n_rows] * len(mae),
        "mae": mae,
        "median_ae": middle,
        "rmse": np.sqrt(_means(errors**2)),
        "bias": -_means(errors),
        "skill_vs_last": _skill(mae, mae[reference]),
        "skill_low": low,
        "skill_high": high,
        "skill_vs_best_baseline": _skill(mae, np.nan if best is None else mae[best]),
        "best_baseline": ["" if best is None else rows.methods[best]] * len(mae),
        "rank_corr": rank_correlations(
            rows.points[:, inside], rows.target[inside], rows.origin[inside]
        ),
    }


def _median_scores(rows: Rows, inside: Mask, judging: Judging) -> dict[str, Any]:
    """MAE and skill of q50, against the last value itself and the best that a baseline said.

    The rows are those where every method that states a q50 has one.
    """
    kept = inside & rows.quantile_rows[1]
    absolute = np.abs(_doubles(rows.gaps[:, 1, :][:, kept]))
    points = np.abs(rows.errors[:, kept])
    mae, mae_point = _means(absolute), _means(points)
    reference = rows.row_of(judging.reference)
    by_origin = sums_by_origin(
        np.vstack([points[reference], absolute]), rows.origin[kept], rows.n_origins
    )
    low, high = judging.interval(by_origin[:, 1:], by_origin[:, 0], rows.horizon_days)
    smaller = np.fmin(mae, mae_point)
    best = _best(smaller, rows.methods, judging.baselines)
    return {
        "mae_q50": mae,
        "skill_q50_vs_last": _skill(mae, mae_point[reference]),
        "skill_q50_low": low,
        "skill_q50_high": high,
        "skill_q50_vs_best_baseline": _skill(mae, np.nan if best is None else smaller[best]),
    }


def _quantile_scores(rows: Rows, inside: Mask) -> dict[str, Any]:
    """Pinball loss and coverage, an array over methods each; NaN where q is not stated.

    Coverage of q10 counts outcomes below it, of q50 and q90 those not above.
    """
    result: dict[str, Any] = {}
    stated = np.isfinite(rows.gaps).any(axis=(1, 2))
    for k, (name, level) in enumerate(zip(QUANTILES, LEVELS, strict=True)):
        gap = _doubles(rows.gaps[:, k, :][:, inside & rows.quantile_rows[k]])
        below = gap < 0.0 if name == "q10" else gap <= 0.0
        is_known = np.isfinite(gap).all(axis=1)
        result[f"pinball_{name}"] = _means(np.maximum(level * gap, (level - 1.0) * gap))
        result[f"coverage_{name}"] = np.where(is_known, _means(below), np.nan)
    n_rows = int((inside & rows.quantile_rows[0]).sum())
    result["n_quantiles"] = np.where(stated, n_rows, 0)
    return result


def _best(mae: Floats, methods: tuple[str, ...], baselines: tuple[str, ...]) -> int | None:
    """Number of the baseline with the smallest MAE; the first of equals."""
    rivals = [i for i, m in enumerate(methods) if m in baselines and np.isfinite(mae[i])]
    return min(rivals, key=lambda i: mae[i], default=None)


def _doubles(values: NDArray[np.float32]) -> Floats:
    return values.astype(np.float64)


def _means(values: NDArray[Any]) -> Floats:
    """Mean of each row; NaN where there is none."""
    n_columns = values.shape[1]
    return values.mean(axis=1) if n_columns else np.full(len(values), np.nan)


def _mean(values: NDArray[Any]) -> float:
    return float(_means(values[None])[0])


def _above_zero(values: Floats) -> Floats:
    return np.where(values > 0.0, values, np.nan)


def _skill(mae: Floats, other: float) -> Floats:
    """``1 - MAE / other's MAE``; undefined where the other is perfect or has no rows."""
    return 1.0 - mae / other if other > 0.0 else np.full(len(mae), np.nan)
