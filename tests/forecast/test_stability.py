from __future__ import annotations

import numpy as np

from stableyield.forecast.segments import SEGMENTS, segment_of_pools
from stableyield.forecast.stability import instability_groups, next_instability_groups

NAN = np.nan


def zigzag(n_days: int, height: float, level: float = 20.0) -> np.ndarray:
    """A column that moves between level - height and level + height: std about ``height``."""
    return level + height * np.where(np.arange(n_days) % 2, 1.0, -1.0)


def test_groups_follow_the_standard_deviation() -> None:
    apy = np.column_stack([zigzag(40, 0.1), zigzag(40, 1.2), zigzag(40, 1.8), zigzag(40, 6.0)])
    assert instability_groups(apy) == ("low", "low", "medium", "high")


def test_a_quiet_week_does_not_hide_a_wild_month() -> None:
    apy = np.concatenate([zigzag(20, 6.0), np.full(10, 20.0)])[:, None]
    assert instability_groups(apy) == ("medium",)  # 0 over 7 days, 4.9 points over 30


def test_too_few_rows_are_insufficient() -> None:
    apy = np.full((40, 3), NAN)
    apy[-6:, 0] = 5.0  # six rows
    apy[-20:-8, 1] = 5.0  # none this week
    apy[-7:, 2] = 5.0
    assert instability_groups(apy) == ("insufficient", "insufficient", "low")


def test_the_group_of_tomorrow_counts_the_forecast() -> None:
    apy = np.full((40, 2), 5.0)
    assert next_instability_groups(apy, np.array([5.0, 25.0])) == ("low", "high")


def test_an_unknown_forecast_leaves_the_group_to_the_past() -> None:
    apy = np.column_stack([np.full(40, 5.0), zigzag(40, 6.0)])
    assert next_instability_groups(apy, np.full(2, NAN)) == ("low", "high")


def test_segments_are_told_by_what_was_known() -> None:
    apy = np.column_stack(
        [
            np.full(60, 5.0),
            zigzag(60, 3.0),
            np.r_[np.full(59, 5.0), 10.1],
            np.r_[np.full(59, 5.0), 10.0],  # not above twice the median, but it moved
            np.r_[np.full(31, NAN), zigzag(29, 9.0)],
            np.r_[np.full(30, NAN), zigzag(30, 0.1)],
        ]
    )
    kinds = [SEGMENTS[code] for code in segment_of_pools(apy)]
    assert kinds == ["calm", "volatile", "spike", "volatile", "cold", "calm"]
