"""Segments of an evaluation: what kind of pool it was at the origin, from data known then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import Floats
from stableyield.forecast.base import is_cold_start
from stableyield.forecast.stability import (
    INSTABILITY_GROUPS,
    LOW_LIMITS_PCT,
    MONTH_DAYS,
    instability_groups,
    recent_std_pct,
)
from stableyield.forecast.windows import last_known, median_of_last_axis, ratio
from stableyield.market.panel import PoolSeries

SEGMENTS = ("calm", "volatile", "spike", "cold")
VOLATILITY_CLASSES = INSTABILITY_GROUPS
REWARD_SEGMENT = "reward"
SPIKE_RATIO = 2.0
REWARD_SHARE = 0.5
"""Share of the APY that is paid as reward above which a pool is in the segment ``reward``."""


@dataclass(frozen=True, eq=False)
class Kinds:
    """What kind each of some pools was at an origin; arrays of shape (n_pools,).

    Parameters
    ----------
    segment : ndarray of int
        Index into `SEGMENTS`: they do not overlap.
    volatility : ndarray of int
        Index into `VOLATILITY_CLASSES`.
    is_reward : ndarray of bool
        More than half of the last APY was reward.
    """

    segment: NDArray[np.int8]
    volatility: NDArray[np.int8]
    is_reward: NDArray[np.bool_]

    @classmethod
    def of(cls, series: PoolSeries) -> Kinds:
        """The kinds of all pools of a view, on its last day."""
        classes = [VOLATILITY_CLASSES.index(name) for name in instability_groups(series.apy_pct)]
        return cls(segment_of_pools(series.apy_pct), np.array(classes, np.int8), _is_reward(series))

    def at(self, pools: NDArray[np.bool_]) -> Kinds:
        """Those of some pools."""
        return Kinds(self.segment[pools], self.volatility[pools], self.is_reward[pools])

    @classmethod
    def joined(cls, parts: list[Kinds]) -> Kinds:
        """Several in a row."""
        return cls(
            np.concatenate([part.segment for part in parts]),
            np.concatenate([part.volatility for part in parts]),
            np.concatenate([part.is_reward for part in parts]),
        )

    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """Members of every segment by its name, ``all`` first.

        The volatility classes are named ``volatility_low`` and so on. ``reward`` and they cut
        across the other four.
        """
        return {
            "all": np.ones(len(self.segment), dtype=bool),
            **{name: self.segment == i for i, name in enumerate(SEGMENTS)},
            REWARD_SEGMENT: self.is_reward,
            **{
                f"volatility_{name}": self.volatility == i
                for i, name in enumerate(VOLATILITY_CLASSES)
            },
        }


def segment_of_pools(apy_pct: Floats) -> NDArray[np.int8]:
    """Index into `SEGMENTS` of each pool; shape (n_pools,).

    ``cold``: fewer than 30 rows in the last 180 days; else ``spike``: the last APY is above twice
    its 30-day median; else ``volatile``: the 7-day standard deviation is above 1.5 points or the
    30-day one above 2 (the default limits of risk group 1); else ``calm``.

    Parameters
    ----------
    apy_pct : ndarray of shape (n_days, n_pools)
        Percent; the last row is the origin.
    """
    recent = apy_pct[-MONTH_DAYS:]
    is_spike = last_known(recent) > SPIKE_RATIO * median_of_last_axis(recent.T)
    week, month = recent_std_pct(apy_pct)
    is_volatile = (week > LOW_LIMITS_PCT[0]) | (month > LOW_LIMITS_PCT[1])
    kinds = [is_cold_start(apy_pct), is_spike, is_volatile]
    return np.select(kinds, [3, 2, 1], default=0).astype(np.int8)


def _is_reward(series: PoolSeries) -> NDArray[np.bool_]:
    """Pools whose last known reward is more than half of their last APY; unknown: not."""
    recent = slice(-MONTH_DAYS, None)
    share = ratio(last_known(series.apy_reward_pct[recent]), last_known(series.apy_pct[recent]))
    result: NDArray[np.bool_] = share > REWARD_SHARE
    return result
