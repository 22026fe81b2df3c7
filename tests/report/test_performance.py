from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stableyield.errors import ContractError
from stableyield.report.performance import (
    PolicyDays,
    Undefined,
    apy,
    bootstrap_apy,
    break_even_cost,
    concentration,
    drawdowns,
    sharpe,
    sortino,
    under_water,
    volatility,
)


def book(growth, *, costs=0.0, start=1e6) -> PolicyDays:
    """A book that carries over, with a share of AUM paid as gas on each day."""
    growth = np.asarray(growth, dtype=float)
    curve = start * np.concatenate(([1.0], np.cumprod(growth)))
    gas = np.broadcast_to(costs, growth.shape) * curve[:-1]
    zero = np.zeros_like(growth)
    return PolicyDays(curve[:-1], curve[1:], gas, zero, zero)


def test_a_year_of_daily_growth_has_exactly_the_apy_it_compounds_to():
    assert apy(np.full(365, 1.05 ** (1 / 365))) == pytest.approx(0.05, abs=1e-12)


def test_half_a_year_is_scaled_by_365_days_not_by_trading_days():
    assert apy(np.full(73, 1.1 ** (1 / 73))) == pytest.approx(1.1**5 - 1.0)


def test_losing_everything_is_minus_one_hundred_percent():
    assert apy(np.array([1.0, 0.0])) == -1.0


def test_an_absurd_growth_has_no_apy_instead_of_an_overflow():
    assert isinstance(apy(np.array([10.0])), Undefined)


def test_volatility_and_sharpe_match_the_textbook():
    growth = np.array([1.001, 1.003, 0.999, 1.002])
    deviation = np.std([0.001, 0.003, -0.001, 0.002], ddof=1)
    assert volatility(growth) == pytest.approx(deviation * math.sqrt(365))
    assert sharpe(growth) == pytest.approx(0.00125 / deviation * math.sqrt(365))


def test_sortino_counts_shortfalls_over_all_days():
    growth = np.array([1.001, 1.003, 0.998, 1.002])
    downside = math.sqrt(0.002**2 / 4)
    assert sortino(growth) == pytest.approx(0.001 / downside * math.sqrt(365))


def test_sharpe_falls_when_the_stated_rate_rises():
    growth = np.array([1.001, 1.003, 0.999, 1.002])
    assert sharpe(growth, 0.05) < sharpe(growth, 0.0)


@pytest.mark.parametrize("growth", [np.full(30, 1.0), np.full(30, 1.0 + 1.3e-4), np.full(7, 0.999)])
def test_without_volatility_the_sharpe_ratio_is_undefined_not_infinite(growth):
    assert isinstance(sharpe(growth), Undefined)


def test_without_a_losing_day_the_sortino_ratio_is_undefined_with_a_reason():
    value = sortino(np.array([1.001, 1.002, 1.0]))
    assert isinstance(value, Undefined)
    assert "fell below" in value.reason


def test_one_day_has_neither_volatility_nor_sharpe():
    assert isinstance(volatility(np.array([1.01])), Undefined)
    assert isinstance(sharpe(np.array([1.01])), Undefined)


def test_a_loss_on_the_first_day_is_a_drawdown():
    curve = book([0.99, 1.001, 1.02]).curve
    assert drawdowns(curve).min() == pytest.approx(-0.01)
    assert under_water(curve) == (2, 2)


def test_time_under_water_tells_the_longest_run():
    assert under_water(np.array([10.0, 9, 11, 10, 10, 10.5, 12, 11])) == (5, 3)


@given(st.lists(st.floats(0.5, 1.5), min_size=1, max_size=40))
def test_a_drawdown_is_never_positive_and_never_a_total_loss(growth):
    depth = drawdowns(book(growth).curve)
    assert depth.max() <= 0.0
    assert depth.min() > -1.0
    below, longest = under_water(book(growth).curve)
    assert 0 <= longest <= below <= len(growth)


@given(
    st.lists(st.floats(0.9, 1.1), min_size=2, max_size=30),
    st.floats(0.0, 0.05),
)
def test_gross_growth_is_what_the_money_left_after_costs_earned(growth, share):
    days = book(growth, costs=share)
    after = days.aum_start - days.costs_usd
    np.testing.assert_allclose(days.gross_growth, days.aum_end / after, rtol=1e-12)


