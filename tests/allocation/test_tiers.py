"""Large problems: the tiers find what the whole program finds, with a bound that holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stableyield.allocation import AllocationProblem, RateModel, closing, solve, tiers, verify
from stableyield.allocation.milp import build_model
from stableyield.allocation.solver import Effort, SolverResult, Start, solve_mip
from stableyield.allocation.sparse import SparseModel
from stableyield.allocation.starts import pattern_of, rounded_up
from stableyield.allocation.super_pools import SuperPools
from stableyield.domain.portfolio import Book
from support.problems import random_problem

SEEDS = range(8)


def large(seed: int, **parameters: object) -> AllocationProblem:
    values = {"gap_usd": 0.01, "min_transaction_value": 50.0, **parameters}
    return random_problem(seed, n_pools=90, n_tokens=4, **values)


def exact_gain_usd(problem: AllocationProblem) -> float:
    model = build_model(problem)
    result = solve_mip(model.sparse, Effort(0.001 / model.usd_of_objective_unit, 60.0))
    assert result.status == "optimal"
    return model.usd_of_objective(result.objective)


@pytest.fixture(autouse=True)
def _many_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few candidates, so that super-pools and rounds are needed; no closing in before."""
    monkeypatch.setattr(closing, "MAX_PASSES", 1)
    monkeypatch.setattr(closing.Closing, "_hold", lambda *_: None)
    monkeypatch.setattr(closing.Closing, "_look_near", lambda *_: None)
    is_small = tiers.is_small
    monkeypatch.setattr(tiers.Tiers, "_is_little_left", lambda self, *_: is_small(self.problem))
    monkeypatch.setattr(tiers, "DIRECT_POOLS", 10)
    monkeypatch.setattr(tiers, "MORE_CANDIDATES", 2)
    monkeypatch.setattr(tiers, "MORE_CANDIDATES_SHARE", 0.0)
    monkeypatch.setattr(tiers, "REAL_POOLS_BEHIND", 3)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_proven_mode_finds_the_optimum_of_the_whole_program(seed: int) -> None:
    problem = large(seed, mode="proven")
    plan = solve(problem)
    assert plan.certificate.method.startswith(("restricted", "reduced"))
    exact = exact_gain_usd(problem)
    assert plan.certificate.objective_usd == pytest.approx(exact, abs=0.02)
    assert plan.certificate.gap_usd <= 0.011
    assert verify(plan).violations == ()


@pytest.mark.parametrize("mode", ["fast", "standard"])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_mode_states_a_bound_that_holds(seed: int, mode: str) -> None:
    problem = large(seed, mode=mode)
    plan = solve(problem)
    exact = exact_gain_usd(problem)
    assert plan.certificate.objective_usd <= exact + 0.02
    assert plan.certificate.bound_usd >= exact - 0.02
    if mode == "standard":
        allowed = max(0.01, tiers.STANDARD_GAP_SHARE * abs(plan.certificate.bound_usd))
        assert plan.certificate.gap_usd <= allowed + 0.01
    assert verify(plan).violations == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_super_pools_bound_what_the_pools_left_out_could_gain(seed: int) -> None:
    problem = large(seed)
    rng = np.random.default_rng(seed)
    candidates = rng.random(len(problem.pools)) < 0.3
    candidates |= problem.position_usd > 0.0
    others = SuperPools.of(
        problem, tiers._buyable(problem) & ~candidates, rng.normal(0.0, 1e-3, len(problem.tokens))
    )
    for stars in (False, True):
        model = build_model(problem, candidates, others, stars=stars)
        result = solve_mip(model.sparse, Effort(0.001 / model.usd_of_objective_unit, 60.0))
        assert model.usd_of_objective(result.bound) >= exact_gain_usd(problem) - 0.02


@pytest.mark.parametrize("seed", SEEDS)
def test_a_start_leads_to_the_same_optimum(seed: int) -> None:
    problem = large(seed)
    model = build_model(problem)
    relaxed = replace(model.sparse, integer=np.zeros_like(model.sparse.integer))
    x = solve_mip(relaxed, Effort(0.0, 60.0)).x
    effort = Effort(0.001 / model.usd_of_objective_unit, 60.0, proof_only=True, presolve=False)
    result = solve_mip(model.sparse, effort, rounded_up(model, x))
    gain_usd = model.usd_of_objective(result.objective)
    assert gain_usd == pytest.approx(exact_gain_usd(problem), abs=0.02)


