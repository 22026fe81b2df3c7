"""The clairvoyant: the strategy with tomorrow's newspaper. Not causal, and labelled so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation import AllocationProblem
from stableyield.backtest.day import DayInputs, Prepared
from stableyield.backtest.policy import Decision, solved
from stableyield.domain.rates import DAYS_PER_YEAR, day_return
from stableyield.errors import LookAheadError
from stableyield.market.panel import MarketPanel

Floats = NDArray[np.float64]

LOST = 1e-12  # what a total loss leaves, so that its logarithm exists
HIGHEST_LOG_APY = 600.0  # e ** 600 is still a number; no optimum depends on more


@dataclass(frozen=True, eq=False)
class Clairvoyant:
    """Knows what each pool returns over the holding period; the rest is as for the strategy.

    Same screening, same limits, same gas and fees, same dilution: the optimiser's problem of the
    day, in which the forecast of each pool is what one unit in it will have grown by after
    ``horizon_days`` days (share prices where known, else the quoted APY; a day whose return is
    unknown earns nothing). TVL and token prices are those known at t. Near the end of the market
    the period is as long as the market is known.

    It is what a perfect forecast of one holding period is worth to this strategy. It is no bound
    on plans: it looks one period ahead and plans again every day, and a strategy can end above it.

    Parameters
    ----------
    panel : MarketPanel
        The market of the backtest, its future included.
    horizon_days : int, optional
        The holding period; absent: ``horizon_days`` of the parameters.
    name : str

    Raises
    ------
    LookAheadError
        When it decides on another market than its own.
    """

    panel: MarketPanel
    horizon_days: int | None = None
    name: str = "clairvoyant"
    is_causal: ClassVar[bool] = False

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:  # noqa: ARG002
        """Solve with what will have happened, and verify."""
        return solved(self.problem(prepared))

    def problem(self, prepared: Prepared) -> AllocationProblem:
        """The day's problem with realised growth in the place of forecasts."""
        problem, view = prepared.expected_problem, prepared.inputs.view
        if view.pool_ids != self._pool_ids[: len(view.pool_ids)]:
            raise LookAheadError(
                "the clairvoyant knows the future of another market",
                where=f"day {view.day}",
                remedy="give it the panel that is backtested",
            )
        wanted_days = self.horizon_days or max(1, round(problem.parameters.horizon_days))
        t = len(view.days) - 1
        days = min(wanted_days, len(self._log_wealth) - 1 - t)
        log_apy = (self._log_wealth[t + days] - self._log_wealth[t]) * (DAYS_PER_YEAR / days)
        apy_pct = 100.0 * np.expm1(np.minimum(log_apy, HIGHEST_LOG_APY))
        pools = [
            replace(pool, apy_pct=float(apy_pct[view.pool_index[pool.pool_id]]))
            if pool.pool_id in view.pool_index
            else pool
            for pool in problem.pools
        ]
        parameters = problem.parameters.model_copy(update={"horizon_days": float(days)})
        return replace(problem, pools=pools, parameters=parameters)

    @cached_property
    def _pool_ids(self) -> tuple[str, ...]:
        return self.panel.as_of(self.panel.last_day).pool_ids

    @cached_property
    def _log_wealth(self) -> Floats:
        """Logarithm of one unit held since the first day; shape (n_days, n_pools)."""
        series = self.panel.as_of(self.panel.last_day).pool_series
        by_rate = day_return(series.apy_pct / 100.0)
        returns = np.where(np.isfinite(series.return_1d), series.return_1d, by_rate)
        steps = np.log1p(np.maximum(np.nan_to_num(returns), LOST - 1.0))
        return np.cumsum(steps, axis=0)
