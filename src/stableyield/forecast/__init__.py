"""APY and TVL of the horizon, with quantiles."""

from stableyield.forecast.base import Forecast, Forecaster
from stableyield.forecast.baselines import BASELINES, Baseline, baseline
from stableyield.forecast.evaluate import Evaluation, evaluate
from stableyield.forecast.foreign import ForeignForecaster

__all__ = [
    "BASELINES",
    "Baseline",
    "Evaluation",
    "Forecast",
    "Forecaster",
    "ForeignForecaster",
    "baseline",
    "evaluate",
]
