"""APY and TVL of the horizon, with quantiles."""

from stableyield.forecast.base import Forecast, Forecaster
from stableyield.forecast.baselines import BASELINES, Baseline, baseline
from stableyield.forecast.evaluate import Evaluation, EvaluationSettings, evaluate
from stableyield.forecast.foreign import ForeignForecaster
from stableyield.forecast.learned import LearnedForecaster
from stableyield.forecast.registry import FORECASTERS, forecaster
from stableyield.forecast.watched import WatchedForecaster

__all__ = [
    "BASELINES",
    "FORECASTERS",
    "Baseline",
    "Evaluation",
    "EvaluationSettings",
    "Forecast",
    "Forecaster",
    "ForeignForecaster",
    "LearnedForecaster",
    "WatchedForecaster",
    "baseline",
    "evaluate",
    "forecaster",
]
