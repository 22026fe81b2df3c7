"""How good gas price forecasts were: scored like those of rates, against the last price."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from stableyield.domain.rates import Floats
from stableyield.forecast.bootstrap import block_length, ratio_interval
from stableyield.forecast.gas import MAX_AGE_DAYS, GasForecast, forecast_gas
from stableyield.forecast.windows import carried_forward, horizon_mean
from stableyield.market.panel import MarketPanel

GAS_COLUMNS = (
    *("horizon_days", "n", "mae_gwei", "median_ae_gwei", "bias_gwei", "skill_vs_last"),
    *("skill_log_vs_last", "skill_low", "skill_high", "coverage_q10", "coverage_q90"),
)


def score_gas(
    panel: MarketPanel,
    horizons: Sequence[int],
    origins: Sequence[date],
    draws: tuple[int, int],
) -> pd.DataFrame:
    """Scores of `forecast_gas`: one row a horizon, in the columns `GAS_COLUMNS`.

    ``skill_vs_last`` compares errors in gwei, ``skill_log_vs_last`` those of the logarithm, which
    weigh calm days like stormy ones; the bounds are of the latter.

    Parameters
    ----------
    panel : MarketPanel
    horizons : sequence of int
    origins : sequence of date
        Equally spaced.
    draws : (int, int)
        Number of bootstrap draws, and the seed.
    """
    gwei = panel.as_of(panel.last_day).gas.gas_gwei[:, None]
    truth = np.where(gwei > 0.0, gwei, np.nan)
    if not np.isfinite(truth).any():
        return pd.DataFrame(columns=list(GAS_COLUMNS))
    step_days = (origins[1] - origins[0]).days if len(origins) > 1 else 1
    at = [(day - panel.first_day).days for day in origins]
    last = carried_forward(truth, MAX_AGE_DAYS)[at, 0]
    rows = []
    for horizon in horizons:
        target = horizon_mean(truth, horizon)[at, 0]
        said = np.array([_numbers(forecast_gas(panel.as_of(day).gas, horizon)) for day in origins])
        length = block_length(horizon, step_days)
        rows.append({"horizon_days": horizon, **_scores(target, last, said, (length, draws))})
    return pd.DataFrame(rows, columns=list(GAS_COLUMNS))


def _numbers(answer: GasForecast) -> tuple[float, float, float]:
    return answer.gas_gwei, answer.q10_gwei, answer.q90_gwei


def _scores(
    target: Floats, last: Floats, said: Floats, resampling: tuple[int, tuple[int, int]]
) -> dict[str, Any]:
    point, low, high = said.T
    kept = np.isfinite(target) & np.isfinite(last) & np.isfinite(point)
    if not kept.any():
        return {"n": 0}
    error = point[kept] - target[kept]
    own, reference = (
        np.where(kept, np.abs(np.log(said_gwei / target)), 0.0) for said_gwei in (point, last)
    )
    length, draws = resampling
    bounds = ratio_interval(own[:, None], reference, length, draws)[:, 0]
    return {
        "n": int(kept.sum()),
        "mae_gwei": float(np.abs(error).mean()),
        "median_ae_gwei": float(np.median(np.abs(error))),
        "bias_gwei": float(error.mean()),
        "skill_vs_last": _skill(error, last[kept] - target[kept]),
        "skill_log_vs_last": _skill(own, reference),
        "skill_low": float(bounds[0]),
        "skill_high": float(bounds[1]),
        "coverage_q10": _share(target < low, kept & np.isfinite(low)),
        "coverage_q90": _share(target <= high, kept & np.isfinite(high)),
    }


def _skill(error: Floats, other: Floats) -> float:
    total = float(np.abs(other).sum())
    return 1.0 - float(np.abs(error).sum()) / total if total > 0.0 else float("nan")


def _share(hits: np.ndarray[Any, np.dtype[np.bool_]], rows: np.ndarray[Any, Any]) -> float:
    return float(hits[rows].mean()) if rows.any() else float("nan")
