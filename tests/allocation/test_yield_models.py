"""What a position is counted on to earn: forecasts, caution, and dilution by our own deposit."""

from __future__ import annotations

import numpy as np
import pytest

from stableyield.allocation import AllocationProblem, Plan, PoolInput, RateModel
from stableyield.allocation.dilution import N_SEGMENTS, concave_yields, share_kept
from stableyield.domain.costs import GasCosts
from stableyield.domain.lending import KinkedCurve
from stableyield.domain.rates import growth
from support.problems import pool, positions_usd, problem, solved


def _diluted(pool_id: str, apy: float, others_usd: float, **fields: object) -> PoolInput:
    return pool(pool_id, apy=apy, tvl_usd=others_usd, rate_model=RateModel.PRO_RATA, **fields)


def test_the_yield_is_the_growth_over_the_horizon() -> None:
    plan = solved(problem([pool("a", apy=8.0)], {"USDC": 1_000.0}, horizon_days=30.0))
    assert plan.expected.yield_usd == pytest.approx(1_000.0 * (1.08 ** (30 / 365) - 1), rel=1e-6)
    assert plan.expected.weighted_apy_pct == pytest.approx(8.0, rel=1e-6)
    assert plan.expected.horizon_days == 30.0


def test_what_was_held_before_earns_too() -> None:
    task = problem([pool("a", apy=8.0)], {}, {("a", "USDC"): 1_000.0})
    assert solved(task).certificate.objective_usd == pytest.approx(80.0, abs=0.01)


def test_an_empty_plan_expects_nothing() -> None:
    expected = solved(problem([pool("a", apy=-5.0)], {"USDC": 1_000.0})).expected
    assert (expected.yield_usd, expected.weighted_apy_pct) == (0.0, 0.0)


# --- caution ---


@pytest.mark.parametrize(("risk_aversion", "chosen"), [(0.0, "wild"), (0.2, "wild"), (0.3, "calm")])
def test_the_pessimistic_forecast_counts_as_much_as_we_fear_risk(
    risk_aversion: float, chosen: str
) -> None:
    # wild: 10 - 8 g, calm: 8 for any g; they are equal at g = 0.25
    pools = [pool("wild", apy=10.0, apy_q10_pct=2.0), pool("calm", apy=8.0, apy_q10_pct=8.0)]
    plan = solved(problem(pools, {"USDC": 1_000.0}, risk_aversion=risk_aversion))
    assert set(positions_usd(plan)) == {chosen}


def test_an_unknown_quantile_means_no_risk_adjustment() -> None:
    plan = solved(problem([pool("a", apy=8.0)], {"USDC": 1_000.0}, risk_aversion=1.0))
    assert plan.expected.yield_usd == pytest.approx(80.0, abs=0.01)


# --- dilution ---


def test_our_deposit_dilutes_what_is_shared_pro_rata() -> None:
    plan = solved(problem([_diluted("a", 10.0, 3_000.0)], {"USDC": 1_000.0}))
    assert plan.expected.yield_before_dilution_usd == pytest.approx(100.0, abs=0.01)
    assert plan.expected.yield_usd == pytest.approx(75.0, abs=0.01)
    assert plan.expected.weighted_apy_pct == pytest.approx(7.5, abs=1e-3)


def test_a_share_of_a_pool_that_includes_us_is_diluted_by_others_only() -> None:
    """4,000 USD with our 1,000 in them: the forecast is for a pool of 3,000 and our deposit."""
    task = problem([_diluted("a", 10.0, 4_000.0)], {}, {("a", "USDC"): 1_000.0})
    plan = solved(task)
    assert plan.n_moves == 0
    assert plan.expected.yield_usd == pytest.approx(75.0, abs=0.01)


