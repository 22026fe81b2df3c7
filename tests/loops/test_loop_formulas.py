from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stableyield.errors import ParameterError
from stableyield.loops.formulas import (
    depeg_loss,
    depeg_to_liquidation,
    health_factor,
    leverage,
    leverage_for_health_factor,
    leverage_limit,
    max_leverage,
    net_apr,
    position_ltv,
    rebuild_cost,
    rounds_until,
)

LTV = st.floats(0.0, 0.98)
THRESHOLD = st.floats(0.1, 0.99)
LEVERAGE = st.floats(1.0, 30.0)
RATE = st.floats(-0.5, 2.0)


def test_golden_values_of_the_loop_at_ltv_090_and_three_rounds() -> None:
    size = leverage(0.9, 3)
    assert size == pytest.approx(3.439, abs=1e-5)
    assert position_ltv(size) == pytest.approx(0.70922, abs=1e-5)
    assert health_factor(size, 0.95) == pytest.approx(1.33950, abs=1e-5)
    assert health_factor(size, 0.78) == pytest.approx(1.09980, abs=1e-5)
    assert depeg_to_liquidation(size, 0.95) == pytest.approx(0.25345, abs=1e-5)
    assert depeg_to_liquidation(size, 0.78) == pytest.approx(0.09075, abs=1e-5)
    assert max_leverage(0.78, 0.12) == pytest.approx(3.18878, abs=1e-5)
    assert rebuild_cost(size, 0.0001) == pytest.approx(0.00048780, abs=1e-9)
    assert depeg_loss(size, 0.01) == pytest.approx(-0.03439, abs=1e-9)


def test_the_net_apr_is_in_the_unit_of_its_rates() -> None:
    assert net_apr(3.439, 14.0, 9.0) == pytest.approx(26.195)
    assert net_apr(3.439, 0.14, 0.09) == pytest.approx(0.26195)
    assert net_apr(3.0, 5.0, 6.0, supply_reward=1.0, borrow_reward=2.0) == pytest.approx(10.0)


def test_the_stop_share_of_the_notebook_means_three_rounds() -> None:
    assert rounds_until(0.9, 0.8) == 3
    assert rounds_until(0.9, 1.0) == 0
    assert rounds_until(0.0, 0.5) == 0


@given(ltv=st.floats(0.05, 0.98), rounds=st.integers(1, 40))
def test_a_stop_share_that_is_the_last_loan_needs_no_further_round(ltv: float, rounds: int) -> None:
    assert rounds_until(ltv, ltv**rounds) == rounds


@given(ltv=st.floats(0.05, 0.98), stop=st.floats(0.01, 0.99))
def test_the_last_loan_is_the_first_within_the_stop_share(ltv: float, stop: float) -> None:
    n = rounds_until(ltv, stop)
    assert ltv**n <= stop * (1 + 1e-6)
    assert ltv ** (n - 1) > stop * (1 - 1e-6)


@given(ltv=LTV, rounds=st.integers(0, 60))
def test_leverage_is_the_sum_of_all_supplies(ltv: float, rounds: int) -> None:
    assert leverage(ltv, rounds) == pytest.approx(sum(ltv**i for i in range(rounds + 1)))


@given(ltv=LTV, more=st.floats(0.001, 0.019), rounds=st.integers(1, 60))
def test_leverage_grows_with_ltv_and_rounds_and_stays_below_its_limit(
    ltv: float, more: float, rounds: int
) -> None:
    size = leverage(ltv, rounds)
    assert leverage(ltv + more, rounds) > size
    assert leverage(ltv, rounds + 1) >= size
    assert 1.0 <= size <= leverage_limit(ltv) * (1 + 1e-12)


@given(supply=RATE, borrow=RATE, supply_reward=RATE, borrow_reward=RATE)
def test_leverage_one_is_plain_supply(
    supply: float, borrow: float, supply_reward: float, borrow_reward: float
) -> None:
    net = net_apr(1.0, supply, borrow, supply_reward, borrow_reward)
    assert net == supply + supply_reward
    assert health_factor(1.0, 0.8) == math.inf
    assert position_ltv(1.0) == 0.0
    assert rebuild_cost(1.0, 0.001) == 0.0


