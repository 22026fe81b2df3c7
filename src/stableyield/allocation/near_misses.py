"""Which pools nearly got a deposit: an estimate from the marginal values of a plan.

A deposit of a given size needs a rate that pays for its tokens at their cheapest source, for room
in its risk group and for its gas, at the marginal values of the plan with its moves fixed.
Sources are idle cash, another deposit of the plan and what is held, each directly or through a
conversion. It is an estimate, and no bound on either side: each leg comes from one source, room in
a full group has its marginal value at any size (which is too little for a large deposit), and
limits on the number of pools and on idle cash are left out. It is never below the forecast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.assembly import OBJECTIVE_SCALE, pool_legs
from stableyield.allocation.dilution import share_kept
from stableyield.allocation.milp import AllocationModel
from stableyield.allocation.obstacles import (
    REAL_DEPOSIT_USD,
    WhyNot,
    too_low,
)
from stableyield.allocation.problem import AllocationProblem
from stableyield.allocation.solver import SolverResult
from stableyield.allocation.terms import Legs
from stableyield.domain.pool import PoolState
from stableyield.domain.rates import DAYS_PER_YEAR, growth

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LOOK_AT = 5  # times as many as are wanted, before dilution is looked at
UNDECIDED = "more than its forecast; how much, the estimate cannot tell: ask for the exact answer"
NO_SOURCE = "no single source has its tokens in the smallest size"
SIZES = (0.0, 0.25, 0.5, 1.0)  # between the smallest and the largest deposit


def near_misses(
    problem: AllocationProblem, model: AllocationModel, result: SolverResult, n: int = 10
) -> list[WhyNot]:
    """Open pools without a deposit that miss one by the fewest points of APY.

    Parameters
    ----------
    problem : AllocationProblem
    model : AllocationModel
        With exact conversions.
    result : SolverResult
        Of the model with its on-off decisions fixed, with duals.
    n : int
        At most this many.
    """
    x, dual = result.x, result.row_dual
    if x is None or dual is None:
        return []
    room, smallest = problem.cap_usd - problem.claim_usd, problem.smallest_deposit_usd
    smallest = np.minimum(np.maximum(smallest, REAL_DEPOSIT_USD), np.maximum(room, smallest))
    asked = (problem.state == PoolState.OPEN.value) & (room > 0.0) & (room >= smallest)
    asked[model.deposits.pool[np.round(x[model.deposits.binary]) == 1]] = False
    margins = _Margins.of(problem, model, x, dual)
    pools = np.flatnonzero(asked)
    sizes = np.array([smallest + part * (room - smallest) for part in SIZES])
    needed = np.array([margins.needed_growth(size) for size in sizes])
    shortfall = needed.min(axis=0)[pools] - problem.growth[pools]
    nearest = pools[np.argsort(shortfall, kind="stable")[: LOOK_AT * n]]
    found = [margins.miss(int(i), sizes[:, i], needed[:, i]) for i in nearest]
    found.sort(key=lambda miss: (_shortfall(miss), miss.pool_id))
    return found[:n]


def _shortfall(miss: WhyNot) -> float:
    short = miss.needed_apy_pct - miss.forecast_apy_pct
    return short if np.isfinite(short) else np.inf


@dataclass(frozen=True, eq=False)
class _Margins:
    """Marginal values of a plan, in growth per USD.

    ``token``, ``price``, ``gas_usd`` and ``depth_usd`` (n_sources,): where dollars of a token can
    come from, what each forgoes, what it takes to get at them, and how many there are.
    """

    problem: AllocationProblem
    legs: Legs
    token: Ints
    price: Floats
    gas_usd: Floats
    depth_usd: Floats
    group: Floats  # by risk group, 0 to 3
    gas_value: float

    @classmethod
    def of(
        cls, problem: AllocationProblem, model: AllocationModel, x: Floats, dual: Floats
    ) -> _Margins:
        """The values and sources of solution ``x`` with the row duals ``dual``."""
        group = np.zeros(4)
        for g, row in model.group_rows.items():
            group[g] = max(dual[row] / OBJECTIVE_SCALE, 0.0)
        p = problem.parameters
        idle_usd = x[model.left] * model.unit_usd
        tokens = np.arange(len(problem.tokens))
        # what leaves a full group makes room there; giving money away earns nothing all the same
        rate = np.maximum(problem.growth - group[problem.group], 0.0)
        new, old = _deposit_legs(problem, model, x), _held_legs(problem, model, x)
        n_legs = old.legs.count(len(problem.pools))
        gas = [problem.gas_withdrawal_usd(int(i), int(n_legs[i])) for i in old.legs.pool]
        cash = np.full(len(tokens), growth(p.cash_apy, p.horizon_days))
        sources = _worth_asking(
            np.concatenate([tokens, new.legs.token, old.legs.token]),
            np.concatenate([cash, rate[new.legs.pool], rate[old.legs.pool]]),
            np.concatenate([np.zeros(len(tokens) + len(new.usd)), np.array(gas)]),
            np.concatenate([idle_usd, new.usd, old.usd]),
        )
        return cls(
            problem,
            pool_legs(problem),
            *sources,
            group,
            float(1.0 - dual[model.gas_row] / OBJECTIVE_SCALE),
        )

    def needed_growth(self, size_usd: Floats) -> Floats:
        """Growth that pays for a deposit of this size into each pool; shape (n_pools,)."""
        n_pools = len(self.problem.pools)
        legs = self.legs
        leg_usd = np.maximum(legs.share * size_usd[legs.pool], 1e-9)
        cost = self._token_cost(legs.token, leg_usd)
        tokens = np.bincount(legs.pool, legs.share * cost, minlength=n_pools)
        gas = self.problem.gas_deposit_usd * self.gas_value / np.maximum(size_usd, 1e-9)
        result: Floats = tokens + gas + self.group[self.problem.group]
        return result

    def _token_cost(self, token: Ints, usd: Floats) -> Floats:
        """Growth given up and cost for each USD of a token, from its cheapest source."""
        fee = self.problem.parameters.conversion_rate
        swap_usd = self.problem.gas.conversion
        cheapest = np.full(len(usd), np.inf)
        for source_token in np.unique(self.token):
            sources = self.token == source_token
            price, gas, depth = self.price[sources], self.gas_usd[sources], self.depth_usd[sources]
            for legs, paid, swap in (
                (token == source_token, price, 0.0),
                (token != source_token, (price + fee) / (1.0 - fee), swap_usd),
            ):
                need = usd[legs][:, None]
                cost = paid[None, :] + (gas + swap)[None, :] * self.gas_value / need
                cost = np.where(need <= depth[None, :], cost, np.inf).min(axis=1)
                cheapest[legs] = np.minimum(cheapest[legs], cost)
        return cheapest

    def miss(self, i: int, sizes_usd: Floats, needed: Floats) -> WhyNot:
        """The estimate for one pool: the size that needs the lowest rate, after dilution.

        ``needed`` is the growth that each size needs without dilution.
        """
        problem, pool = self.problem, self.problem.pools[i]
        kept = np.array([_kept_of_more(problem, i, float(size)) for size in sizes_usd])
        can_pay = kept > 0.0
        lowest = float(np.min(needed[can_pay] / kept[can_pay], initial=np.inf))
        if not np.isfinite(lowest):
            return WhyNot(pool.pool_id, NO_SOURCE, pool.apy_pct, is_exact=False)
        lost_usd = float(np.min((needed - kept * problem.growth[i]) * sizes_usd))
        years = problem.parameters.horizon_days / DAYS_PER_YEAR
        needed_apy = float(np.expm1(np.log1p(lowest) / years))
        needed_pct = pool.apy_pct + 100.0 * (needed_apy - float(problem.apy[i]))
        reason = too_low(problem, i, needed_pct, float(self.group[pool.risk_group]))
        if needed_pct <= pool.apy_pct:  # a plan that does not buy it says that this is too little
            reason, needed_pct = UNDECIDED, pool.apy_pct
        return WhyNot(
            pool.pool_id, reason, pool.apy_pct, needed_pct, max(lost_usd, 0.0), is_exact=False
        )


def _worth_asking(
    token: Ints, price: Floats, gas_usd: Floats, depth_usd: Floats
) -> tuple[Ints, Floats, Floats, Floats]:
    """The sources that no other of the same token and gas beats in both price and depth."""
    order = np.lexsort((-depth_usd, price, gas_usd, token))
    token, price = token[order], price[order]
    gas_usd, depth_usd = gas_usd[order], depth_usd[order]
    starts = np.r_[True, (token[1:] != token[:-1]) | (gas_usd[1:] != gas_usd[:-1])]
    # ranks that rise from group to group, so that one running maximum serves all of them
    rank = np.cumsum(starts) * (len(order) + 1) + np.argsort(np.argsort(depth_usd, kind="stable"))
    before = np.r_[-1, np.maximum.accumulate(rank)[:-1]]
    keep = starts | ((rank > before) & (depth_usd > 0.0))
    return token[keep], price[keep], gas_usd[keep], depth_usd[keep]


def _kept_of_more(problem: AllocationProblem, i: int, more: float) -> float:
    """Share of the growth that is left of ``more`` USD on top of a claim, what it dilutes paid."""
    claim = float(problem.claim_usd[i])
    after = claim + more
    pools = np.array([i])
    kept = after * float(share_kept(problem, pools, np.array([after]))[0])
    if claim > 0.0:
        kept -= claim * float(share_kept(problem, pools, np.array([claim]))[0])
    return kept / more


@dataclass(frozen=True, eq=False)
class _Amounts:
    """Legs and their USD."""

    legs: Legs
    usd: Floats


def _deposit_legs(problem: AllocationProblem, model: AllocationModel, x: Floats) -> _Amounts:
    """What the plan deposits, which could go elsewhere."""
    amount = np.zeros(len(problem.pools))
    amount[model.deposits.pool] = model.deposits.amounts(x) * model.unit_usd
    return _some(pool_legs(problem), amount)


def _held_legs(problem: AllocationProblem, model: AllocationModel, x: Floats) -> _Amounts:
    """What the plan leaves in pools that it could withdraw from."""
    can_leave = np.isin(problem.state, [PoolState.OPEN.value, PoolState.WITHDRAW_ONLY.value])
    amount = np.where(can_leave, problem.claim_usd, 0.0)
    is_touched = np.round(x[model.withdrawals.binary]) == 1
    amount[model.withdrawals.pool[is_touched]] = 0.0
    return _some(Legs.of(problem.claim_legs_usd, problem.token_index), amount)


def _some(legs: Legs, amount_usd: Floats) -> _Amounts:
    usd = legs.share * amount_usd[legs.pool]
    keep = usd > 0.0
    return _Amounts(Legs(legs.pool[keep], legs.token[keep], legs.share[keep]), usd[keep])
