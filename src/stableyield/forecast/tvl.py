"""TVL of the horizon: trees on the change of its logarithm, half believed.

Sizes are close to unpredictable: on validation spans trees on everything known lost to the last
value in USD, and half of the change that a few small trees see in flows, use and rewards was worth
half a percent on lending pools and a few percent on vaults. Not more is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stableyield.domain.rates import Floats
from stableyield.forecast.boosting import Trees, predict
from stableyield.forecast.fitting import Lessons
from stableyield.forecast.inputs import Inputs
from stableyield.forecast.training import Rows
from stableyield.forecast.windows import carried_forward, horizon_mean

if TYPE_CHECKING:
    from lightgbm import Booster

MAX_RATIO = 5.0
MAX_AGE_DAYS = 3
CLIP = 1.0
BELIEF = 0.5
"""Share of the forecast change that is believed."""
INPUTS = (
    "tvl",
    "utilisation",
    "over_kink",
    "rows",
    "mean30",
    "lag7",
    "reward_mean",
    "eth_change",
)


@dataclass(frozen=True, eq=False)
class TvlModel:
    """Trees for the median and the 10 % quantile of the change of log TVL."""

    middle: Booster
    low: Booster

    def predict(self, rows: Rows, inputs: Inputs) -> tuple[Floats, Floats]:
        """TVL and its q10, USD; NaN where the last TVL is unknown; at most 5 times the last."""
        last = carried_forward(inputs.tvl, MAX_AGE_DAYS)[rows.day, rows.pool]
        top = np.log1p(MAX_RATIO * np.expm1(last))
        features = rows.columns(INPUTS)
        middle = np.clip(last + BELIEF * predict(self.middle, features), 0.0, top)
        low = np.clip(last + predict(self.low, features), 0.0, middle)
        return np.expm1(middle), np.expm1(low)


def fit_tvl(lessons: Lessons, horizon_days: int) -> TvlModel | None:
    """The model of the mean TVL of the horizon; None where there is too little to learn from.

    The target is the change of the logarithm: the median of a logarithm is the logarithm of the
    median, so the forecast has the smallest absolute error in USD too.
    """
    inputs, rows, settings = lessons.inputs, lessons.rows, lessons.settings
    mean_usd = horizon_mean(np.expm1(inputs.tvl), horizon_days)
    change = np.log1p(mean_usd) - carried_forward(inputs.tvl, MAX_AGE_DAYS)
    target = change[rows.day, rows.pool]
    known = np.isfinite(target)
    if known.sum() < settings.min_rows:
        return None
    held, weight = np.clip(target[known], -CLIP, CLIP), np.ones(int(known.sum()))
    size = settings.tvl_boosting
    trees = Trees(rows.columns(INPUTS)[known], size)
    return TvlModel(
        trees.fit(held, weight, size, seed=settings.seed + 21),
        trees.fit(held, weight, size, seed=settings.seed + 22, quantile=0.1),
    )
