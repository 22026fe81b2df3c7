"""The rate model of a lending reserve without its size, and what our own two legs do to it.

`RateCurve` holds what governance sets; `RateCurve.at` puts it on the deposits and the debt of a
day (`stableyield.domain.lending.KinkedCurve`). A loop supplies ``L E`` to one reserve and borrows
``(L - 1) E`` from another: it lowers the rate that it gets and raises the rate that it pays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.lending import KinkedCurve
from stableyield.errors import ParameterError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RateCurve:
    """Borrow APR by utilisation, with a kink: ``r0 + s1 U/U*``, then ``+ s2 (U-U*)/(1-U*)``.

    Suppliers share ``R(U) U (1 - reserve_factor)`` (Aave, Compound and Spark; source: Aave v3,
    DefaultReserveInterestRateStrategyV2).

    Parameters
    ----------
    base_apr, slope1, slope2 : float
        ``r0``, ``s1``, ``s2``: fractions per year.
    optimal_utilisation : float
        ``U*``, between 0 and 1, both excluded.
    reserve_factor : float
        Share of the interest that the protocol keeps; at least 0, below 1.

    Raises
    ------
    ContractError
        When a number is out of bounds.
    """

    base_apr: float
    slope1: float
    slope2: float
    optimal_utilisation: float
    reserve_factor: float

    def __post_init__(self) -> None:
        self._unit  # noqa: B018 - has the bounds

    @property
    def slope_per_utilisation(self) -> float:
        """Rise of the borrow APR per unit of utilisation below the kink: ``s1 / U*``."""
        return self.slope1 / self.optimal_utilisation

    def at(self, supplied_usd: float, borrowed_usd: float) -> KinkedCurve:
        """The curve on a reserve of that size.

        Raises
        ------
        ContractError
            When a size is not positive.
        """
        return KinkedCurve(
            base_apr=self.base_apr,
            slope1=self.slope1,
            slope2=self.slope2,
            optimal_utilisation=self.optimal_utilisation,
            reserve_factor=self.reserve_factor,
            debt_usd=borrowed_usd,
            deposits_usd=supplied_usd,
        )

    @cached_property
    def _unit(self) -> KinkedCurve:
        """The curve on a reserve of 1 USD: rates depend on utilisation only."""
        return self.at(1.0, 1.0)

    def borrow_apr(self, utilisation: Floats) -> Floats:
        """APR (fraction) that borrowers pay at ``utilisation``."""
        return self._unit.borrow_apr(utilisation)

    def supply_apr(self, utilisation: Floats) -> Floats:
        """APR (fraction) that suppliers get at ``utilisation``."""
        return self._unit.supply_apr(utilisation)


class UtilisationCurve(Protocol):
    """What pays and charges by utilisation: `RateCurve`, or an adaptive curve of a moment."""

    def borrow_apr(self, utilisation: Floats) -> Floats:
        """APR (fraction) that borrowers pay at ``utilisation``."""
        ...

    def supply_apr(self, utilisation: Floats) -> Floats:
        """APR (fraction) that suppliers get at ``utilisation``."""
        ...


def diluted_supply_apr(
    curve: UtilisationCurve,
    supplied_usd: float,
    borrowed_usd: float,
    own_supply_usd: float,
    own_borrow_usd: float = 0.0,
) -> float:
    """Supply APR of a reserve once we are in it: at ``S + own_supply`` and ``B + own_borrow``.

    Parameters
    ----------
    curve : RateCurve or another curve by utilisation
    supplied_usd, borrowed_usd : float
        Deposits and debt of everybody else, USD.
    own_supply_usd, own_borrow_usd : float
        What we supply to and borrow from this reserve, USD: ``L E`` and 0 for the supplied asset
        of a loop.

    Returns
    -------
    float
        Fraction per year. More than is deposited cannot be lent: beyond, utilisation counts as 1;
        whether the cash is there is for the caller to check.

    Raises
    ------
    ParameterError
        When a size is negative or not finite, or nothing is deposited.
    """
    used = _utilisation(supplied_usd, borrowed_usd, own_supply_usd, own_borrow_usd)
    return float(curve.supply_apr(used))


def diluted_borrow_apr(
    curve: UtilisationCurve,
    supplied_usd: float,
    borrowed_usd: float,
    own_supply_usd: float,
    own_borrow_usd: float,
) -> float:
    """Borrow APR of a reserve once we are in it: at ``S + own_supply`` and ``B + own_borrow``.

    Parameters as of `diluted_supply_apr`: 0 and ``(L - 1) E`` for the borrowed asset of a loop.

    Raises
    ------
    ParameterError
        When a size is negative or not finite, or nothing is deposited.
    """
    used = _utilisation(supplied_usd, borrowed_usd, own_supply_usd, own_borrow_usd)
    return float(curve.borrow_apr(used))


def _utilisation(supplied: float, borrowed: float, own_supply: float, own_borrow: float) -> Floats:
    for name, size in (
        ("supplied_usd", supplied),
        ("borrowed_usd", borrowed),
        ("own_supply_usd", own_supply),
        ("own_borrow_usd", own_borrow),
    ):
        if not math.isfinite(size) or size < 0.0:
            raise ParameterError(f"{name} is {size}, must be finite and not negative")
    if supplied + own_supply <= 0.0:
        raise ParameterError("nothing is deposited", remedy="an empty reserve has no utilisation")
    return np.array(min((borrowed + own_borrow) / (supplied + own_supply), 1.0))
