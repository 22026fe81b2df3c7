"""The seed's instance has a known optimum; a small one made by hand has one too."""

from __future__ import annotations

import csv

import pytest

from stableyield.allocation import Plan, verify
from stableyield.domain.costs import GasCosts
from support.problems import (
    GOLDEN_INSTANCE,
    SHARED,
    moves,
    pool,
    positions_usd,
    problem,
    seed_problem,
    solved,
)

needs_golden = pytest.mark.skipif(not GOLDEN_INSTANCE.exists(), reason="needs ../shared/golden")
RECORDED_RUNS = SHARED / "golden" / "seed_recorded_runs.csv"

# net gain in USD by horizon in days, by an independent plain model
KNOWN_OPTIMA = {1: 232.0177, 30: 8_839.2216, 365: 114_801.8406}


@needs_golden
@pytest.mark.parametrize(("horizon_days", "net_usd"), KNOWN_OPTIMA.items())
def test_the_seed_instance_reaches_its_known_optimum(horizon_days: int, net_usd: float) -> None:
    plan = solved(seed_problem(horizon_days=horizon_days))
    assert plan.status == "optimal"
    assert plan.certificate.objective_usd == pytest.approx(net_usd, abs=1e-3)
    assert plan.expected.net_usd == pytest.approx(net_usd, abs=1e-3)
    assert plan.certificate.bound_usd >= net_usd - 1e-3


@needs_golden
def test_the_seed_plan_obeys_every_limit_on_whole_positions() -> None:
    """Checked here by hand once more, beside the verifier."""
    task = seed_problem()
    held = positions_usd(solved(task))
    p, aum = task.parameters, task.aum_usd
    for given in task.pools:
        usd = held.get(given.pool_id, 0.0)
        assert usd <= p.max_alloc_percentage * aum + 0.01
        assert usd <= p.position_max_pct_total_assets * aum + 0.01
        assert usd <= p.tvl_limit_percentage * given.tvl_usd + 0.01
        before = float(task.position_usd[task.pool_index[given.pool_id]])
        others = given.tvl_usd - before
        assert usd <= p.position_max_pct_pool_tvl * (others + usd) + 0.01
    assert sum(usd >= p.min_pool_share * aum - 0.01 for usd in held.values()) >= 5


@needs_golden
@pytest.mark.parametrize(
    ("scenario", "changes"),
    [
        ("Baseline", {}),
        ("High Max Allocation", {"max_alloc_percentage": 0.5}),
        ("Low TVL Limit", {"tvl_limit_percentage": 0.01}),
        ("High Conversion Cost", {"conversion_rate": 0.001}),
    ],
)
def test_no_recorded_scenario_loses_money_here(scenario: str, changes: dict[str, float]) -> None:
    task = seed_problem(**changes)
    check = verify(solved(task), task)
    with RECORDED_RUNS.open(encoding="utf-8") as file:
        recorded = {row["scenario"]: row for row in csv.DictReader(file)}[scenario]
    assert round(abs(check.unaccounted_usd), 2) == 0.0
    assert abs(float(recorded["unaccounted_usd"])) > 100_000.0
    assert check.aum_before_usd == pytest.approx(float(recorded["aum_usd"]), abs=0.01)


# --- a small instance, solved by hand ---


def _small_plan() -> Plan:
    """1,000 USDC and 500 DAI at hand, 1,000 USDC at 2 percent; every step costs 1 USD of gas.

    "high" pays 10 percent on at most 5 % of 30,000 = 1,500 USD, "dai" 6 percent on at most 500.
    """
    task = problem(
        [
            pool("dai", "DAI", apy=6.0, tvl_usd=10_000.0),
            pool("high", "USDC", apy=10.0, tvl_usd=30_000.0),
            pool("low", "USDC", apy=2.0, tvl_usd=1e6),
        ],
        {"DAI": 500.0, "USDC": 1_000.0},
        {("low", "USDC"): 1_000.0},
        gas=GasCosts(1.0, 1.0, 2.0),
        conversion_rate=0.001,
        tvl_limit_percentage=0.05,
        position_max_pct_pool_tvl=0.06,
    )
    return solved(task)


def test_the_small_instance_reaches_the_optimum_that_was_found_by_hand() -> None:
    # 1,500 USDC go to "high", 500 of them from "low", which also pays the gas of three steps
    plan = _small_plan()
    gain = 0.10 * 1_500.0 + 0.06 * 500.0 + 0.02 * (1_000.0 - 503.0) - 3.0
    assert plan.expected.net_usd == pytest.approx(gain, abs=1e-3)
    assert plan.certificate.objective_usd == pytest.approx(gain, abs=1e-3)
    assert positions_usd(plan) == pytest.approx(
        {"dai": 500.0, "high": 1_500.0, "low": 497.0}, abs=0.01
    )


def test_the_small_plan_is_carried_out_in_a_payable_order() -> None:
    steps = [(step.type.value, step.token) for step in moves(_small_plan())]
    assert steps[0] == ("WITHDRAWAL", "USDC")
    assert sorted(steps[1:]) == [("ALLOCATION", "DAI"), ("ALLOCATION", "USDC")]


def test_the_limit_that_binds_in_the_small_plan_is_named_with_its_value() -> None:
    # one more dollar of room in "high" is taken out of "low"; "dai" has no more DAI to take
    binding = _small_plan().explanation["binding"]
    assert [(row["limit"], row["pool_id"]) for row in binding] == [("tvl_limit_percentage", "high")]
    assert binding[0]["usd_per_usd"] == pytest.approx(0.08, abs=1e-6)
