"""Lending markets whose rate falls with our deposit along a kinked curve."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stableyield.allocation import (
    AllocationProblem,
    PoolInput,
    RateModel,
    problem_document,
    read_problem,
    verify_documents,
)
from stableyield.allocation.dilution import concave_yields, share_kept
from stableyield.allocation.milp import build_model
from stableyield.allocation.super_pools import SuperPools
from stableyield.domain.lending import KinkedCurve
from stableyield.domain.pool import PoolState
from stableyield.errors import ContractError, InputError
from support.problems import pool, positions_usd, problem, random_problem, solved

MONEY = 5e6


def _curve(debt_usd: float = 93e6, **fields: float) -> KinkedCurve:
    values: dict[str, Any] = {
        "base_apr": 0.0,
        "slope1": 0.055,
        "slope2": 0.6,
        "optimal_utilisation": 0.9,
        "reserve_factor": 0.1,
        "debt_usd": debt_usd,
        "deposits_usd": 100e6,
    }
    return KinkedCurve(**{**values, **fields})


def _kinked(pool_id: str, apy: float, curve: KinkedCurve, **fields: object) -> PoolInput:
    return pool(pool_id, apy=apy, rate_model=RateModel.KINKED, curve=curve, **fields)


def _yields(task: AllocationProblem, number: int, claims: np.ndarray) -> np.ndarray:
    """True yield by claim."""
    kept = share_kept(task, np.full(len(claims), number), claims)
    return task.growth[number] * claims * kept


def _promised(task: AllocationProblem, number: int, claims: np.ndarray) -> np.ndarray:
    """What the model promises by claim: the better of its pieces, each within its range."""
    best = np.full(len(claims), -np.inf)
    for piece in concave_yields(task, number, float(claims.max())):
        lines = np.outer(claims, piece.slope) + piece.intercept_usd
        inside = (claims >= piece.low_usd - 1e-6) & (claims <= piece.high_usd + 1e-6)
        best = np.where(inside, np.maximum(best, lines.min(axis=1)), best)
    return best


# --- one market ---


def test_our_deposit_lowers_the_rate_along_the_curve() -> None:
    """19.7 % at 93 % utilisation, 4.3 % with 5m more: the forecast is scaled by that."""
    task = problem([_kinked("a", 20.0, _curve())], {"USDC": MONEY}, min_invested_pct=1.0)
    plan = solved(task)
    assert plan.expected.yield_before_dilution_usd == pytest.approx(0.20 * MONEY)
    kept = 0.043149 / 0.196695
    assert plan.expected.yield_usd == pytest.approx(0.20 * MONEY * kept, rel=1e-4)
    assert plan.expected.weighted_apy_pct == pytest.approx(20.0 * kept, rel=1e-4)


@pytest.mark.parametrize(("includes", "others"), [(True, 95e6), (False, 100e6)])
def test_the_forecast_holds_for_the_deposits_that_it_was_made_for(
    includes: bool, others: float
) -> None:
    """Included, what we hold is diluted already; else it comes on top of the deposits."""
    task = problem(
        [_kinked("a", 20.0, _curve())],
        {"USDC": 1.0},
        {("a", "USDC"): MONEY},
        tvl_includes_position=includes,
    )
    kept = share_kept(task, np.array([0]), np.array([MONEY]))[0]
    assert kept == (1.0 if includes else pytest.approx(0.2194, abs=1e-4))
    assert share_kept(task, np.array([0]), np.array([1e-3]))[0] == pytest.approx(
        _curve().share_kept(np.array(others), np.array(1e-3))
    )


def test_half_of_a_position_may_earn_more_than_all_of_it() -> None:
    """We hold 5m of 98m with 88.5m lent: leaving lifts the utilisation above the kink again."""
    curve = _curve(88.5e6, deposits_usd=98.5e6)
    task = problem([_kinked("a", 5.0, curve)], {"USDC": 1.0}, {("a", "USDC"): MONEY})
    plan = solved(task)
    assert plan.expected.yield_usd > 1.3 * 0.05 * MONEY
    assert 0.2 * MONEY < positions_usd(plan)["a"] < 0.9 * MONEY


def test_a_loss_is_not_shared_away() -> None:
    task = problem([_kinked("a", -5.0, _curve())], {"USDC": 1_000.0}, min_invested_pct=1.0)
    assert solved(task).expected.yield_usd == pytest.approx(-50.0)


def test_a_claim_larger_than_the_deposits_leaves_nobody_else() -> None:
    curve = _curve(0.9 * MONEY, deposits_usd=0.98 * MONEY)
    task = problem([_kinked("a", 5.0, curve)], {"USDC": 1.0}, {("a", "USDC"): MONEY})
    kept = share_kept(task, np.array([0]), np.array([MONEY]))[0]
    assert 0.2 < kept < 1.0
    assert solved(task).status == "optimal"


# --- chords ---


def _cases() -> list[tuple[KinkedCurve, float, float]]:
    """Curves, what we hold, and the largest claim."""
    shapes: list[dict[str, float]] = [
        {},
        {"base_apr": 0.02, "slope2": 3.0, "optimal_utilisation": 0.8},
        {"slope1": 0.2, "slope2": 0.001},  # flatter above the kink
        {"slope2": 0.0},
    ]
    debts = (40e6, 89e6, 93e6, 99e6, 102e6)
    sizes = ((0.0, 5e6), (0.0, 60e6), (4e6, 20e6), (30e6, 60e6))
    return [
        (_curve(debt, **shape), held, most)
        for shape, debt, (held, most) in itertools.product(shapes, debts, sizes)
    ]


@pytest.mark.parametrize("number", range(len(_cases())))
def test_chords_never_promise_more_than_the_curve_and_little_less(number: int) -> None:
    curve, held, most = _cases()[number]
    positions = {("a", "USDC"): held} if held else {}
    task = problem([_kinked("a", 8.0, curve)], {"USDC": most}, positions)
    claims = np.linspace(0.0, most, 2_001)[1:]
    true, promised = _yields(task, 0, claims), _promised(task, 0, claims)
    assert np.all(promised <= true + 1e-6)
    assert np.max(true - promised) <= 0.03 * true.max()


@pytest.mark.parametrize("others", [0.0, 1e6, 5e6, 9e6])
def test_chords_stay_below_the_curve_even_where_the_market_is_mostly_ours(others: float) -> None:
    """Beyond others' deposits the yield turns convex; the promise is then only cautious."""
    held = 20e6
    curve = _curve(0.4 * held, deposits_usd=held + others)
    task = problem([_kinked("a", 8.0, curve)], {"USDC": 20e6}, {("a", "USDC"): held})
    claims = np.linspace(0.0, 4e7, 4_001)[1:]
    assert np.all(_promised(task, 0, claims) <= _yields(task, 0, claims) + 1e-6)


