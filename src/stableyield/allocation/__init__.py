"""The optimiser: problem, model, solver, plan, verifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stableyield.allocation.obstacles import WhyNot
from stableyield.allocation.optimiser import solve
from stableyield.allocation.plan import Certificate, Expected, Limit, Plan
from stableyield.allocation.problem import AllocationProblem, PoolInput, RateModel
from stableyield.allocation.problem_file import problem_document, read_problem
from stableyield.allocation.verify import Verification, verify_documents
from stableyield.allocation.why_not import needed_apy_pct, why_not
from stableyield.errors import InputError, IntegrityError

__all__ = [
    "AllocationProblem",
    "Certificate",
    "Expected",
    "Limit",
    "Plan",
    "PoolInput",
    "RateModel",
    "Verification",
    "WhyNot",
    "checked",
    "needed_apy_pct",
    "problem_document",
    "read_problem",
    "solve",
    "verify",
    "verify_documents",
    "why_not",
]


def verify(
    plan: Plan | Mapping[str, Any], problem: AllocationProblem | None = None
) -> Verification:
    """Check a plan independently of the optimiser.

    Parameters
    ----------
    plan : Plan or mapping
        A plan, or the content of a plan file.
    problem : AllocationProblem, optional
        Absent: the one that the plan was made for; a plan file does not carry it.

    Raises
    ------
    InputError
        When a plan file's content comes without its problem.
    """
    if isinstance(plan, Plan):
        return verify_documents(problem_document(problem or plan.problem), plan.to_document())
    if problem is None:
        raise InputError("a plan file does not carry its problem", remedy="give the problem too")
    return verify_documents(problem_document(problem), plan)


def checked(plan: Plan) -> Plan:
    """The plan, if the verifier finds nothing.

    Raises
    ------
    IntegrityError
        Otherwise: a bug.
    """
    violations = verify(plan).violations
    if violations:
        raise IntegrityError(
            f"the plan fails verification: {violations[0]}",
            remedy="report this as a bug, with the problem file",
            details=violations[1:],
        )
    return plan
