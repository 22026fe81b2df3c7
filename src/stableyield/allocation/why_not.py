"""Why a pool gets no deposit, and what APY it would need to get one.

Exactly, on request: the best plan that is made to buy the pool against the best that may not, as a
function of the pool's rate. The difference rises with the rate, and Newton's method finds its root
in a few solves. (`stableyield.allocation.near_misses` estimates it for many pools at once.)
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.dilution import share_kept
from stableyield.allocation.milp import AllocationModel, build_model
from stableyield.allocation.obstacles import (
    ENOUGH_PCT,
    REAL_DEPOSIT_USD,
    WhyNot,
    obstacle,
    too_low,
)
from stableyield.allocation.optimiser import gap_usd, solve
from stableyield.allocation.plan import Plan
from stableyield.allocation.problem import AllocationProblem
from stableyield.allocation.solver import Effort, solve_mip
from stableyield.allocation.tiers import is_small
from stableyield.domain.portfolio import TransactionType
from stableyield.domain.rates import annualised, growth
from stableyield.errors import InputError, SolverError

Floats = NDArray[np.float64]

NOT_IN_TIME = "not found in time"
MAX_RATES = 12  # rates at which the two programs are solved
EXACT_GAP_USD = 1e-3


def why_not(plan: Plan, pool_id: str) -> WhyNot:
    """Why the plan puts nothing into a pool, by solving; of a pool that it buys, down to which APY.

    With more than 60 pools that may be bought, the pool is weighed against those of the plan only;
    then, and when ``time_limit_seconds`` are over before the rate is found, it is not exact.

    Parameters
    ----------
    plan : Plan
    pool_id : str

    Returns
    -------
    WhyNot
        Out of time, the rate is the lowest that is known to be enough; NaN when none is.

    Raises
    ------
    InputError
        When the problem has no such pool.
    """
    problem = plan.problem
    i = _number_of(problem, pool_id)
    forecast = problem.pools[i].apy_pct
    reason = obstacle(problem, i)
    if plan.status == "infeasible":
        reason = "no plan meets the limits, so nothing is done"
    if reason:
        return WhyNot(pool_id, reason, forecast)
    question = _Question(problem, i, plan.settlement.after.pool_ids)
    try:
        lost_usd = -question.advantage(question.rate)[0]
    except SolverError as late:
        return WhyNot(pool_id, str(late), forecast, is_exact=False)
    needed, is_settled = question.needed_apy_pct()
    is_exact = is_settled and is_small(problem)
    if not math.isfinite(lost_usd):
        reason = "no plan that meets the limits puts even the smallest deposit into it"
        return WhyNot(pool_id, reason, forecast, is_exact=is_small(problem))
    bought_usd = math.fsum(
        step.amount_usd
        for step in plan.settlement.transactions
        if step.type is TransactionType.ALLOCATION and step.to_location == pool_id
    )
    if not is_settled:
        reason = question.in_between()
    elif bought_usd > 0.0:
        reason = f"it gets {bought_usd:,.2f} USD, and would down to an APY of {needed:.2f} %"
    else:
        room = {row["limit"]: row["usd_per_usd"] for row in plan.explanation.get("binding", ())}
        reason = too_low(problem, i, needed, room.get(f"group{problem.group[i]}_max_pct", 0.0))
    return WhyNot(pool_id, reason, forecast, needed, max(lost_usd, 0.0), is_exact)


def needed_apy_pct(problem: AllocationProblem, pool_id: str) -> float:
    """Mean forecast APY (percent) from which on the best plan puts money into a pool.

    To 0.01 points, but for the gap to which the programs are solved; see `why_not`.

    Returns
    -------
    float
        NaN where no rate helps: the pool's state, a cap or another limit is in the way.

    Raises
    ------
    InputError
        When the problem has no such pool.
    SolverError
        When it is not found in ``time_limit_seconds``.
    """
    _number_of(problem, pool_id)
    answer = why_not(solve(problem), pool_id)
    if NOT_IN_TIME in answer.reason:
        raise SolverError(answer.reason)
    return answer.needed_apy_pct


def _number_of(problem: AllocationProblem, pool_id: str) -> int:
    if pool_id not in problem.pool_index:
        raise InputError(
            f"there is no pool {pool_id!r} in the problem",
            remedy="name a pool_id of the problem file; excluded pools are not in the problem",
        )
    return problem.pool_index[pool_id]


# --- exactly --------------------------------------------------------------------------------------


class _Question:
    """Two programs as functions of one pool's rate: with a deposit into it, and without."""

    def __init__(self, problem: AllocationProblem, i: int, chosen: Collection[str]) -> None:
        self.problem, self.i = problem, i
        self.candidates = np.array([pool.pool_id in chosen for pool in problem.pools])
        self.candidates |= is_small(problem)
        self.candidates[i] = True
        self.rate = float(problem.apy[i])
        self.low, self.high = -1.0, math.inf  # too low a rate, and one that is enough
        self._deadline = time.perf_counter() + problem.parameters.time_limit_seconds
        self._without: tuple[float, float] | None = None
        self._known: dict[float, tuple[float, float]] = {}

    def needed_apy_pct(self) -> tuple[float, bool]:
        """Newton's method on the advantage, in a bracket, and whether it came to its end in time.

        NaN when no deposit is possible. Otherwise, out of time, the lowest rate known to be enough.
        """
        days = self.problem.parameters.horizon_days
        rate = self.rate
        for _ in range(MAX_RATES):
            try:
                advantage_usd, slope_usd = self.advantage(rate)
            except SolverError:
                break
            if not math.isfinite(advantage_usd) or slope_usd <= 0.0:
                return math.nan, True
            if advantage_usd >= 0.0:
                self.high = rate
            else:
                self.low = rate
            grown = growth(rate, days) - advantage_usd / slope_usd
            following = annualised(1.0 + grown, days) if grown > -1.0 else self.low
            if abs(following - rate) * 100.0 <= ENOUGH_PCT:
                return self._mean_pct(following), True
            if self.low < following < self.high:
                rate = following
            elif math.isfinite(self.high):
                rate = (self.low + self.high) / 2.0
        return self._mean_pct(self.high) if math.isfinite(self.high) else math.nan, False

    def in_between(self) -> str:
        """What is known of the rate when the time was over, in words."""
        known = f"{NOT_IN_TIME}: more than an APY of {self._mean_pct(self.low):.2f} % is needed"
        if not math.isfinite(self.high):
            return known
        return f"{known}, {self._mean_pct(self.high):.2f} % is enough"

    def _mean_pct(self, rate: float) -> float:
        """The mean forecast that goes with a risk-adjusted rate."""
        return self.problem.pools[self.i].apy_pct + (rate - self.rate) * 100.0

    def advantage(self, rate: float) -> tuple[float, float]:
        """USD of gain with a deposit above that without, and its slope in the pool's growth."""
        if rate not in self._known:
            at_rate = self._at(rate)
            model = build_model(at_rate, self.candidates)
            with_usd, with_slope = self._best(at_rate, model, is_bought=True)
            if self._without is None or self.problem.claim_usd[self.i] > 0.0:
                self._without = self._best(at_rate, model, is_bought=False)
            if not math.isfinite(with_usd):
                self._known[rate] = (-math.inf, 0.0)
            else:
                usd, slope = self._without
                self._known[rate] = (with_usd - usd, with_slope - slope)
        return self._known[rate]

    def _at(self, rate: float) -> AllocationProblem:
        pools = list(self.problem.pools)
        pools[self.i] = replace(pools[self.i], apy_pct=100.0 * rate, apy_q10_pct=math.nan)
        return replace(self.problem, pools=pools)

    def _best(
        self, problem: AllocationProblem, model: AllocationModel, *, is_bought: bool
    ) -> tuple[float, float]:
        """Gain of the best plan with or without a deposit, and its slope in the pool's growth."""
        is_it = model.deposits.pool == self.i
        binary, excess = model.deposits.binary[is_it], model.deposits.excess[is_it]
        lower, upper = model.sparse.lower.copy(), model.sparse.upper.copy()
        (lower if is_bought else upper)[binary] = float(is_bought)
        if is_bought and len(binary) == 0:
            return -math.inf, 0.0
        if is_bought:
            lower[excess] = _real_size(model, self.i)
        gap = EXACT_GAP_USD if is_small(problem) else gap_usd(problem)
        left = max(self._deadline - time.perf_counter(), 0.0)
        effort = Effort(gap / model.usd_of_objective_unit, left)
        result = solve_mip(replace(model.sparse, lower=lower, upper=upper), effort)
        if result.status == "infeasible":
            return -math.inf, 0.0
        if result.x is None or result.status != "optimal":
            raise SolverError(
                f"what pool {problem.pools[self.i].pool_id} would need was {NOT_IN_TIME}",
                remedy="raise time_limit_seconds",
            )
        return model.usd_of_objective(result.objective), self._earning_usd(problem, model, result.x)

    def _earning_usd(self, problem: AllocationProblem, model: AllocationModel, x: Floats) -> float:
        """The pool's final claim, less what dilution takes: the gain's slope in its growth."""
        claim = float(problem.claim_usd[self.i])
        for moves, sign in ((model.deposits, 1.0), (model.withdrawals, -1.0)):
            moved = moves.amounts(x)[moves.pool == self.i]
            claim += sign * float(moved.sum()) * model.unit_usd
        if claim <= 0.0:
            return 0.0
        return claim * float(share_kept(problem, np.array([self.i]), np.array([claim]))[0])


def _real_size(model: AllocationModel, i: int) -> float:
    """What a deposit has above its minimum at least, so that it is a deposit; model units."""
    (place,) = np.flatnonzero(model.deposits.pool == i)
    smallest, largest = model.deposits.minimum[place], model.deposits.maximum[place]
    return float(min(max(REAL_DEPOSIT_USD / model.unit_usd - smallest, 0.0), largest - smallest))