@given(size=LEVERAGE, supply=RATE, borrow=RATE)
def test_net_apr_is_the_supply_rate_and_the_spread_on_the_debt(
    size: float, supply: float, borrow: float
) -> None:
    assert net_apr(size, supply, borrow) == pytest.approx(supply + (size - 1) * (supply - borrow))


@given(size=st.floats(1.01, 30.0), threshold=THRESHOLD, ratio=st.floats(0.1, 2.0))
def test_the_health_factor_rises_with_the_price_ratio_and_falls_with_leverage(
    size: float, threshold: float, ratio: float
) -> None:
    factor = health_factor(size, threshold, ratio)
    assert health_factor(size, threshold, ratio * 1.01) > factor
    assert health_factor(size * 1.01, threshold, ratio) < factor


@given(size=st.floats(1.01, 30.0), threshold=THRESHOLD)
def test_the_health_factor_is_one_exactly_at_the_depeg_to_liquidation(
    size: float, threshold: float
) -> None:
    ratio = 1.0 - depeg_to_liquidation(size, threshold)
    assert health_factor(size, threshold, ratio) == pytest.approx(1.0)


@given(threshold=THRESHOLD, depeg=st.floats(0.0, 0.9))
def test_the_largest_safe_leverage_is_the_inverse_of_the_depeg_to_liquidation(
    threshold: float, depeg: float
) -> None:
    size = max_leverage(threshold, depeg)
    assert depeg_to_liquidation(size, threshold) == pytest.approx(depeg, abs=1e-9)


@given(threshold=THRESHOLD, wanted=st.floats(1.001, 20.0))
def test_a_target_health_factor_gives_the_leverage_that_has_it(
    threshold: float, wanted: float
) -> None:
    size = leverage_for_health_factor(threshold, wanted)
    assert health_factor(size, threshold) == pytest.approx(wanted)


def test_leverage_past_the_threshold_has_a_negative_depeg_to_liquidation() -> None:
    assert depeg_to_liquidation(6.0, 0.8) < 0.0


@pytest.mark.parametrize("ltv", [90, 1.0, -0.1, math.nan, math.inf, "0.9", True, None])
def test_an_ltv_that_is_no_fraction_below_one_is_refused(ltv: object) -> None:
    with pytest.raises(ParameterError, match="ltv"):
        leverage(ltv, 3)  # type: ignore[arg-type]


def test_a_percentage_in_place_of_a_fraction_is_named_with_its_remedy() -> None:
    with pytest.raises(ParameterError, match=r"90 % is 0\.9"):
        leverage(90, 3)
    with pytest.raises(ParameterError, match=r"78 % is 0\.78"):
        health_factor(2.0, 78)
    with pytest.raises(ParameterError, match=r"12 % is 0\.12"):
        max_leverage(0.78, 12)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: leverage(0.9, -1), "rounds"),
        (lambda: leverage(0.9, 2.5), "rounds"),  # type: ignore[arg-type]
        (lambda: leverage_limit(1.0), "ltv"),
        (lambda: rounds_until(0.9, 0.0), "stop_share"),
        (lambda: rounds_until(0.9, 80.0), "stop_share"),
        (lambda: position_ltv(0.9), "at least 1"),
        (lambda: net_apr(0.5, 0.1, 0.1), "leverage"),
        (lambda: net_apr(2.0, math.nan, 0.1), "supply_apr"),
        (lambda: health_factor(2.0, 0.0), "liquidation_threshold"),
        (lambda: health_factor(2.0, 0.8, 0.0), "price_ratio"),
        (lambda: leverage_for_health_factor(0.8, 1.0), "above 1"),
        (lambda: depeg_to_liquidation(2.0, 1.5), "liquidation_threshold"),
        (lambda: max_leverage(0.8, 1.0), "depeg"),
        (lambda: max_leverage(1.0, 0.0), "bound no leverage"),
        (lambda: rebuild_cost(2.0, -0.1), "swap_cost"),
        (lambda: depeg_loss(2.0, 5.0), "depeg"),
    ],
)
def test_arguments_out_of_bounds_are_refused_by_name(call: object, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        call()  # type: ignore[operator]
