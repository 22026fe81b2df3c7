"""The optimiser: problem, model, solver, plan, verifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stableyield.allocation.optimiser import solve
from stableyield.allocation.plan import Certificate, Expected, Limit, Plan
from stableyield.allocation.problem import AllocationProblem, PoolInput, RateModel
from stableyield.allocation.problem_file import problem_document, read_problem
from stableyield.allocation.verify import Verification, verify_documents

__all__ = [
    "AllocationProblem",
    "Certificate",
    "Expected",
    "Limit",
    "Plan",
    "PoolInput",
    "RateModel",
    "Verification",
    "problem_document",
    "read_problem",
    "solve",
    "verify",
    "verify_documents",
]


def verify(plan: Plan | Mapping[str, Any], problem: AllocationProblem) -> Verification:
    """Check a plan (or the content of a plan file) independently of the optimiser."""
    document = plan.to_document() if isinstance(plan, Plan) else plan
    return verify_documents(problem_document(problem), document)