def test_the_bootstrap_interval_is_seeded_and_holds_the_estimate():
    growth = 1.0 + np.random.default_rng(3).normal(1.3e-4, 2e-4, 200)
    interval = bootstrap_apy(growth, seed=5)
    assert interval == bootstrap_apy(growth, seed=5)
    assert interval != bootstrap_apy(growth, seed=6)
    assert interval[0] < apy(growth) < interval[1]


def test_longer_blocks_keep_the_persistence_of_yields():
    slow = 1.0 + 1e-4 * (1.0 + np.sin(np.arange(240) / 38.0))
    narrow = np.ptp(bootstrap_apy(slow, block_days=1))
    assert np.ptp(bootstrap_apy(slow, block_days=30)) > 2.0 * narrow


def test_the_interval_of_a_constant_growth_is_a_point():
    low, high = bootstrap_apy(np.full(33, 1.05 ** (1 / 365)), block_days=14)
    assert low == pytest.approx(0.05)
    assert high == pytest.approx(0.05)


def test_few_days_and_a_total_loss_have_no_interval():
    assert isinstance(bootstrap_apy(np.full(27, 1.001)), Undefined)
    assert isinstance(bootstrap_apy(np.append(np.full(40, 1.001), 0.0)), Undefined)


def test_at_the_break_even_cost_the_lead_is_gone():
    growth = np.full(90, 1.0 + 2e-4)
    growth[::9] -= 2e-4
    costs = np.where(np.arange(90) % 9 == 0, 2e-4, 0.0)
    strategy, other = book(growth, costs=costs), book(np.full(90, 1.0 + 1.5e-4), costs=0.0)
    multiple = break_even_cost(strategy, other)
    dearer = np.log(strategy.gross_growth * (1.0 - multiple * strategy.cost_share)).sum()
    assert dearer == pytest.approx(np.log(other.growth).sum(), abs=1e-9)
    assert multiple > 1.0


def test_a_strategy_behind_without_costs_has_no_break_even():
    value = break_even_cost(book([1.0] * 5, costs=1e-4), book([1.001] * 5))
    assert value == Undefined("behind even if trading were free")


def test_a_lead_that_costs_cannot_remove_is_said_to_outlive_them():
    assert isinstance(break_even_cost(book([1.001] * 5), book([1.0] * 5)), Undefined)
    lossy = book([1.0, 0.0])
    assert isinstance(break_even_cost(lossy, book([1.0, 1.0])), Undefined)


def test_concentration_runs_from_one_over_n_to_one():
    equal, single = np.full((3, 4), 0.2), np.array([[0.0, 0.7]])
    assert concentration(equal) == pytest.approx(0.25)
    assert concentration(single) == pytest.approx(1.0)
    assert isinstance(concentration(np.zeros((2, 3))), Undefined)


@pytest.mark.parametrize("bad", [math.nan, 0.0, -1.0, math.inf])
def test_an_unknown_or_empty_aum_is_refused_with_its_row(bad):
    days = book([1.0, 1.0])
    start = np.array([1e6, bad])
    with pytest.raises(ContractError, match="row 1"):
        PolicyDays(start, days.aum_end, days.gas_usd, days.conversion_usd, days.turnover_usd)


def test_books_without_a_day_or_with_ragged_columns_are_refused():
    empty, two = np.zeros(0), np.ones(2)
    with pytest.raises(ContractError, match="without a day"):
        PolicyDays(empty, empty, empty, empty, empty)
    with pytest.raises(ContractError, match="gas_usd has shape"):
        PolicyDays(two, two, np.zeros(1), two, two)


def test_costs_that_take_the_whole_book_are_refused():
    with pytest.raises(ContractError, match="whole AUM"):
        _ = book([1.0], costs=1.0).gross_growth


def test_a_book_that_restarts_each_day_is_known_not_to_carry_over():
    ones, zeros = np.full(3, 100.0), np.zeros(3)
    assert not PolicyDays(ones, ones * 1.01, zeros, zeros, zeros).carries_over
    assert book([1.01, 1.02]).carries_over
