"""What the learned forecaster knows of a pool on a day: one registry of features.

Training and serving call the same `compute`; serving hands it the last `LOOKBACK_DAYS` rows and
takes the last one. Row ``s`` of a feature uses rows ``s - LOOKBACK_DAYS + 1 .. s`` only, so both
give the same bits. Distances are divided by the pool's own recent movement (`Known.scale`), which
makes a pool at 3 % and one at 60 % comparable. What is not known is NaN.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import Floats
from stableyield.forecast.cross_section import group_medians_without_own, ranks_within
from stableyield.forecast.inputs import Inputs
from stableyield.forecast.windows import (
    carried_forward,
    exponential_mean,
    ratio,
    trailing_count,
    trailing_mean,
    trailing_median,
    trailing_std,
)

LOOKBACK_DAYS = 92
MAX_AGE_DAYS = 3
FAR = 20.0
"""Distances in units of the pool's movement end here: a spike of 1e6 % is just far."""
TYPICAL_KINK = 0.9
JUMP = 3.0


class Known:
    """Quantities that several features share, each computed once; all of shape (n_days, n_pools).

    Parameters
    ----------
    inputs : Inputs
    """

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.apy = inputs.apy

    @cached_property
    def last(self) -> Floats:
        """Last APY, at most three days old."""
        return carried_forward(self.apy, MAX_AGE_DAYS)

    @cached_property
    def step(self) -> Floats:
        """Change of the last APY since the day before."""
        return self.last - lagged(self.last, 1)

    @cached_property
    def std30(self) -> Floats:
        """Standard deviation of the APY over 30 days."""
        return trailing_std(self.apy, 30)

    @cached_property
    def roughness(self) -> Floats:
        """Mean absolute daily change over 14 days."""
        return trailing_mean(np.abs(self.step), 14)

    @cached_property
    def scale(self) -> Floats:
        """Recent movement of the pool, points: the unit of distances and of the target.

        The mean of the 30-day standard deviation and of the mean daily change, at least 1 % of
        the level plus 0.01 points: a constant pool then has distances of exactly 0.
        """
        return movement(self.last, self.std30, self.roughness)

    @cached_property
    def ewma(self) -> Floats:
        """Exponentially weighted mean, half-life 7 days."""
        return exponential_mean(self.apy, 7.0)

    def from_last(self, values: Floats) -> Floats:
        """Distance of ``values`` (percent) from the last APY, in units of the movement."""
        return np.clip((values - self.last) / self.scale, -FAR, FAR)

    def in_units(self, points: Floats) -> Floats:
        """Percentage points in units of the movement."""
        return np.clip(points / self.scale, -FAR, FAR)


def movement(level: Floats, std30: Floats, roughness: Floats) -> Floats:
    """See `Known.scale`."""
    parts = np.where(np.isfinite(std30), 0.5 * (std30 + roughness), roughness)
    parts = np.where(np.isfinite(parts), parts, 0.0)
    result: Floats = np.maximum(parts, smallest_movement(level))
    return result


def smallest_movement(level: Floats) -> Floats:
    """The scale of a pool that does not move: 1 % of its level and 0.01 points."""
    result: Floats = 0.01 * np.abs(level) + 0.01
    return result


def lagged(values: Floats, days: int) -> Floats:
    """The value of ``days`` rows before; NaN where there is none."""
    result = np.full_like(values, np.nan)
    result[days:] = values[: max(len(values) - days, 0)]
    return result


def trailing_extreme(values: Floats, days: int, sign: float) -> Floats:
    """Largest (``sign`` 1) or smallest (-1) known value of the last ``days`` rows."""
    best = np.where(np.isfinite(values), sign * values, -np.inf)
    reach = 1
    while reach < days:
        shift = min(reach, days - reach)
        later = best[shift:].copy()
        np.maximum(later, best[:-shift] if shift else best, out=later)
        best = np.concatenate([best[:shift], later])
        reach += shift
    return np.where(np.isfinite(best), sign * best, np.nan)


