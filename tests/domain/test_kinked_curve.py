"""The kinked rate curve of a lending market, by hand numbers and by its own derivative."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stableyield.domain.lending import KinkedCurve
from stableyield.errors import ContractError

VALUES: dict[str, Any] = {
    "base_apr": 0.0,
    "slope1": 0.055,
    "slope2": 0.6,
    "optimal_utilisation": 0.9,
    "reserve_factor": 0.1,
    "debt_usd": 93e6,
    "deposits_usd": 100e6,
}
AAVE = KinkedCurve(**VALUES)


def _others(own: np.ndarray, usd: float = 100e6) -> np.ndarray:
    return np.full_like(own, usd)


@pytest.mark.parametrize(
    ("use", "borrow"),
    [(0.0, 0.02), (0.45, 0.04), (0.9, 0.06), (0.95, 0.36), (1.0, 0.66)],
)
def test_borrowers_pay_along_two_straight_lines(use: float, borrow: float) -> None:
    curve = KinkedCurve(**{**VALUES, "base_apr": 0.02, "slope1": 0.04})
    assert curve.borrow_apr(np.array([use]))[0] == pytest.approx(borrow)
    assert curve.supply_apr(np.array([use]))[0] == pytest.approx(borrow * use * 0.9)
    assert curve.supply_apy(np.array([use]))[0] == pytest.approx(np.exp(borrow * use * 0.9) - 1.0)


def test_five_millions_turn_a_spot_rate_of_twenty_percent_into_four() -> None:
    """93m of 100m lent: the kink at 90 % is passed after 3.33m."""
    own = np.array([0.0, 5e6])
    rates = AAVE.supply_apr(AAVE.utilisation(_others(own), own))
    assert rates == pytest.approx([0.197, 0.043], abs=0.0005)
    assert AAVE.share_kept(_others(own), own) == pytest.approx([1.0, rates[1] / rates[0]])
    assert AAVE.yield_usd(_others(own), own)[1] == pytest.approx(5e6 * rates[1])


def test_no_more_is_lent_than_is_deposited() -> None:
    use = AAVE.utilisation(np.array([0.0, 93e6, 50e6]), np.array([0.0, 0.0, 1e6]))
    assert use.tolist() == [1.0, 1.0, 1.0]


def test_who_leaves_raises_the_rate_of_what_stays() -> None:
    own = np.linspace(0.0, 20e6, 60)
    kept = AAVE.share_kept(_others(own, 90e6), own)
    assert np.all(np.diff(kept) <= 0.0)
    assert np.all(kept[own < 10e6] > 1.0)
    assert np.all(kept[own >= 10e6] <= 1.0)


def test_a_kink_is_steeper_above_or_not() -> None:
    assert AAVE.is_steeper_above_the_kink
    assert not KinkedCurve(**{**VALUES, "slope2": 0.006}).is_steeper_above_the_kink


_CURVES = st.builds(
    KinkedCurve,
    base_apr=st.floats(0.001, 0.1),
    slope1=st.floats(0.0, 0.3),
    slope2=st.floats(0.0, 3.0),
    optimal_utilisation=st.floats(0.3, 0.95),
    reserve_factor=st.floats(0.0, 0.5),
    debt_usd=st.floats(1e6, 9e7),
    deposits_usd=st.just(1e8),
)


@given(_CURVES, st.floats(0.01, 3.0))
def test_the_marginal_rate_is_the_slope_of_the_yield(curve: KinkedCurve, times: float) -> None:
    others, own = 1e8, times * 1e8
    use = curve.debt_usd / (others + own)
    if abs(use / curve.optimal_utilisation - 1.0) < 1e-3:
        return  # a corner has no slope
    step = 10.0
    near = np.array([own - step, own + step])
    slope = float(np.diff(curve.yield_usd(_others(near), near))[0]) / (2.0 * step)
    exact = curve.marginal_apr(others, own, is_above=use > curve.optimal_utilisation)
    assert exact == pytest.approx(slope, abs=1e-7)


@given(_CURVES, st.booleans())
def test_the_yield_of_a_branch_is_concave_up_to_where_it_turns(
    curve: KinkedCurve, is_above: bool
) -> None:
    others = 1e8
    kink = curve.debt_usd / curve.optimal_utilisation - others
    low, high = (0.0, kink) if is_above else (max(kink, 0.0), 5.0 * others)
    if low >= high:
        return  # the curve has no such branch
    turn = curve.concave_up_to_usd(others, is_above=is_above)
    assert turn >= min(high, others)
    points = np.linspace(low, high, 60)
    rates = np.array([curve.marginal_apr(others, x, is_above=is_above) for x in points])
    assert np.all(np.diff(rates[points <= turn]) <= 1e-12)
    assert np.all(np.diff(rates[points >= turn]) >= -1e-12)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_apr", -0.01),
        ("slope1", float("nan")),
        ("slope2", float("inf")),
        ("optimal_utilisation", 0.0),
        ("optimal_utilisation", 1.0),
        ("reserve_factor", 1.0),
        ("reserve_factor", -0.1),
        ("debt_usd", 0.0),
        ("deposits_usd", -1.0),
    ],
)
def test_a_malformed_curve_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ContractError, match=f"{name} is "):
        KinkedCurve(**{**VALUES, name: value})


def test_a_market_that_pays_nothing_below_its_kink_is_refused() -> None:
    with pytest.raises(ContractError, match="base_apr and slope1 are both 0"):
        KinkedCurve(**{**VALUES, "slope1": 0.0})
