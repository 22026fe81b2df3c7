"""What happens when no plan meets the limits, or none is found in time; and how it is explained."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from stableyield.allocation import AllocationProblem, solve, verify
from stableyield.allocation.explain import contradictions, relaxed, why_infeasible
from stableyield.allocation.feasibility import LEVERS, Feasibility, is_feasible, weakest
from stableyield.config import canonical_json
from stableyield.domain.costs import GasCosts
from stableyield.domain.pool import PoolState
from stableyield.errors import InfeasibleError, SolverError
from support.problems import pool, positions_usd, problem, random_problem, solved

_SEEDS = (*range(8), 9, 11, 14, 16)


def _too_many_pools(**limits: object) -> AllocationProblem:
    return problem(
        [pool("a"), pool("b", tvl_usd=100.0), pool("c", state=PoolState.WITHDRAW_ONLY)],
        {"USDC": 900.0},
        {("c", "USDC"): 100.0},
        **{
            "min_pools": 3,
            "min_pool_share": 0.1,
            "tvl_limit_percentage": 0.5,
            "max_alloc_percentage": 0.9,
            **limits,
        },
    )


# --- policies ---


def test_hold_leaves_the_book_as_it_is_and_says_why() -> None:
    plan = solved(_too_many_pools(on_failure="hold"))
    assert plan.status == "infeasible"
    assert plan.settlement.before == plan.settlement.after
    assert plan.n_moves == 0
    assert math.isnan(plan.certificate.objective_usd)
    (why,) = plan.infeasible_because
    assert (why.limit, why.needed, why.available) == ("min_pools and min_pool_share", 3, 2)
    assert why.detail == (
        "3 pools of at least 100.00 USD are demanded, 2 can be had; 1 open pool is capped below "
        "that size (min_pools = 3, min_pool_share = 10 %); "
        "lower min_pools to 2, or lower min_pool_share to 5 %"
    )


def test_an_infeasible_plan_can_be_written() -> None:
    document = solved(_too_many_pools()).to_document()
    assert document["objective_usd"] is None
    assert document["infeasible_because"][0]["limit"] == "min_pools and min_pool_share"
    assert json.loads(canonical_json(document))["status"] == "infeasible"


def test_raise_stops_with_the_reason() -> None:
    with pytest.raises(InfeasibleError, match=r"3 pools of at least .* are demanded, 2 can"):
        solve(_too_many_pools(on_failure="raise"))


def test_relax_asks_for_as_many_pools_as_there_can_be_and_says_so() -> None:
    plan = solve(_too_many_pools(on_failure="relax"))
    assert plan.status == "optimal"
    assert plan.explanation["relaxed"] == ["min_pools relaxed from 3 to 2"]
    assert set(positions_usd(plan)) >= {"a", "c"}
    assert verify(plan).ok  # against the relaxed problem, which the plan carries


def test_relax_gives_up_limits_in_the_stated_order() -> None:
    task = _too_many_pools(min_invested_pct=1.0, max_alloc_percentage=0.3, on_failure="relax")
    easier, notes = relaxed(task) or pytest.fail("there is a plan without these limits")
    assert notes == [
        "min_pools relaxed from 3 to 2",
        "min_invested_pct relaxed from 1 to 0.45",
    ]
    assert easier.parameters.max_alloc_percentage == 0.3
    assert verify(solve(task)).ok


def test_relax_lifts_group_caps_last() -> None:
    # the cap forces a sale whose gas nobody can pay
    task = problem(
        [pool("a", risk_group=1, state=PoolState.WITHDRAW_ONLY)],
        {},
        {("a", "USDC"): 1.0},
        gas=GasCosts(5.0, 5.0, 5.0),
        group1_max_pct=0.1,
        on_failure="relax",
    )
    plan = solve(task)
    (note,) = plan.explanation["relaxed"]
    assert note == "group1_max_pct relaxed from 0.1 to 0.9091"  # all there is, with the tolerance
    assert plan.n_moves == 0


def test_relax_that_does_not_help_holds_the_book_and_says_why() -> None:
    # the exit is forced, and nobody can pay its gas
    task = problem(
        [],
        {},
        {("gone", "USDC"): 1.0},
        gas=GasCosts(5.0, 5.0, 5.0),
        on_failure="relax",
    )
    assert relaxed(task) is None
    plan = solved(task)
    assert (plan.status, plan.n_moves) == ("infeasible", 0)
    assert plan.settlement.after == task.book
    assert [why.limit for why in plan.infeasible_because] == ["gas"]
    assert plan.explanation["relaxed"] == []


def test_pools_that_are_too_few_are_not_said_to_be_capped() -> None:
    plan = solved(problem([pool("a"), pool("b")], {"USDC": 900.0}, min_pools=3))
    (why,) = plan.infeasible_because
    assert why.detail == (
        "3 pools of at least 9.00 USD are demanded, 2 can be had (min_pools = 3); "
        "lower min_pools to 2"
    )


@pytest.mark.parametrize("on_failure", ["hold", "raise", "relax"])
def test_a_feasible_problem_is_solved_whatever_the_policy(on_failure: str) -> None:
    plan = solved(_too_many_pools(min_pools=2, on_failure=on_failure))
    assert plan.status == "optimal"
    assert plan.explanation["relaxed"] == []


# --- reasons ---


def test_too_little_money_for_the_pools_that_are_demanded_is_a_reason() -> None:
    pools = [pool(f"p{i}") for i in range(5)]
    plan = solved(problem(pools, {"USDC": 100.0}, min_pools=5, min_position_usd=30.0))
    (why,) = plan.infeasible_because
    assert (why.limit, why.available) == ("min_pools and min_position_usd", 3)
    assert why.detail.endswith("lower min_pools to 3, or lower min_position_usd to 20.00 USD")


def test_too_little_room_for_what_must_be_invested_is_a_reason() -> None:
    pools = [pool("a", tvl_usd=1_000.0), pool("b", tvl_usd=2_000.0)]
    task = problem(pools, {"USDC": 1_000.0}, min_invested_pct=0.9, tvl_limit_percentage=0.2)
    (why,) = solved(task).infeasible_because
    assert (why.limit, why.needed) == ("min_invested_pct and tvl_limit_percentage", 900.0)
    assert why.available == pytest.approx(600.0)
    assert why.detail.endswith(
        "lower min_invested_pct to 60 %, or raise tvl_limit_percentage to 30 %"
    )


def test_group_room_counts_for_what_must_be_invested() -> None:
    pools = [pool("a", risk_group=1), pool("b", risk_group=3)]
    task = problem(
        pools, {"USDC": 1_000.0}, min_invested_pct=0.9, group1_max_pct=0.3, group3_max_pct=0.2
    )
    (why,) = solved(task).infeasible_because
    assert why.limit == "min_invested_pct and group1_max_pct and group3_max_pct"
    assert why.available == pytest.approx(500.0)  # the tolerance is for what is held already
    assert why.detail.endswith(
        "lower min_invested_pct to 50 %, or raise group1_max_pct to 70 %, "
        "or raise group3_max_pct to 60 %"
    )


def test_a_smallest_transaction_can_contradict_a_number_of_pools() -> None:
    """Transactions of 400 USD at least and 1,000 USD at hand: two new pools, not three."""
    pools = [pool(f"p{i}") for i in range(3)]
    task = problem(pools, {"USDC": 1_000.0}, min_pools=3, min_transaction_value=400.0)
    (why,) = solved(task).infeasible_because
    assert (why.limit, why.available) == ("min_pools and min_transaction_value", 2.0)
    assert why.detail.endswith("or lower min_transaction_value to 333.30 USD")


def test_two_contradictions_have_a_row_each_and_one_way_out() -> None:
    """Five pools of three, and 90 % in pools that take 30 % each in a group that takes 40 %."""
    pools = [pool(f"p{i}", risk_group=1) for i in range(3)]
    task = problem(pools, {"USDC": 1_000.0}, min_pools=5, min_invested_pct=0.9, group1_max_pct=0.4)
    first, second = solved(task).infeasible_because
    assert (first.limit, first.available) == ("min_pools", 3)
    assert (second.limit, second.available) == ("min_invested_pct and group1_max_pct", 400.0)
    for row in (first, second):
        assert row.detail.endswith("lower min_pools to 3 and lower min_invested_pct to 40 %")


def test_caps_of_the_same_value_are_raised_together() -> None:
    pools = [pool("a"), pool("b")]
    limits = {"max_alloc_percentage": 0.25, "position_max_pct_total_assets": 0.25}
    task = problem(pools, {"USDC": 1_000.0}, min_invested_pct=0.8, **limits)
    (why,) = solved(task).infeasible_because
    advice = "raise max_alloc_percentage and position_max_pct_total_assets to 40 %"
    assert why.detail.endswith(f"lower min_invested_pct to 50 %, or {advice}")


def test_a_group_that_has_to_shrink_and_cannot_says_from_which_cap_on_it_need_not() -> None:
    held = pool("a", risk_group=1, state=PoolState.WITHDRAW_ONLY)
    gas = GasCosts(5.0, 5.0, 5.0)
    task = problem([held], {}, {("a", "USDC"): 1.0}, gas=gas, group1_max_pct=0.1)
    (why,) = solved(task).infeasible_because
    assert (why.limit, why.needed, why.available) == ("group1_max_pct", 0.9091, 0.1)
    assert why.detail.endswith("raise group1_max_pct to 90.91 %")


def test_gas_that_cannot_be_paid_is_the_reason_when_no_limit_is() -> None:
    task = problem([], {"USDC": 1.0}, {("gone", "USDC"): 2.0}, gas=GasCosts(5.0, 5.0, 5.0))
    (why,) = solved(task).infeasible_because
    assert why.limit == "gas"


def _demanding(seed: int) -> AllocationProblem:
    """A small random problem that asks for a lot."""
    rng = np.random.default_rng(seed)
    return random_problem(
        seed,
        n_pools=int(rng.integers(3, 9)),
        n_tokens=3,
        min_pools=int(rng.integers(1, 9)),
        min_invested_pct=float(rng.choice([0.0, 0.6, 0.9, 0.99])),
        group1_max_pct=float(rng.uniform(0.0, 0.4)),
        group2_max_pct=float(rng.uniform(0.0, 0.4)),
        min_position_usd=float(rng.choice([0.0, 50.0, 2_000.0])),
        min_pool_share=float(rng.choice([0.01, 0.05, 0.15])),
    )


@pytest.mark.parametrize("seed", _SEEDS)
def test_what_is_named_contradicts_itself_and_nothing_of_it_can_be_left_out(seed: int) -> None:
    asked = Feasibility(_demanding(seed))
    found = contradictions(asked)
    assert bool(found) is not asked.is_met({})
    for one in found:
        others = [lever for lever in LEVERS if lever not in one.limits]
        assert asked.is_met(weakest(others)) is False
        assert all(asked.is_met(weakest([*others, lever])) for lever in one.limits)


@pytest.mark.parametrize("seed", _SEEDS)
def test_every_value_that_is_advised_leads_to_a_plan_and_a_stricter_one_does_not(seed: int) -> None:
    asked = Feasibility(_demanding(seed))
    for remedy in {str(r): r for one in contradictions(asked) for r in one.remedies}.values():
        assert solved(asked.with_values(remedy)).status == "optimal"
        old = asked.problem.parameters
        for lever, value in remedy.items():
            step = lever.step(old)
            assert not asked.is_met(
                {**remedy, lever: value - step if lever.is_cap else value + step}
            )


@pytest.mark.parametrize("seed", _SEEDS)
def test_nothing_is_relaxed_further_than_it_must_be(seed: int) -> None:
    task = _demanding(seed)
    easier, notes = relaxed(task) or pytest.fail("none of these seeds fails for its gas")
    assert solved(easier).status == "optimal"
    assert bool(notes) is not Feasibility(task).is_met({})
    for note in notes:  # each limit alone at its old value makes it impossible again
        name = note.split(" ")[0]
        back = {name: getattr(task.parameters, name)}
        assert not is_feasible(easier.with_parameters(easier.parameters.model_copy(update=back)))


def test_a_limit_that_need_not_give_is_restored() -> None:
    """``min_pools`` is lifted first and does not help; with a larger group it can be met."""
    pools = [pool("a"), pool("h", risk_group=1, state=PoolState.WITHDRAW_ONLY)]
    task = problem(
        pools,
        {"USDC": 1.0},
        {("h", "USDC"): 10.0},
        gas=GasCosts(0.0, 50.0, 0.0),
        min_pools=2,
        min_pool_share=0.01,
        group1_max_pct=0.5,
    )
    easier, notes = relaxed(task) or pytest.fail("there is a plan with a larger group")
    assert notes == ["group1_max_pct relaxed from 0.5 to 0.8265"]
    assert easier.parameters.min_pools == 2


def test_a_problem_with_a_plan_has_nothing_to_relax_and_no_contradiction() -> None:
    task = problem([pool("a")], {"USDC": 100.0})
    easier, notes = relaxed(task) or pytest.fail("it has a plan as it is")
    assert (easier.parameters, notes) == (task.parameters, [])
    (row,) = why_infeasible(task)
    assert "no limit is to blame" in row.detail


# --- time ---


def test_a_contradiction_that_is_not_found_in_time_is_not_made_up() -> None:
    (row,) = why_infeasible(_too_many_pools(time_limit_seconds=1e-9))
    assert (row.limit, "not found in time" in row.detail) == ("unknown", True)
    assert relaxed(_too_many_pools(time_limit_seconds=1e-9)) is None


def test_no_plan_in_time_holds_the_book() -> None:
    task = random_problem(3, 40, 6, time_limit_seconds=1e-6)
    plan = solved(task)
    assert plan.status == "time_limit"
    assert not plan.certificate.has_solution
    assert plan.settlement.after == task.book
    assert plan.infeasible_because == ()
    assert plan.to_document()["objective_usd"] is None


def test_there_is_nothing_to_relax_when_the_time_is_over() -> None:
    plan = solved(random_problem(3, 40, 6, time_limit_seconds=1e-6, on_failure="relax"))
    assert (plan.status, plan.n_moves) == ("time_limit", 0)


def test_no_plan_in_time_stops_when_failure_shall_raise() -> None:
    with pytest.raises(SolverError, match="in time"):
        solve(random_problem(3, 40, 6, time_limit_seconds=1e-6, on_failure="raise"))