def days_since(events: NDArray[np.bool_], limit: int) -> Floats:
    """Rows since the last event, at most ``limit``."""
    rows = np.arange(len(events), dtype=np.float64)[:, None]
    when = np.maximum.accumulate(np.where(events, rows, -np.inf), axis=0)
    return np.minimum(rows - when, float(limit))


def level_features(known: Known) -> dict[str, Floats]:
    """Lags, means, medians and extremes of the APY, as distances from the last value."""
    apy = known.apy
    features = {f"lag{k}": known.from_last(lagged(known.last, k)) for k in (1, 2, 3, 5, 7, 14, 28)}
    for days in (2, 3, 5, 7, 14, 30, 60):
        features[f"mean{days}"] = known.from_last(trailing_mean(apy, days))
    for days in (7, 30):
        features[f"median{days}"] = known.from_last(trailing_median(apy, days))
        for name, sign in (("max", 1.0), ("min", -1.0)):
            features[f"{name}{days}"] = known.from_last(trailing_extreme(apy, days, sign))
    for half_life in (1.5, 3.0, 9.0):
        features[f"ewma{half_life:g}"] = known.from_last(exponential_mean(apy, half_life))
    features["ewma7"] = known.from_last(known.ewma)
    return features


def movement_features(known: Known) -> dict[str, Floats]:
    """How much and in which manner the APY moves."""
    std7, std60 = trailing_std(known.apy, 7), trailing_std(known.apy, 60)
    size = np.abs(known.in_units(known.step))
    return {
        "level": np.arcsinh(known.last),
        "scale": np.log(known.scale),
        "relative_scale": np.log(known.scale / (np.abs(known.last) + 0.1)),
        "std7": known.in_units(std7),
        "std30": known.in_units(known.std30),
        "std60": known.in_units(std60),
        # a pool that goes back and forth has a large daily change for its deviation
        "roughness": np.clip(ratio(known.roughness, known.std30), 0.0, FAR),
        "roughness60": np.clip(ratio(trailing_mean(np.abs(known.step), 60), std60), 0.0, FAR),
        "step_std": known.in_units(trailing_std(known.step, 30)),
        "days_since_jump": days_since(size > JUMP, 60),
        "unmoved": trailing_mean(np.where(np.isfinite(known.step), known.step == 0.0, np.nan), 14),
        "rows": trailing_count(known.apy, 60).astype(np.float64),
        "row_age": days_since(np.isfinite(known.apy), MAX_AGE_DAYS + 1),
        "weekday": np.broadcast_to(
            known.inputs.days.astype("datetime64[D]").astype(np.int64)[:, None] % 7, size.shape
        ).astype(np.float64),
    }


def paid_features(known: Known) -> dict[str, Floats]:
    """What days really paid (share prices, means over the day), where that is known."""
    paid = known.inputs.paid
    features = {f"paid_mean{k}": known.from_last(trailing_mean(paid, k)) for k in (1, 2, 3, 6, 14)}
    features["paid_lag6"] = known.from_last(lagged(paid, 6))
    features["paid_median14"] = known.from_last(trailing_median(paid, 14))
    return features


def reward_features(known: Known) -> dict[str, Floats]:
    """Base and reward apart: programmes end on a day, base rates do not."""
    base, reward = known.inputs.base, known.inputs.reward
    last = carried_forward(reward, MAX_AGE_DAYS)
    base_last = carried_forward(base, MAX_AGE_DAYS)
    moved = np.abs(known.in_units(last - lagged(last, 1))) > 0.5
    return {
        "reward_share": np.clip(ratio(last, np.abs(known.last)), 0.0, 1.5),
        "reward_mean7": known.in_units(trailing_mean(reward, 7) - last),
        "reward_mean30": known.in_units(trailing_mean(reward, 30) - last),
        "reward_lag1": known.in_units(lagged(last, 1) - last),
        "reward_age": days_since(moved, 60),
        "base_lag1": known.in_units(lagged(base_last, 1) - base_last),
        "base_mean7": known.in_units(trailing_mean(base, 7) - base_last),
        "base_mean30": known.in_units(trailing_mean(base, 30) - base_last),
    }


