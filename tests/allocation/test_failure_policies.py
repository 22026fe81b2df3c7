"""What happens when no plan meets the limits, or none is found in time; and how it is explained."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from stableyield.allocation import AllocationProblem, solve, verify
from stableyield.allocation.explain import is_feasible, relaxed
from stableyield.config import canonical_json
from stableyield.domain.costs import GasCosts
from stableyield.domain.pool import PoolState
from stableyield.errors import InfeasibleError, SolverError
from support.problems import pool, positions_usd, problem, random_problem, solved


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
    assert (why.limit, why.needed, why.available) == ("min_pools", 3, 2)
    assert "2 of 3 can hold that; 1 is capped below it" in why.detail


def test_an_infeasible_plan_can_be_written() -> None:
    document = solved(_too_many_pools()).to_document()
    assert document["objective_usd"] is None
    assert document["infeasible_because"][0]["limit"] == "min_pools"
    assert json.loads(canonical_json(document))["status"] == "infeasible"


def test_raise_stops_with_the_reason() -> None:
    with pytest.raises(InfeasibleError, match=r"3 pools of at least .* are demanded, 2 of"):
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
        "min_pools relaxed from 3 to 0",
        "min_invested_pct relaxed from 1 to 0",
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
    assert note == "group1_max_pct relaxed from 0.1 to 1"
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
    assert why.detail.endswith("are demanded, 2 of 2 can hold that")


@pytest.mark.parametrize("on_failure", ["hold", "raise", "relax"])
def test_a_feasible_problem_is_solved_whatever_the_policy(on_failure: str) -> None:
    plan = solved(_too_many_pools(min_pools=2, on_failure=on_failure))
    assert plan.status == "optimal"
    assert plan.explanation["relaxed"] == []


# --- reasons ---


def test_too_little_money_for_the_pools_that_are_demanded_is_a_reason() -> None:
    pools = [pool(f"p{i}") for i in range(5)]
    plan = solved(problem(pools, {"USDC": 100.0}, min_pools=5, min_position_usd=30.0))
    assert [why.limit for why in plan.infeasible_because] == ["min_pool_share"]
    assert "the money is enough for 3" in plan.infeasible_because[0].detail


def test_too_little_room_for_what_must_be_invested_is_a_reason() -> None:
    pools = [pool("a", tvl_usd=1_000.0), pool("b", tvl_usd=2_000.0)]
    task = problem(pools, {"USDC": 1_000.0}, min_invested_pct=0.9, tvl_limit_percentage=0.2)
    (why,) = solved(task).infeasible_because
    assert (why.limit, why.needed) == ("min_invested_pct", 900.0)
    assert why.available == pytest.approx(600.0)


def test_group_room_counts_for_what_must_be_invested() -> None:
    pools = [pool("a", risk_group=1), pool("b", risk_group=3)]
    task = problem(
        pools, {"USDC": 1_000.0}, min_invested_pct=0.9, group1_max_pct=0.3, group3_max_pct=0.2
    )
    (why,) = solved(task).infeasible_because
    assert why.limit == "min_invested_pct"
    assert why.available == pytest.approx(550.0)  # 30 % and 20 %, each with the tolerance


def test_a_contradiction_that_counting_misses_is_found_by_lifting_limits() -> None:
    """Transactions of 400 USD at least and 1,000 USD at hand: two new pools, not three."""
    pools = [pool(f"p{i}") for i in range(3)]
    task = problem(pools, {"USDC": 1_000.0}, min_pools=3, min_transaction_value=400.0)
    (why,) = solved(task).infeasible_because
    assert (why.limit, why.needed, why.available) == ("min_pools", 3.0, 2.0)


def test_limits_that_only_together_have_no_way_out_are_named_together() -> None:
    """Each of the two demands more than 600 USD can do; gas is not to blame."""
    pools = [pool(f"p{i}") for i in range(3)]
    task = problem(
        pools,
        {"USDC": 600.0, "DAI": 400.0},
        min_pools=3,
        min_invested_pct=0.9,
        min_transaction_value=450.0,
    )
    plan = solved(task)
    (why,) = plan.infeasible_because
    assert why.limit == "min_pools, min_invested_pct"
    assert canonical_json(plan.to_document())


def test_gas_that_cannot_be_paid_is_the_reason_when_no_limit_is() -> None:
    task = problem([], {"USDC": 1.0}, {("gone", "USDC"): 2.0}, gas=GasCosts(5.0, 5.0, 5.0))
    (why,) = solved(task).infeasible_because
    assert why.limit == "gas"


@pytest.mark.parametrize("seed", range(25))
def test_a_reason_is_a_reason(seed: int) -> None:
    """Lifting every limit that is named (or paying the gas) makes random problems feasible."""
    rng = np.random.default_rng(seed)
    task = random_problem(
        seed,
        n_pools=8,
        min_pools=int(rng.integers(3, 9)),
        min_invested_pct=float(rng.choice([0.0, 0.6, 0.9])),
        group1_max_pct=float(rng.uniform(0.0, 0.3)),
    )
    plan = solve(task)
    assert (plan.status == "infeasible") == bool(plan.infeasible_because)
    if plan.status != "infeasible":
        return
    named = ", ".join(why.limit for why in plan.infeasible_because)
    lifted = {"min_pools": 0, "min_invested_pct": 0.0} | {
        f"group{g}_max_pct": 1.0 for g in (1, 2, 3)
    }
    values = {
        name: value
        for name, value in lifted.items()
        if name in named
        or (name == "min_pools" and "min_pool_share" in named)
        or (name.startswith("group") and "group caps" in named)
    }
    easier = task.with_parameters(task.parameters.model_copy(update=values))
    if named == "gas":
        easier = replace(
            task, gas=GasCosts(0, 0, 0), pools=[replace(p, gas=None) for p in task.pools]
        )
    assert is_feasible(easier)


# --- time ---


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
