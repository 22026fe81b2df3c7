"""The proof that nothing pays: it saves the search and never holds what a search would change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stableyield.allocation import AllocationProblem, closing, solve, tiers, verify
from stableyield.allocation.closing import Closing, Known
from stableyield.allocation.milp import AllocationModel, build_model
from stableyield.allocation.optimiser import gap_usd
from stableyield.allocation.solver import Effort, solve_mip
from stableyield.domain.costs import GasCosts
from stableyield.domain.pool import PoolState
from support.problems import pool, positions_usd, problem, random_problem, solved

GAS = GasCosts(5.0, 5.0, 8.0)


@pytest.fixture(autouse=True)
def _shaved_however_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "FEWEST_MOVES", 0)


def exact_gain_usd(task: AllocationProblem) -> float:
    model = build_model(task)
    result = solve_mip(model.sparse, Effort(1e-4 / model.usd_of_objective_unit, 60.0))
    return model.usd_of_objective(result.objective)


def proof(task: AllocationProblem, model: AllocationModel, seconds: float = 60.0) -> Known | None:
    """What is known when holding is proven best within the gap; None when it is not."""
    gap = gap_usd(task) / model.usd_of_objective_unit
    known = Closing(task, model, gap, seconds).close_in()
    return known if known.is_held and known.bound - known.objective <= gap else None


def the_day_after(task: AllocationProblem, seed: int) -> AllocationProblem:
    """The book that the plan leaves, at prices 5 bp off."""
    rng = np.random.default_rng(seed)
    prices = {t: p * (1.0 + rng.normal(0.0, 5e-4)) for t, p in task.prices_usd.items()}
    after = solve(task).settlement.after
    pools = [p for p in task.pools if p.state is not PoolState.EXIT]
    return replace(task, book=after, prices_usd=prices, pools=pools)


def better_by(usd: float, **limits: object) -> AllocationProblem:
    """A book in a pool at 5 % a year, and another pool that earns ``usd`` more before gas."""
    return problem(
        [pool("held", apy=5.0), pool("other", apy=5.0 + usd / 1_000.0)],
        {"USDC": 12.0},
        {("held", "USDC"): 100_000.0},
        gas=GAS,
        min_transaction_value=200.0,
        **limits,
    )


@pytest.mark.parametrize("earned", [4.0, 7.0, 9.0])
def test_a_move_that_does_not_earn_its_gas_is_not_made(earned: float) -> None:
    """Cash without a use does not hide that a move needs two transactions."""
    plan = solved(better_by(earned))
    assert plan.certificate.method == "no trade"
    assert (plan.status, plan.n_moves) == ("optimal", 0)
    assert plan.certificate.objective_usd == pytest.approx(5_000.0)
    assert plan.certificate.bound_usd == pytest.approx(5_000.0, abs=1e-4)


def test_a_move_that_earns_its_gas_is_made() -> None:
    plan = solved(better_by(12.0))
    assert plan.certificate.method == "direct"
    assert plan.n_moves == 2
    assert positions_usd(plan)["other"] == pytest.approx(100_000.0, abs=200.0)


@pytest.mark.parametrize("seed", range(60))
def test_the_proof_is_never_wrong(seed: int) -> None:
    """Day after day of a carried book, and random books: holding is the optimum to the gap."""
    for task in (random_problem(seed), the_day_after(random_problem(seed, min_pools=0), seed)):
        model = build_model(task)
        known = proof(task, model)
        if known is None:
            continue
        exact = exact_gain_usd(task)
        assert model.usd_of_objective(known.objective) >= exact - gap_usd(task) - 1e-3
        assert model.usd_of_objective(known.bound) >= exact - 1e-3
        assert verify(solve(task)).ok


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 400, 50))
def test_the_proof_is_never_wrong_on_hundreds_of_small_books(first: int) -> None:
    n_proofs = 0
    for seed in range(first, first + 50):
        task = the_day_after(random_problem(seed, n_pools=8, min_pools=0), seed)
        model = build_model(task)
        known = proof(task, model)
        if known is not None:
            n_proofs += 1
            exact = exact_gain_usd(task)
            assert model.usd_of_objective(known.objective) >= exact - gap_usd(task) - 1e-3
            assert model.usd_of_objective(known.bound) >= exact - 1e-3
    assert n_proofs > 15


def test_most_days_of_a_carried_book_need_no_search() -> None:
    methods = [
        solve(the_day_after(random_problem(seed, min_pools=0), seed)).certificate.method
        for seed in range(20)
    ]
    assert methods.count("no trade") >= 10


def test_a_book_that_violates_a_limit_is_not_held() -> None:
    task = better_by(0.0, max_alloc_percentage=0.5)
    assert proof(task, build_model(task)) is None
    assert solved(task).n_moves > 0


def test_a_pool_that_must_be_left_is_left() -> None:
    task = problem([], {"USDC": 100.0}, {("gone", "USDC"): 100.0}, gas=GAS)
    plan = solved(task)
    assert plan.certificate.method != "no trade"
    assert plan.n_moves == 1


def test_no_move_at_all_is_possible() -> None:
    task = problem([pool("tiny", tvl_usd=1.0)], {"USDC": 100.0}, min_transaction_value=50.0)
    plan = solved(task)
    assert plan.certificate.method == "no trade"
    assert plan.certificate.objective_usd == pytest.approx(0.0)


def test_a_large_problem_is_held_by_the_same_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "DIRECT_POOLS", 1)
    assert solved(better_by(9.0)).certificate.method == "no trade"
    assert solved(better_by(12.0, mode="proven")).certificate.method != "no trade"


def test_a_proof_that_takes_too_long_is_no_proof() -> None:
    task = the_day_after(random_problem(3, 40, 6, min_pools=0), 3)
    assert proof(task, build_model(task), 0.0) is None
