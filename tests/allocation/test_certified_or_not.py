"""Nothing is optimal while nothing is known of all plans; what cannot be paid is not done."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from stableyield.allocation import AllocationProblem, solve, verify
from support.problems import pool, problem


@pytest.mark.parametrize("mode", ["fast", "standard", "proven"])
@pytest.mark.parametrize("min_pools", [0, 1])
def test_many_pools_that_can_hardly_be_bought_are_searched_all(mode, min_pools):
    # a cap of 75 USD takes no deposit of two tokens of 50 each: 72 pools, and two moves
    pairs = [pool(f"pair{n:02d}", "DAI", "USDC", apy=4.0) for n in range(70)]
    parameters = {"min_pools": min_pools, "min_pool_share": 0.01, "min_transaction_value": 50.0}
    given = problem(
        [*pairs, pool("one", apy=9.0), pool("two", apy=8.0)],
        {"USDC": 300.0},
        max_alloc_percentage=0.25,
        gap_usd=None,
        mode=mode,
        **parameters,
    )
    plan = solve(given)
    assert plan.status == "optimal"
    assert plan.certificate.objective_usd == pytest.approx(12.75, abs=1e-3)
    assert plan.certificate.bound_usd == pytest.approx(12.75, abs=0.1)
    assert verify(plan).ok


@pytest.mark.parametrize("mode", ["fast", "standard", "proven"])
@pytest.mark.parametrize("seconds", [1e-4, 3e-3, 1e-2])
def test_out_of_time_is_never_called_optimal_without_a_bound(mode, seconds):
    tokens = ("DAI", "USDC", "USDT")
    pools = [pool(f"p{n:03d}", tokens[n % 3], apy=1.0 + n * 0.01) for n in range(400)]
    given = problem(
        pools,
        {"USDC": 1e5},
        {("p000", "DAI"): 1e6},
        mode=mode,
        time_limit_seconds=seconds,
        max_alloc_percentage=1.0,
        min_transaction_value=50.0,
        gap_usd=None,
        conversion_rate=0.0004,
    )
    plan = solve(given)
    certificate = plan.certificate
    assert plan.status in {"optimal", "time_limit"}
    if certificate.has_solution:
        assert math.isfinite(certificate.bound_usd)
        assert certificate.bound_usd >= 54_869.9
    else:
        assert plan.status == "time_limit"
        assert plan.n_moves == 0
    if plan.status == "optimal" and mode != "fast":
        assert certificate.objective_usd >= 54_869.9 * 0.995


def test_gas_that_no_step_can_pay_leads_to_another_plan():
    # conversions are free, and all that is spare waits at the end of a chain of them
    path = Path(__file__).parent / "problems" / "gas_behind_a_chain_of_conversions.json"
    plan = solve(AllocationProblem.from_json(path))
    assert plan.status == "optimal"
    assert plan.certificate.gap_usd <= 0.1
    assert verify(plan).ok
