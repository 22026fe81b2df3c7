"""What a pool would need to be bought, in a way that can be checked: give it that, and it is."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest

from stableyield.allocation import (
    AllocationProblem,
    RateModel,
    needed_apy_pct,
    solve,
    tiers,
    why_not,
)
from stableyield.allocation.solver import SolverResult, solve_mip
from stableyield.domain.costs import GasCosts
from stableyield.domain.lending import KinkedCurve
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import TransactionType
from stableyield.errors import InputError, SolverError
from support.problems import moves, pool, problem, random_problem, solved

GAS = GasCosts(5.0, 5.0, 8.0)


def with_apy(task: AllocationProblem, pool_id: str, apy_pct: float) -> AllocationProblem:
    """The problem with a pool's mean moved, and its quantile with it."""
    pools = [
        replace(p, apy_pct=apy_pct, apy_q10_pct=p.apy_q10_pct + apy_pct - p.apy_pct)
        if p.pool_id == pool_id
        else p
        for p in task.pools
    ]
    return replace(task, pools=pools)


def buys(task: AllocationProblem, pool_id: str) -> bool:
    plan = solve(task)
    return any(t.to_location == pool_id for t in moves(plan, TransactionType.ALLOCATION))


# --- the exact answer ---


def test_of_two_pools_for_the_same_money_the_worse_needs_the_rate_of_the_better() -> None:
    task = problem([pool("a", apy=6.0), pool("b", apy=5.0)], {"USDC": 100_000.0}, gas=GAS)
    answer = why_not(solved(task), "b")
    assert answer.needed_apy_pct == pytest.approx(6.0, abs=0.01)
    assert answer.is_exact
    assert "1.00 points too low" in answer.reason


def test_a_conversion_and_its_fee_come_on_top() -> None:
    pools = [pool("a", apy=6.0), pool("b", "DAI", apy=5.0)]
    task = problem(pools, {"USDC": 100_000.0}, gas=GAS, conversion_rate=0.001)
    # 100 USD of fee, 8 USD of gas and some yield on both, on 100,000 USD for a year
    assert why_not(solved(task), "b").needed_apy_pct == pytest.approx(6.115, abs=0.01)


def test_a_held_pool_gives_way_only_for_the_gas_of_both_moves() -> None:
    pools = [pool("held", apy=6.0), pool("b", apy=6.0)]
    task = problem(
        pools,
        {"USDC": 100.0},
        {("held", "USDC"): 10_000.0},
        gas=GAS,
        min_transaction_value=1_000.0,
    )
    answer = why_not(solved(task), "b")
    assert answer.needed_apy_pct == pytest.approx(6.0 + 100.0 * (10.0 - 5.4) / 10_090.0, abs=0.02)
    assert answer.gain_lost_usd > 0.0


def test_a_pool_that_is_bought_says_how_far_its_rate_may_fall() -> None:
    task = problem([pool("a", apy=6.0), pool("b", apy=5.0)], {"USDC": 100_000.0}, gas=GAS)
    answer = why_not(solved(task), "a")
    assert answer.needed_apy_pct == pytest.approx(5.0, abs=0.01)
    assert answer.gain_lost_usd == 0.0
    assert answer.reason.startswith("it gets 99,995.00 USD")


@pytest.mark.parametrize("seed", range(12))
def test_a_pool_is_bought_above_what_it_needs_and_not_below(seed: int) -> None:
    task = random_problem(seed, n_pools=8, gap_usd=1e-3, min_transaction_value=50.0)
    plan = solve(task)
    if plan.status != "optimal":
        pytest.skip("the limits of this seed cannot be met")
    for row in plan.explanation["why_not"][:2]:
        pool_id = row["pool_id"]
        needed = needed_apy_pct(task, pool_id)
        if math.isfinite(needed):
            assert needed >= row["forecast_apy_pct"] - 0.02
            assert buys(with_apy(task, pool_id, needed + 0.05), pool_id)
            assert not buys(with_apy(task, pool_id, needed - 0.05), pool_id)


