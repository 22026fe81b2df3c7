"""Policies: what to do with a book on a day. The optimiser, and the benchmarks it has to beat.

Benchmarks trade under the same screening and pay the same gas and fees. They respect the size
limits of pools (share of TVL) but not the strategy's diversification limits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

import numpy as np

from stableyield.allocation import AllocationProblem, Plan, checked, solve
from stableyield.allocation.settle import nothing_done
from stableyield.backtest.day import DayInputs, Prepared
from stableyield.backtest.rebalance import rebalance
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import Settlement

TRAILING_DAYS = 30


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

    @classmethod
    def hold(cls, problem: AllocationProblem, status: str) -> Decision:
        """Do nothing, for the reason that ``status`` gives."""
        return cls(nothing_done(problem), status=status)


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
        return Decision.hold(prepared.problem, "done")


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
        problem = prepared.problem
        entering = self.chosen is None
        if entering:
            self.chosen = self._choose(prepared, inputs)
        must_leave = any(
            pool.state is PoolState.EXIT and pool.pool_id in problem.book.pool_ids
            for pool in problem.pools
        )
        if self.chosen is None or not (entering or must_leave):
            return Decision.hold(problem, "done")
        i = problem.pool_index.get(self.chosen)
        room = 0.0 if i is None else float(np.nan_to_num(problem.tvl_cap_usd[i]))
        return Decision(rebalance(problem, {self.chosen: min(problem.aum_usd, room)}))

    def _choose(self, prepared: Prepared, inputs: DayInputs) -> str | None:
        problem, view = prepared.problem, inputs.view
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
        problem, day = prepared.problem, inputs.view.day
        open_pools = [i for i, p in enumerate(problem.pools) if p.state is PoolState.OPEN]
        due = self.renewed is None or (self.renewed.year, self.renewed.month) != (
            day.year,
            day.month,
        )
        if open_pools and due:
            self.renewed = day
            each = problem.aum_usd / len(open_pools)
            targets = {
                problem.pools[i].pool_id: min(each, float(problem.tvl_cap_usd[i]))
                for i in open_pools
            }
            return Decision(rebalance(problem, targets, self.tolerance))
        held = {
            pool.pool_id: float(problem.position_usd[i])
            for i, pool in enumerate(problem.pools)
            if problem.position_usd[i] > 0.0
        }
        return Decision(rebalance(problem, held))


def benchmarks() -> tuple[Policy, ...]:
    """The policies that are always shown beside the strategy."""
    return (Idle(), BestSingle(), EqualWeight())
