"""The proof, without a search, that nothing pays: on most days of a carried book nothing does.

Every plan but the one that leaves the book alone makes at least one deposit or withdrawal, or only
conversions, which cost and earn nothing. So the linear relaxation with the extra row "deposits and
withdrawals are at least one" bounds all other plans, with a whole transaction's gas where the plain
relaxation pays a sliver of it. When that bound is not above the gain of holding by more than the
gap, holding is optimal within the gap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.milp import AllocationModel
from stableyield.allocation.problem import AllocationProblem
from stableyield.allocation.solver import Effort, SolverResult, solve_mip
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
        Time limit of each of its two small programs.

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
    others = _bound_of_others(model, seconds)
    if others is None or others > held.objective + gap_usd / model.usd_of_objective_unit:
        return None
    return NoTrade(held, max(others, held.objective))


def _held(model: AllocationModel, seconds: float) -> SolverResult:
    """The solution without any move; infeasible when the book violates a limit."""
    upper = model.sparse.upper.copy()
    upper[_pool_moves(model)] = 0.0
    upper[model.arcs.moves.binary] = 0.0
    return solve_mip(replace(model.sparse, upper=upper), Effort(0.0, seconds))


def _bound_of_others(model: AllocationModel, seconds: float) -> float | None:
    """Bound of every plan with a deposit or withdrawal; None when not found in time."""
    moved = model.sparse.with_row("something is moved", _pool_moves(model), 1.0)
    result = solve_mip(replace(moved, integer=np.zeros_like(moved.integer)), Effort(0.0, seconds))
    if result.status == "infeasible":
        return -np.inf
    return result.objective if result.status == "optimal" else None


def _pool_moves(model: AllocationModel) -> Ints:
    return np.concatenate(
        [moves.binary for moves in (model.deposits, model.withdrawals, model.rescues)]
    )