def test_a_diluted_pool_needs_more_than_one_of_constant_rate() -> None:
    def needed(rate_model: RateModel) -> float:
        b = pool("b", apy=5.0, tvl_usd=200_000.0, rate_model=rate_model)
        task = problem(
            [pool("a", apy=6.0), b],
            {"USDC": 100_000.0},
            gas=GAS,
            tvl_limit_percentage=0.5,
            min_transaction_value=20_000.0,
        )
        return needed_apy_pct(task, "b")

    assert needed(RateModel.PRO_RATA) > needed(RateModel.CONSTANT) + 0.1


def test_among_many_pools_it_is_weighed_against_those_of_the_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pools = [pool(f"p{i:02d}", apy=8.0 - i / 2.0) for i in range(10)]
    task = problem(pools, {"USDC": 100_000.0}, gas=GAS, gap_usd=0.01, mode="proven")
    monkeypatch.setattr(tiers, "DIRECT_POOLS", 5)
    answer = why_not(solved(task), "p07")
    assert answer.needed_apy_pct == pytest.approx(8.0, abs=0.01)
    assert not answer.is_exact  # of all pools
    # gas, what that gas would earn, and 3.5 % less on the one dollar that makes a deposit
    assert answer.gain_lost_usd == pytest.approx(5.0 + 0.40 + 0.035, abs=0.002)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_needed_holds_for_diluted_and_multi_token_pools_and_full_groups(seed: int) -> None:
    """Kinked and pro-rata markets, pairs, held and withdraw-only pools, a group at its cap."""
    task = _awkward(seed)
    plan = solved(task)
    for pool_id in ("kinked", "pair", "shared", "full"):
        needed = why_not(plan, pool_id).needed_apy_pct
        if math.isfinite(needed):
            assert buys(with_apy(task, pool_id, needed + 0.05), pool_id)
            assert not buys(with_apy(task, pool_id, needed - 0.05), pool_id)


def _awkward(seed: int) -> AllocationProblem:
    rng = np.random.default_rng(seed)
    curve = KinkedCurve(0.0, 0.05, 0.6, 0.9, 0.1, debt_usd=0.95e6, deposits_usd=1e6)

    def apy() -> float:
        return float(rng.uniform(3.0, 9.0))

    pools = [
        pool("held", apy=apy(), state=PoolState.WITHDRAW_ONLY),
        pool("best", apy=9.5, risk_group=1),
        pool("full", apy=apy(), risk_group=1),
        pool("kinked", apy=apy(), rate_model=RateModel.KINKED, curve=curve),
        pool("pair", "DAI", "USDC", apy=apy()),
        pool("shared", "DAI", apy=apy(), tvl_usd=1e6, rate_model=RateModel.PRO_RATA),
    ]
    return problem(
        pools,
        {"USDC": 100_000.0, "DAI": 50_000.0},
        {("held", "USDC"): 80_000.0, ("pair", "DAI"): 5_000.0, ("pair", "USDC"): 5_000.0},
        gas=GAS,
        group1_max_pct=0.2,
        max_alloc_percentage=0.5,
        min_transaction_value=500.0,
        conversion_rate=0.0005,
        gap_usd=1e-3,
    )


