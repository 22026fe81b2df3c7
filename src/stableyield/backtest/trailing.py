"""The chaser: equal amounts in the pools that paid the most lately."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np

from stableyield.backtest.choice import keep_what_may_be_kept, open_pools, trailing_apy_pct
from stableyield.backtest.day import DayInputs, Prepared
from stableyield.backtest.policy import Decision
from stableyield.backtest.rebalance import spread
from stableyield.errors import ParameterError


@dataclass
class TopTrailing:
    """The same amount in the ``k`` open pools with the highest mean APY of the last ``days`` days.

    A pool takes no more than its size allows; a position within 20 % of its target is left alone.
    Pools that must be left are left on the day.

    Parameters
    ----------
    k, days : int
    every_days : int
        Days from one choice to the next.
    tolerance : float
        Share of its target by which a position may be off without being traded.
    name : str

    Raises
    ------
    ParameterError
        When a number of pools or days is below 1.
    """

    k: int = 5
    days: int = 7
    every_days: int = 7
    tolerance: float = 0.2
    name: str = "top_k"
    renewed: date | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        for name in ("k", "days", "every_days"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} is {getattr(self, name)}", remedy="give 1 or more")

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:
        """Choose again when it is time, or when nothing was chosen yet."""
        day = inputs.view.day
        due = self.renewed is None or (day - self.renewed).days >= self.every_days
        if not (due and prepared.screening.allowed.any()):
            return keep_what_may_be_kept(prepared)
        self.renewed = day
        problem, index = prepared.expected_problem, inputs.view.pool_index
        # an unknown rate comes last, equal ones in the order of their pools
        paid = np.nan_to_num(trailing_apy_pct(inputs.view, self.days), nan=-np.inf)
        ranked = sorted(open_pools(problem), key=lambda pool_id: -paid[index[pool_id]])
        return Decision(spread(problem, ranked[: self.k], self.tolerance))

    def state(self) -> dict[str, Any]:
        """The day of the last choice."""
        return {"renewed": None if self.renewed is None else self.renewed.isoformat()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Remember what `state` returned."""
        day = state["renewed"]
        self.renewed = None if day is None else date.fromisoformat(day)
