"""Move a book towards target amounts, paying the same gas and fees as the optimiser does.

Used by the benchmark policies, which say where the money should be and leave the how to this.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from itertools import groupby

from stableyield.allocation.desk import Leg, Sale
from stableyield.allocation.problem import AllocationProblem
from stableyield.allocation.settle import carry_out, deposit_legs, floor_amount, withdrawal_legs
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import Settlement

RESERVE_USD = 0.01  # kept back against rounding


def rebalance(
    problem: AllocationProblem, target_usd: Mapping[str, float], tolerance: float = 0.0
) -> Settlement:
    """The settlement that brings each pool to its target, as far as the money goes.

    Parameters
    ----------
    problem : AllocationProblem
    target_usd : mapping of pool_id to USD
        Pools that are not named are left completely; frozen pools stay as they are, and so does
        a position whose gas neither it nor the wallet can pay.
    tolerance : float
        Share of its target by which a position may be off without being traded.
    """
    withdrawals, wanted = _moves(problem, target_usd, tolerance)
    withdrawals = _payable(problem, withdrawals)
    cash = {token: problem.book.wallet.get(token, 0.0) for token in problem.tokens}
    for leg in withdrawals:
        cash[leg.token] += leg.amount
    cash_usd = {token: amount * problem.prices_usd[token] for token, amount in cash.items()}
    gas_usd = sum(leg.gas_usd for leg in withdrawals) + RESERVE_USD
    wanted, deficit_usd = _affordable(problem, wanted, cash_usd, gas_usd)
    deposits = [leg for i, usd in wanted.items() for leg in deposit_legs(problem, i, usd)]
    sales = _sales(problem, wanted, cash_usd, deficit_usd)
    return carry_out(problem, withdrawals, sales, deposits)


def spread(
    problem: AllocationProblem, pool_ids: Collection[str], tolerance: float = 0.0
) -> Settlement:
    """The settlement that puts the same amount in each pool, no more than its size allows.

    Parameters
    ----------
    problem : AllocationProblem
    pool_ids : collection of str
        Pools of the problem, at least one.
    tolerance : float
        See `rebalance`.
    """
    each = problem.aum_usd / len(pool_ids)
    return rebalance(
        problem, {key: min(each, size_limit_usd(problem, key)) for key in pool_ids}, tolerance
    )


def leave_what_must_be_left(problem: AllocationProblem) -> Settlement:
    """The settlement that leaves the pools in state exit and touches nothing else."""
    held = zip(problem.pools, problem.position_usd.tolist(), strict=True)
    return rebalance(problem, {pool.pool_id: usd for pool, usd in held if usd > 0.0})


def all_in(problem: AllocationProblem, pool_id: str) -> Settlement:
    """The settlement that puts everything into one pool, no more than its size allows."""
    return spread(problem, (pool_id,))


def size_limit_usd(problem: AllocationProblem, pool_id: str) -> float:
    """Largest position by the pool's size; 0 where that is unknown or the pool has gone."""
    i = problem.pool_index.get(pool_id)
    cap_usd = 0.0 if i is None else float(problem.tvl_cap_usd[i])
    return 0.0 if math.isnan(cap_usd) else cap_usd


def _moves(
    problem: AllocationProblem, target_usd: Mapping[str, float], tolerance: float
) -> tuple[list[Leg], dict[int, float]]:
    """Withdrawals, and wanted deposits in USD by pool number."""
    least = problem.parameters.min_transaction_value
    withdrawals: list[Leg] = []
    wanted: dict[int, float] = {}
    usd = zip(problem.position_usd.tolist(), problem.smallest_deposit_usd.tolist(), strict=True)
    for i, (pool, (held, smallest)) in enumerate(zip(problem.pools, usd, strict=True)):
        if pool.state is PoolState.FROZEN:
            continue
        target = 0.0 if pool.state is PoolState.EXIT else target_usd.get(pool.pool_id, 0.0)
        excess = held - target
        if held > 0.0:
            legs = {**problem.claim_legs_usd.get(i, {}), **problem.stranded_legs_usd.get(i, {})}
            if target <= 0.0:
                withdrawals += withdrawal_legs(problem, i, legs)
                continue
            if excess > max(tolerance * target, least * max(len(legs), 1)):
                withdrawals += withdrawal_legs(problem, i, legs, excess / held)
                continue
        if pool.state is PoolState.OPEN and -excess > max(tolerance * target, smallest):
            wanted[i] = -excess
    return withdrawals, wanted


