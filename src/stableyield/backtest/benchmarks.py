"""Policies that the strategy has to beat, and the one that it cannot.

Benchmarks trade under the same screening and pay the same gas and fees. They respect the size
limits of pools (share of TVL) but not the strategy's diversification limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from stableyield.backtest.choice import (
    keep_what_may_be_kept,
    most_usd,
    open_pools,
    trailing_apy_pct,
)
from stableyield.backtest.clairvoyant import Clairvoyant
from stableyield.backtest.day import DayInputs, Prepared
from stableyield.backtest.policy import Decision, MilpPolicy, Policy, Remembering
from stableyield.backtest.rebalance import all_in, spread
from stableyield.backtest.threshold import Threshold
from stableyield.backtest.trailing import TopTrailing
from stableyield.forecast import baseline
from stableyield.market.panel import MarketPanel

TRAILING_DAYS = 30
CLAIRVOYANT_DAYS = 7  # who plans again every day gains more by the next week than by the next month


def benchmarks(panel: MarketPanel, *, quick: bool = False) -> tuple[Policy, ...]:
    """The policies that are shown beside the strategy.

    Parameters
    ----------
    panel : MarketPanel
        The market of the backtest, for the clairvoyant.
    quick : bool
        Without those that need a solver: persistence and the clairvoyant.
    """
    without_solver = (Idle(), BestSingle(), EqualWeight(), TopTrailing())
    return (
        without_solver
        if quick
        else (*without_solver, _persistence(), Clairvoyant(panel, CLAIRVOYANT_DAYS))
    )


def all_benchmarks() -> tuple[Policy, ...]:
    """Every causal policy that the strategy is compared with in a study."""
    return (
        *(Idle(), BestSingle(), EqualWeight(), TopTrailing(), Threshold(), Hold()),
        _persistence(),
    )


def _persistence() -> Policy:
    """The strategy with the forecast that every other one has to beat: tomorrow is as today."""
    return MilpPolicy("persistence", baseline("last"))


@dataclass(frozen=True)
class Idle:
    """Keeps everything as it is, from the first day on: cash stays cash."""

    name: str = "idle"

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:  # noqa: ARG002
        """Do nothing."""
        return Decision.keep(prepared)


@dataclass
class Hold:
    """Enters once, as another policy would, and then keeps what it has.

    The other policy decides on each day until it has put money into a pool; from then on nothing
    is traded, whatever happens to rates, prices and caps, but pools that must be left are left,
    and that money stays cash. A book that has positions already is kept from the first day on.
    What the strategy gains beyond this is what its trading is worth.

    Parameters
    ----------
    entry : Policy
    name : str
    """

    entry: Policy = field(default_factory=MilpPolicy)
    name: str = "hold"
    entered: bool = field(default=False, init=False)

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:
        """Enter, keep, or leave what has to be left."""
        self.entered = self.entered or bool(prepared.book.pool_ids)
        if self.entered:
            return keep_what_may_be_kept(prepared)
        return self.entry.decide(prepared, inputs)

    def state(self) -> dict[str, Any]:
        """Whether it has entered, and what the other policy remembers."""
        remembered = self.entry.state() if isinstance(self.entry, Remembering) else None
        return {"entered": self.entered, "entry": remembered}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Remember what `state` returned."""
        self.entered = bool(state["entered"])
        if isinstance(self.entry, Remembering):
            self.entry.restore(state["entry"])


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
        entering = self.chosen is None
        if entering:
            apy_pct = trailing_apy_pct(inputs.view, TRAILING_DAYS)
            rates = dict(zip(inputs.view.pool_ids, apy_pct.tolist(), strict=True))
            self.chosen = most_usd(prepared.expected_problem, rates)
        if self.chosen is None or not (entering or prepared.must_leave):
            return Decision.keep(prepared)
        return Decision(all_in(prepared.expected_problem, self.chosen))

    def state(self) -> dict[str, Any]:
        """The chosen pool."""
        return {"chosen": self.chosen}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Remember what `state` returned."""
        self.chosen = state["chosen"]


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
        day, last = inputs.view.day, self.renewed
        due = last is None or (last.year, last.month) != (day.year, day.month)
        if due and prepared.screening.allowed.any():
            self.renewed = day
            problem = prepared.expected_problem
            return Decision(spread(problem, open_pools(problem), self.tolerance))
        return keep_what_may_be_kept(prepared)

    def state(self) -> dict[str, Any]:
        """The day of the last renewal."""
        return {"renewed": None if self.renewed is None else self.renewed.isoformat()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Remember what `state` returned."""
        day = state["renewed"]
        self.renewed = None if day is None else date.fromisoformat(day)
