"""The proof, without a search, that nothing pays: on most days of a carried book nothing does.

Every plan but the one that leaves the book alone makes at least one deposit or withdrawal, or only
conversions, which cost and earn nothing. So the linear relaxation with the extra row "deposits and
withdrawals are at least one" bounds all other plans, with a whole transaction's gas where the plain
relaxation pays a sliver of it. When that bound is not above the gain of holding by more than the
gap, holding is optimal within the gap.

Where it is a little above, three cases together cover the same plans and are bounded more sharply:
deposits without withdrawals, withdrawals without deposits, and at least one of each, which pays the
gas of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.milp import AllocationModel
from stableyield.allocation.problem import AllocationProblem
from stableyield.allocation.solver import Effort, SolverResult, solve_mip
from stableyield.allocation.sparse import SparseModel
from stableyield.domain.pool import PoolState

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class NoTrade:
    """The book as it is, as a solution, and a bound on the gain of every plan.

    Parameters
    ----------
    result : SolverResult
        Status ``optimal``.
    bound : float
        In units of the model's objective; at least the objective of ``result``.
    """

    result: SolverResult
    bound: float


def no_trade(
    problem: AllocationProblem, model: AllocationModel, gap_usd: float, seconds: float
) -> NoTrade | None:
    """The proof that no plan gains more than ``gap_usd`` above leaving the book alone.

    Parameters
    ----------
    problem : AllocationProblem
    model : AllocationModel
        Of all pools, with exact conversions.
    gap_usd : float
    seconds : float
        Time limit of each of its at most five small programs.

    Returns
    -------
    NoTrade or None
        None when the book violates a limit, a pool must be left, or the proof fails.
    """
    if np.any((problem.state == PoolState.EXIT.value) & (problem.position_usd > 0.0)):
        return None
    held = _held(model, seconds)
    if held.x is None or held.status != "optimal":
        return None
    highest = held.objective + gap_usd / model.usd_of_objective_unit
    others = _bound(model.sparse, [_pool_moves(model)], seconds)
    # the cases add one whole transaction of each kind at most
    within_reach = highest + _dearest_moves_usd(problem) / model.usd_of_objective_unit
    if highest < others <= within_reach:
        others = _bound_by_cases(model, highest, seconds)
    if others > highest:
        return None
    return NoTrade(held, max(others, held.objective))


def _held(model: AllocationModel, seconds: float) -> SolverResult:
    """The solution without any move; infeasible when the book violates a limit."""
    upper = model.sparse.upper.copy()
    upper[_pool_moves(model)] = 0.0
    upper[model.arcs.moves.binary] = 0.0
    return solve_mip(replace(model.sparse, upper=upper), Effort(0.0, seconds))


def _bound(model: SparseModel, some: Sequence[Ints], seconds: float) -> float:
    """Bound of every plan with at least one of each kind of move; infinite: not found in time."""
    for columns in some:
        model = model.with_row("something is moved", columns, 1.0)
    result = solve_mip(replace(model, integer=np.zeros_like(model.integer)), Effort(0.0, seconds))
    if result.status == "infeasible":
        return -np.inf
    return result.objective if result.status == "optimal" else np.inf


def _bound_by_cases(model: AllocationModel, highest: float, seconds: float) -> float:
    """The same bound by cases, the most likely first; ends with the first above ``highest``."""
    deposits = model.deposits.binary
    withdrawals = np.concatenate([model.withdrawals.binary, model.rescues.binary])
    bound = -np.inf
    for some, none in (
        ([deposits, withdrawals], np.zeros(0, np.int64)),
        ([deposits], withdrawals),
        ([withdrawals], deposits),
    ):
        if bound > highest or min(map(len, some)) == 0:
            continue
        upper = model.sparse.upper.copy()
        upper[none] = 0.0
        bound = max(bound, _bound(replace(model.sparse, upper=upper), some, seconds))
    return bound


def _dearest_moves_usd(problem: AllocationProblem) -> float:
    """Gas of the dearest deposit, withdrawal and conversion together."""
    n_pools = len(problem.pools)
    n_legs = [len(problem.claim_legs_usd.get(i, ())) for i in range(n_pools)]
    stranded = [len(problem.stranded_legs_usd.get(i, ())) for i in range(n_pools)]
    withdrawal = max(
        (
            problem.gas_withdrawal_usd(i, max(inside, outside))
            for i, (inside, outside) in enumerate(zip(n_legs, stranded, strict=True))
            if inside + outside > 0
        ),
        default=0.0,
    )
    deposit = float(problem.gas_deposit_usd.max(initial=0.0))
    return deposit + withdrawal + problem.gas.conversion


def _pool_moves(model: AllocationModel) -> Ints:
    return np.concatenate(
        [moves.binary for moves in (model.deposits, model.withdrawals, model.rescues)]
    )
