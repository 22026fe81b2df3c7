"""Allocation problems: random ones with every feature on, and small ones made by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from stableyield.allocation import (
    AllocationProblem,
    Plan,
    PoolInput,
    RateModel,
    solve,
    verify,
)
from stableyield.allocation.optimiser import gap_usd
from stableyield.config import AllocationParameters
from stableyield.domain.costs import GasCosts
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import Book, Transaction, TransactionType

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
GOLDEN_INSTANCE = SHARED / "golden" / "seed_mock_15.json"
TOKENS = ("DAI", "GHO", "USDC", "USDT", "crvUSD", "sUSD")


def random_problem(
    seed: int, n_pools: int = 12, n_tokens: int = 4, **overrides: object
) -> AllocationProblem:
    """A problem whose pools, book, states, limits and costs all come from ``seed``."""
    rng = np.random.default_rng(seed)
    tokens = TOKENS[:n_tokens]
    prices = {token: float(1.0 + rng.normal(0.0, 0.003)) for token in tokens}
    aum = float(10.0 ** rng.uniform(3.5, 7.3))
    states = [PoolState.OPEN] * 6 + [PoolState.WITHDRAW_ONLY, PoolState.EXIT, PoolState.FROZEN]
    pools = []
    for i in range(n_pools):
        n_legs = int(rng.choice([1, 1, 1, 2, 2, 3]))
        legs = tuple(sorted(map(str, rng.choice(tokens, min(n_legs, n_tokens), replace=False))))
        shares = rng.dirichlet(np.full(len(legs), 8.0)) if rng.random() < 0.4 else None
        gas = float(rng.uniform(0.0, 20.0)) if rng.random() < 0.3 else None
        pools.append(
            PoolInput(
                f"pool_{i:03d}",
                "-".join(legs),
                "Ethereum",
                "aave-v3",
                legs,
                tuple(float(s) for s in shares) if shares is not None else (),
                apy_pct=float(rng.lognormal(1.5, 0.8)),
                apy_q10_pct=float(rng.lognormal(1.0, 0.8)) if rng.random() < 0.5 else np.nan,
                tvl_usd=float(aum * rng.lognormal(2.0, 1.5)),
                risk_group=int(rng.integers(0, 4)),
                state=states[int(rng.integers(len(states)))],
                rate_model=RateModel.PRO_RATA if rng.random() < 0.4 else RateModel.CONSTANT,
                gas=GasCosts(gas, gas * 1.2, 0.0) if gas is not None else None,
            )
        )
    n_held = int(rng.integers(0, min(6, n_pools) + 1))
    weights = rng.dirichlet(np.ones(n_held + n_tokens)) * aum
    positions: dict[tuple[str, str], float] = {}
    for pool, usd in zip(rng.permutation(n_pools)[:n_held], weights[:n_held], strict=True):
        held = pools[int(pool)]
        legs = held.tokens if rng.random() < 0.8 else tuple(rng.choice(tokens, 1))
        for token in legs:
            part = usd / len(legs) * float(rng.uniform(0.8, 1.2))
            positions[held.pool_id, str(token)] = float(part / prices[token])
    if rng.random() < 0.3:
        positions["pool_gone", tokens[0]] = float(aum * 0.02)
    wallet = {
        token: float(usd / prices[token])
        for token, usd in zip(tokens, weights[n_held:], strict=True)
        if rng.random() < 0.7
    }
    wallet.setdefault(tokens[-1], float(aum * 0.01))
    values: dict[str, object] = {
        "horizon_days": float(rng.choice([1.0, 7.0, 30.0, 365.0])),
        "min_pools": int(rng.integers(0, 4)),
        "min_transaction_value": float(rng.choice([0.0, 50.0, 500.0])),
        "conversion_rate": float(rng.choice([0.0, 0.0004, 0.003])),
        "max_alloc_percentage": float(rng.uniform(0.1, 0.6)),
        "group1_max_pct": float(rng.uniform(0.1, 0.8)),
        "gas_per_leg": bool(rng.random() < 0.7),
        "profit_optimization": bool(rng.random() < 0.2),
        **overrides,
    }
    costs = rng.uniform(0.0, 8.0, size=3)
    return AllocationProblem(
        pools,
        Book(wallet, positions),
        prices,
        GasCosts(*(float(c) for c in costs)),
        AllocationParameters.from_mapping(values),
        tvl_includes_position=bool(rng.random() < 0.7),
    )


# --- instances made by hand ---

NO_LIMITS: dict[str, object] = {
    "max_alloc_percentage": 1.0,
    "position_max_pct_total_assets": 1.0,
    "tvl_limit_percentage": 1.0,
    "position_max_pct_pool_tvl": 0.99,
    "group1_max_pct": 1.0,
    "group2_max_pct": 1.0,
    "group3_max_pct": 1.0,
    "min_pools": 0,
    "min_transaction_value": 0.0,
    "min_position_usd": 0.0,
    "risk_aversion": 0.0,
    "horizon_days": 365.0,
    "conversion_rate": 0.0,
    "gap_usd": 1e-4,
}
FREE = GasCosts(0.0, 0.0, 0.0)
PAR = dict.fromkeys(("DAI", "USDC", "USDT"), 1.0)


def pool(pool_id: str, *tokens: str, apy: float = 5.0, **fields: object) -> PoolInput:
    """A large open pool that takes ``tokens`` (none named: USDC) and pays ``apy`` percent."""
    values: dict[str, object] = {"apy_pct": apy, "tvl_usd": 1e9, **fields}
    legs = tokens or ("USDC",)
    return PoolInput(pool_id, "-".join(legs), "Ethereum", "aave-v3", legs, **values)  # type: ignore[arg-type]


def problem(
    pools: Sequence[PoolInput],
    wallet: Mapping[str, float],
    positions: Mapping[tuple[str, str], float] | None = None,
    *,
    prices: Mapping[str, float] = PAR,
    gas: GasCosts = FREE,
    tvl_includes_position: bool = True,
    **limits: object,
) -> AllocationProblem:
    """A decision over one year without limits, gas or fees but those that are named."""
    return AllocationProblem(
        pools,
        Book(wallet, positions or {}),
        prices,
        gas,
        AllocationParameters.from_mapping({**NO_LIMITS, **limits}),
        tvl_includes_position=tvl_includes_position,
    )


def solved(task: AllocationProblem) -> Plan:
    """The plan of a problem, which the verifier must find right to the cent and within its gap."""
    plan = solve(task)
    check = verify(plan, task)
    assert check.violations == ()
    assert abs(check.unaccounted_usd) < 1e-3
    if plan.status == "optimal":
        assert plan.certificate.gap_usd <= gap_usd(task) + 1e-9 * task.aum_usd
    return plan


def positions_usd(plan: Plan) -> dict[str, float]:
    """What the plan leaves in each pool."""
    return plan.settlement.after.positions_usd(plan.settlement.prices_usd)


def moves(plan: Plan, kind: TransactionType | None = None) -> list[Transaction]:
    """The plan's transactions that are not holds, of one type or of all."""
    return [
        step
        for step in plan.settlement.transactions
        if step.type is not TransactionType.HOLD and kind in (None, step.type)
    ]


