"""Gas and fees in US dollars.

Gas cost = gas units x gas price in gwei x 1e-9 x ETH price, with the gas price and the ETH price of
that day. Gas units come from a table by (protocol family, operation); the research notebooks' form
(four explicit numbers and one number of units for everything) is kept beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from stableyield.errors import InputError, MissingDataError

GWEI_IN_ETH = 1e-9


class Operation(StrEnum):
    """What a transaction does on chain."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    CONVERSION = "conversion"


@dataclass(frozen=True, slots=True)
class GasCosts:
    """Gas in USD of one transaction of each kind.

    Parameters
    ----------
    allocation, withdrawal, conversion : float
        USD, finite and not negative.
    """

    allocation: float
    withdrawal: float
    conversion: float

    def __post_init__(self) -> None:
        for name in ("allocation", "withdrawal", "conversion"):
            value = getattr(self, name)
            if not 0.0 <= value < float("inf"):
                raise InputError(
                    f"gas cost {name} is {value}", remedy="give a finite amount of USD, 0 or more"
                )


def gas_fee_usd(gas_units: float, gas_price_gwei: float, eth_price_usd: float) -> float:
    """USD cost of ``gas_units`` at ``gas_price_gwei`` (base fee + tip) and an ETH price.

    Raises
    ------
    MissingDataError
        When one of the three is unknown (NaN).
    InputError
        When one of the three is negative.
    """
    for name, value in (
        ("gas units", gas_units),
        ("gas price (gwei)", gas_price_gwei),
        ("ETH price (USD)", eth_price_usd),
    ):
        if value != value:  # noqa: PLR0124 - NaN is the only value unequal to itself
            raise MissingDataError(f"{name} is unknown", remedy="supply it or fix the gas costs")
        if value < 0.0:
            raise InputError(f"{name} is negative: {value}", remedy="check the gas data")
    return gas_units * gas_price_gwei * GWEI_IN_ETH * eth_price_usd


def notebook_gas_costs(
    eth_price_usd: float,
    base_fee_transfer_gwei: float,
    base_fee_swap_gwei: float,
    priority_fee_gwei: float,
    gas_units: float = 21_000.0,
) -> GasCosts:
    """Gas costs from the notebooks' explicit numbers: one number of units for every operation.

    Deposits and withdrawals pay the transfer base fee, conversions the swap base fee, each plus
    the priority fee.
    """
    transfer = gas_fee_usd(gas_units, base_fee_transfer_gwei + priority_fee_gwei, eth_price_usd)
    swap = gas_fee_usd(gas_units, base_fee_swap_gwei + priority_fee_gwei, eth_price_usd)
    return GasCosts(allocation=transfer, withdrawal=transfer, conversion=swap)


# Gas units by protocol family: (deposit with its approval, withdrawal). Magnitudes as observed on
# Ethereum for approve (~50k) + supply and for withdraw; a swap is 120-200k.
_FAMILY_UNITS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "aave": (260_000.0, 250_000.0),
        "spark": (260_000.0, 250_000.0),
        "compound": (220_000.0, 250_000.0),
        "morpho": (370_000.0, 340_000.0),
        "euler": (300_000.0, 280_000.0),
        "fluid": (270_000.0, 260_000.0),
        "yearn": (300_000.0, 320_000.0),
        "curve": (350_000.0, 300_000.0),
    }
)
_DEFAULT_UNITS = (300_000.0, 300_000.0)
_SWAP_UNITS = 180_000.0


@dataclass(frozen=True, slots=True)
class GasTable:
    """Gas units by protocol family and operation.

    Parameters
    ----------
    overrides : mapping of str to (deposit, withdrawal) units
        By protocol family (lower case, e.g. ``"aave"``), replacing or adding to the shipped table.
    conversion_units : float
        Units of one conversion.
    """

    overrides: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    conversion_units: float = _SWAP_UNITS

    def units(self, protocol: str, operation: Operation) -> float:
        """Gas units of ``operation`` at ``protocol``; the family is the longest matching prefix."""
        if operation is Operation.CONVERSION:
            return self.conversion_units
        table = {**_FAMILY_UNITS, **self.overrides}
        name = protocol.lower()
        family = max((key for key in table if name.startswith(key)), key=len, default="")
        deposit, withdrawal = table.get(family, _DEFAULT_UNITS)
        return deposit if operation is Operation.DEPOSIT else withdrawal

    def costs(self, protocol: str, gas_price_gwei: float, eth_price_usd: float) -> GasCosts:
        """Gas costs in USD at ``protocol`` with the gas and ETH price of one day."""
        deposit, withdrawal, conversion = (
            gas_fee_usd(self.units(protocol, operation), gas_price_gwei, eth_price_usd)
            for operation in Operation
        )
        return GasCosts(allocation=deposit, withdrawal=withdrawal, conversion=conversion)
