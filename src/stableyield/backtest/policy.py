"""Policies: what to do with a book on a day. The protocol, and the strategy: the optimiser.

The benchmarks that the strategy has to beat are in `stableyield.backtest.benchmarks`; a policy of
one's own needs a name and `decide` (docs/policies.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from stableyield.allocation import AllocationProblem, Plan, checked, solve
from stableyield.allocation.settle import nothing_done
from stableyield.backtest.day import DayInputs, Prepared
from stableyield.domain.portfolio import Settlement
from stableyield.errors import ConservationError
from stableyield.forecast import Forecaster


@dataclass(frozen=True)
class Untouched(Settlement):
    """The settlement of a book that is left alone: it balances because it is one book.

    Parameters
    ----------
    aum_usd : float
        What the book is worth.

    Raises
    ------
    ConservationError
        When it is not one book, or something was done to it.
    """

    aum_usd: float = field(kw_only=True)

    def __post_init__(self) -> None:
        if self.after is not self.before or self.transactions:
            raise ConservationError("a book that is left alone changes")

    @classmethod
    def of(cls, prepared: Prepared) -> Untouched:
        """The book of a day, at the day's prices."""
        book = prepared.book
        return cls(book, book, prepared.prices_usd, aum_usd=prepared.aum_usd)

    @property
    def aum_before_usd(self) -> float:
        """AUM of the book."""
        return self.aum_usd

    @property
    def aum_after_usd(self) -> float:
        """AUM of the book."""
        return self.aum_usd

    @property
    def gas_usd(self) -> float:
        """Nothing."""
        return 0.0

    @property
    def conversion_usd(self) -> float:
        """Nothing."""
        return 0.0

    @property
    def turnover_usd(self) -> float:
        """Nothing."""
        return 0.0


@dataclass(frozen=True)
class Decision:
    """What a policy does on a day.

    Parameters
    ----------
    settlement : Settlement
    plan : Plan, optional
        Of policies that solve a problem.
    status : str
        ``optimal``, ``time_limit``, ``infeasible``, or ``done``.
    """

    settlement: Settlement
    plan: Plan | None = None
    status: str = "done"

    @property
    def is_held(self) -> bool:
        """Whether the book is held: no plan was found, or the data cannot be traded on."""
        no_plan = self.plan is not None and not self.plan.certificate.has_solution
        return no_plan or self.status == "data_quality"

    @property
    def gap_usd(self) -> float:
        """The plan's gap; NaN without a plan."""
        return math.nan if self.plan is None else self.plan.certificate.gap_usd

    @property
    def solve_seconds(self) -> float:
        """What the plan took; NaN without a plan."""
        return math.nan if self.plan is None else self.plan.certificate.solve_seconds

    @classmethod
    def hold(cls, problem: AllocationProblem, status: str) -> Decision:
        """Do nothing, for the reason that ``status`` gives."""
        return cls(nothing_done(problem), status=status)

    @classmethod
    def keep(cls, prepared: Prepared, status: str = "done") -> Decision:
        """Do nothing, without building a problem for it; holds are not listed."""
        return cls(Untouched.of(prepared), status=status)


class Policy(Protocol):
    """Decides what to do with a book; may remember its own past, and sees nothing later."""

    @property
    def name(self) -> str:
        """Short name: the policy column of tables."""
        ...

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:
        """What to do on the day of ``inputs``."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """A policy with a memory that a checkpoint has to keep."""

    def state(self) -> dict[str, Any]:
        """The memory in plain values that JSON keeps: text, numbers, truth, None, lists."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Remember what `state` returned."""
        ...


@dataclass(frozen=True)
class MilpPolicy:
    """The strategy: the optimiser's plan of each day, checked by the independent verifier.

    Parameters
    ----------
    name : str
    forecaster : Forecaster, optional
        Its own, for its screening too, instead of the backtest's: another strategy on the same
        days, such as the one with persistence forecasts that every forecast has to beat.
    """

    name: str = "strategy"
    forecaster: Forecaster | None = None

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:  # noqa: ARG002
        """Solve and verify.

        Raises
        ------
        InfeasibleError
            When there is no plan and ``on_failure`` is ``raise``.
        SolverError
            When none was found in time and ``on_failure`` is ``raise``.
        IntegrityError
            When the verifier finds fault with the plan: a bug.
        """
        if self.forecaster is not None:
            own = replace(prepared.inputs, forecaster=self.forecaster)
            prepared = replace(prepared, inputs=own)
        return solved(prepared.problem)


def solved(problem: AllocationProblem) -> Decision:
    """The optimiser's plan of a problem, verified; raises what `MilpPolicy.decide` does."""
    plan = checked(solve(problem))
    return Decision(plan.settlement, plan, plan.status)
