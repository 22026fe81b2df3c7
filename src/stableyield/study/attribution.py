"""How much of what could be had was had, and what the rest was lost to.

Regret is what the clairvoyant earns more than the strategy. It is split by five backtests of the
same days, each free of one more burden than the one before:

::

    A  the strategy
    B  the clairvoyant, same limits, costs and dilution            B - A  forecast
    C  B without the diversification limits                        C - B  constraint
    D  C without gas and fees                                      D - C  cost
    E  D without dilution                                          E - D  dilution

The parts add up to E - A, because each backtest is counted once with each sign. The order matters:
a part is what its burden costs after those above it have gone. A part can be negative: the
clairvoyant looks one holding period ahead and plans again every day, so one that may do more can
end with less. In B and C it is the better one of several holding periods; in D and E, where
moving is free (a cent a transaction), it is one day.

The limits by pool size (share of TVL) stay in every backtest: without them E would put everything
into the smallest pool.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from stableyield.config import AllocationParameters
from stableyield.domain.portfolio import CENT_USD
from stableyield.errors import ContractError
from stableyield.study.outcome import Outcome

CAUSES = ("forecast", "constraint", "cost", "dilution")

NO_DIVERSIFICATION: Mapping[str, object] = {
    "profit_optimization": True,
    "min_pools": 0,
    "group1_max_pct": 1.0,
    "group2_max_pct": 1.0,
    "group3_max_pct": 1.0,
}


@dataclass(frozen=True, slots=True)
class Captured:
    """``(strategy - equal weight) / (clairvoyant - equal weight)`` of profit.

    Parameters
    ----------
    share : float or None
        1: as good as perfect foresight; 0: no better than equal weight; negative: worse. None
        where it does not exist.
    reason : str
        Why it does not exist; empty where it does.
    """

    share: float | None
    reason: str = ""


def captured(strategy_usd: float, equal_weight_usd: float, clairvoyant_usd: float) -> Captured:
    """Share of the attainable lead over equal weight that the strategy got.

    Parameters
    ----------
    strategy_usd, equal_weight_usd, clairvoyant_usd : float
        Profits of the three over the same days, from the same money.

    Returns
    -------
    Captured
        Without a share where a profit is unknown or infinite, or foresight gains no cent.
    """
    profits = {
        "strategy": strategy_usd,
        "equal weight": equal_weight_usd,
        "clairvoyant": clairvoyant_usd,
    }
    for name, profit_usd in profits.items():
        if not math.isfinite(profit_usd):
            return Captured(None, f"the profit of the {name} is {profit_usd}")
    attainable = clairvoyant_usd - equal_weight_usd
    if not attainable > 0.0:
        return Captured(None, "the clairvoyant is not ahead of equal weight")
    if attainable < CENT_USD:
        return Captured(None, "the clairvoyant is less than a cent ahead of equal weight")
    return Captured((strategy_usd - equal_weight_usd) / attainable)


@dataclass(frozen=True, slots=True)
class RegretPart:
    """What one cause costs.

    Parameters
    ----------
    cause : str
        One of `CAUSES`.
    points : float
        Percentage points of net APY.
    usd : float
        Profit.
    """

    cause: str
    points: float
    usd: float


@dataclass(frozen=True)
class Regret:
    """The five backtests and what lies between them.

    Parameters
    ----------
    outcomes : tuple of Outcome, length 5
        A to E, in this order.

    Raises
    ------
    ContractError
        When there are not five, or they are not of the same days and the same money.
    """

    outcomes: tuple[Outcome, ...]

    def __post_init__(self) -> None:
        if len(self.outcomes) != len(CAUSES) + 1:
            raise ContractError(f"regret needs five backtests, got {len(self.outcomes)}")
        alike = {(outcome.n_days, round(outcome.aum_start_usd, 2)) for outcome in self.outcomes}
        if len(alike) > 1:
            raise ContractError(
                f"the backtests differ in days or start money: {sorted(alike)}",
                remedy="run all five with the same start, end and aum_usd",
            )

    @property
    def strategy(self) -> Outcome:
        """A: what was done."""
        return self.outcomes[0]

    @property
    def clairvoyant(self) -> Outcome:
        """B: what a perfect forecast would have done under the same rules."""
        return self.outcomes[1]

    @property
    def parts(self) -> tuple[RegretPart, ...]:
        """One part a cause, in the order of `CAUSES`."""
        steps = zip(CAUSES, self.outcomes[:-1], self.outcomes[1:], strict=True)
        return tuple(_between(cause, burdened, freed) for cause, burdened, freed in steps)

    @property
    def total(self) -> RegretPart:
        """E - A: the sum of the parts."""
        return _between("total", self.outcomes[0], self.outcomes[-1])


def _between(cause: str, burdened: Outcome, freed: Outcome) -> RegretPart:
    points = freed.net_apy_pct - burdened.net_apy_pct
    return RegretPart(cause, points, freed.profit_usd - burdened.profit_usd)


def without_diversification(parameters: AllocationParameters) -> AllocationParameters:
    """The parameters without group caps, shares of AUM and a number of pools."""
    return parameters.with_overrides(NO_DIVERSIFICATION)
