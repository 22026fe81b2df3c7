"""The adaptive rate curve of Morpho: its rate at target utilisation drifts while it is off target.

With ``e`` the relative distance of utilisation from its target (-1 at no debt, 0 at the target, 1
at full use) borrowers pay

* ``r ((C - 1) e + 1)`` above the target, ``r ((1 - 1/C) e + 1)`` below it,

and the rate at target ``r`` grows as ``exp(speed * e * t)`` within its bounds. Source: Morpho,
AdaptiveCurveIrm and its ConstantsLib: steepness C 4, speed 50 a year, target 0.9, bounds 0.1 % and
200 %. At full use the rate doubles in five days; a loop that draws a market to it pays for that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import DAYS_PER_YEAR
from stableyield.errors import ParameterError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AdaptiveCurve:
    """An adaptive curve at one moment.

    Parameters
    ----------
    rate_at_target_apr : float
        Borrow APR at target utilisation now, fraction per year.
    fee : float
        Share of the interest that the market keeps; at least 0, below 1.
    target_utilisation : float
        Between 0 and 1, both excluded.
    steepness : float
        How many times the rate at target is paid at full use; above 1.
    speed_per_year : float
        Growth of the log rate at target per year at full use; not negative.
    lowest_apr, highest_apr : float
        Bounds of the rate at target.

    Raises
    ------
    ParameterError
        When a number is out of bounds.
    """

    rate_at_target_apr: float
    fee: float = 0.0
    target_utilisation: float = 0.9
    steepness: float = 4.0
    speed_per_year: float = 50.0
    lowest_apr: float = 0.001
    highest_apr: float = 2.0

    def __post_init__(self) -> None:
        checks = {
            "fee": 0.0 <= self.fee < 1.0,
            "target_utilisation": 0.0 < self.target_utilisation < 1.0,
            "steepness": 1.0 < self.steepness < np.inf,
            "speed_per_year": 0.0 <= self.speed_per_year < np.inf,
            "lowest_apr": 0.0 < self.lowest_apr < np.inf,
            "highest_apr": self.lowest_apr <= self.highest_apr < np.inf,
            "rate_at_target_apr": self.lowest_apr <= self.rate_at_target_apr <= self.highest_apr,
        }
        for name, is_within in checks.items():
            if not is_within:
                raise ParameterError(
                    f"{name} is {getattr(self, name)}, out of bounds",
                    remedy="rates are fractions within lowest_apr and highest_apr: 4 % is 0.04",
                )

    def borrow_apr(self, utilisation: Floats) -> Floats:
        """APR (fraction) that borrowers pay now at ``utilisation``."""
        return self.rate_at_target_apr * self._multiple(utilisation)

    def supply_apr(self, utilisation: Floats) -> Floats:
        """APR (fraction) that suppliers get now at ``utilisation``."""
        return self.borrow_apr(utilisation) * utilisation * (1.0 - self.fee)

    def after(self, utilisation: float, days: float) -> AdaptiveCurve:
        """The curve when utilisation has stayed at ``utilisation`` for ``days`` days.

        Raises
        ------
        ParameterError
            When ``days`` is negative or ``utilisation`` is not within 0 and 1.
        """
        grown = self.rate_at_target_apr * np.exp(self._log_growth(utilisation, days))
        bounded = float(np.clip(grown, self.lowest_apr, self.highest_apr))
        return replace(self, rate_at_target_apr=bounded)

    def over(self, utilisation: float, days: float) -> AdaptiveCurve:
        """The curve with the mean rate at target of the next ``days`` days at ``utilisation``.

        What is paid over a horizon is the mean of the rate on the way, not the rate at its end.
        The mean is exact: exponential until a bound is reached, constant from there.

        Raises
        ------
        ParameterError
            When ``days`` is negative or ``utilisation`` is not within 0 and 1.
        """
        growth = self._log_growth(utilisation, days)
        if abs(growth) < 1e-12:
            return self
        bound = self.highest_apr if growth > 0.0 else self.lowest_apr
        to_bound = np.log(bound / self.rate_at_target_apr)
        moving = min(to_bound / growth, 1.0)  # share of the horizon before the bound is reached
        at_its_end = self.rate_at_target_apr * np.expm1(growth * moving) / growth
        mean = float(at_its_end + bound * (1.0 - moving))
        return replace(
            self, rate_at_target_apr=float(np.clip(mean, self.lowest_apr, self.highest_apr))
        )

    def _distance(self, utilisation: Floats) -> Floats:
        """Relative distance from the target, -1 to 1."""
        target = self.target_utilisation
        off = np.asarray(utilisation, dtype=np.float64) - target
        distance: Floats = off / np.where(off > 0.0, 1.0 - target, target)
        return distance

    def _multiple(self, utilisation: Floats) -> Floats:
        distance = self._distance(utilisation)
        slope = np.where(distance > 0.0, self.steepness - 1.0, 1.0 - 1.0 / self.steepness)
        return slope * distance + 1.0

    def _log_growth(self, utilisation: float, days: float) -> float:
        if not 0.0 <= utilisation <= 1.0:
            raise ParameterError(f"utilisation is {utilisation}, must be within 0 and 1")
        if not 0.0 <= days < np.inf:
            raise ParameterError(f"days is {days}, must be finite and not negative")
        distance = float(self._distance(np.array(utilisation)))
        return self.speed_per_year * distance * days / DAYS_PER_YEAR