def test_the_time_limit_is_for_the_whole_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate that is not pinned down in time: what is known of it, and not called exact."""
    task = problem([pool("a", apy=6.0), pool("b", apy=5.0)], {"USDC": 100_000.0}, gas=GAS)
    plan = solved(task)
    asked = []

    def solve_twice(*args: object) -> SolverResult:
        asked.append(args)
        late = SolverResult("time_limit", None, -math.inf, math.inf, 0.0)
        return solve_mip(*args) if len(asked) <= 2 else late  # type: ignore[arg-type]

    module = sys.modules[why_not.__module__]
    monkeypatch.setattr(module, "solve_mip", solve_twice)
    answer = why_not(plan, "b")
    assert not answer.is_exact
    assert "not found in time: more than an APY of 5.00 % is needed" in answer.reason
    assert math.isnan(answer.needed_apy_pct)
    assert answer.gain_lost_usd > 0.0


# --- reasons that no rate removes ---


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (PoolState.WITHDRAW_ONLY, "withdraw_only"),
        (PoolState.EXIT, "must be left"),
        (PoolState.FROZEN, "data are missing"),
    ],
)
def test_a_state_is_a_reason_with_its_meaning(state: PoolState, words: str) -> None:
    task = problem([pool("a"), pool("b", apy=50.0, state=state)], {"USDC": 1_000.0})
    answer = why_not(solved(task), "b")
    assert words in answer.reason
    assert math.isnan(answer.needed_apy_pct)
    assert math.isnan(needed_apy_pct(task, "b"))


def test_a_cap_below_the_smallest_deposit_is_named() -> None:
    small = pool("small", apy=50.0, tvl_usd=1_000.0)
    task = problem(
        [pool("a"), small],
        {"USDC": 1_000.0},
        tvl_limit_percentage=0.04,
        min_transaction_value=50.0,
    )
    reason = why_not(solved(task), "small").reason
    assert reason == (
        "tvl_limit_percentage caps it at 40.00 USD, below the smallest deposit of 50.00 USD"
    )


def test_a_held_pool_at_its_cap_has_no_room() -> None:
    task = problem(
        [pool("a", apy=9.0)], {"USDC": 500.0}, {("a", "USDC"): 500.0}, max_alloc_percentage=0.5
    )
    reason = why_not(solved(task), "a").reason
    assert "max_alloc_percentage caps it" in reason
    assert "leaves no room" in reason


def test_a_group_that_is_full_is_said_with_the_value_of_its_room() -> None:
    pools = [pool("a", apy=9.0, risk_group=1), pool("b", apy=8.0, risk_group=1)]
    task = problem(pools, {"USDC": 1_000.0}, group1_max_pct=0.3)
    answer = why_not(solved(task), "b")
    assert answer.reason.startswith("group 1 is full (a dollar of room in it is worth 0.09")
    assert answer.needed_apy_pct == pytest.approx(9.0, abs=0.01)


def test_a_deposit_that_other_limits_forbid_has_no_rate() -> None:
    pools = [pool("a", risk_group=1, state=PoolState.FROZEN), pool("b", apy=90.0, risk_group=1)]
    task = problem(pools, {"USDC": 500.0}, {("a", "USDC"): 500.0}, group1_max_pct=0.5)
    answer = why_not(solved(task), "b")
    assert "no plan that meets the limits" in answer.reason
    assert math.isnan(needed_apy_pct(task, "b"))


def test_without_a_plan_there_is_no_rate() -> None:
    plan = solved(problem([pool("a")], {"USDC": 100.0}, min_pools=2))
    assert "no plan meets the limits" in why_not(plan, "a").reason
    assert plan.explanation["why_not"] == []


def test_an_unknown_pool_is_refused() -> None:
    task = problem([pool("a")], {"USDC": 100.0})
    with pytest.raises(InputError, match="'nowhere'"):
        why_not(solve(task), "nowhere")
    with pytest.raises(InputError, match="'nowhere'"):
        needed_apy_pct(task, "nowhere")


def test_an_answer_that_takes_too_long_says_so() -> None:
    task = random_problem(3, 40, 6, time_limit_seconds=1e-6, min_pools=0)
    pool_id = next(
        p.pool_id
        for p, cap in zip(task.pools, task.cap_usd, strict=True)
        if p.state is PoolState.OPEN and cap > task.parameters.min_transaction_value * 10.0
    )
    answer = why_not(solve(task), pool_id)
    assert "in time" in answer.reason
    assert not answer.is_exact
    with pytest.raises(SolverError, match="in time"):
        needed_apy_pct(task, pool_id)


@pytest.mark.parametrize("seed", [*range(12), 19])
def test_the_value_of_a_limit_is_what_ten_more_dollars_of_it_bring(seed: int) -> None:
    """Solved again with the share cap or a group cap raised: random books with all features."""
    task = random_problem(seed, n_pools=8, gap_usd=1e-4, min_pools=0)
    plan = solve(task)
    worth: dict[str, float] = {}
    for row in plan.explanation["binding"]:
        worth[row["limit"]] = worth.get(row["limit"], 0.0) + row["usd_per_usd"]
    for limit, usd_per_usd in worth.items():
        if limit in {"max_alloc_percentage", *(f"group{g}_max_pct" for g in (1, 2, 3))}:
            more = getattr(task.parameters, limit) + 10.0 / task.aum_usd
            raised = task.parameters.model_copy(update={limit: more})
            after = solve(task.with_parameters(raised)).certificate.objective_usd
            gained = (after - plan.certificate.objective_usd) / 10.0
            assert usd_per_usd == pytest.approx(gained, rel=0.02, abs=1e-5)


def test_two_parameters_that_are_the_same_cap_are_named_together() -> None:
    limits = {"max_alloc_percentage": 0.3, "position_max_pct_total_assets": 0.3}
    task = problem([pool("a", apy=9.0)], {"USDC": 1_000.0}, **limits)
    (row,) = solved(task).explanation["binding"]
    assert row["limit"] == "max_alloc_percentage and position_max_pct_total_assets"


def test_the_cap_of_a_held_pool_has_its_whole_value() -> None:
    """Its final position, its deposit and its cap all end at the same amount."""
    task = problem(
        [pool("a", apy=9.0), pool("b", apy=5.0)],
        {"USDC": 900.0},
        {("a", "USDC"): 100.0},
        max_alloc_percentage=0.6,
    )
    (row,) = solved(task).explanation["binding"]
    assert (row["pool_id"], row["usd_per_usd"]) == ("a", pytest.approx(0.04, abs=1e-6))


# --- the estimates of every plan ---


def test_an_estimate_is_never_below_the_forecast() -> None:
    n_rows = 0
    for seed in range(12):
        for row in solve(random_problem(seed, n_pools=12, min_pools=0)).explanation["why_not"]:
            if row["needed_apy_pct"] is not None:
                n_rows += 1
                assert row["needed_apy_pct"] >= row["forecast_apy_pct"]
    assert n_rows > 10


def test_the_pools_that_come_closest_are_estimated_first() -> None:
    pools = [pool("a", apy=9.0), *(pool(f"p{i:02d}", apy=8.0 - i / 2.0) for i in range(14))]
    task = problem(pools, {"USDC": 100_000.0}, gas=GAS)
    rows = solved(task).explanation["why_not"]
    assert [row["pool_id"] for row in rows] == [f"p{i:02d}" for i in range(10)]
    for row in rows:
        assert not row["is_exact"]
        assert row["needed_apy_pct"] == pytest.approx(9.0, abs=0.05)
    json.dumps(rows, allow_nan=False)


def test_estimates_are_near_the_exact_answers() -> None:
    errors = []
    for seed in range(8):
        task = random_problem(seed, n_pools=12, gap_usd=1e-3, min_pools=0)
        for row in solve(task).explanation["why_not"][:3]:
            exact = needed_apy_pct(task, row["pool_id"])
            if row["needed_apy_pct"] is not None and math.isfinite(exact):
                short = exact - row["forecast_apy_pct"]
                errors.append(abs(row["needed_apy_pct"] - exact) / max(short, 0.5))
    assert len(errors) > 10
    assert np.median(errors) < 0.25


def test_tokens_that_no_source_has_in_the_smallest_size_are_said() -> None:
    b = pool("b", "DAI", apy=20.0, tvl_usd=1e9)
    task = problem(
        [pool("a", apy=5.0, state=PoolState.WITHDRAW_ONLY), b],
        {"USDC": 60.0, "USDT": 60.0},
        min_transaction_value=100.0,
    )
    (row,) = solved(task).explanation["why_not"]
    assert "no single source" in row["reason"]
    assert row["needed_apy_pct"] is None