def _payable(problem: AllocationProblem, withdrawals: list[Leg]) -> list[Leg]:
    """The withdrawals whose gas can be paid: a pool that brings less than it costs waits.

    Those that bring the most pay for the others.
    """
    by_pool = {pool: list(legs) for pool, legs in groupby(withdrawals, key=lambda leg: leg.pool)}
    brings_usd = {
        pool: sum(leg.amount * problem.prices_usd[leg.token] - leg.gas_usd for leg in legs)
        for pool, legs in by_pool.items()
    }
    cash_usd = float(problem.wallet_usd.sum())
    payable: list[Leg] = []
    for pool in sorted(by_pool, key=lambda i: (-brings_usd[i], i)):
        if cash_usd + brings_usd[pool] >= 0.0:
            cash_usd += brings_usd[pool]
            payable += by_pool[pool]
    return payable


def _affordable(
    problem: AllocationProblem,
    wanted: dict[int, float],
    cash_usd: Mapping[str, float],
    gas_usd: float,
) -> tuple[dict[int, float], dict[str, float]]:
    """Deposits scaled to the money there is after gas and fees, and what they lack by token."""
    fee = problem.parameters.conversion_rate / (1.0 - problem.parameters.conversion_rate)
    total_cash = sum(cash_usd.values())
    while wanted:
        gas = gas_usd + sum(float(problem.gas_deposit_usd[i]) for i in wanted)
        deficit = _deficit(problem, wanted, cash_usd)
        gas += problem.gas.conversion * len(problem.tokens) * bool(deficit)
        total = sum(wanted.values())
        factor = (total_cash - gas) / (total + fee * sum(deficit.values()))
        scaled = {i: usd * min(factor, 1.0) for i, usd in wanted.items()}
        small = [i for i, usd in scaled.items() if usd < float(problem.smallest_deposit_usd[i])]
        if not small:
            return scaled, _deficit(problem, scaled, cash_usd)
        # the smallest goes first: what it frees may be enough for the others
        del wanted[min(small, key=lambda i: (scaled[i], i))]
    return {}, {}


def _needed(problem: AllocationProblem, wanted: Mapping[int, float]) -> dict[str, float]:
    """USD of each token that the wanted deposits take."""
    need = dict.fromkeys(problem.tokens, 0.0)
    for i, usd in wanted.items():
        pool = problem.pools[i]
        for token, share in zip(pool.tokens, pool.token_shares, strict=True):
            need[token] += usd * share
    return need


def _deficit(
    problem: AllocationProblem, wanted: Mapping[int, float], cash_usd: Mapping[str, float]
) -> dict[str, float]:
    need = _needed(problem, wanted)
    return {t: need[t] - cash_usd[t] for t in problem.tokens if need[t] > cash_usd[t] + 1e-9}


def _sales(
    problem: AllocationProblem,
    wanted: Mapping[int, float],
    cash_usd: Mapping[str, float],
    deficit_usd: Mapping[str, float],
) -> list[Sale]:
    """Sell what is spare, the largest first, for what is lacking."""
    need = _needed(problem, wanted)
    spare = {t: cash_usd[t] - need[t] for t in problem.tokens if cash_usd[t] > need[t]}
    sales = []
    for bought, lacking in sorted(deficit_usd.items()):
        missing = lacking / (1.0 - problem.parameters.conversion_rate) + 1e-5
        while missing > 0.0 and spare:
            sold = max(sorted(spare), key=lambda t: spare[t])
            usd = min(missing, spare[sold])
            price = problem.prices_usd[sold]
            amount = floor_amount(usd / price, price)
            sales.append(Sale(sold, bought, amount, problem.gas.conversion))
            spare[sold] -= usd
            missing -= usd
            if spare[sold] <= RESERVE_USD:
                del spare[sold]
    return sales
