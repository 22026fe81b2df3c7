"""The patient chaser: one pool at a time, left only for one that is clearly better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stableyield.backtest.choice import keep_what_may_be_kept, most_usd
from stableyield.backtest.day import DayInputs, Prepared
from stableyield.backtest.policy import Decision
from stableyield.backtest.rebalance import all_in, size_limit_usd
from stableyield.domain.portfolio import Settlement
from stableyield.domain.rates import growth

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
        allowed = prepared.screening.allowed
        if not allowed.any():
            return keep_what_may_be_kept(prepared)
        held = _promised(prepared)
        # no candidate promises more than the highest rate: most days need no problem
        highest = float(np.nanmax(prepared.inputs.expected.apy_pct[allowed])) / PCT
        move = self._move(prepared, held) if self._is_enough(highest - held) else None
        return keep_what_may_be_kept(prepared) if move is None else Decision(move)

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


def _promised(prepared: Prepared) -> float:
    """What the forecasts promise for what is held, as a fraction of AUM a year.

    A pool without a forecast promises nothing, and neither does a leg that its pool does not take.
    """
    view, prices = prepared.inputs.view, prepared.prices_usd
    apy_pct = prepared.inputs.expected.apy_pct
    total = 0.0
    for (pool_id, token), amount in prepared.book.positions.items():
        i = view.pool_index.get(pool_id)
        if i is not None and token in view.pools[i].tokens and np.isfinite(apy_pct[i]):
            total += amount * prices[token] * float(apy_pct[i]) / PCT
    return total / prepared.aum_usd
