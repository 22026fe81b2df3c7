"""Solve one allocation problem: build, solve, settle, explain."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.desk import NotPayableError
from stableyield.allocation.explain import binding_limits, relaxed, why_infeasible
from stableyield.allocation.milp import AllocationModel
from stableyield.allocation.near_misses import near_misses
from stableyield.allocation.plan import Certificate, Plan, expectation
from stableyield.allocation.problem import AllocationProblem
from stableyield.allocation.settle import nothing_done, settle
from stableyield.allocation.solver import Effort, SolverResult, solve_mip, solve_with_pattern
from stableyield.allocation.tiers import accepted_gap_usd, solve_in_tiers
from stableyield.domain.portfolio import CENT_USD, Settlement, TransactionType
from stableyield.errors import InfeasibleError, SolverError

Floats = NDArray[np.float64]

MAX_PATTERNS = 4  # that are tried until one can be carried out
PATTERN_SECONDS = 5.0  # for each
SMALLEST_GAP_USD = 0.01
GAP_SHARE_OF_COST = 0.01


def solve(problem: AllocationProblem) -> Plan:
    """The plan with the highest expected net gain over the horizon.

    Parameters
    ----------
    problem : AllocationProblem

    Returns
    -------
    Plan
        With status ``optimal``, ``time_limit`` (the best plan found in time, with its gap; the
        book unchanged when none was) or
        ``infeasible`` (the book unchanged, with the limits in conflict). What happens to an
        infeasible problem is the parameter ``on_failure``; where ``relax`` has nothing to relax
        that helps (gas that cannot be paid), the book is held, as with ``hold``.

    Raises
    ------
    InfeasibleError
        When no plan meets the limits and ``on_failure`` is ``raise``.
    SolverError
        When no plan was found in time and ``on_failure`` is ``raise``.
    """
    started = time.perf_counter()
    plan = _solve(problem, started)
    if plan.certificate.has_solution or problem.parameters.on_failure == "hold":
        return plan
    if plan.status == "time_limit":
        if problem.parameters.on_failure == "raise":
            raise SolverError(
                "no plan was found in time",
                remedy="raise time_limit_seconds, or set on_failure=hold",
            )
        return plan
    if problem.parameters.on_failure == "relax":
        easier = relaxed(problem)
        return plan if easier is None else _solve(easier[0], started, relaxed=easier[1])
    raise InfeasibleError(
        "no plan meets the limits: " + "; ".join(b.detail for b in plan.infeasible_because),
        remedy="relax one of the limits named",
    )


def gap_usd(problem: AllocationProblem) -> float:
    """The optimality gap to solve to, in USD of gain."""
    if problem.parameters.gap_usd is not None:
        return problem.parameters.gap_usd
    gases = [problem.gas, *(pool.gas for pool in problem.pools if pool.gas is not None)]
    costs = [c for gas in gases for c in (gas.allocation, gas.withdrawal, gas.conversion) if c > 0]
    return max(SMALLEST_GAP_USD, GAP_SHARE_OF_COST * min(costs, default=0.0))


def _solve(problem: AllocationProblem, started: float, relaxed: Sequence[str] = ()) -> Plan:
    solved = solve_in_tiers(
        problem,
        gap_usd=gap_usd(problem),
        time_limit_seconds=problem.parameters.time_limit_seconds,
    )
    model, result = solved.model, solved.result
    if result.x is None:
        settlement = nothing_done(problem)
        return Plan(
            problem,
            settlement,
            Certificate(result.status, solve_seconds=time.perf_counter() - started),
            expectation(problem, settlement),
            partial(_nothing_to_explain, relaxed),
            partial(why_infeasible, problem) if result.status == "infeasible" else tuple,
        )
    settled, settlement = _settled(problem, model, result.x)
    objective_usd = model.usd_of_objective(settled.objective)
    # another pattern than the one that was found may be further off than what was asked for
    asked_usd = accepted_gap_usd(problem, gap_usd(problem), solved.bound_usd)
    lost_usd = solved.objective_usd - objective_usd
    is_other = lost_usd > 1e-6 and solved.bound_usd - objective_usd > asked_usd
    certificate = Certificate(
        "time_limit" if is_other else result.status,
        objective_usd,
        max(solved.bound_usd, objective_usd),
        time.perf_counter() - started,
        solved.method,
    )
    expected = expectation(problem, settlement)
    explain = partial(_explanation, problem, model, settled, relaxed)
    return Plan(problem, settlement, certificate, expected, explain, tuple)


def _settled(
    problem: AllocationProblem, model: AllocationModel, x: Floats
) -> tuple[SolverResult, Settlement]:
    """The flows and the transactions of a pattern, or of another where it cannot be carried out.

    The program does not know in which order gas is paid. It may convert more than is needed, to be
    large enough, and pay gas with what is left over; where that gas is due before, the conversion
    shrinks below the smallest transaction, or nothing at the end of a chain of them can pay it.
    Then the next best pattern is asked for.
    """
    sparse, moves = model.sparse, model.moves
    for _ in range(MAX_PATTERNS):
        settled = solve_with_pattern(model.sparse, x)
        if settled.x is None:  # solve_with_pattern raises instead; for the type checker
            raise AssertionError
        try:
            settlement = settle(problem, model, settled.x)
        except NotPayableError as failure:
            unpaid: NotPayableError | None = failure
        else:
            unpaid = None
            if not _has_small_conversion(problem, settlement):
                break
        is_on = np.round(x[moves]) == 1.0
        start, sign = np.array([0, len(moves)]), np.where(is_on, 1.0, -1.0)
        other = np.array([float(is_on.sum()) - 1.0])
        sparse = sparse.with_rows("another pattern", start, moves, sign, other)
        effort = Effort(gap_usd(problem) / model.usd_of_objective_unit, PATTERN_SECONDS)
        found = solve_mip(sparse, effort).x
        if found is None:
            break
        x = found
    if unpaid is not None:
        raise unpaid
    return settled, settlement


def _has_small_conversion(problem: AllocationProblem, settlement: Settlement) -> bool:
    smallest_usd = problem.parameters.min_transaction_value - CENT_USD
    return any(
        step.type is TransactionType.CONVERSION and step.amount_usd < smallest_usd
        for step in settlement.transactions
    )


def _nothing_to_explain(relaxed: Sequence[str]) -> dict[str, Any]:
    return {"binding": [], "relaxed": list(relaxed), "why_not": []}


def _explanation(
    problem: AllocationProblem,
    model: AllocationModel,
    settled: SolverResult,
    relaxed: Sequence[str],
) -> dict[str, Any]:
    return {
        "binding": binding_limits(problem, model, settled),
        "relaxed": list(relaxed),
        "why_not": [miss.to_dict() for miss in near_misses(problem, model, settled)],
    }
