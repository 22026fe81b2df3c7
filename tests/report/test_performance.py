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


@pytest.mark.parametrize("growth", [0.999, 0.9999, 1.0])
def test_of_equal_shortfalls_the_sortino_ratio_is_undefined_whatever_their_size(growth):
    value = sortino(np.full(30, growth), 0.04)
    assert isinstance(value, Undefined)
    assert "alike" in value.reason


def test_days_of_which_some_fell_short_alike_have_a_sortino_ratio():
    growth = np.array([1.001, 0.999, 0.999, 1.002])
    downside = math.sqrt(2 * 0.001**2 / 4)
    assert sortino(growth) == pytest.approx(0.00025 / downside * math.sqrt(365))


@pytest.mark.parametrize("n_high", [3, 40])
def test_an_interval_whose_draws_have_no_meaningful_apy_is_undefined_not_infinite(n_high):
    growth = np.full(120, 1.0001)
    growth[:n_high] = 1e9  # 40 such days overflow a float once scaled to a year
    interval = bootstrap_apy(growth)
    assert isinstance(interval, Undefined)
    assert "no meaningful APY" in interval.reason


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


@pytest.mark.parametrize("column", ["aum_start", "aum_end", "gas_usd"])
@pytest.mark.parametrize("bad", [math.nan, -1.0, math.inf])
def test_an_unknown_or_negative_amount_is_refused_with_its_row(column, bad):
    days = book([1.0, 1.0])
    names = ("aum_start", "aum_end", "gas_usd", "conversion_usd", "turnover_usd")
    columns = {name: getattr(days, name).copy() for name in names}
    columns[column][1] = bad
    with pytest.raises(ContractError, match=f"row 1: {column} is"):
        PolicyDays(**columns)


def with_flows(growth, flows, *, start=1e6) -> PolicyDays:
    """A book that carries over and grows as told, to which the owner brings money on days."""
    starts, ends, aum = [], [], start
    for factor, flow in zip(growth, flows, strict=True):
        starts.append(aum + flow)
        ends.append((aum + flow) * factor)
        aum = ends[-1]
    zero = np.zeros(len(starts))
    return PolicyDays(np.array(starts), np.array(ends), zero, zero, zero, np.array(flows, float))


@given(st.lists(st.tuples(st.floats(0.9, 1.1), st.floats(-0.5, 3.0)), min_size=1, max_size=20))
def test_growth_does_not_depend_on_when_the_owner_brings_money(days):
    """Flows of up to half of what is there out, or three times the first money in."""
    growth = [factor for factor, _ in days]
    flows, aum = [], 1e6
    for factor, share in days:
        flows.append(share * aum if share < 0.0 else share * 1e6)
        aum = (aum + flows[-1]) * factor
    flowing, still = with_flows(growth, flows), book(growth)
    np.testing.assert_allclose(flowing.growth, still.growth, rtol=1e-12)
    assert flowing.carries_over
    # what is there at the end is what was brought and what was earned
    assert flowing.aum_end_usd == pytest.approx(1e6 + sum(flows) + flowing.profit_usd, abs=1e-3)


def test_two_days_with_a_deposit_come_out_by_hand():
    """100 grow to 101; 50 come and 151 grow to 154.02: 1.01 x 1.02, and 4.02 earned."""
    days = PolicyDays(
        np.array([100.0, 151.0]), np.array([101.0, 154.02]), *np.zeros((3, 2)), np.array([0.0, 50])
    )
    np.testing.assert_allclose(days.growth, [1.01, 1.02])
    assert days.profit_usd == pytest.approx(4.02)
    assert days.carries_over
    assert days.curve[-1] == pytest.approx(100 * 1.01 * 1.02)


def test_a_deposit_that_is_not_told_of_does_not_carry_over():
    start, end = np.array([100.0, 151.0]), np.array([101.0, 154.02])
    assert not PolicyDays(start, end, *np.zeros((3, 2))).carries_over


def test_days_without_money_say_nothing_of_performance():
    start, end = np.array([100.0, 101.0, 0.0, 0.0]), np.array([101.0, 102.01, 0.0, 0.0])
    days = PolicyDays(start, end, *np.zeros((3, 4)), np.array([0.0, 0.0, -102.01, 0.0]))
    np.testing.assert_allclose(days.growth, [1.01, 1.01])
    assert days.curve[-1] == pytest.approx(102.01)
    assert drawdowns(days.curve).min() == 0.0
    assert days.average_usd == pytest.approx(100.5)
    assert days.profit_usd == pytest.approx(2.01)
    assert days.carries_over


def test_a_total_loss_stays_one():
    days = PolicyDays(np.array([100.0, 100.0, 0.0]), np.array([100.0, 0.0, 0.0]), *np.zeros((3, 3)))
    assert apy(days.growth) == -1.0
    assert days.profit_usd == -100.0
    assert drawdowns(days.curve).min() == -1.0
    assert under_water(days.curve) == (2, 2)


def test_money_from_nowhere_and_no_money_at_all_are_refused():
    zeros = np.zeros((3, 2))
    with pytest.raises(ContractError, match="row 1: a book without money ends with some"):
        PolicyDays(np.array([1.0, 0.0]), np.array([1.0, 5.0]), *zeros)
    with pytest.raises(ContractError, match="no day has any money"):
        PolicyDays(np.zeros(2), np.zeros(2), *zeros)
    with pytest.raises(ContractError, match="row 0: flow_usd is nan"):
        PolicyDays(np.ones(2), np.ones(2), *zeros, np.array([math.nan, 0.0]))


def test_one_day_has_an_apy_a_drawdown_and_a_hit_rate_but_no_ratio():
    days = book([0.9999])
    assert apy(days.growth) == pytest.approx(0.9999**365 - 1.0)
    assert drawdowns(days.curve).min() == pytest.approx(-1e-4)
    assert isinstance(sharpe(days.growth), Undefined)
    lonely = sortino(days.growth)
    assert isinstance(lonely, Undefined)
    assert "one day" in lonely.reason
    assert isinstance(bootstrap_apy(days.growth), Undefined)


def test_two_days_have_a_volatility_and_a_sharpe_ratio_by_hand():
    growth = np.array([1.0003, 1.0001])
    assert volatility(growth) == pytest.approx(math.sqrt(2e-8 * 365))
    assert sharpe(growth) == pytest.approx(2e-4 / math.sqrt(2e-8) * math.sqrt(365))


def test_the_ratios_are_those_of_an_independent_library():
    """empyrical-reloaded 0.7.1 with annualization=365, a rate of 4 % a year, the same days."""
    k = np.arange(120)
    growth = 1.0 + 1e-4 + 3e-4 * np.sin(k) + 2e-4 * np.cos(0.037 * k**2) - 4e-3 * (k == 55)
    curve = book(growth).curve
    assert apy(growth) == pytest.approx(0.023911600422116486, abs=1e-12)
    assert volatility(growth) == pytest.approx(0.00886211843598679, abs=1e-12)
    assert sharpe(growth, 0.04) == pytest.approx(-1.7549808254179364, abs=1e-9)
    assert sortino(growth, 0.04) == pytest.approx(-1.9064818311299427, abs=1e-9)
    assert drawdowns(curve).min() == pytest.approx(-0.0043734855010906, abs=1e-12)


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
