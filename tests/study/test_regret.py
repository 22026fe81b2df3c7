"""Regret adds up, every rung is free of one more burden, and the captured share has its edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stableyield.backtest import BacktestSettings, run_backtest
from stableyield.backtest.benchmarks import EqualWeight, Idle
from stableyield.backtest.clairvoyant import Clairvoyant
from stableyield.backtest.policy import MilpPolicy
from stableyield.domain.costs import GasCosts
from stableyield.errors import ContractError, ParameterError
from stableyield.study.attribution import CAUSES, Regret, captured, without_diversification
from stableyield.study.outcome import Outcome
from stableyield.study.regret import ladder, regret
from support.markets import NO_GAS, day, hand_made, lax, pool, synthetic_panel

SPAN = {"start": day(36), "end": day(46)}


def settings(**changes) -> BacktestSettings:
    return BacktestSettings(**{"with_benchmarks": False, "aum_usd": 2e5, **SPAN, **changes})


# --- one run ---


def test_an_outcome_is_the_sums_of_its_log():
    result = run_backtest(synthetic_panel(), settings())
    log, outcome = result.daily_log, Outcome.of(result)
    assert outcome.policy == "strategy"
    assert outcome.n_days == 11
    assert outcome.aum_start_usd == pytest.approx(2e5)
    assert outcome.profit_usd == pytest.approx(log["aum_end"].iloc[-1] - 2e5, abs=1e-6)
    growth = log["aum_end"].iloc[-1] / 2e5
    assert outcome.growth == pytest.approx(growth, rel=1e-12)
    assert outcome.net_apy_pct == pytest.approx(100.0 * (growth ** (365 / 11) - 1.0))
    assert outcome.costs_usd == pytest.approx(log["total_fees_usd"].sum())
    assert outcome.gross_apy_pct > outcome.net_apy_pct
    assert 0.5 < outcome.invested_share <= 1.0


def test_idle_money_is_not_invested():
    outcome = Outcome.of(run_backtest(synthetic_panel(), settings(), policy=Idle()))
    assert outcome.invested_share == 0.0
    assert outcome.costs_usd == 0.0
    assert outcome.gross_growth == outcome.growth


def made(profit: float, growth: float = 1.0, **changes) -> Outcome:
    values = {
        "policy": "x",
        "n_days": 365,
        "aum_start_usd": 1e6,
        "growth": growth,
        "gross_growth": growth,
        "yield_usd": profit,
        "price_usd": 0.0,
        "gas_usd": 0.0,
        "conversion_usd": 0.0,
        "turnover_usd": 0.0,
        "invested_share": 1.0,
    }
    return Outcome(**{**values, **changes})


def test_a_run_that_lost_everything_has_lost_all_of_it():
    assert made(-1e6, growth=0.0).net_apy_pct == -100.0


# --- captured ---


def test_captured_is_one_for_perfect_foresight_and_zero_for_equal_weight():
    assert captured(30.0, 10.0, 30.0).share == 1.0
    assert captured(10.0, 10.0, 30.0).share == 0.0
    assert captured(15.0, 10.0, 30.0).share == 0.25


def test_captured_is_negative_behind_equal_weight_and_may_exceed_one():
    assert captured(0.0, 10.0, 30.0).share == -0.5
    assert captured(50.0, 10.0, 30.0).share == 2.0


@pytest.mark.parametrize("clairvoyant", [10.0, 9.0])
def test_captured_does_not_exist_where_foresight_gains_nothing(clairvoyant):
    found = captured(15.0, 10.0, clairvoyant)
    assert found.share is None
    assert "not ahead of equal weight" in found.reason


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_captured_of_an_unknown_profit_does_not_exist(bad, place):
    profits = [15.0, 10.0, 30.0]
    profits[place] = bad
    found = captured(*profits)
    assert found.share is None
    assert ("strategy", "equal weight", "clairvoyant")[place] in found.reason
    assert str(bad) in found.reason


def test_captured_of_a_lead_below_a_cent_is_rounding():
    found = captured(15.0, 10.0, 10.0 + 0.004)
    assert found.share is None
    assert "less than a cent" in found.reason
    assert captured(15.0, 10.0, 10.02).share == pytest.approx(250.0)


# --- regret ---

money = st.floats(-1e6, 1e7, allow_nan=False)
growths = st.floats(0.01, 10.0)


@given(st.lists(st.tuples(money, growths), min_size=5, max_size=5))
def test_the_parts_of_regret_add_up_to_all_of_it(runs):
    found = Regret(tuple(made(usd, growth) for usd, growth in runs))
    assert [part.cause for part in found.parts] == list(CAUSES)
    assert sum(part.usd for part in found.parts) == pytest.approx(found.total.usd, abs=1e-8)
    assert sum(part.points for part in found.parts) == pytest.approx(found.total.points, abs=1e-9)
    assert found.total.usd == runs[4][0] - runs[0][0]


def test_a_part_is_the_difference_of_two_runs():
    runs = [made(usd, growth=1.0 + usd / 1e6) for usd in (1e4, 3e4, 6e4, 7e4, 7.5e4)]
    found = Regret(tuple(runs))
    assert [part.usd for part in found.parts] == [2e4, 3e4, 1e4, 5e3]
    assert [part.points for part in found.parts] == pytest.approx([2.0, 3.0, 1.0, 0.5])
    assert found.total.points == pytest.approx(6.5)
    assert found.strategy is runs[0]
    assert found.clairvoyant is runs[1]


def test_runs_of_different_days_or_money_are_not_compared():
    runs = [made(1.0)] * 4
    with pytest.raises(ContractError, match="five backtests, got 4"):
        Regret(tuple(runs))
    with pytest.raises(ContractError, match="differ in days or start money"):
        Regret((*runs, made(1.0, n_days=364)))
    with pytest.raises(ContractError, match="differ in days or start money"):
        Regret((*runs, made(1.0, aum_start_usd=2e6)))


def test_each_rung_is_free_of_one_more_burden():
    panel = synthetic_panel()
    a, b, c, d, e = ladder(panel, settings(), holding_days=(7, 30))
    assert [type(rung.policies[0]) for rung in (a, b, c)] == [MilpPolicy, Clairvoyant, Clairvoyant]
    assert a.settings.parameters == b.settings.parameters
    assert [policy.horizon_days for policy in b.policies] == [7, 30]
    assert c.settings.parameters == without_diversification(b.settings.parameters)
    assert c.settings.gas == b.settings.gas
    assert d.settings.gas.fixed == GasCosts(0.01, 0.01, 0.01)
    assert d.settings.parameters.conversion_rate == 1e-7
    assert d.settings.parameters.own_impact == "pro_rata"
    assert e.settings.parameters == d.settings.parameters.with_overrides({"own_impact": "none"})
    assert {policy.horizon_days for rung in (d, e) for policy in rung.policies} == {1}
    assert not any(rung.settings.with_benchmarks for rung in (a, b, c, d, e))


def test_limits_of_pool_size_are_no_diversification_limits():
    strict = settings().parameters
    loose = without_diversification(strict)
    assert loose.tvl_limit_percentage == strict.tvl_limit_percentage
    assert loose.position_max_pct_pool_tvl == strict.position_max_pct_pool_tvl
    assert set(loose.group_max_pct.values()) == {1.0}


def test_each_cause_is_found_where_it_was_put():
    """Forecast only: the best pool changes, money moves freely, nothing is capped or diluted."""
    apy = np.tile([10.0, 2.0], (60, 1))
    apy[41:] = [2.0, 10.0]
    panel = hand_made([pool("a"), pool("b")], 60, {"apy_pct": apy, "tvl_usd": 1e12})
    free = lax(conversion_rate=0.0, own_impact="none", horizon_days=1)
    base = settings(parameters=free, gas=NO_GAS, aum_usd=1e6, start=day(36), end=day(50))
    found = regret(panel, base, holding_days=(1,))
    by_cause = {part.cause: part.usd for part in found.parts}
    assert by_cause["forecast"] > 100.0
    assert [by_cause[cause] for cause in CAUSES[1:]] == pytest.approx([0.0] * 3, abs=0.05)

    capped = free.with_overrides({"profit_optimization": False, "max_alloc_percentage": 0.5})
    still = hand_made([pool("a"), pool("b")], 60, {"apy_pct": [10.0, 2.0], "tvl_usd": 1e12})
    found = regret(still, replace(base, parameters=capped), holding_days=(1,))
    by_cause = {part.cause: part.usd for part in found.parts}
    assert by_cause["forecast"] == pytest.approx(0.0, abs=0.1)
    assert by_cause["constraint"] > 100.0

    small = hand_made([pool("a"), pool("b")], 60, {"apy_pct": [10.0, 2.0], "tvl_usd": 1e8})
    shared = replace(base, parameters=free.with_overrides({"own_impact": "pro_rata"}))
    found = regret(small, shared, holding_days=(1,))
    by_cause = {part.cause: part.usd for part in found.parts}
    assert by_cause["dilution"] > 10.0
    assert by_cause["cost"] == pytest.approx(0.0, abs=0.1)


def test_regret_of_a_real_market_adds_up_to_a_millionth_of_a_cent():
    panel = synthetic_panel()
    steps = []
    found = regret(panel, settings(), progress=lambda n, of: steps.append((n, of)))
    assert sum(part.usd for part in found.parts) == pytest.approx(found.total.usd, abs=1e-8)
    assert all(outcome.costs_usd < 5.0 for outcome in found.outcomes[3:])
    assert found.clairvoyant.costs_usd > 50.0
    assert found.total.usd > 0.0
    assert steps == [(n, 5) for n in range(1, 6)]


def test_the_better_holding_period_counts():
    panel = synthetic_panel()
    each = [
        Outcome.of(run_backtest(panel, settings(), policy=Clairvoyant(panel, days)))
        for days in (3, 20)
    ]
    rung = ladder(panel, settings(), holding_days=(3, 20))[1]
    assert rung.run(panel).profit_usd == max(outcome.profit_usd for outcome in each)


def test_regret_of_another_policy_starts_from_that_policy():
    panel = synthetic_panel()
    found = regret(panel, settings(end=day(37)), policy=EqualWeight(), holding_days=(7,))
    assert found.strategy.policy == "equal_weight"


@pytest.mark.parametrize("days", [(), (0,), (7, -1)])
def test_a_holding_period_is_a_day_or_more(days):
    with pytest.raises(ParameterError, match="holding_days"):
        regret(synthetic_panel(), settings(), holding_days=days)