@pytest.mark.parametrize(
    ("curve", "n_extra"),
    [
        (_curve(93e6), 1),  # above the kink, 5m push it below
        (_curve(88e6), 0),  # below
        (_curve(99e6), 0),  # above and stays above
        (_curve(93e6, slope2=0.0), 0),  # flatter above: concave
    ],
)
def test_only_a_deposit_that_crosses_the_kink_needs_one_more_binary(
    curve: KinkedCurve, n_extra: int
) -> None:
    task = problem([_kinked("a", 20.0, curve), pool("b")], {"USDC": MONEY})
    plain = problem([pool("a", apy=20.0), pool("b")], {"USDC": MONEY})
    binaries = [int(build_model(t).sparse.integer.sum()) for t in (task, plain)]
    assert binaries[0] - binaries[1] == n_extra


# --- the optimum ---


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (_curve(93e6), _curve(85e6)),
        (_curve(93e6), _curve(92e6, slope2=0.3)),
        (_curve(99e6), _curve(60e6)),
        (_curve(91e6, slope2=2.0), _curve(90.5e6, slope2=2.0)),
    ],
)
@pytest.mark.parametrize("apys", [(20.0, 6.0), (9.0, 9.0)])
def test_the_plan_is_the_best_of_a_fine_grid(
    first: KinkedCurve, second: KinkedCurve, apys: tuple[float, float]
) -> None:
    pools = [_kinked("a", apys[0], first), _kinked("b", apys[1], second), pool("c", apy=1.5)]
    task = problem(pools, {"USDC": 20e6})
    grid = np.linspace(0.0, 20e6, 801)
    parts = [_yields(task, i, grid) for i in range(2)]
    known = -np.inf
    for n, value in enumerate(parts[0]):
        left = len(grid) - n
        rest = parts[1][:left] + task.growth[2] * (20e6 - grid[n] - grid[:left])
        known = max(known, float(value + rest.max()))
    plan = solved(task)
    promised, real = plan.certificate.objective_usd, plan.expected.net_usd
    assert promised <= real + 1e-3
    assert 0.99 * known <= real <= 1.001 * known


def test_without_fixed_costs_money_flows_to_equal_marginal_yields() -> None:
    """Water-filling over markets below their kinks, as exactly as eight chords can tell."""
    debts = {"a": 80e6, "b": 70e6, "c": 85e6}
    rates = {"a": 9.0, "b": 8.0, "c": 8.5}
    pools = [_kinked(i, rates[i], _curve(debts[i])) for i in debts]
    plan = solved(problem(pools, {"USDC": 30e6}))
    held = positions_usd(plan)
    marginal, step = [], []
    for i, debt_usd in debts.items():
        curve, x = _curve(debt_usd), held[i]
        scale = rates[i] / 100.0 / float(curve.supply_apr(np.array(debt_usd / 100e6)))
        slopes = [curve.marginal_apr(100e6, y, is_above=False) * scale for y in (x, x + 30e6 / 8)]
        marginal.append(slopes[0])
        step.append(slopes[0] - slopes[1])
    assert max(marginal) - min(marginal) <= 2.0 * max(step)
    assert min(held.values()) > 1e6


# --- other rooms of the optimiser ---


