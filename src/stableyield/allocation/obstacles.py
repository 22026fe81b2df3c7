"""What can keep a pool from a deposit, in words: its state, a cap, or its rate."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.explain import tightest_cap
from stableyield.allocation.problem import AllocationProblem
from stableyield.domain.pool import PoolState

Floats = NDArray[np.float64]

ENOUGH_PCT = 0.005  # APY points: as exact as answers are
REAL_DEPOSIT_USD = 1.0  # a deposit of nothing is none, where no smallest size says so

_STATES = {
    PoolState.WITHDRAW_ONLY: "it did not pass the screening: what is held may stay or leave, "
    "nothing new goes in (withdraw_only)",
    PoolState.EXIT: "it must be left: no longer approved, or gone from the list (exit)",
    PoolState.FROZEN: "its data are missing: no trade until they are back (frozen)",
}


@dataclass(frozen=True)
class WhyNot:
    """Why a pool gets no deposit.

    Parameters
    ----------
    pool_id : str
    reason : str
        In words.
    forecast_apy_pct : float
        Mean forecast; NaN where unknown.
    needed_apy_pct : float
        Mean forecast from which on it would get one, everything else, and the distance of its
        quantile, as they are; NaN where no rate helps or the plan is infeasible.
    gain_lost_usd : float
        Gain over the horizon that a deposit now would lose; NaN where none is possible.
    is_exact : bool
        Found by solving; otherwise an estimate from marginal values.
    """

    pool_id: str
    reason: str
    forecast_apy_pct: float
    needed_apy_pct: float = math.nan
    gain_lost_usd: float = math.nan
    is_exact: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, as a file has them; unknown numbers are None."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in sorted(asdict(self).items())
        }


def obstacle(problem: AllocationProblem, i: int) -> str:
    """What keeps a pool from a deposit at any rate, in words; empty when nothing does."""
    pool = problem.pools[i]
    if pool.state is not PoolState.OPEN:
        return _STATES[pool.state]
    cap, smallest = float(problem.cap_usd[i]), float(problem.smallest_deposit_usd[i])
    held = float(problem.claim_usd[i])
    if cap - held >= smallest and cap > held:
        return ""
    caps = tightest_cap(problem, i)
    limit = f"{caps} {'cap' if ' and ' in caps else 'caps'} it at {cap:,.2f} USD"
    if held > 0.0:
        return f"{limit}: what is held ({held:,.2f} USD) leaves no room for a smallest deposit"
    return f"{limit}, below the smallest deposit of {smallest:,.2f} USD"


def too_low(problem: AllocationProblem, i: int, needed: float, group_usd: float) -> str:
    """That the rate is too low, in words; ``group_usd`` is the value of room in its group."""
    short = needed - problem.pools[i].apy_pct
    if short <= ENOUGH_PCT:
        return "it is as good as what the plan does instead, within the gap"
    text = f"its rate is {short:.2f} points too low, after the gas and the conversions it takes"
    if group_usd > 0.0:
        return (
            f"group {problem.group[i]} is full (a dollar of room in it is worth "
            f"{group_usd:.5f} USD): {text}"
        )
    return text
