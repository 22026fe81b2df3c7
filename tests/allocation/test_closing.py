"""Large problems without the lower tiers' help: closing in finds what the whole program finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stableyield.allocation import AllocationProblem, closing, solve, tiers, verify
from stableyield.allocation.closing import Closing, Known
from stableyield.allocation.milp import build_model
from stableyield.allocation.solver import Effort, solve_mip
from support.problems import random_problem

SEEDS = range(8)


@pytest.fixture(autouse=True)
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "DIRECT_POOLS", 10)
    monkeypatch.setattr(tiers, "FEW_MOVES_SHARE", 1.0)
    monkeypatch.setattr(closing, "FEWEST_MOVES", 0)


def large(seed: int, **parameters: object) -> AllocationProblem:
    values = {"gap_usd": 0.01, "min_transaction_value": 50.0, "mode": "proven", **parameters}
    return random_problem(seed, n_pools=90, n_tokens=4, **values)


def exact_gain_usd(problem: AllocationProblem) -> float:
    model = build_model(problem)
    result = solve_mip(model.sparse, Effort(0.001 / model.usd_of_objective_unit, 60.0))
    return model.usd_of_objective(result.objective)


def check(problem: AllocationProblem) -> str:
    """The plan is the best one, and proven to be; its method."""
    plan = solve(problem)
    assert plan.status == "optimal"
    assert plan.certificate.objective_usd == pytest.approx(exact_gain_usd(problem), abs=0.02)
    assert plan.certificate.gap_usd <= 0.011
    assert verify(plan).violations == ()
    return plan.certificate.method


def test_most_large_problems_are_proven_without_another_tier() -> None:
    methods = [check(large(seed)).split(":")[0] for seed in SEEDS]
    assert set(methods) <= {"no trade", "near the relaxation", "shaved", "reduced", "restricted"}
    assert methods.count("shaved") + methods.count("near the relaxation") >= 5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_plan_near_the_relaxation_is_enough_for_a_wide_gap(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Closing, "_hold", lambda *_: None)
    problem = large(seed, gap_usd=1e6)
    plan = solve(problem)
    assert plan.certificate.method == "near the relaxation"
    exact = exact_gain_usd(problem)
    assert plan.certificate.objective_usd <= exact + 0.02
    assert plan.certificate.bound_usd >= exact - 0.02
    assert verify(plan).violations == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_search_that_is_harder_than_it_looked_is_left_to_the_other_tiers(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_short(self: Closing, gap: float, max_nodes: int | None = None) -> Known:
        assert gap > 0.0
        assert max_nodes == tiers.SEARCH_NODES
        return replace(self._known, status="node_limit")

    monkeypatch.setattr(Closing, "search", cut_short)
    check(large(seed))


def test_a_search_without_enough_nodes_says_so() -> None:
    problem = large(3)
    model = build_model(problem)
    both_sides = Closing(problem, model, 1e-9, 60.0)
    known = both_sides.close_in()
    if known.bound - known.objective > 1e-9:
        found = both_sides.search(1e-9, max_nodes=0)
        assert found.status == "node_limit"
        assert found.bound >= found.objective


def test_without_time_nothing_is_proven() -> None:
    problem = large(2)
    known = Closing(problem, build_model(problem), 1e-3, 0.0).close_in()
    assert np.isposinf(known.bound)


def test_what_is_known_does_not_depend_on_an_earlier_solve() -> None:
    problem = large(5)
    model = build_model(problem)
    first, second = (Closing(problem, model, 1e-3, 60.0).close_in() for _ in range(2))
    assert first.bound == second.bound
    assert first.program.columns.tolist() == second.program.columns.tolist()