def _with_curves(task: AllocationProblem, seed: int) -> AllocationProblem:
    """The problem with about half of its pools as kinked markets."""
    rng = np.random.default_rng(seed)
    pools = []
    for one in task.pools:
        size = float(max(one.tvl_usd, 1.0)) if np.isfinite(one.tvl_usd) else 1e6
        curve = KinkedCurve(
            base_apr=float(rng.uniform(0.0, 0.02)),
            slope1=float(rng.uniform(0.01, 0.1)),
            slope2=float(rng.uniform(0.0, 2.0)),
            optimal_utilisation=float(rng.uniform(0.6, 0.95)),
            reserve_factor=float(rng.uniform(0.0, 0.3)),
            debt_usd=size * float(rng.uniform(0.4, 1.02)),
            deposits_usd=size,
        )
        is_kinked = bool(one.tokens) and rng.random() < 0.6
        pools.append(replace(one, rate_model=RateModel.KINKED, curve=curve) if is_kinked else one)
    return replace(task, pools=pools)


@pytest.mark.parametrize("seed", range(40))
def test_the_verifier_finds_the_plans_of_random_markets_right(seed: int) -> None:
    solved(_with_curves(random_problem(seed), seed))


@pytest.mark.parametrize("seed", range(3))
def test_the_tiers_find_what_the_whole_program_finds(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = _with_curves(random_problem(seed, 30, mode="proven", gap_usd=0.01), seed)
    whole = solved(task)
    monkeypatch.setattr("stableyield.allocation.tiers.DIRECT_POOLS", 2)
    monkeypatch.setattr("stableyield.allocation.tiers.MORE_CANDIDATES", 3)
    tiered = solved(task)
    assert tiered.status == whole.status == "optimal"
    assert (whole.certificate.method, tiered.certificate.method != "direct") == ("direct", True)
    assert tiered.certificate.objective_usd == pytest.approx(
        whole.certificate.objective_usd, abs=0.02
    )


@pytest.mark.parametrize("seed", range(10))
def test_no_chord_of_a_pool_that_is_left_out_beats_its_super_pool(seed: int) -> None:
    task = _with_curves(random_problem(seed), seed)
    left_out = (task.state == PoolState.OPEN.value) & (task.position_usd == 0.0)
    rates = SuperPools.of(task, left_out, np.zeros(len(task.tokens)))
    for i in np.unique(rates.piece_pool):
        most = float(max(task.cap_usd[i], 1.0))
        claims = np.linspace(0.0, most, 101)[1:]
        best = rates.piece_rate[rates.piece_pool == i].max()
        assert np.all(_promised(task, int(i), claims) <= best * claims + 1e-6)


def test_the_verifier_sees_a_yield_that_ignores_the_curve() -> None:
    task = problem([_kinked("a", 20.0, _curve())], {"USDC": MONEY})
    document, plan = problem_document(task), solved(task).to_document()
    plan["expected"]["yield_usd"] = plan["expected"]["yield_before_dilution_usd"]
    assert any("yield_usd" in found for found in verify_documents(document, plan).violations)


# --- the file ---


def _document() -> dict[str, Any]:
    return problem_document(problem([_kinked("a", 20.0, _curve())], {"USDC": MONEY}))


def test_a_curve_in_a_file_reads_back_the_same() -> None:
    document = _document()
    assert document["pools"][0]["rate_curve"]["deposits_usd"] == 100e6
    task = read_problem(copy.deepcopy(document))
    assert task.pools[0].curve == _curve()
    assert problem_document(task) == document


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slope3": 1.0}, "unknown key 'slope3'"),
        ({"slope1": "steep"}, "slope1"),
        ({"slope1": -1.0}, "slope1 is -1.0"),
        ({"optimal_utilisation": 90.0}, "optimal_utilisation is 90.0"),
        ({"debt_usd": None}, "debt_usd"),
    ],
)
def test_a_malformed_curve_in_a_file_is_refused_by_name(
    change: dict[str, Any], message: str
) -> None:
    document = _document()
    document["pools"][0]["rate_curve"].update(change)
    with pytest.raises(InputError, match=message) as caught:
        read_problem(document)
    assert "pools[0] (a): rate_curve" in str(caught.value)


@pytest.mark.parametrize("name", ["slope1", "debt_usd", "deposits_usd"])
def test_a_curve_must_be_complete(name: str) -> None:
    document = _document()
    del document["pools"][0]["rate_curve"][name]
    with pytest.raises(ContractError, match=f"key '{name}' is missing"):
        read_problem(document)


def test_a_kinked_market_needs_its_curve_and_no_other_pool_may_have_one() -> None:
    with pytest.raises(ContractError, match="rate_model kinked without a rate_curve"):
        pool("a", rate_model=RateModel.KINKED)
    with pytest.raises(ContractError, match="rate_model constant with a rate_curve"):
        pool("a", curve=_curve())
    document = _document()
    document["pools"][0]["rate_curve"] = None
    with pytest.raises(ContractError, match="must be an object"):
        read_problem(document)
