"""How dear trading may become before the strategy's lead is gone, by backtests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from stableyield.backtest import BacktestSettings, GasPricing
from stableyield.backtest.benchmarks import EqualWeight
from stableyield.backtest.engine import run_policies
from stableyield.backtest.policy import MilpPolicy, Policy
from stableyield.domain.costs import GasCosts
from stableyield.errors import ParameterError
from stableyield.market.panel import MarketPanel
from stableyield.study.outcome import Outcome

DEAREST_FEE = 0.5  # a conversion that takes more is no conversion
AS_GOOD_AS_FREE = 0.01  # not 0: free conversions can go in circles that no order of steps can pay
PolicyOf = Callable[[], Policy]


@dataclass(frozen=True)
class DearerGas(GasPricing):
    """Gas costs times ``multiple``."""

    multiple: float = 1.0

    @classmethod
    def of(cls, gas: GasPricing, multiple: float) -> Self:
        """``multiple`` times what ``gas`` costs, fixed or by the market's prices."""
        if (usual := gas.fixed) is None:
            return cls(gas.table, None, multiple)
        fixed = (usual.allocation, usual.withdrawal, usual.conversion)
        return cls(gas.table, GasCosts(*(multiple * each for each in fixed)), multiple)

    def units(self, protocol: str) -> tuple[float, float, float]:
        """See `GasPricing.units`."""
        deposit, withdrawal, conversion = super().units(protocol)
        return self.multiple * deposit, self.multiple * withdrawal, self.multiple * conversion


@dataclass(frozen=True)
class BreakEven:
    """The multiple of all gas and fees at which two policies earn the same.

    Parameters
    ----------
    multiple : float or None
        None where there is none; ``reason`` says why.
    reason : str
    leads : tuple of (multiple, percentage points)
        Every multiple that was tried, ascending, and the lead in net APY there.
    """

    multiple: float | None
    reason: str
    leads: tuple[tuple[float, float], ...]


def with_costs_times(settings: BacktestSettings, multiple: float) -> BacktestSettings:
    """The settings with gas and conversion fees multiplied.

    A conversion never costs more than half of what is sold.
    """
    fee = min(multiple * settings.parameters.conversion_rate, DEAREST_FEE)
    gas = DearerGas.of(settings.gas, multiple)
    parameters = settings.parameters.with_overrides({"conversion_rate": fee})
    return replace(settings, parameters=parameters, gas=gas, with_benchmarks=False)


def break_even_cost(
    panel: MarketPanel,
    settings: BacktestSettings | None = None,
    *,
    policy_of: PolicyOf = MilpPolicy,
    other_of: PolicyOf = EqualWeight,
    highest: float = 16.0,
    accuracy: float = 0.1,
) -> BreakEven:
    """The multiple of the costs at which a policy's lead over another one ends.

    Both are backtested anew at each multiple, so both know of the higher costs and trade less;
    `stableyield.report.performance.break_even_cost` scales the costs of given trades instead,
    which takes no backtest and gives a lower bound. The lead need not fall steadily: what is
    found is one place where it ends, by doubling from 1 and halving the bracket. A hundredth of
    the costs stands for free trading.

    Parameters
    ----------
    panel : MarketPanel
    settings : BacktestSettings, optional
    policy_of, other_of : callable
        Make a new policy for each backtest, with two different names; the strategy and equal
        weight unless given.
    highest : float
        Largest multiple that is tried, above 1.
    accuracy : float
        Width of the last bracket as a share of the multiple, above 0.

    Raises
    ------
    ParameterError
        When ``highest`` or ``accuracy`` is out of bounds.
    """
    if not highest > 1.0 or not accuracy > 0.0:
        raise ParameterError(
            f"highest is {highest}, accuracy {accuracy}",
            remedy="give a highest multiple above 1 and an accuracy above 0",
        )
    tried: dict[float, float] = {}

    def lead(multiple: float) -> float:
        dear = with_costs_times(settings or BacktestSettings(), multiple)
        results = run_policies(panel, dear, (policy_of(), other_of()))
        mine, theirs = (Outcome.of(result) for result in results.values())
        tried[multiple] = mine.net_apy_pct - theirs.net_apy_pct
        return tried[multiple]

    found, reason = _last_lead(lead, highest, accuracy)
    return BreakEven(found, reason, tuple(sorted(tried.items())))


def _last_lead(
    lead: Callable[[float], float], highest: float, accuracy: float
) -> tuple[float | None, str]:
    if lead(AS_GOOD_AS_FREE) <= 0.0:
        return None, "behind even if trading were free"
    low, high = AS_GOOD_AS_FREE, 1.0
    while lead(high) > 0.0:
        if high >= highest:
            return None, f"the lead outlives {highest:g} times the costs"
        low, high = high, min(2.0 * high, highest)
    while high - low > accuracy * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if lead(middle) > 0.0 else (low, middle)
    return 0.5 * (low + high), ""