@pytest.mark.parametrize("n_rounds", [0, tiers.MAX_ROUNDS])
def test_without_a_plan_of_the_second_tier_the_optimum_is_found(
    n_rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the third, or, when its rounds are over, by the whole program."""
    monkeypatch.setattr(tiers.Tiers, "_restricted", lambda *_: None)
    monkeypatch.setattr(tiers, "MAX_ROUNDS", n_rounds)
    problem = large(1, mode="proven")
    plan = solve(problem)
    assert plan.certificate.method.split(":")[0] == ("reduced" if n_rounds else "direct")
    assert plan.certificate.objective_usd == pytest.approx(exact_gain_usd(problem), abs=0.02)


def test_the_pattern_of_a_solution_is_known_to_another_model() -> None:
    problem = large(2)
    model = build_model(problem)
    x = solve_mip(model.sparse, Effort(0.0, 60.0)).x
    columns, values = pattern_of(x, model, model)
    assert set(model.moves.tolist()) <= set(columns.tolist())
    assert values.tolist() == np.round(x[columns]).tolist()
    assert 0.0 < values.sum() < len(values)


def test_a_rounded_up_pool_does_not_get_a_deposit_and_a_withdrawal() -> None:
    problem = large(1)
    model = build_model(problem)
    columns, values = rounded_up(model, np.ones(len(model.sparse.cost)))
    on = dict(zip(columns.tolist(), values.tolist(), strict=True))
    deposit = model.deposits.columns_by_pool(len(problem.pools), model.deposits.binary)
    held = [
        (on[deposit[pool]], on[column])
        for pool, column in zip(model.withdrawals.pool, model.withdrawals.binary, strict=True)
        if deposit[pool] >= 0
    ]
    assert held
    assert set(held) == {(1.0, 0.0)}


def test_a_plan_names_its_mode_and_method() -> None:
    document = solve(large(0, mode="fast")).to_document()
    assert document["mode"] == "fast"
    assert "pools" in document["method"]
    assert solve(random_problem(1, n_pools=6)).to_document()["method"] == "direct"


def test_an_infeasible_large_problem_is_told_with_its_reason() -> None:
    plan = solve(large(0, min_pools=80, min_pool_share=0.05, profit_optimization=False))
    assert plan.status == "infeasible"
    assert plan.infeasible_because
    assert plan.n_moves == 0


@pytest.mark.parametrize("seed", range(4))
def test_dust_in_the_wallet_changes_nothing(seed: int) -> None:
    problem = replace(random_problem(seed, gap_usd=0.01), parameters=large(seed).parameters)
    dust = dict.fromkeys(problem.tokens, 1e-12 * problem.aum_usd)
    clean = {t: amount for t, amount in problem.book.wallet.items() if amount > 1.0}
    with_dust = replace(problem, book=Book({**dust, **clean}, problem.book.positions))
    without = replace(problem, book=Book(clean, problem.book.positions))
    gains = [solve(p).certificate.objective_usd for p in (with_dust, without)]
    assert gains[0] == pytest.approx(gains[1], abs=0.05)
    assert verify(solve(with_dust)).violations == ()


def test_pools_of_every_rate_model_can_be_left_out() -> None:
    problem = large(3, mode="proven")
    diluted = [
        replace(pool, rate_model=RateModel.PRO_RATA) for pool in problem.pools if pool.tokens
    ]
    problem = replace(problem, pools=diluted)
    assert solve(problem).certificate.objective_usd == pytest.approx(
        exact_gain_usd(problem), abs=0.02
    )


def test_a_proof_that_ran_out_of_time_is_not_called_optimal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever plan is the best one, and whichever tier it comes from."""
    n_cut_short = 0

    def out_of_time(model: SparseModel, effort: Effort, start: Start | None = None) -> SolverResult:
        nonlocal n_cut_short
        result = solve_mip(model, effort, start)
        if start is None or effort.max_nodes is not None or result.x is None:
            return result
        n_cut_short += 1
        return replace(result, status="time_limit", bound=np.inf)

    monkeypatch.setattr(tiers, "solve_mip", out_of_time)
    for seed in SEEDS:
        before = n_cut_short
        plan = solve(large(seed, mode="proven"))
        is_proven = plan.certificate.gap_usd <= 0.01
        assert plan.status == ("optimal" if is_proven else "time_limit")
        assert is_proven or n_cut_short > before
    assert n_cut_short > 0
