"""What holds for every problem: plans are right to the cent, near the bound, alike in any money."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stableyield.allocation import AllocationProblem, Plan, PoolInput
from stableyield.domain.costs import GasCosts
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import Book
from support.problems import moves, positions_usd, random_problem, scaled, solved


def _any_size(seed: int, **overrides: object) -> AllocationProblem:
    """Five to forty pools over one to six tokens."""
    rng = np.random.default_rng(10_000 + seed)
    return random_problem(seed, int(rng.integers(5, 41)), int(rng.integers(1, 7)), **overrides)


@pytest.mark.parametrize("seed", range(100))
def test_every_plan_is_verified_accounted_for_and_within_its_gap(seed: int) -> None:
    plan = solved(_any_size(seed))  # verifies, and asserts unaccounted money and gap
    assert plan.status in {"optimal", "infeasible"}


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_two_thousand_plans_are_verified(block: int) -> None:
    for seed in range(1_000 + 100 * block, 1_100 + 100 * block):
        solved(_any_size(seed))


@pytest.mark.parametrize("seed", range(12))
def test_a_ten_times_smaller_gap_gains_less_than_the_gap_more(seed: int) -> None:
    loose = solved(_any_size(seed, gap_usd=1.0))
    tight = solved(_any_size(seed, gap_usd=0.1))
    if loose.certificate.has_solution:
        more = tight.certificate.objective_usd - loose.certificate.objective_usd
        assert -0.1 - 1e-6 <= more <= 1.0 + 1e-6


def _all_frozen(task: AllocationProblem) -> AllocationProblem:
    states = [replace(p, state=PoolState.FROZEN) for p in task.pools if p.tokens]
    return replace(task, pools=states)


def _none_open(task: AllocationProblem) -> AllocationProblem:
    kinds = (PoolState.WITHDRAW_ONLY, PoolState.EXIT, PoolState.FROZEN)
    named = [p for p in task.pools if p.tokens]
    return replace(task, pools=[replace(p, state=kinds[i % 3]) for i, p in enumerate(named)])


def _no_wallet(task: AllocationProblem) -> AllocationProblem:
    return replace(task, book=Book({}, task.book.positions)) if task.book.positions else task


def _tiny_wallet(task: AllocationProblem) -> AllocationProblem:
    wallet = {token: amount * 1e-5 for token, amount in task.book.wallet.items()}
    return replace(task, book=Book(wallet, task.book.positions))


def _no_fees(task: AllocationProblem) -> AllocationProblem:
    p = task.parameters.model_copy(
        update={"conversion_rate": 0.0, "min_transaction_value": 0.0, "min_position_usd": 0.0}
    )
    free = [replace(one, gas=None) for one in task.pools]
    return replace(task, gas=GasCosts(0.0, 0.0, 0.0), pools=free, parameters=p)


def _high_gas(task: AllocationProblem) -> AllocationProblem:
    return replace(task, gas=GasCosts(150.0, 250.0, 400.0))


def _small_money(task: AllocationProblem) -> AllocationProblem:
    return scaled(task, 300.0 / task.aum_usd)


def _losses(task: AllocationProblem) -> AllocationProblem:
    def loss(given: PoolInput, i: int) -> PoolInput:
        return replace(given, apy_pct=(-100.0, -5.0, 0.0, 10_000.0)[i % 4], apy_q10_pct=np.nan)

    return replace(task, pools=[loss(p, i) for i, p in enumerate(task.pools) if p.tokens])


EXTREMES = (
    _all_frozen,
    _none_open,
    _no_wallet,
    _tiny_wallet,
    _no_fees,
    _high_gas,
    _small_money,
    _losses,
)


@pytest.mark.parametrize("extreme", EXTREMES, ids=lambda f: f.__name__.strip("_"))
@pytest.mark.parametrize("seed", range(8))
def test_extreme_problems_have_right_plans_too(seed: int, extreme) -> None:
    solved(extreme(_any_size(seed)))


@pytest.mark.parametrize("seed", range(8))
def test_tight_limits_have_right_plans_or_a_reason(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plan = solved(
        _any_size(
            seed,
            min_pools=int(rng.integers(0, 8)),
            min_invested_pct=float(rng.choice([0.0, 0.5])),
            group1_max_pct=float(rng.uniform(0.0, 0.3)),
            group2_max_pct=float(rng.uniform(0.0, 0.3)),
            cap_tolerance=float(rng.choice([0.0, 0.5])),
            min_position_usd=5_000.0,
            cash_apy=0.02,
        )
    )
    assert (plan.status == "infeasible") == bool(plan.infeasible_because)


# --- the same in any money ---


@pytest.mark.parametrize("seed", range(12))
def test_a_thousand_times_the_money_gains_a_thousand_times_as_much(seed: int) -> None:
    """When every amount, limit in USD and fixed cost scales, the problem is the same one."""
    task = _any_size(seed, gap_usd=1e-4)
    small = solved(task)
    large = solved(scaled(task, 1_000.0, costs=True))
    assert small.status == large.status
    if small.status == "optimal":
        assert large.certificate.objective_usd == pytest.approx(
            1_000.0 * small.certificate.objective_usd, abs=0.2 + 1e-8 * 1_000.0 * task.aum_usd
        )


@pytest.mark.parametrize("seed", range(8))
def test_a_plan_does_not_depend_on_the_order_of_the_input(seed: int) -> None:
    task = _any_size(seed)
    rng = np.random.default_rng(seed)
    shuffled = [task.pools[i] for i in rng.permutation(len(task.pools))]
    other = AllocationProblem(
        [p for p in shuffled if p.tokens],
        task.book,
        task.prices_usd,
        task.gas,
        task.parameters,
        tvl_includes_position=task.tvl_includes_position,
    )
    assert _without_time(solved(task)) == _without_time(solved(other))


def _without_time(plan: Plan) -> dict[str, object]:
    document = plan.to_document()
    del document["solve_seconds"]
    return document


# --- more freedom never hurts ---


@pytest.mark.parametrize("seed", range(10))
def test_a_wider_limit_never_lowers_the_gain(seed: int) -> None:
    # without the band above caps, whose privilege a wider cap would take away
    task = _any_size(seed, gap_usd=1e-3, cap_tolerance=0.0)
    p = task.parameters
    wider = p.model_copy(
        update={
            "max_alloc_percentage": min(1.0, p.max_alloc_percentage * 1.5),
            "group1_max_pct": 1.0,
            "min_pools": 0,
            "min_transaction_value": p.min_transaction_value / 2.0,
        }
    )
    tight, loose = solved(task), solved(task.with_parameters(wider))
    assert loose.status == "optimal"
    if tight.status == "optimal":
        assert loose.certificate.objective_usd >= tight.certificate.objective_usd - 2e-3


@pytest.mark.parametrize("seed", range(10))
def test_a_dearer_move_never_raises_the_gain(seed: int) -> None:
    task = _any_size(seed, gap_usd=1e-3, min_pools=0)
    dearer = replace(task, gas=GasCosts(30.0, 30.0, 30.0))
    assert max(task.gas.allocation, task.gas.withdrawal, task.gas.conversion) < 30.0
    first, second = solved(task), solved(dearer)
    assert second.certificate.objective_usd <= first.certificate.objective_usd + 2e-3


# --- what the positions say ---


@pytest.mark.parametrize("seed", range(10))
def test_nothing_is_bought_where_buying_is_not_allowed(seed: int) -> None:
    task = _any_size(seed)
    plan = solved(task)
    state = {p.pool_id: p.state for p in task.pools}
    before = task.book.positions_usd(task.prices_usd)
    for pool_id, usd in positions_usd(plan).items():
        if state[pool_id] is not PoolState.OPEN:
            assert usd <= before[pool_id] + 0.01
        if state[pool_id] is PoolState.FROZEN:
            assert usd == pytest.approx(before[pool_id], rel=1e-12)
    if plan.status == "optimal":
        assert not {i for i in positions_usd(plan) if state[i] is PoolState.EXIT}


@pytest.mark.parametrize("seed", range(10))
def test_no_pool_gets_and_gives_and_no_pair_is_converted_both_ways(seed: int) -> None:
    plan = solved(_any_size(seed))
    steps = moves(plan)
    given = {(s.to_location, s.token) for s in steps if s.type.value == "ALLOCATION"}
    taken = {(s.from_location, s.token) for s in steps if s.type.value == "WITHDRAWAL"}
    assert not given & taken
    sold = {(s.token, s.to_token) for s in steps if s.type.value == "CONVERSION"}
    assert not sold & {(b, a) for a, b in sold}
