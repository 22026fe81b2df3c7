"""The patient chaser: one pool at a time, left only for one that is clearly better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stableyield.backtest.choice import keep_what_may_be_kept, most_usd
from stableyield.backtest.day import DayInputs, Prepared
from stableyield.backtest.policy import Decision
from stableyield.backtest.rebalance import all_in, size_limit_usd
from stableyield.domain.portfolio import Settlement
from stableyield.domain.rates import growth

Floats = NDArray[np.float64]

PCT = 100.0


@dataclass(frozen=True)
class Threshold:
    """Everything in the pool that promises the most; moves only when that pays.

    The candidate is the open pool with the most USD a year at its forecast APY, given how much it
    can take. The money moves there when the candidate promises ``points`` more than what is held,
    and when what it promises more in ``payback_days`` pays the gas and fees of the move. Both are
    measured on the whole AUM, cash included, so a pool that takes half of the money counts half.

    Parameters
    ----------
    points : float
        Percentage points of APY.
    payback_days : float
    name : str
    """

    points: float = 1.0
    payback_days: float = 30.0
    name: str = "threshold"

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:  # noqa: ARG002
        """Move when it pays, else keep what may be kept."""
        held = _promised(prepared)
        move = self._move(prepared, held) if self._may_pay(prepared, held) else None
        return keep_what_may_be_kept(prepared) if move is None else Decision(move)

    def _may_pay(self, prepared: Prepared, held: float) -> bool:
        """Whether there could be a candidate: most days need no screening, and no problem."""
        most = _most(prepared)
        if not self._is_enough(float(np.fmax.reduce(most, initial=0.0)) - held):
            return False
        allowed = most[prepared.screening.allowed]
        return self._is_enough(float(np.fmax.reduce(allowed, initial=0.0)) - held)

    def _move(self, prepared: Prepared, held: float) -> Settlement | None:
        """The move to the candidate; None when it does not pay."""
        problem = prepared.expected_problem
        rates = {pool.pool_id: pool.apy_pct for pool in problem.pools}
        best = most_usd(problem, rates)
        if best is None:
            return None
        taken_usd = min(problem.aum_usd, size_limit_usd(problem, best))
        lead = rates[best] / PCT * taken_usd / problem.aum_usd - held
        if not self._is_enough(lead):
            return None
        move = all_in(problem, best)
        gain_usd = problem.aum_usd * growth(lead, self.payback_days)
        return move if gain_usd >= move.costs_usd else None

    def _is_enough(self, lead: float) -> bool:
        return lead > 0.0 and PCT * lead >= self.points


def _most(prepared: Prepared) -> Floats:
    """What each pool promises at the most, as a fraction of AUM a year; NaN where unknown.

    Shape (n_pools,). The size limit of each is at least that of the allocation problem.
    """
    expected, parameters = prepared.inputs.expected, prepared.inputs.parameters
    own_share = parameters.position_max_pct_pool_tvl / (1.0 - parameters.position_max_pct_pool_tvl)
    share = min(parameters.tvl_limit_percentage, own_share)
    taken_usd = np.minimum(share * expected.tvl_usd, prepared.aum_usd)
    most: Floats = np.maximum(expected.apy_pct, 0.0) / PCT * taken_usd / prepared.aum_usd
    return most


def _promised(prepared: Prepared) -> float:
    """What the forecasts promise for what is held, as a fraction of AUM a year.

    A pool without a forecast promises nothing, and neither does a leg that its pool does not take.
    """
    inputs, layout = prepared.inputs, prepared.book.layout
    if not layout.keys:
        return 0.0
    places = inputs.places(layout)
    columns = places.held(inputs.view, inputs.parameters).columns
    apy_pct = places.of_positions(inputs.outlook(columns).apy_pct, np.nan)
    promised = prepared.book.worth(prepared.prices_usd).values_usd * apy_pct / PCT
    if places.stranded is not None:
        promised[places.stranded] = 0.0
    total = float(np.cumsum(np.where(np.isfinite(apy_pct), promised, 0.0))[-1])
    return total / prepared.aum_usd
