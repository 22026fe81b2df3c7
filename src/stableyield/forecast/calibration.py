"""Quantiles: trees with the pinball loss, and a calibration on the most recent origins.

On origins that trees did not learn from, the distance from the middle to the outcome is divided by
the distance from the middle to the forecast quantile. The 90 % quantile of these ratios is what
the interval would have had to be stretched by (conformalised quantile regression, Romano, Patterson
and Candes 2019, in the multiplicative form and with the two sides apart, for rates are skewed).
Each class of pools has its own factor as far as it has enough origins.

Two things follow from what was found on validation spans. An additive correction fails on pools at
rest, whose outcome lies exactly on the quantile: pools that hardly move are left out. And the
factor is believed as far as the holdout holds independent outcomes: 45 of them for 1 day, one and
a half for 30 days, over which regimes change; there the interval is drawn towards the pool's own
60-day range instead, which knows no trend.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import Floats
from stableyield.forecast.boosting import Trees, predict
from stableyield.forecast.point_models import scaled_change
from stableyield.forecast.training import LearnedSettings, Rows

if TYPE_CHECKING:
    from lightgbm import Booster

ANCHOR = "ewma2"
CLASS_LIMITS = (-3.0, -1.5)
"""Logarithms of movement / level that separate calm, moving and wild pools."""
N_CLASSES = len(CLASS_LIMITS) + 1
OWN_ROWS_HALF = 100.0
"""Independent rows at which a class's own factor weighs one half."""
BLOCKS_HALF = 5.0
"""Independent outcomes, one after the other, at which a factor is half believed."""
FACTOR_LIMITS = (0.5, 2.5)
MIN_ROWS = 30
LOW_STRETCH_A_DAY = 0.005
"""Trees see less of the future than of the past: intervals are a little narrow, and more so with
every day ahead. Beyond `LONG_HORIZON_DAYS` the range below is wide enough as it is."""
HIGH_STRETCH, HIGH_STRETCH_A_DAY = 1.10, 0.008
"""Rates rise further than they fall: the upper side is wider, and more so with every day ahead.
Both were chosen on Aave and Compound of 2021-2022 and on realised vault returns of 2023."""
LONG_HORIZON_DAYS = 10
RANGE_WEIGHT = 0.5
RANGE_BELOW, RANGE_ABOVE = 0.9, 2.0
"""Deviations below and above the 60-day mean that end the range of a long horizon."""


@dataclass(frozen=True, eq=False)
class Factors:
    """What the two sides of an interval are stretched by; shape (n_classes,) each."""

    low: Floats
    high: Floats

    @classmethod
    def none(cls) -> Factors:
        """Nothing is stretched: there was no holdout."""
        return cls(np.ones(N_CLASSES), np.ones(N_CLASSES))


@dataclass(frozen=True, eq=False)
class QuantileModels:
    """Trees for the 10 % and the 90 % quantile of the change from the short average."""

    low: Booster
    high: Booster
    horizon_days: int

    def predict(self, rows: Rows) -> tuple[Floats, Floats]:
        """q10 and q90 of each row as the trees have them, percent; shape (n_rows,) each."""
        anchor = rows.anchors[ANCHOR]
        low = anchor + rows.scale * predict(self.low, rows.features)
        high = anchor + rows.scale * predict(self.high, rows.features)
        return np.minimum(low, high), np.maximum(low, high)

    def interval(self, rows: Rows, point_pct: Floats, factors: Factors) -> tuple[Floats, Floats]:
        """Calibrated q10 and q90 around the point forecast, percent."""
        low, high = self.predict(rows)
        below, above = np.maximum(point_pct - low, 0.0), np.maximum(high - point_pct, 0.0)
        above *= HIGH_STRETCH + HIGH_STRETCH_A_DAY * self.horizon_days
        if self.horizon_days > LONG_HORIZON_DAYS:
            range_below, range_above = _own_range(rows, point_pct)
            below = (1.0 - RANGE_WEIGHT) * below + RANGE_WEIGHT * range_below
            above = (1.0 - RANGE_WEIGHT) * above + RANGE_WEIGHT * range_above
        else:
            below *= 1.0 + LOW_STRETCH_A_DAY * self.horizon_days
        group = volatility_class(rows)
        return point_pct - factors.low[group] * below, point_pct + factors.high[group] * above


def volatility_class(rows: Rows) -> NDArray[np.intp]:
    """0 (calm), 1 or 2 (wild), from the movement of a pool relative to its level."""
    relative = np.log(rows.scale / (np.abs(rows.last) + 0.1))
    return np.searchsorted(CLASS_LIMITS, relative)


def fit_quantiles(
    rows: Rows, target_pct: Floats, horizon_days: int, settings: LearnedSettings, trees: Trees
) -> QuantileModels:
    """Trees with the pinball loss; every row counts alike: a calm pool's interval is one too."""
    change = scaled_change(rows, target_pct, rows.anchors[ANCHOR])
    weight, size = np.ones(len(rows)), settings.quantile_boosting
    return QuantileModels(
        trees.fit(change, weight, size, seed=settings.seed + 11, quantile=0.1),
        trees.fit(change, weight, size, seed=settings.seed + 12, quantile=0.9),
        horizon_days,
    )


def fit_factors(models: QuantileModels, rows: Rows, outcome_pct: Floats) -> Factors:
    """Factors that would have been right on held-out rows, as far as they are believed.

    Parameters
    ----------
    models : QuantileModels
        Fitted on what was known before the first of ``rows``.
    rows : Rows
        Origins that the models did not learn from.
    outcome_pct : ndarray of shape (n_rows,)
    """
    low, high = models.predict(rows)
    middle = np.clip(rows.anchors[ANCHOR], low, high)
    moves = rows.scale > 1.05 * rows.smallest_scale
    blocks = float(np.ptp(rows.day)) / models.horizon_days
    trust = blocks / (blocks + BLOCKS_HALF)
    group = np.where(moves, volatility_class(rows), -1)
    sides = []
    for sign, edge in ((-1.0, low), (1.0, high)):
        width = np.maximum(sign * (edge - middle), 0.02 * rows.scale)
        ratio = sign * (outcome_pct - middle) / width
        sides.append(_by_class(ratio, group, models.horizon_days) ** trust)
    return Factors(*sides)


def _by_class(ratio: Floats, group: NDArray[np.intp], horizon_days: int) -> Floats:
    """The stretch that each class needs, drawn towards that of all; group -1 is left out."""
    factors = np.full(N_CLASSES, _needed(ratio[group >= 0], fallback=1.0))
    for k in range(N_CLASSES):
        own = ratio[group == k]
        weight = len(own) / (len(own) + OWN_ROWS_HALF * horizon_days)
        factors[k] += weight * (_needed(own, fallback=factors[k]) - factors[k])
    return factors


def _needed(ratio: Floats, fallback: float) -> float:
    if len(ratio) < MIN_ROWS:
        return fallback
    return float(np.clip(np.quantile(ratio, 0.9), *FACTOR_LIMITS))


def _own_range(rows: Rows, point_pct: Floats) -> tuple[Floats, Floats]:
    """Distances from the point forecast to the ends of the pool's own recent range, points."""
    mean, std = rows.anchors["mean60"], rows.anchors["std60"]
    std = np.where(np.isfinite(std), std, rows.scale)
    below = np.maximum(point_pct - (mean - RANGE_BELOW * std), 0.0)
    above = np.maximum(mean + RANGE_ABOVE * std - point_pct, 0.0)
    return below, above
