"""A daily backtest of the optimiser alone: the plan of one day is the book of the next."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from stableyield.allocation import AllocationProblem, solve

APY_MEMORY = 0.95  # of the log APY's distance from its mean, from day to day
APY_NOISE = 0.10  # standard deviation of the daily shock to the log APY
TVL_NOISE = 0.03  # a day


@dataclass(frozen=True)
class DailyResult:
    """CPU seconds and transactions of each day on which the book was carried over."""

    label: str
    mode: str
    seconds: tuple[float, ...]
    trades: tuple[int, ...]
    n_without_plan: int

    @property
    def days_per_second(self) -> float:
        return len(self.seconds) / sum(self.seconds)


def daily(label: str, start: AllocationProblem, n_days: int, seed: int) -> DailyResult:
    """Solve a day more than ``n_days``; the first, which starts from a foreign book, is not kept.

    The log APY is an AR(1) around its value in ``start``, the TVL a random walk. Positions earn
    nothing from day to day: this measures speed.
    """
    rng = np.random.default_rng(seed)
    n = len(start.pools)
    shift, size = np.zeros(n), np.ones(n)
    book, seconds, trades, failed = start.book, [], [], 0
    listed = [pool for pool in start.pools if np.isfinite(pool.apy_pct)]
    for _ in range(n_days + 1):
        pools = [
            replace(pool, apy_pct=pool.apy_pct * np.exp(shift[i]), tvl_usd=pool.tvl_usd * size[i])
            for i, pool in enumerate(listed)
        ]
        began = time.process_time()
        plan = solve(AllocationProblem(pools, book, start.prices_usd, start.gas, start.parameters))
        seconds.append(time.process_time() - began)
        trades.append(plan.n_moves)
        failed += not plan.certificate.has_solution
        book = plan.settlement.after
        shift = APY_MEMORY * shift + rng.normal(0.0, APY_NOISE, n)
        size = size * np.exp(rng.normal(0.0, TVL_NOISE, n))
    return DailyResult(label, start.parameters.mode, tuple(seconds[1:]), tuple(trades[1:]), failed)
