"""Flow cuts and shaving: nothing that a better plan has is ever cut or shaved off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from stableyield.allocation import AllocationProblem, closing
from stableyield.allocation.closing import Closing
from stableyield.allocation.flow_cuts import VIOLATION, Rows, flow_cuts
from stableyield.allocation.flows import Flows, flows_of
from stableyield.allocation.milp import AllocationModel, build_model
from stableyield.allocation.shaving import Program, relaxed, shaved
from stableyield.allocation.solver import Effort, SolverResult, solve_mip, solve_with_pattern
from stableyield.domain.costs import GasCosts
from support.problems import pool, problem, random_problem

SEEDS = range(40)
MANY_SEEDS = range(100, 500)
TOLERANCE = 1e-5  # model units


@pytest.fixture(autouse=True)
def _shaved_however_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "FEWEST_MOVES", 0)


def varied(seed: int) -> AllocationProblem:
    """Random problems of all limits and sizes."""
    rng = np.random.default_rng(seed)
    return random_problem(
        seed,
        int(rng.integers(4, 30)),
        int(rng.integers(2, 6)),
        min_pools=int(rng.integers(0, 4)),
        min_invested_pct=float(rng.choice([0.0, 0.0, 0.4])),
        cap_tolerance=float(rng.choice([0.0, 0.1, 0.3])),
        min_position_usd=float(rng.choice([0.0, 50.0, 400.0])),
        cash_apy=float(rng.choice([0.0, 0.0, 0.03])),
    )


def best_of(model: AllocationModel) -> SolverResult | None:
    """The optimum of the whole program by the solver alone, at exact flows."""
    result = solve_mip(model.sparse, Effort(1e-4 / model.usd_of_objective_unit, 60.0))
    return None if result.x is None else solve_with_pattern(model.sparse, result.x)


def plans(model: AllocationModel, seed: int) -> Iterator[np.ndarray]:
    """Plans of all kinds: the best ones under random prices for every move."""
    rng = np.random.default_rng(seed)
    for _ in range(4):
        cost = model.sparse.cost + rng.normal(0.0, 5.0, len(model.sparse.cost))
        cost[~np.isfinite(model.sparse.lower) | ~np.isfinite(model.sparse.upper)] = 0.0
        other = replace(model.sparse, cost=cost)
        result = solve_mip(other, Effort(1.0, 60.0, max_nodes=20))
        if result.x is not None:
            yield solve_with_pattern(other, result.x).x


def excess_over(rows: Rows, x: np.ndarray) -> np.ndarray:
    """How far a solution is beyond each row."""
    row = np.repeat(np.arange(len(rows)), np.diff(rows.start))
    return np.bincount(row, rows.value * x[rows.column], len(rows)) - rows.upper


def without_least(flows: Flows) -> Flows:
    """Flows that know nothing of what is worth its gas."""
    return replace(flows, least=np.where(flows.is_forced, flows.least, 0.0))


def check_cuts(seed: int) -> int:
    """Cuts of the relaxation hold for all plans, and not for the relaxation; their number."""
    task = varied(seed)
    model = build_model(task)
    flows = without_least(flows_of(task, model))
    linear = replace(model.sparse, integer=np.zeros_like(model.sparse.integer))
    relaxation = solve_mip(linear, Effort(0.0, 60.0))
    if relaxation.x is None:
        return 0
    cuts = flow_cuts(flows, relaxation.x)
    assert np.all(excess_over(cuts, relaxation.x) > 0.9 * VIOLATION)
    for x in plans(model, seed):
        assert excess_over(cuts, x).max(initial=0.0) <= TOLERANCE
    return len(cuts)


def check_shaving(seed: int) -> None:
    """Of all that is shaved off, nothing is in the best plan, and no bound is below it."""
    task = varied(seed)
    model = build_model(task)
    best = best_of(model)
    if best is None or best.x is None:
        return
    unit = model.usd_of_objective_unit
    both_sides = Closing(task, model, 1e-3 / unit, 60.0)
    known = both_sides.close_in()
    assert known.bound >= best.objective - 1e-3 / unit
    found = both_sides.search(1e-3 / unit)
    assert found.objective >= best.objective - 2e-3 / unit
    assert found.bound >= best.objective - 1e-3 / unit
    assert found.status == "optimal"


@pytest.mark.parametrize("seed", SEEDS)
def test_every_plan_obeys_every_cut_and_the_relaxation_does_not(seed: int) -> None:
    check_cuts(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_equally_good_plan_is_in_what_is_left_and_no_bound_is_below_it(seed: int) -> None:
    check_shaving(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(MANY_SEEDS.start, MANY_SEEDS.stop, 50))
def test_hundreds_of_problems_lose_nothing(first: int) -> None:
    assert sum(check_cuts(seed) for seed in range(first, first + 50)) > 50
    for seed in range(first, first + 50):
        check_shaving(seed)


def test_the_problems_are_worth_cutting() -> None:
    assert sum(check_cuts(seed) for seed in range(10)) > 20


@pytest.mark.parametrize("seed", range(12))
def test_cuts_sharpen_the_relaxation_and_shaving_only_lowers_it(seed: int) -> None:
    task = varied(seed)
    model = build_model(task)
    best = best_of(model)
    if best is None:
        return
    program = Program.of(model.sparse, flows_of(task, model))
    bounds = []
    for n_rounds in (0, 1, 3):
        sharper, result = relaxed(program, -np.inf, n_rounds, 60.0)
        bounds.append(result.objective)
    assert bounds == sorted(bounds, reverse=True)
    smaller = shaved(sharper, result, best.objective - 1.0)
    _, again = relaxed(smaller, -np.inf, 0, 60.0)
    assert best.objective - TOLERANCE <= again.objective <= bounds[-1] + TOLERANCE
    assert len(smaller.flows.binary) <= len(program.flows.binary)


def test_what_a_better_plan_cannot_have_is_gone() -> None:
    """All the cash goes to the best pool; every dollar in another would lose more than is open."""
    task = problem(
        [pool("best", apy=5.0), *(pool(f"p{n}", apy=1.0) for n in range(5))],
        {"USDC": 100_000.0},
        gas=GasCosts(5.0, 5.0, 8.0),
        min_transaction_value=200.0,
    )
    model = build_model(task)
    best = best_of(model)
    program, result = relaxed(Program.of(model.sparse, flows_of(task, model)), -np.inf, 3, 60.0)
    left = shaved(program, result, best.objective - 1e-3)
    assert [model.deposits.pool[n] for n in left.columns[left.flows.binary]] == [0]


def test_a_deposit_that_does_not_earn_its_gas_is_not_looked_at() -> None:
    """At 1 % a year the 5 USD are earned from 500 USD on; what counts for min_pools is exempt."""
    pools = [pool("a", apy=1.0), pool("b", apy=2.0)]
    wallet = {"USDC": 1_000.0}
    for counted, least_usd in ((0, [500.0, 250.0]), (1, [100.0, 100.0])):
        task = problem(
            pools, wallet, gas=GasCosts(5.0, 5.0, 8.0), min_pools=counted, min_pool_share=0.1
        )
        model = build_model(task)
        flows = flows_of(task, model)
        least = (flows.minimum + flows.least)[: len(model.deposits.pool)] * model.unit_usd
        assert least.tolist() == pytest.approx(least_usd)


def test_a_position_above_its_cap_must_shrink_by_what_is_too_much() -> None:
    task = problem(
        [pool("held", apy=5.0), pool("other", apy=1.0)],
        {"USDC": 100.0},
        {("held", "USDC"): 900.0},
        max_alloc_percentage=0.5,
        cap_tolerance=0.1,
    )
    model = build_model(task)
    flows = flows_of(task, model)
    forced = flows.is_forced
    assert (flows.minimum + flows.least)[forced].tolist() == pytest.approx([400.0])
    linear = replace(model.sparse, integer=np.zeros_like(model.sparse.integer))
    x = solve_mip(linear, Effort(0.0, 60.0)).x
    assert x[flows.binary[forced]].tolist() == pytest.approx([1.0])


def test_rows_that_are_equal_are_kept_once() -> None:
    row = (np.array([0, 2]), np.array([1.0, -2.0]), 3.0)
    rows = Rows.of([row, (np.array([1, 0]), np.array([1e-12, 4.0]), 0.0), row])
    assert rows.start.tolist() == [0, 2, 3]
    assert rows.column.tolist() == [0, 2, 0]
    assert rows.upper.tolist() == [3.0, 0.0]


def test_a_large_program_is_not_sharpened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "MANY_MOVES", 0)
    task = varied(3)
    model = build_model(task)
    known = Closing(task, model, 1e-3, 60.0).close_in()
    assert known.relaxation is not None
    assert len(known.relaxation.row_dual) == len(model.sparse.row_lower)