def seed_document(**parameters: object) -> dict[str, object]:
    """The golden instance's problem file with some parameters changed."""
    document: dict[str, object] = json.loads(GOLDEN_INSTANCE.read_text(encoding="utf-8"))
    document["parameters"] = {**document["parameters"], **parameters}  # type: ignore[dict-item]
    return document


def seed_problem(**parameters: object) -> AllocationProblem:
    """The golden instance with some parameters changed."""
    return AllocationProblem.from_json(seed_document(**parameters))


# --- the same problem in other money ---


def scaled(task: AllocationProblem, factor: float, *, costs: bool = False) -> AllocationProblem:
    """The problem with all amounts and TVL times ``factor``; with ``costs``, what is fixed too."""
    f = factor if costs else 1.0
    p = task.parameters

    def gas(given: GasCosts) -> GasCosts:
        return GasCosts(given.allocation * f, given.withdrawal * f, given.conversion * f)

    return replace(
        task,
        pools=[
            replace(one, tvl_usd=one.tvl_usd * factor, gas=gas(one.gas) if one.gas else None)
            for one in task.pools
        ],
        book=Book(
            {token: amount * factor for token, amount in task.book.wallet.items()},
            {key: amount * factor for key, amount in task.book.positions.items()},
        ),
        gas=gas(task.gas),
        parameters=p.model_copy(
            update={
                "min_transaction_value": p.min_transaction_value * f,
                "min_position_usd": p.min_position_usd * f,
                "gap_usd": None if p.gap_usd is None else p.gap_usd * f,
            }
        ),
    )


def repriced(task: AllocationProblem, prices_usd: Mapping[str, float]) -> AllocationProblem:
    """The problem with the same USD in tokens of other prices."""

    def units(token: str, amount: float) -> float:
        return amount * task.prices_usd[token] / prices_usd[token]

    book = Book(
        {token: units(token, amount) for token, amount in task.book.wallet.items()},
        {key: units(key[1], amount) for key, amount in task.book.positions.items()},
    )
    return replace(task, book=book, prices_usd=prices_usd)
