from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stableyield.errors import ParameterError
from stableyield.loops.adaptive import AdaptiveCurve
from stableyield.loops.rate_curve import diluted_borrow_apr

CURVE = AdaptiveCurve(0.04)


@pytest.mark.parametrize(("used", "apr"), [(0.0, 0.01), (0.45, 0.025), (0.9, 0.04), (1.0, 0.16)])
def test_borrowers_pay_a_quarter_to_four_times_the_rate_at_target(used: float, apr: float) -> None:
    assert float(CURVE.borrow_apr(np.array(used))) == pytest.approx(apr)
    supply = AdaptiveCurve(0.04, fee=0.1).supply_apr(np.array(used))
    assert float(supply) == pytest.approx(apr * used * 0.9)


def test_at_full_use_the_rate_at_target_doubles_in_five_days() -> None:
    assert CURVE.after(1.0, 365 * np.log(2) / 50).rate_at_target_apr == pytest.approx(0.08)
    assert CURVE.after(0.9, 100).rate_at_target_apr == 0.04
    assert CURVE.after(0.0, 365 * np.log(2) / 50).rate_at_target_apr == pytest.approx(0.02)


def test_the_rate_at_target_stays_within_its_bounds() -> None:
    assert CURVE.after(1.0, 1000).rate_at_target_apr == 2.0
    assert CURVE.after(0.0, 1000).rate_at_target_apr == 0.001


@given(used=st.floats(0.0, 1.0), days=st.floats(0.0, 120.0), start=st.floats(0.001, 2.0))
def test_the_mean_over_a_horizon_is_that_of_the_way(used: float, days: float, start: float) -> None:
    curve = AdaptiveCurve(start)
    steps = (np.arange(50) + 0.5) / 50
    on_the_way = [curve.after(used, days * step).rate_at_target_apr for step in steps]
    mean = curve.over(used, days).rate_at_target_apr
    assert min(on_the_way) * 0.98 <= mean <= max(on_the_way) * 1.02
    assert mean == pytest.approx(np.mean(on_the_way), rel=0.02)


@given(used=st.floats(0.0, 1.0), first=st.floats(0.0, 20.0), second=st.floats(0.0, 20.0))
def test_two_spans_of_drift_are_one_long_one(used: float, first: float, second: float) -> None:
    once = CURVE.after(used, first + second).rate_at_target_apr
    assert CURVE.after(used, first).after(used, second).rate_at_target_apr == pytest.approx(once)


def test_our_debt_costs_more_after_the_drift_than_before_it() -> None:
    used = 0.96
    now = diluted_borrow_apr(CURVE, 1e8, 9e7, 0.0, 6e6)
    later = diluted_borrow_apr(CURVE.over(used, 30), 1e8, 9e7, 0.0, 6e6)
    assert later > now > 0.04


@pytest.mark.parametrize(
    "bad",
    [
        {"rate_at_target_apr": 4.0},
        {"rate_at_target_apr": float("nan")},
        {"fee": 1.0},
        {"target_utilisation": 90.0},
        {"steepness": 1.0},
        {"speed_per_year": -1.0},
        {"lowest_apr": 0.0},
        {"highest_apr": 0.0001},
    ],
)
def test_numbers_out_of_bounds_are_refused_by_name(bad: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=next(iter(bad))):
        AdaptiveCurve(**{"rate_at_target_apr": 0.04, **bad})


def test_a_horizon_or_utilisation_that_cannot_be_is_refused() -> None:
    with pytest.raises(ParameterError, match="days"):
        CURVE.after(0.9, -1.0)
    with pytest.raises(ParameterError, match="utilisation"):
        CURVE.over(90.0, 1.0)
