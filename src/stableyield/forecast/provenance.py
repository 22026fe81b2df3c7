"""Where a forecast came from: method, training, and how it did lately."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from stableyield.forecast.base import Forecast, Forecaster
from stableyield.forecast.registry import LEARNED
from stableyield.forecast.watched import WatchedForecaster, all_baselines
from stableyield.market.panel import MarketView


def watched(forecaster: Forecaster) -> WatchedForecaster:
    """The forecaster beside all baselines; only the learned one may be replaced by them.

    Whoever asks for a baseline or a foreign forecast by name gets it, with its scores.
    """
    rivals = tuple(each for each in all_baselines() if each.name != forecaster.name)
    return WatchedForecaster(forecaster, rivals, may_replace=forecaster.name == LEARNED)


def provenance(watch: WatchedForecaster, view: MarketView, forecast: Forecast) -> dict[str, Any]:
    """What must be known to repeat and to judge a forecast.

    Parameters
    ----------
    watch : WatchedForecaster
        What made ``forecast``.
    view : MarketView
        What it was made of.
    forecast : Forecast

    Returns
    -------
    dict
        ``training`` is what the model says of its training (window, features, seeds), None for
        one that is not trained; ``recent_scores`` are those of the last scored days known then.
    """
    verdict = watch.verdict(view, forecast.horizon_days)
    return {
        "method": watch.name,
        "served_by": forecast.method,
        "model_version": forecast.model_version or forecast.method,
        "exec_day": forecast.exec_day,
        "horizon_days": forecast.horizon_days,
        "n_pools": len(forecast.pool_ids),
        "n_forecast": int(forecast.is_known.sum()),
        "n_cold_start": int((forecast.cold_start & forecast.is_known).sum()),
        "history_from": view.days[0].astype("datetime64[D]").item(),
        "training": _plain(watch.training_info),
        "recent_scores": {
            "window_days": watch.rules.window_days,
            "n_days": verdict.n_days,
            "n": verdict.n,
            "mae": dict(verdict.maes),
            "coverage_q10": verdict.coverage_q10,
            "coverage_q90": verdict.coverage_q90,
            "best_baseline": verdict.baseline,
        },
        "is_fallback": verdict.is_fallback,
        "flags": forecast.flags,
    }


def _plain(info: Any) -> Any:
    """Training info as a mapping, whatever kind of value it is."""
    if is_dataclass(info) and not isinstance(info, type):
        return asdict(info)
    return dict(info) if isinstance(info, Mapping) else info
