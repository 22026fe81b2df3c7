"""The point forecast: trees on the change from four anchors, a linear model, and their median."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stableyield.domain.rates import Floats
from stableyield.forecast.boosting import Trees, predict
from stableyield.forecast.combination import combined
from stableyield.forecast.linear import LinearModel, fit_linear
from stableyield.forecast.training import LearnedSettings, Rows

if TYPE_CHECKING:
    from lightgbm import Booster

ANCHORS = ("last", "ewma2", "ewma7", "median7")
CLIP = 8.0
"""Changes are held to this many units of movement for training, never for scoring."""
LINEAR_INPUTS = (
    "lag",
    "mean",
    "median",
    "max",
    "min",
    "ewma",
    "paid_",
    "token_level",
    "token_pull",
    "token_week",
    "protocol_level",
    "protocol_pull",
    "protocol_week",
    "all_level",
    "all_pull",
    "all_week",
    "reward_mean",
    "base_mean",
)


@dataclass(frozen=True, eq=False)
class PointModels:
    """Fitted members of the point forecast of one horizon."""

    trees: tuple[Booster, ...]
    linear: LinearModel
    horizon_days: int

    def predict(self, rows: Rows) -> Floats:
        """The combined forecast, percent; shape (n_rows,)."""
        by_trees = np.stack(
            [
                rows.anchors[anchor] + rows.scale * predict(booster, rows.features)
                for anchor, booster in zip(ANCHORS, self.trees, strict=True)
            ]
        )
        linear = rows.last + rows.scale * self.linear.predict(rows.columns(LINEAR_INPUTS))
        return combined(by_trees, linear, self.horizon_days)


def fit_point_models(
    rows: Rows, target_pct: Floats, horizon_days: int, settings: LearnedSettings, trees: Trees
) -> PointModels:
    """Members that minimise the absolute error of ``target_pct`` (n_rows,)."""
    weight = row_weights(rows, settings.weight_power)
    boosters = []
    for i, anchor in enumerate(ANCHORS):
        change = scaled_change(rows, target_pct, rows.anchors[anchor])
        boosters.append(trees.fit(change, weight, settings.boosting, seed=settings.seed + i))
    change = scaled_change(rows, target_pct, rows.last)
    linear = fit_linear(rows.columns(LINEAR_INPUTS), change, weight)
    return PointModels(tuple(boosters), linear, horizon_days)


def scaled_change(rows: Rows, target_pct: Floats, anchor_pct: Floats) -> Floats:
    """Change from the anchor in units of the pool's movement, held to +-8."""
    result: Floats = np.clip((target_pct - anchor_pct) / rows.scale, -CLIP, CLIP)
    return result


def row_weights(rows: Rows, power: float) -> Floats:
    """Movement to ``power``, the wildest 2 % alike; mean 1."""
    held = np.minimum(rows.scale, np.quantile(rows.scale, 0.98)) ** power
    result: Floats = held / held.mean()
    return result