def size_features(known: Known) -> dict[str, Floats]:
    """TVL and utilisation, their changes, and the distance to where lending rates turn steep."""
    tvl = carried_forward(known.inputs.tvl, MAX_AGE_DAYS)
    use = carried_forward(known.inputs.utilisation, MAX_AGE_DAYS)
    features = {"tvl": tvl, "utilisation": use, "over_kink": np.maximum(use - TYPICAL_KINK, 0.0)}
    for k in (1, 3, 7, 28):
        features[f"tvl_change{k}"] = np.clip(tvl - lagged(tvl, k), -5.0, 5.0)
    for k in (1, 7):
        features[f"utilisation_change{k}"] = use - lagged(use, k)
    features["tvl_from_ewma"] = np.clip(tvl - exponential_mean(known.inputs.tvl, 7.0), -5.0, 5.0)
    features["tvl_std30"] = trailing_std(known.inputs.tvl - lagged(known.inputs.tvl, 1), 30)
    return features


def neighbour_features(known: Known) -> dict[str, Floats]:
    """The day's cross-section without the pool itself: same token, same protocol, all."""
    inputs = known.inputs
    everyone = np.zeros_like(inputs.token_of)
    week = known.from_last(lagged(known.last, 7))
    day = known.from_last(lagged(known.last, 1))
    pull = known.from_last(known.ewma)
    features: dict[str, Floats] = {}
    for name, group in (
        ("token", inputs.token_of),
        ("protocol", inputs.protocol_of),
        ("all", everyone),
    ):
        features[f"{name}_level"] = known.from_last(group_medians_without_own(known.last, group))
        features[f"{name}_week"] = group_medians_without_own(week, group)
        features[f"{name}_day"] = group_medians_without_own(day, group)
        features[f"{name}_pull"] = group_medians_without_own(pull, group)
        features[f"{name}_rank"] = ranks_within(known.last, group)
    return features


def market_features(known: Known) -> dict[str, Floats]:
    """Moves of gas and of ETH: the same for every pool of a day."""
    gas = carried_forward(known.inputs.gas, MAX_AGE_DAYS)
    eth = carried_forward(known.inputs.eth, MAX_AGE_DAYS)
    columns = {
        "gas_from_mean7": gas - trailing_mean(known.inputs.gas, 7),
        "gas_from_mean30": gas - trailing_mean(known.inputs.gas, 30),
        "eth_change1": eth - lagged(eth, 1),
        "eth_change7": eth - lagged(eth, 7),
        "eth_change30": eth - lagged(eth, 30),
        "eth_std14": trailing_std(eth - lagged(eth, 1), 14),
    }
    return {name: np.broadcast_to(column, known.apy.shape) for name, column in columns.items()}


FeatureGroup = Callable[[Known], Mapping[str, Floats]]
FEATURE_GROUPS: tuple[FeatureGroup, ...] = (
    level_features,
    movement_features,
    paid_features,
    reward_features,
    size_features,
    neighbour_features,
    market_features,
)
"""Everything the models see, in this order."""


def compute(
    known: Known, rows: NDArray[np.intp], groups: Sequence[FeatureGroup] = FEATURE_GROUPS
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Names of the features and their values on ``rows``.

    Parameters
    ----------
    known : Known
    rows : ndarray of int
        Rows wanted; each needs the `LOOKBACK_DAYS` - 1 before it, or the start of the history.
    groups : sequence of FeatureGroup

    Returns
    -------
    names : tuple of str, length n_features
    values : ndarray of float32, shape (n_rows, n_pools, n_features)
    """
    wanted = [
        (name, np.asarray(values[rows], dtype=np.float32))
        for group in groups
        for name, values in group(known).items()
    ]
    return tuple(name for name, _ in wanted), np.stack([values for _, values in wanted], axis=-1)


def feature_hash(groups: Sequence[FeatureGroup] = FEATURE_GROUPS) -> str:
    """First 12 characters of the sha256 of the list of features."""
    names = ",".join(f"{group.__module__}.{group.__qualname__}" for group in groups)
    return hashlib.sha256(names.encode()).hexdigest()[:12]
