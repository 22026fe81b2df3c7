"""What each policy does with a book."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stableyield.allocation import solve
from stableyield.backtest import policy as policies
from stableyield.backtest import run_backtest
from stableyield.backtest.benchmarks import BestSingle, EqualWeight, Idle, benchmarks
from stableyield.backtest.policy import MilpPolicy
from stableyield.backtest.settings import BacktestSettings
from stableyield.domain.portfolio import Book
from stableyield.errors import InfeasibleError, IntegrityError, SolverError
from stableyield.forecast import ForeignForecaster
from support.markets import NO_GAS, day, hand_made, lax, pool, prepared, synthetic_panel

CASH = Book({"USDC": 1e6})
NAN = float("nan")


def run(panel, policy, **settings):
    values = {"parameters": lax(), "gas": NO_GAS, "with_benchmarks": False, **settings}
    return run_backtest(panel, BacktestSettings(**values), policy=policy)


def traded_days(result) -> list[str]:
    return sorted(set(result.transactions["exec_date"]))


# --- idle ---


def test_idle_does_nothing_at_all():
    panel = hand_made([pool("a")], 6)
    book = Book({"USDC": 5.0}, {("a", "USDC"): 7.0, ("gone", "USDC"): 1.0})
    decision = Idle().decide(*prepared(panel, day(3), book, lax()))
    assert decision.settlement.after == book
    assert decision.settlement.costs_usd == 0.0
    assert (decision.plan, decision.status, decision.is_held) == (None, "done", False)


# --- best single ---


def three_pools(n_days=70, **arrays):
    pools = [pool("a"), pool("b"), pool("c")]
    return hand_made(pools, n_days, {"apy_pct": np.array([4.0, 6.0, 9.0]), **arrays})


def test_best_single_takes_the_most_dollars_a_year_that_a_pool_can_take():
    tvl = np.array([1e9, 1e9, 1e7])  # c pays most, but takes only 5 % of 1e7
    decision = BestSingle().decide(*prepared(three_pools(tvl_usd=tvl), day(40), CASH, lax()))
    assert decision.settlement.after.pool_ids == ("b",)
    assert decision.settlement.after.positions["b", "USDC"] == pytest.approx(1e6, abs=0.02)


def test_best_single_respects_the_size_limit_of_its_pool():
    decision = BestSingle().decide(*prepared(three_pools(tvl_usd=1e7), day(40), CASH, lax()))
    assert decision.settlement.after.positions == pytest.approx({("c", "USDC"): 5e5})


def test_best_single_brings_along_what_lies_elsewhere():
    filtered = np.zeros((70, 3))
    filtered[40, 1] = 1.0  # b pays, but may not be bought
    panel = three_pools(apy_pct=np.array([4.0, 99.0, 9.0]), is_filtered_out=filtered, tvl_usd=1e9)
    book = Book({"USDC": 1e5}, {("a", "USDC"): 2e5, ("b", "USDC"): 3e5})
    decision = BestSingle().decide(*prepared(panel, day(40), book, lax()))
    after = decision.settlement.after
    assert after.positions == pytest.approx({("c", "USDC"): 6e5}, abs=0.02)


def test_best_single_looks_at_thirty_days_of_the_past_and_no_more():
    apy = np.full((70, 3), 5.0)
    apy[:11, 0] = 500.0  # older than 30 days on day 40
    apy[41:, 1] = 500.0  # the future
    apy[11:41, 2] = 5.1
    policy = BestSingle()
    policy.decide(*prepared(three_pools(apy_pct=apy), day(40), CASH, lax()))
    assert policy.chosen == "c"


def test_best_single_chooses_once():
    apy = np.tile([4.0, 6.0, 9.0], (70, 1))
    apy[45:] = [90.0, 6.0, 0.1]
    result = run(three_pools(apy_pct=apy), BestSingle(), start=day(40))
    assert traded_days(result) == [day(40).isoformat()]
    assert set(result.positions["pool_id"]) == {"c", "warm_wallet"}


def test_best_single_waits_for_the_first_pool_that_is_open():
    result = run(three_pools(), BestSingle(), parameters=lax(min_history_days=20))
    assert traded_days(result) == [day(19).isoformat()]


def test_best_single_leaves_when_it_must_and_stays_in_cash():
    until = [pool("a"), pool("b"), pool("c", listed_until=day(50))]
    panel = hand_made(until, 70, {"apy_pct": np.array([4.0, 6.0, 9.0])})
    result = run(panel, BestSingle(), start=day(40))
    steps = result.transactions[["exec_date", "type"]].to_numpy().tolist()
    assert steps == [[day(40).isoformat(), "ALLOCATION"], [day(51).isoformat(), "WITHDRAWAL"]]
    assert result.daily_log["n_positions"].tolist() == [1] * 11 + [0] * 18


def test_best_single_stays_in_a_pool_that_may_only_be_reduced():
    filtered = np.zeros((70, 3))
    filtered[45:, 2] = 1.0
    result = run(three_pools(is_filtered_out=filtered), BestSingle(), start=day(40))
    assert traded_days(result) == [day(40).isoformat()]


def test_best_single_needs_to_know_a_rate_of_the_last_month():
    """With a foreign forecast a pool can be open although its own rates are long unknown."""
    apy = np.full((100, 3), 5.0)
    apy[60:] = NAN
    more = {"forecast_apy_pct": 5.0, "forecast_tvl_usd": 1e7}
    panel = three_pools(n_days=100, apy_pct=apy, tvl_usd=1e7, **more)
    strict = lax(min_history_days=40)
    ready, inputs = prepared(panel, day(95), CASH, strict, forecaster=ForeignForecaster())
    assert len(ready.problem.pools) == 3
    decision = BestSingle().decide(ready, inputs)
    assert decision.settlement.after == CASH


# --- equal weight ---


def test_equal_weight_gives_every_open_pool_the_same():
    decision = EqualWeight().decide(*prepared(three_pools(tvl_usd=1e9), day(40), CASH, lax()))
    assert decision.settlement.after.positions == pytest.approx(
        {(name, "USDC"): 1e6 / 3 for name in "abc"}, abs=0.02
    )


def test_equal_weight_respects_the_size_limit_of_each_pool():
    tvl = np.array([1e9, 1e9, 1e6])
    decision = EqualWeight().decide(*prepared(three_pools(tvl_usd=tvl), day(40), CASH, lax()))
    positions = decision.settlement.after.positions
    assert positions["c", "USDC"] == pytest.approx(5e4)
    assert positions["a", "USDC"] == pytest.approx(1e6 / 3, abs=0.02)


def test_equal_weight_is_renewed_when_a_month_begins_and_not_in_between():
    returns = np.zeros((100, 3))
    returns[:, 0] = 0.02  # a drifts away quickly
    panel = three_pools(n_days=100, return_1d=returns, tvl_usd=1e9)
    result = run(panel, EqualWeight(), start=day(40))
    assert day(40).isoformat() == "2024-02-10"
    assert traded_days(result) == ["2024-02-10", "2024-03-01", "2024-04-01"]
    after = result.positions[result.positions["exec_date"] == "2024-03-01"]
    weights = after.loc[after["pool_id"] != "warm_wallet", "amount_usd"]
    assert weights.max() / weights.min() < 1.25  # 1.5 before


def test_equal_weight_leaves_small_drifts_alone():
    returns = np.zeros((100, 3))
    returns[:, 0] = 0.004
    panel = three_pools(n_days=100, return_1d=returns, tvl_usd=1e9)
    assert traded_days(run(panel, EqualWeight(), start=day(40))) == ["2024-02-10"]


def test_equal_weight_leaves_at_once_what_must_be_left():
    pools = [pool("a"), pool("b"), pool("c", listed_until=day(44))]
    panel = hand_made(pools, 60, {"tvl_usd": 1e9})
    result = run(panel, EqualWeight(), start=day(40), end=day(50))
    steps = result.transactions
    assert steps.loc[steps["type"] == "WITHDRAWAL", "exec_date"].tolist() == [day(45).isoformat()]
    held = result.positions[result.positions["exec_date"] == day(50).isoformat()]
    assert set(held["pool_id"]) == {"a", "b", "warm_wallet"}


def test_equal_weight_takes_a_new_pool_in_next_month():
    pools = [pool("a"), pool("b"), pool("c", listed_from=day(50))]
    apy = np.full((100, 3), 5.0)
    apy[:50, 2] = NAN
    tvl = np.where(np.isnan(apy), NAN, 1e9)
    panel = hand_made(pools, 100, {"apy_pct": apy, "tvl_usd": tvl})
    result = run(panel, EqualWeight(), start=day(40))
    assert traded_days(result) == ["2024-02-10", "2024-03-01"]
    assert result.daily_log["n_positions"].iloc[[0, -1]].tolist() == [2, 3]


def test_benchmarks_have_different_names_and_are_new_each_time():
    one, other = benchmarks(synthetic_panel()), benchmarks(synthetic_panel())
    quick = ["idle", "best_single", "equal_weight", "top_k"]
    assert [each.name for each in one] == [*quick, "persistence", "clairvoyant"]
    assert one[1] is not other[1]
    assert [each.name for each in benchmarks(synthetic_panel(), quick=True)] == quick


# --- the strategy ---


def test_the_plan_of_each_day_is_verified(monkeypatch):
    """A plan that breaks a limit does not get through."""
    panel = three_pools()
    capped = lax(profit_optimization=False, max_alloc_percentage=0.2, min_pools=1)
    ready, inputs = prepared(panel, day(40), CASH, capped)
    MilpPolicy().decide(ready, inputs)  # the honest plan does
    loose, _ = prepared(panel, day(40), CASH, lax())
    wrong = solve(loose.problem)
    monkeypatch.setattr(policies, "solve", lambda problem: _claiming(wrong, problem), raising=True)
    with pytest.raises(IntegrityError, match="fails verification"):
        MilpPolicy().decide(ready, inputs)


def _claiming(plan, problem):
    return replace(plan, problem=problem)


def test_every_day_of_a_run_is_verified(monkeypatch):
    seen = []
    verified = policies.checked
    monkeypatch.setattr(policies, "checked", lambda plan: seen.append(plan) or verified(plan))
    run(three_pools(n_days=8), MilpPolicy())
    assert len(seen) == 7


IMPOSSIBLE = {"profit_optimization": False, "min_pools": 9}


def test_a_day_without_a_feasible_plan_holds_the_book():
    result = run(three_pools(n_days=8), MilpPolicy(), parameters=lax(**IMPOSSIBLE))
    log = result.daily_log
    assert set(log["status"]) == {"held"}
    assert set(log["solver_status"]) == {"infeasible"}
    assert log["gap_usd"].isna().all()
    assert (log["aum_after"] == log["aum_start"]).all()
    assert result.transactions.empty
    assert result.last_plan["status"] == "infeasible"
    assert result.last_plan["infeasible_because"][0]["limit"] == "min_pools"


def test_a_day_without_a_feasible_plan_stops_the_run_when_asked():
    with pytest.raises(InfeasibleError, match="9 pools"):
        run(three_pools(n_days=8), MilpPolicy(), parameters=lax(**IMPOSSIBLE, on_failure="raise"))


def test_limits_are_relaxed_when_asked():
    result = run(
        three_pools(n_days=8), MilpPolicy(), parameters=lax(**IMPOSSIBLE, on_failure="relax")
    )
    assert set(result.daily_log["status"]) == {"done"}
    assert result.last_plan["explanation"]["relaxed"] == ["min_pools relaxed from 9 to 3"]
    assert result.daily_log["n_positions"].iloc[-1] == 3


NO_TIME = {"time_limit_seconds": 1e-9}


def test_a_solver_that_finds_nothing_in_time_holds_the_book():
    """Found by fuzzing: the untouched book was verified as if it were a plan."""
    parameters = lax(profit_optimization=False, min_pools=2, **NO_TIME)  # the book has no pool
    log = run(three_pools(n_days=8), MilpPolicy(), parameters=parameters).daily_log
    assert set(log["status"]) == {"held"}
    assert set(log["solver_status"]) == {"time_limit"}
    assert (log["aum_after"] == log["aum_start"]).all()


def test_a_solver_that_finds_nothing_in_time_stops_the_run_when_asked():
    with pytest.raises(SolverError, match="no plan was found in time"):
        run(three_pools(n_days=8), MilpPolicy(), parameters=lax(on_failure="raise", **NO_TIME))