@pytest.mark.parametrize("seed", range(8))
def test_chords_never_promise_more_than_the_curve(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pools = [
        _diluted(f"p{i}", float(rng.uniform(1.0, 30.0)), float(10 ** rng.uniform(3.0, 6.0)))
        for i in range(5)
    ]
    held = {("p0", "USDC"): 2_000.0}
    plan = solved(problem(pools, {"USDC": 10_000.0}, held, horizon_days=90.0))
    promised, real = plan.certificate.objective_usd, plan.expected.net_usd
    assert promised <= real + 1e-6
    assert promised >= 0.97 * real  # and not much less: eight chords of a concave curve


def _marginal_yields(plan: Plan, pools: list[PoolInput]) -> dict[str, float]:
    """Yield of the next dollar in each pool that is used: ``f others^2 / (others + x)^2``."""
    held = positions_usd(plan)
    return {
        p.pool_id: growth(p.apy_pct / 100.0, 365.0)
        * (p.tvl_usd / (p.tvl_usd + held[p.pool_id])) ** 2
        for p in pools
        if p.pool_id in held
    }


def test_without_fixed_costs_money_flows_to_equal_marginal_yields() -> None:
    """Water-filling, as exactly as eight chords can tell."""
    pools = [
        _diluted("a", 12.0, 20_000.0),
        _diluted("b", 9.0, 40_000.0),
        _diluted("c", 7.0, 30_000.0),
        _diluted("never", 2.0, 30_000.0),
    ]
    plan = solved(problem(pools, {"USDC": 20_000.0}))
    marginal = _marginal_yields(plan, pools)
    assert "never" not in marginal
    exact = _water_level(pools, 20_000.0)
    for pool_id, value in marginal.items():
        others = next(p.tvl_usd for p in pools if p.pool_id == pool_id)
        # within one chord (an eighth of the money) the slope of this pool's curve changes by
        step = 2.0 * value * (20_000.0 / N_SEGMENTS) / others
        assert value == pytest.approx(exact, abs=step)
    assert positions_usd(plan)["a"] > positions_usd(plan)["c"]


def _water_level(pools: list[PoolInput], money_usd: float) -> float:
    """The marginal yield at which the pools take exactly the money, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        level = 0.5 * (low + high)
        taken = sum(max(p.tvl_usd * (np.sqrt(p.apy_pct / 100.0 / level) - 1.0), 0.0) for p in pools)
        low, high = (level, high) if taken > money_usd else (low, level)
    return high


def test_dilution_spreads_what_a_constant_rate_would_concentrate() -> None:
    wallet = {"USDC": 50_000.0}
    shared = [_diluted("a", 10.0, 50_000.0), _diluted("b", 9.0, 50_000.0)]
    fixed = [pool("a", apy=10.0), pool("b", apy=9.0)]
    assert set(positions_usd(solved(problem(shared, wallet)))) == {"a", "b"}
    assert set(positions_usd(solved(problem(fixed, wallet)))) == {"a"}


def test_a_pool_with_nobody_else_in_it_promises_nothing() -> None:
    task = problem(
        [_diluted("alone", 20.0, 500.0), pool("b", apy=1.0)],
        {"USDC": 1_000.0},
        {("alone", "USDC"): 500.0},
        gas=GasCosts(1.0, 1.0, 1.0),
    )
    plan = solved(task)
    assert set(positions_usd(plan)) == {"b"}


def test_a_loss_is_not_shared_away() -> None:
    """A negative rate in a diluted pool counts in full: the pessimistic side."""
    task = problem([_diluted("loss", -10.0, 1_000.0)], {}, {("loss", "USDC"): 500.0})
    assert positions_usd(solved(task)) == {}
    task = problem([_diluted("loss", -10.0, 10_000.0)], {}, {("loss", "USDC"): 500.0}, min_pools=1)
    plan = solved(task)
    assert plan.expected.yield_usd == pytest.approx(-0.10 * positions_usd(plan)["loss"], rel=1e-6)


# --- lending markets, against the formulas written out ---


def _random_market(seed: int) -> tuple[AllocationProblem, KinkedCurve, float, float]:
    """A book with one market, its curve, the others' deposits, and our largest claim."""
    rng = np.random.default_rng(seed)
    deposits = float(10.0 ** rng.uniform(3.0, 8.0))
    curve = KinkedCurve(
        base_apr=float(rng.choice([0.0, rng.uniform(0.0, 0.05)])),
        slope1=float(rng.uniform(0.001, 0.2)),
        slope2=float(rng.choice([0.0, rng.uniform(0.0, 3.0)])),
        optimal_utilisation=float(rng.uniform(0.4, 0.95)),
        reserve_factor=float(rng.uniform(0.0, 0.5)),
        debt_usd=deposits * float(rng.choice([1e-6, rng.uniform(0.0, 1.1)])),
        deposits_usd=deposits,
    )
    held = deposits * float(rng.choice([0.0, rng.uniform(0.0, 0.999), 1.0]))
    most = max(held, deposits * float(10.0 ** rng.uniform(-3.0, 1.0)))
    includes = bool(rng.random() < 0.5)
    one = pool("a", apy=8.0, rate_model=RateModel.KINKED, curve=curve)
    book = {("a", "USDC"): held} if held else {}
    task = problem([one], {"USDC": deposits}, book, tvl_includes_position=includes)
    return task, curve, deposits - held if includes else deposits, most


def _paid_apr(curve: KinkedCurve, deposits_usd: float) -> float:
    """What depositors get: the two branches of the borrow APR, written out."""
    use = min(curve.debt_usd / deposits_usd, 1.0) if deposits_usd > 0.0 else 1.0
    optimal = curve.optimal_utilisation
    if use <= optimal:
        borrow = curve.base_apr + curve.slope1 * use / optimal
    else:
        over = (use - optimal) / (1.0 - optimal)
        borrow = curve.base_apr + curve.slope1 + curve.slope2 * over
    return borrow * use * (1.0 - curve.reserve_factor)


@pytest.mark.parametrize("seed", range(80))
def test_a_market_pays_by_its_curve_and_the_chords_never_more(seed: int) -> None:
    """Small and empty markets, hardly any debt, more debt than deposits, kinks on the way."""
    task, curve, others, most = _random_market(seed)
    claims = np.linspace(0.0, most, 301)[1:]
    paid = np.array([_paid_apr(curve, others + claim) for claim in claims])
    true = 0.08 * claims * paid / _paid_apr(curve, curve.deposits_usd)
    kept = share_kept(task, np.zeros(len(claims), dtype=int), claims)
    assert task.growth[0] * claims * kept == pytest.approx(true, rel=1e-9)
    for piece in concave_yields(task, 0, most):
        inside = (claims >= piece.low_usd) & (claims <= piece.high_usd)
        lines = np.outer(claims[inside], piece.slope) + piece.intercept_usd
        assert np.all(lines.min(axis=1) <= true[inside] * (1.0 + 1e-9) + 1e-9)
