"""What simple policies ask before they choose: which pools are open, and what those paid."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation import AllocationProblem
from stableyield.backtest.day import Prepared
from stableyield.backtest.policy import Decision
from stableyield.backtest.rebalance import leave_what_must_be_left, size_limit_usd
from stableyield.domain.pool import PoolState
from stableyield.market.panel import MarketView

Floats = NDArray[np.float64]


def open_pools(problem: AllocationProblem) -> tuple[str, ...]:
    """Pools that may be bought."""
    return tuple(pool.pool_id for pool in problem.pools if pool.state is PoolState.OPEN)


def trailing_apy_pct(view: MarketView, days: int) -> Floats:
    """Mean APY of the last ``days`` days, percent; NaN where none is known; shape (n_pools,)."""
    past = view.pool_series.apy_pct[-days:]
    known = np.isfinite(past)
    n_known = known.sum(axis=0)
    total = np.where(known, past, 0.0).sum(axis=0)
    mean: Floats = np.divide(total, n_known, out=np.full(len(total), np.nan), where=n_known > 0)
    return mean


def most_usd(problem: AllocationProblem, apy_pct: Mapping[str, float]) -> str | None:
    """The open pool that promises the most USD a year, given how much of our AUM it can take.

    Pools without a known rate are left out; None when there is no other.
    """
    best: tuple[float, str] | None = None
    for pool_id in open_pools(problem):
        usd = apy_pct.get(pool_id, np.nan) * min(problem.aum_usd, size_limit_usd(problem, pool_id))
        if np.isfinite(usd) and (best is None or usd > best[0]):
            best = (usd, pool_id)
    return best[1] if best is not None else None


def keep_what_may_be_kept(prepared: Prepared) -> Decision:
    """Do nothing, but leave the pools that have to be left; what they bring stays cash."""
    if not prepared.must_leave:
        return Decision.keep(prepared)
    return Decision(leave_what_must_be_left(prepared.expected_problem))
