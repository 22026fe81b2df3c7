"""How much money a strategy carries, and how dear trading may become."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stableyield.backtest import BacktestSettings, GasPricing, run_backtest
from stableyield.backtest.benchmarks import BestSingle, EqualWeight, Idle
from stableyield.domain.costs import GasCosts
from stableyield.errors import ParameterError
from stableyield.study.break_even import DearerGas, break_even_cost, with_costs_times
from stableyield.study.capacity import capacity_curve
from support.markets import NO_GAS, day, hand_made, lax, pool, synthetic_panel

TEN = GasPricing(fixed=GasCosts(10.0, 10.0, 10.0))


def two_pools(n_days=70, tvl=1e7):
    """a pays 10 %, b pays 2 %, for ever."""
    return hand_made([pool("a"), pool("b")], n_days, {"apy_pct": [10.0, 2.0], "tvl_usd": tvl})


def settings(**changes) -> BacktestSettings:
    values = {"start": day(30), "end": day(59), "parameters": lax(), "gas": TEN, "aum_usd": 1e5}
    return BacktestSettings(**{**values, **changes})


# --- capacity ---


def test_small_money_is_eaten_by_gas_and_large_money_finds_no_room():
    curve = capacity_curve(two_pools(), settings(), aum_usd=(1e9, 1e3, 1e5), policy_of=BestSingle)
    assert curve.policy == "best_single"
    assert [round(o.aum_start_usd) for o in curve.outcomes] == [1000, 100_000, 1_000_000_000]
    small, middle, large = (o.net_apy_pct for o in curve.outcomes)
    assert small < middle
    assert large < 0.1  # 5 % of 1e7 is all that the pool takes
    assert middle == pytest.approx(10.0, abs=0.4)  # 10 USD of gas, 1 % dilution
    assert curve.best.net_apy_pct == middle


def test_the_largest_aum_that_still_earns_enough():
    curve = capacity_curve(two_pools(), settings(), aum_usd=(1e5, 1e6, 1e8), policy_of=BestSingle)
    assert curve.largest_aum_usd(9.0) == pytest.approx(1e5)
    assert curve.largest_aum_usd(4.0) == pytest.approx(1e6)
    assert curve.largest_aum_usd(50.0) is None


def test_a_capacity_curve_runs_the_strategy_unless_told_otherwise():
    seen = []
    curve = capacity_curve(
        synthetic_panel(),
        BacktestSettings(start=day(40), end=day(42)),
        aum_usd=(1e5, 1e6),
        progress=lambda n, of: seen.append((n, of)),
    )
    assert curve.policy == "strategy"
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize("amounts", [(), (0.0,), (1e5, -1.0), (float("nan"),)])
def test_capacity_needs_positive_amounts(amounts):
    with pytest.raises(ParameterError, match="aum_usd"):
        capacity_curve(two_pools(), settings(), aum_usd=amounts)


# --- break-even cost ---


def test_all_costs_are_multiplied():
    dear = with_costs_times(settings(), 3.0)
    assert dear.parameters.conversion_rate == pytest.approx(3.0 * 0.0004)
    view = two_pools().as_of(day(30))
    assert dear.gas.costs(view, "aave-v3") == GasCosts(30.0, 30.0, 30.0)
    dated = DearerGas(multiple=2.0).costs(view, "aave-v3")
    usual = GasPricing().costs(view, "aave-v3")
    assert dated.allocation == pytest.approx(2.0 * usual.allocation)
    assert dated.conversion == pytest.approx(2.0 * usual.conversion)


@pytest.mark.parametrize("gas", [TEN, GasPricing()])
def test_a_backtest_pays_the_multiplied_gas(gas):
    usual, dear = (
        run_backtest(two_pools(), replace(chosen, with_benchmarks=False), policy=BestSingle())
        for chosen in (settings(gas=gas), with_costs_times(settings(gas=gas), 3.0))
    )
    paid = usual.daily_log["gas_usd"].sum()
    assert paid > 0.0
    assert dear.daily_log["gas_usd"].sum() == pytest.approx(3.0 * paid)


def test_a_conversion_never_costs_more_than_half():
    assert with_costs_times(settings(), 1e6).parameters.conversion_rate == 0.5


def test_break_even_of_one_entry_is_what_it_earns_over_its_gas():
    """One deposit against none: the lead is gone when 10 USD x m are the yield of thirty days."""
    found = break_even_cost(
        two_pools(tvl=1e12),
        settings(aum_usd=1e4, parameters=lax(own_impact="none")),
        policy_of=BestSingle,
        other_of=Idle,
        accuracy=0.001,
    )
    rest = 1.1 ** (-30 / 365)  # (1e4 - 10 m) x growth = 1e4
    assert found.multiple == pytest.approx(1e4 * (1.0 - rest) / 10.0, rel=0.002)
    assert found.reason == ""
    multiples = [multiple for multiple, _ in found.leads]
    assert multiples == sorted(multiples)
    leads = np.array([lead for _, lead in found.leads])
    assert (np.diff(leads) < 0.0).all()


def test_no_break_even_where_trading_for_free_does_not_help():
    found = break_even_cost(two_pools(), settings(), policy_of=Idle, other_of=EqualWeight)
    assert found.multiple is None
    assert found.reason == "behind even if trading were free"
    assert [multiple for multiple, _ in found.leads] == [0.01]


def test_no_break_even_where_costs_hardly_matter():
    found = break_even_cost(
        two_pools(), settings(gas=NO_GAS), policy_of=BestSingle, other_of=Idle, highest=4.0
    )
    assert found.multiple is None
    assert found.reason == "the lead outlives 4 times the costs"
    assert [multiple for multiple, _ in found.leads] == [0.01, 1.0, 2.0, 4.0]


@pytest.mark.parametrize("wrong", [{"highest": 1.0}, {"accuracy": 0.0}])
def test_a_bracket_must_be_able_to_close(wrong):
    with pytest.raises(ParameterError, match="highest"):
        break_even_cost(two_pools(), settings(), **wrong)
