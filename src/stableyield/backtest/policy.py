"""Policies: what to do with a book on a day. The optimiser, and the benchmarks it has to beat.

Benchmarks trade under the same screening and pay the same gas and fees. They respect the size
limits of pools (share of TVL) but not the strategy's diversification limits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Protocol

import numpy as np

from stableyield.allocation import AllocationProblem, Plan, checked, solve
from stableyield.allocation.settle import nothing_done
from stableyield.backtest.day import DayInputs, Prepared
from stableyield.backtest.rebalance import rebalance
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import Settlement
from stableyield.errors import ConservationError

TRAILING_DAYS = 30


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
        book, prices = prepared.book, prepared.prices_usd
        owned = MappingProxyType({token: prices[token] for token in book.tokens})
        return cls(book, book, owned, aum_usd=prepared.aum_usd)

    @property
    def aum_before_usd(self) -> float:
        """AUM of the book."""
        return self.aum_usd

    @property
    def aum_after_usd(self) -> float:
        """AUM of the book."""
        return self.aum_usd


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


@dataclass(frozen=True)
class Optimised:
    """The strategy: the optimiser's plan of each day, checked by the independent verifier."""

    name: str = "strategy"

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
        plan = checked(solve(prepared.problem))
        return Decision(plan.settlement, plan, plan.status)


@dataclass(frozen=True)
class Idle:
    """Keeps everything as it is: cash stays cash."""

    name: str = "idle"

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:  # noqa: ARG002
        """Do nothing."""
        return Decision.keep(prepared)


@dataclass
class BestSingle:
    """All the money in one pool, chosen once.

    The pool is chosen on the first day on which one is open: the most USD a year at the trailing
    30-day mean APY, given how much the pool can take. It is left only when it must be.
    """

    name: str = "best_single"
    chosen: str | None = field(default=None, init=False)

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:
        """Enter the chosen pool once, hold it, and leave it when it has to be left."""
        entering = self.chosen is None
        if entering:
            self.chosen = self._choose(prepared, inputs)
        if self.chosen is None or not (entering or prepared.must_leave):
            return Decision.keep(prepared)
        problem = prepared.expected_problem
        i = problem.pool_index.get(self.chosen)
        room = 0.0 if i is None else float(np.nan_to_num(problem.tvl_cap_usd[i]))
        return Decision(rebalance(problem, {self.chosen: min(problem.aum_usd, room)}))

    def _choose(self, prepared: Prepared, inputs: DayInputs) -> str | None:
        problem, view = prepared.expected_problem, inputs.view
        best: tuple[float, str] | None = None
        for i, pool in enumerate(problem.pools):
            if pool.state is not PoolState.OPEN:
                continue
            past = view.pool_series.apy_pct[-TRAILING_DAYS:, view.pool_index[pool.pool_id]]
            known = past[np.isfinite(past)]
            if len(known) == 0:
                continue
            usd = float(known.mean()) * min(problem.aum_usd, float(problem.tvl_cap_usd[i]))
            if best is None or usd > best[0]:
                best = (usd, pool.pool_id)
        return best[1] if best is not None else None


@dataclass
class EqualWeight:
    """The same amount in every open pool, renewed on the first day of each month.

    A pool takes no more than its size allows; a position within 20 % of its target is left alone.
    Pools that must be left are left on the day.
    """

    name: str = "equal_weight"
    tolerance: float = 0.2
    renewed: date | None = field(default=None, init=False)

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:
        """Renew the weights when a month begins, or when nothing is invested yet."""
        day, last = inputs.view.day, self.renewed
        due = last is None or (last.year, last.month) != (day.year, day.month)
        if due and prepared.screening.allowed.any():
            self.renewed = day
            return Decision(self._renew(prepared.expected_problem))
        if not prepared.must_leave:
            return Decision.keep(prepared)
        problem = prepared.expected_problem
        held = {
            pool.pool_id: float(problem.position_usd[i])
            for i, pool in enumerate(problem.pools)
            if problem.position_usd[i] > 0.0
        }
        return Decision(rebalance(problem, held))

    def _renew(self, problem: AllocationProblem) -> Settlement:
        open_pools = [i for i, p in enumerate(problem.pools) if p.state is PoolState.OPEN]
        each = problem.aum_usd / len(open_pools)
        targets = {
            problem.pools[i].pool_id: min(each, float(problem.tvl_cap_usd[i])) for i in open_pools
        }
        return rebalance(problem, targets, self.tolerance)


def benchmarks() -> tuple[Policy, ...]:
    """The policies that are always shown beside the strategy."""
    return (Idle(), BestSingle(), EqualWeight())
