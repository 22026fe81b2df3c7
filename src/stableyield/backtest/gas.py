"""Where the gas costs of a backtest's day come from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

from stableyield.domain.costs import GasCosts, GasTable, Operation, gas_fee_usd
from stableyield.errors import MissingDataError
from stableyield.market.panel import MarketView


@dataclass(frozen=True)
class GasPricing:
    """Where gas costs come from.

    Parameters
    ----------
    table : GasTable
        Gas units by protocol family and operation, with the market's dated prices.
    fixed : GasCosts, optional
        Explicit costs in USD for every transaction, instead of the market's.
    """

    table: GasTable = field(default_factory=GasTable)
    fixed: GasCosts | None = None

    @property
    def assumption(self) -> str:
        """What is assumed, for a report."""
        if (fixed := self.fixed) is None:
            return (
                "gas: the day's gas price and ETH price, at Ethereum mainnet's price on every chain"
            )
        return (
            f"gas: fixed at {fixed.allocation:g} USD a deposit, {fixed.withdrawal:g} a withdrawal, "
            f"{fixed.conversion:g} a conversion"
        )

    def costs(self, view: MarketView, protocol: str) -> GasCosts:
        """Gas costs at ``protocol`` on the view's day.

        Raises
        ------
        MissingDataError
            When the gas or ETH price of that day is unknown and nothing is fixed.
        """
        if self.fixed is not None:
            return self.fixed
        return self.costs_of(view, self.units(protocol))

    def units(self, protocol: str) -> tuple[float, float, float]:
        """Gas units of a deposit, a withdrawal and a conversion at a protocol."""
        known = self._units
        if protocol not in known:
            deposit, withdrawal, conversion = (self.table.units(protocol, op) for op in Operation)
            known[protocol] = deposit, withdrawal, conversion
        return known[protocol]

    @staticmethod
    def costs_of(view: MarketView, units: tuple[float, float, float]) -> GasCosts:
        """What so many units of gas cost on the view's day.

        Raises
        ------
        MissingDataError
            When the gas or ETH price of that day is unknown.
        """
        gwei, eth_usd = float(view.gas.gas_gwei[-1]), float(view.gas.eth_usd[-1])
        if not (math.isfinite(gwei) and math.isfinite(eth_usd)):
            raise MissingDataError(
                f"gas price ({gwei} gwei) or ETH price ({eth_usd} USD) is unknown",
                where=f"day {view.day}",
                remedy="add the day to gas_daily, or give fixed gas costs in USD",
            )
        return GasCosts(*(gas_fee_usd(each, gwei, eth_usd) for each in units))

    @cached_property
    def _units(self) -> dict[str, tuple[float, float, float]]:
        """Units by protocol, of those that were asked for."""
        return {}
