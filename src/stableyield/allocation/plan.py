"""A plan: what to do, in which order, what it costs, what it should earn, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stableyield._version import __version__
from stableyield.allocation.dilution import share_kept
from stableyield.allocation.problem import AllocationProblem
from stableyield.allocation.problem_file import problem_document
from stableyield.config import sha256_of
from stableyield.domain.portfolio import Settlement, TransactionType

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Certificate:
    """What the solver proved.

    Parameters
    ----------
    status : str
        ``optimal``, ``time_limit`` or ``infeasible``.
    objective_usd, bound_usd : float
        Net gain over the horizon, of the plan and at most of any plan; NaN without a plan.
    solve_seconds : float
        Building, solving and settling.
    method : str
        How the solution was found and proven (see `stableyield.allocation.tiers`).
    """

    status: str
    objective_usd: float = math.nan
    bound_usd: float = math.nan
    solve_seconds: float = 0.0
    method: str = ""

    @property
    def has_solution(self) -> bool:
        """Whether a plan was found; otherwise the book stays as it is."""
        return math.isfinite(self.objective_usd)

    @property
    def gap_usd(self) -> float:
        """How much better another plan could be, at most, in USD."""
        return max(self.bound_usd - self.objective_usd, 0.0)


@dataclass(frozen=True)
class Expected:
    """What the final positions should earn over the horizon, by the forecasts of the problem.

    Parameters
    ----------
    horizon_days : float
    yield_usd : float
        After the dilution by our own deposits.
    yield_before_dilution_usd : float
    net_usd : float
        ``yield_usd`` minus all costs of the plan.
    weighted_apy_pct : float
        Forecast APY (risk-adjusted, after dilution) weighted by position; 0 when nothing earns.
    """

    horizon_days: float
    yield_usd: float
    yield_before_dilution_usd: float
    net_usd: float
    weighted_apy_pct: float


@dataclass(frozen=True)
class Limit:
    """A limit that no plan can meet together with the others."""

    limit: str
    needed: float
    available: float
    detail: str


@dataclass(frozen=True)
class Plan:
    """The ordered list of transactions that moves today's book to the target book.

    Parameters
    ----------
    settlement : Settlement
        Books and transactions; balances by construction.
    certificate : Certificate
    expected : Expected
    problem : AllocationProblem
        What was solved: of relaxed limits, the relaxed ones.
    explain, find_conflict : callable
        Make `explanation` and `infeasible_because` when they are first read: a backtest solves
        thousands of problems, and only the last plan is looked at.
    """

    problem: AllocationProblem
    settlement: Settlement
    certificate: Certificate
    expected: Expected
    explain: Callable[[], Mapping[str, Any]] = field(repr=False, compare=False)
    find_conflict: Callable[[], tuple[Limit, ...]] = field(repr=False, compare=False)

    @cached_property
    def explanation(self) -> Mapping[str, Any]:
        """Why the plan is as it is.

        ``binding``: limits that hold the gain down, with USD of gain per extra USD of limit;
        ``relaxed``: limits that ``on_failure = relax`` changed; ``why_not``: pools that nearly got
        a deposit.
        """
        return self.explain()

    @cached_property
    def infeasible_because(self) -> tuple[Limit, ...]:
        """The limits in conflict; empty when the problem is not infeasible."""
        return self.find_conflict()

    @cached_property
    def inputs_sha256(self) -> str:
        """Hash of the problem."""
        return sha256_of(problem_document(self.problem))

    @property
    def status(self) -> str:
        """``optimal``, ``time_limit`` or ``infeasible``."""
        return self.certificate.status

    @property
    def n_moves(self) -> int:
        """Number of transactions that are not holds."""
        steps = self.settlement.transactions
        return sum(step.type is not TransactionType.HOLD for step in steps)

    def to_document(self) -> dict[str, Any]:
        """The plan as the plan file has it; unknown numbers are None."""
        money = self.settlement
        prices = money.prices_usd
        certificate = self.certificate
        return {
            "status": certificate.status,
            "objective_usd": _number(certificate.objective_usd),
            "bound_usd": _number(certificate.bound_usd),
            "gap_usd": _number(certificate.gap_usd),
            "solve_seconds": certificate.solve_seconds,
            "mode": self.problem.parameters.mode,
            "method": certificate.method,
            "aum_before_usd": money.aum_before_usd,
            "aum_after_usd": money.aum_after_usd,
            "costs": {
                "gas_usd": money.gas_usd,
                "conversion_usd": money.conversion_usd,
                "total_usd": money.costs_usd,
            },
            "positions": [
                {
                    "pool_id": pool_id,
                    "token": token,
                    "amount": amount,
                    "amount_usd": amount * prices[token],
                }
                for (pool_id, token), amount in money.after.positions.items()
            ],
            "wallet": {
                token: {"amount": amount, "amount_usd": amount * prices[token]}
                for token, amount in money.after.wallet.items()
            },
            "transactions": [step.to_dict() for step in money.transactions],
            "expected": {
                "horizon_days": self.expected.horizon_days,
                "yield_usd": self.expected.yield_usd,
                "yield_before_dilution_usd": self.expected.yield_before_dilution_usd,
                "net_usd": self.expected.net_usd,
                "weighted_apy_pct": self.expected.weighted_apy_pct,
            },
            "explanation": dict(self.explanation),
            "infeasible_because": [
                {
                    "limit": limit.limit,
                    "needed": _number(limit.needed),
                    "available": _number(limit.available),
                    "detail": limit.detail,
                }
                for limit in self.infeasible_because
            ],
            "inputs_sha256": self.inputs_sha256,
            "version": __version__,
        }


def expectation(problem: AllocationProblem, settlement: Settlement) -> Expected:
    """What the book after ``settlement`` should earn over the problem's horizon.

    Positions in frozen pools, and legs in tokens that their pool does not contain, are not counted
    on to earn anything.
    """
    claim = np.zeros(len(problem.pools))
    for (pool_id, token), amount in settlement.after.positions.items():
        i = problem.pool_index[pool_id]
        if token in problem.pools[i].tokens and problem.pools[i].state.value != "frozen":
            claim[i] += amount * problem.prices_usd[token]
    earning = np.flatnonzero(claim)
    growth = problem.growth[earning]
    before = float(growth @ claim[earning])
    kept = share_kept(problem, earning, claim[earning])
    after = float((growth * kept) @ claim[earning])
    total = float(claim.sum())
    apy_usd = float((problem.apy[earning] * kept) @ claim[earning])
    return Expected(
        horizon_days=problem.parameters.horizon_days,
        yield_usd=after,
        yield_before_dilution_usd=before,
        net_usd=after - settlement.costs_usd,
        weighted_apy_pct=100.0 * apy_usd / total if total > 0.0 else 0.0,
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
