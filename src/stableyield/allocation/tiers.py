"""From the cheapest sufficient proof to the full one.

1. Closing in (`stableyield.allocation.closing`): leaving the book alone and what the sharpened
   linear relaxation suggests are plans, the relaxation is a bound, and what cannot be in a better
   plan is shaved off the program. Where the two meet, nothing is searched; where little is left, or
   the problem is small, that is searched to the gap.
2. Otherwise pools become candidates by the marginal values of the relaxation, and all others are
   relaxed into super-pools. The program on the candidates with conversions relaxed (who sells, who
   buys) gives a sharper bound for all pools, and the exact program on the pools and tokens that it
   chose gives a plan.
3. When the gap between the two is still too large, the exact program on candidates and super-pools
   closes it, started from the better of the plans.

Whenever a solution uses super-pools, the best real pools behind them become candidates.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.assembly import OBJECTIVE_SCALE
from stableyield.allocation.blocks_trade import Stars
from stableyield.allocation.closing import Closing, Known
from stableyield.allocation.milp import AllocationModel, build_model
from stableyield.allocation.problem import AllocationProblem
from stableyield.allocation.solver import Effort, SolverResult, solve_mip
from stableyield.allocation.starts import pattern_of
from stableyield.allocation.super_pools import SuperPools
from stableyield.domain.pool import PoolState

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DIRECT_POOLS = 60  # up to this many pools that may be bought, all that is left is searched
MORE_CANDIDATES = 30
MORE_CANDIDATES_SHARE = 0.8  # of those that the relaxation uses
REAL_POOLS_BEHIND = 12  # become candidates for each super-pool that a solution uses
MAX_ROUNDS = 5
STANDARD_GAP_SHARE = 0.005  # of the gain: what mode "standard" accepts of a large problem
SECOND_TIER_GAP_SHARE = 0.0005  # of the gain: how exactly the second tier is solved
# What is left is searched at once when it is few moves, much was shaved off, and a plan makes few.
FEW_MOVES = 350
FEW_MOVES_SHARE = 0.75
FEW_MADE = 25
SEARCH_NODES = 100  # of that search: what is harder than it looks is for the other tiers
SECOND_TIER_EFFORTS = ((100, False), (300, True))  # nodes, heuristics: lean first


@dataclass(frozen=True, eq=False)
class TieredResult:
    """A solution with a bound that holds for all pools.

    Parameters
    ----------
    model : AllocationModel
        The one that the solution belongs to.
    result : SolverResult
    bound_usd : float
    method : str
        ``no trade``, ``direct``, ``near the relaxation``, ``shaved`` with the number of moves left,
        or ``restricted`` or ``reduced`` with the number of candidates; ``relaxation`` where that
        was infeasible or out of time.
    """

    model: AllocationModel
    result: SolverResult
    bound_usd: float
    method: str

    @property
    def objective_usd(self) -> float:
        """Gain of the solution; minus infinity where there is none."""
        return self.model.usd_of_objective(self.result.objective)


def solve_in_tiers(
    problem: AllocationProblem, *, gap_usd: float, time_limit_seconds: float
) -> TieredResult:
    """The best plan, by the cheapest route that proves what the mode of the parameters asks for.

    Parameters
    ----------
    problem : AllocationProblem
    gap_usd : float
        Gap in USD of gain at which to stop.
    time_limit_seconds : float
    """
    buyable = _buyable(problem)
    return Tiers(problem, buyable, gap_usd, time_limit_seconds).solve()


def accepted_gap_usd(problem: AllocationProblem, gap_usd: float, bound_usd: float) -> float:
    """The gap at which the mode of the parameters calls a plan optimal.

    Parameters
    ----------
    problem : AllocationProblem
    gap_usd, bound_usd : float
        The gap asked for, and the bound by now.
    """
    if is_small(problem):
        return gap_usd
    if problem.parameters.mode == "standard":
        return max(gap_usd, _share_usd(STANDARD_GAP_SHARE, bound_usd))
    return math.inf if problem.parameters.mode == "fast" else gap_usd


def _share_usd(share: float, bound_usd: float) -> float:
    """A share of the gain; nothing where nothing is known of the gain yet."""
    return share * abs(bound_usd) if math.isfinite(bound_usd) else 0.0


def is_small(problem: AllocationProblem) -> bool:
    """Whether the whole program is the fastest."""
    return int(_buyable(problem).sum()) <= DIRECT_POOLS


def _buyable(problem: AllocationProblem) -> Bools:
    """Open pools with room for a smallest deposit, and open pools that are held."""
    p = problem.parameters
    smallest = max(p.min_transaction_value, p.min_position_usd)
    is_open = problem.state == PoolState.OPEN.value
    result: Bools = is_open & ((problem.cap_usd >= smallest) | (problem.position_usd > 0.0))
    return result


class Tiers:
    """The tiers of a problem; `bound_usd` falls from one to the next."""

    def __init__(
        self, problem: AllocationProblem, buyable: Bools, gap_usd: float, seconds: float
    ) -> None:
        self.problem = problem
        self.buyable = buyable
        self.gap_usd = gap_usd
        self.deadline = time.perf_counter() + seconds
        self.bound_usd = math.inf
        self.candidates = buyable & (problem.position_usd > 0.0)
        self.token_value = np.zeros(len(problem.tokens))

    def solve(self) -> TieredResult:
        """Tier after tier until the gap is small enough."""
        whole = build_model(self.problem)
        gap = self.gap_usd / whole.usd_of_objective_unit
        closing = Closing(self.problem, whole, gap, self._left())
        known = closing.close_in()
        near = self._of_whole(whole, known, "near the relaxation")
        if known.x is None and known.status != "optimal":
            # an infeasible relaxation is an infeasible program; out of time is out of time
            return replace(near, method="relaxation")
        if self.bound_usd - near.objective_usd <= self._near_gap_usd:
            return near
        if self._is_little_left(whole, known):
            n_moves = f"{len(known.program.flows.binary)} of {len(whole.moves)}"
            # of a few moves all are searched; of many no further than is fast
            is_whole = is_small(self.problem) or known.relaxation is None
            gap = self._near_gap_usd / whole.usd_of_objective_unit
            known = closing.search(gap, None if is_whole else SEARCH_NODES)
            near = self._of_whole(whole, known, f"shaved: {n_moves} moves")
            if known.status != "node_limit":
                return near if known.x is None else self._as_proven(near, known.status)
        return self._in_later_tiers(whole, known, near)

    def _in_later_tiers(
        self, whole: AllocationModel, known: Known, near: TieredResult
    ) -> TieredResult:
        """What is too much to be searched at once, on candidates."""
        if known.relaxation is None or known.relaxation.x is None:
            return self._as_proven(near, "time_limit")
        self._choose_candidates(whole, known.relaxation)
        plan = _better(None if known.x is None else near, self._restricted())
        if plan is not None and self._is_good_enough(plan):
            return self._as_proven(plan, plan.result.status)
        return self._reduced(plan)

    def _of_whole(self, whole: AllocationModel, known: Known, method: str) -> TieredResult:
        """What is known of the whole program as a result."""
        self.bound_usd = min(self.bound_usd, whole.usd_of_objective(known.bound))
        result = SolverResult(known.status, known.x, known.objective, known.bound, 0.0)
        must_leave = (self.problem.state == PoolState.EXIT.value) & (
            self.problem.position_usd > 0.0
        )
        if known.is_held and not must_leave.any():
            method = "no trade"
        elif is_small(self.problem):
            method = "direct"
        return TieredResult(whole, result, self.bound_usd, method)

    def _is_little_left(self, whole: AllocationModel, known: Known) -> bool:
        """Whether searching all that is left may be the fastest."""
        if is_small(self.problem) or known.relaxation is None:  # so few that none was looked at
            return True
        n_made = np.inf if known.x is None else np.round(known.x[whole.moves]).sum()
        few = min(FEW_MOVES, FEW_MOVES_SHARE * len(whole.moves))
        return len(known.program.flows.binary) <= few and bool(n_made <= FEW_MADE)

    @property
    def _accepted_gap_usd(self) -> float:
        return accepted_gap_usd(self.problem, self.gap_usd, self.bound_usd)

    def _is_good_start(self, plan: TieredResult) -> bool:
        """Whether what is left is a proof rather than a search."""
        gap_usd = self.bound_usd - plan.objective_usd
        return gap_usd <= self._share_of_bound_usd(STANDARD_GAP_SHARE)

    def _is_good_enough(self, plan: TieredResult) -> bool:
        gap_usd = self.bound_usd - plan.objective_usd
        return math.isfinite(gap_usd) and gap_usd <= self._accepted_gap_usd

    def _share_of_bound_usd(self, share: float) -> float:
        return _share_usd(share, self.bound_usd)

    # --- tier 1: who can matter ---

    def _choose_candidates(self, whole: AllocationModel, relaxation: SolverResult) -> None:
        """Held pools, pools that the relaxation uses, and the next best by their reduced gain."""
        problem, x, dual = self.problem, relaxation.x, relaxation.row_dual
        if x is None or dual is None:
            raise AssertionError
        self.token_value = -dual[whole.balance_rows] / OBJECTIVE_SCALE
        self.candidates[whole.deposits.pool[x[whole.deposits.binary] > 1e-9]] = True
        pieces = SuperPools.of(problem, self.buyable, self.token_value)
        rate = np.zeros(len(problem.pools))
        # the rate of a piece minus the value of its token is the same for all pieces of a pool
        token = pieces.token[pieces.piece_super]
        rate[pieces.piece_pool] = pieces.piece_rate - self.token_value[token]
        for group, row in whole.group_rows.items():
            rate[problem.group == group] -= dual[row] / OBJECTIVE_SCALE
        gas_value = 1.0 - dual[whole.gas_row] / OBJECTIVE_SCALE
        gain = rate * problem.cap_usd - problem.gas_deposit_usd * gas_value
        n_more = max(MORE_CANDIDATES, int(MORE_CANDIDATES_SHARE * self.candidates.sum()))
        rest = np.flatnonzero(self.buyable & ~self.candidates)
        self.candidates[rest[np.argsort(-gain[rest], kind="stable")[:n_more]]] = True

    def _others(self) -> SuperPools:
        return SuperPools.of(self.problem, self.buyable & ~self.candidates, self.token_value)

    def _real_pools_behind(self, others: SuperPools, used: Ints) -> None:
        """Make the best pools behind the super-pools that a solution uses candidates."""
        for super_pool in used:
            pieces = np.flatnonzero(others.piece_super == super_pool)
            best = pieces[np.argsort(-others.piece_rate[pieces], kind="stable")]
            self.candidates[others.piece_pool[best[:REAL_POOLS_BEHIND]]] = True

    @property
    def _near_gap_usd(self) -> float:
        """What a plan for the whole program may miss for nothing else to be searched."""
        return min(self._accepted_gap_usd, self._second_tier_gap_usd)

    # --- tier 2: relaxed conversions, then the exact program on what they chose ---

    def _restricted(self) -> TieredResult | None:
        """A plan and a sharper bound; None when the choice has no plan."""
        model, x = self._with_relaxed_conversions()
        if x is None:
            return None
        chosen = self.problem.position_usd > 0.0
        chosen[model.deposits.pool[np.round(x[model.deposits.binary]) == 1]] = True
        exact = build_model(self.problem, chosen & self.candidates, only=_traders(model, x))
        found: TieredResult | None = None
        for nodes, heuristics in SECOND_TIER_EFFORTS:
            plan = self._mip(exact, self._second_tier_gap_usd, found, nodes, heuristics=heuristics)
            if plan.x is None:
                continue
            is_best = plan.status == "optimal"  # of the choice: more effort would bring nothing
            # what is asked of this tier is a plan; how good it is, the bound says
            plan = replace(plan, status="optimal")
            found = TieredResult(exact, plan, self.bound_usd, f"restricted{self._share()}")
            if is_best or self._is_good_enough(found) or self._is_good_start(found):
                break
        return found

    def _with_relaxed_conversions(self) -> tuple[AllocationModel, Floats | None]:
        """The relaxed program and its solution, once it does without super-pools."""
        for _ in range(MAX_ROUNDS):
            others = self._others()
            model = build_model(self.problem, self.candidates, others, stars=True)
            result = self._mip(model, self._second_tier_gap_usd)
            self._lower_bound_to(model, result)
            if result.x is None:
                break
            used = np.flatnonzero(np.round(result.x[model.other_counts]) > 0)
            if len(used) == 0:
                break
            self._real_pools_behind(others, used)
        return model, result.x

    # --- tier 3: the exact program on candidates and super-pools ---

    def _reduced(self, plan: TieredResult | None) -> TieredResult:
        best = plan
        gap_usd = min(self._accepted_gap_usd, 1e6)
        for _ in range(MAX_ROUNDS):
            others = self._others()
            model = build_model(self.problem, self.candidates, others)
            is_good = best is not None and self._is_good_start(best)
            result = self._mip(model, gap_usd, best, proof_only=is_good)
            self._lower_bound_to(model, result)
            found = TieredResult(model, result, self.bound_usd, f"reduced{self._share()}")
            if result.status == "infeasible":  # even with all other pools relaxed
                return found
            if result.x is None:
                break
            used = np.flatnonzero(np.round(result.x[model.other_counts]) > 0)
            if len(used) == 0:  # a start is not always taken, and may be better than what is enough
                return self._as_proven(_better(found, best) or found, result.status)
            self._real_pools_behind(others, used)
            if self._left() <= 0.0:
                break
        if best is None:  # the candidates may be too few for any plan: only the whole program knows
            model = build_model(self.problem)
            result = self._mip(model, gap_usd)
            self._lower_bound_to(model, result)
            return TieredResult(model, result, self.bound_usd, "direct")
        return self._as_proven(best, "time_limit")

    def _as_proven(self, plan: TieredResult, status: str) -> TieredResult:
        """The plan with the bound that holds by now; ``status`` is how the last program ended.

        Of a tier that was only asked for a plan, its own status says nothing of the whole program.
        """
        if math.isinf(self.bound_usd):  # nothing is known of all plans: no plan, the book stays
            return replace(plan, result=SolverResult(status, None, -math.inf, math.inf, 0.0))
        status = "optimal" if self._is_good_enough(plan) else status
        result = replace(plan.result, status=status)
        return replace(plan, result=result, bound_usd=self.bound_usd)

    # --- common ---

    def _left(self) -> float:
        return max(self.deadline - time.perf_counter(), 0.0)

    def _share(self) -> str:
        return f": {int(self.candidates.sum())} of {int(self.buyable.sum())} pools"

    def _lower_bound_to(self, model: AllocationModel, result: SolverResult) -> None:
        if result.status != "infeasible":
            self.bound_usd = min(self.bound_usd, model.usd_of_objective(result.bound))

    @property
    def _second_tier_gap_usd(self) -> float:
        return max(self.gap_usd, self._share_of_bound_usd(SECOND_TIER_GAP_SHARE))

    def _mip(
        self,
        model: AllocationModel,
        gap_usd: float,
        start: TieredResult | None = None,
        max_nodes: int | None = None,
        *,
        heuristics: bool = False,
        proof_only: bool = False,
    ) -> SolverResult:
        gap = gap_usd / model.usd_of_objective_unit
        seconds = max(self._left(), 0.1)
        effort = Effort(gap, seconds, max_nodes, heuristics, proof_only, presolve=False)
        if start is None or start.result.x is None:
            return solve_mip(model.sparse, effort)
        pattern = pattern_of(start.result.x, start.model, model)
        return solve_mip(model.sparse, effort, pattern)


def _better(one: TieredResult | None, other: TieredResult | None) -> TieredResult | None:
    if one is None or other is None:
        return one or other
    return one if one.objective_usd > other.objective_usd else other


def _traders(model: AllocationModel, x: Floats) -> tuple[Bools, Bools]:
    """Tokens that a solution with relaxed conversions sells, and tokens that it buys."""
    trade = model.trade
    if not isinstance(trade, Stars):
        raise TypeError("the model has exact conversions")
    n_tokens = len(model.balance_rows)
    sells, buys = np.zeros(n_tokens, dtype=bool), np.zeros(n_tokens, dtype=bool)
    sells[trade.sellers[np.round(x[trade.sells]) == 1]] = True
    buys[trade.buyers[np.round(x[trade.buys]) == 1]] = True
    return sells, buys
