"""How our own deposit changes what a pool pays (dilution), and the kinked rate model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import apr_to_apy
from stableyield.errors import ContractError

Floats = NDArray[np.float64]


def pro_rata_factor(others_usd: Floats, own_usd: Floats) -> Floats:
    """Share of the undiluted rate that is left when a fixed revenue is shared with our deposit.

    Parameters
    ----------
    others_usd : ndarray
        Deposits of everybody else, USD, positive.
    own_usd : ndarray of the same shape
        Our deposit, USD, not negative.

    Returns
    -------
    ndarray
        ``others / (others + own)``, between 0 and 1; NaN where ``others_usd`` is not positive:
        a pool of unknown size has an unknown dilution.
    """
    total = others_usd + own_usd
    return np.divide(others_usd, total, out=np.full_like(total, np.nan), where=others_usd > 0.0)


@dataclass(frozen=True, slots=True)
class KinkedCurve:
    """A lending market whose rates follow its utilisation, with a kink (Aave, Compound, Spark).

    Utilisation ``U = debt / deposits``. The borrowers pay ``r0 + s1 U / U*`` up to the optimal
    utilisation ``U*``, above it ``r0 + s1 + s2 (U - U*) / (1 - U*)``; the depositors share
    ``U (1 - reserve_factor)`` of that (Aave v3, DefaultReserveInterestRateStrategyV2).

    More cannot be lent than is deposited: where debt exceeds deposits (in data by accrued reserves;
    in a thought experiment by leaving a pool that has not the cash) U counts as 1.

    Parameters
    ----------
    base_apr, slope1, slope2 : float
        ``r0``, ``s1``, ``s2``: fractions per year, not negative; not both ``r0`` and ``s1`` are 0.
    optimal_utilisation : float
        ``U*``, between 0 and 1, both excluded.
    reserve_factor : float
        Share of the interest that the protocol keeps; at least 0, below 1.
    debt_usd, deposits_usd : float
        What is borrowed and what is deposited now, USD, positive.

    Raises
    ------
    ContractError
        When a number is not as said.
    """

    base_apr: float
    slope1: float
    slope2: float
    optimal_utilisation: float
    reserve_factor: float
    debt_usd: float
    deposits_usd: float

    def __post_init__(self) -> None:
        for name, lowest, below, is_open in (
            ("base_apr", 0.0, np.inf, False),
            ("slope1", 0.0, np.inf, False),
            ("slope2", 0.0, np.inf, False),
            ("optimal_utilisation", 0.0, 1.0, True),
            ("reserve_factor", 0.0, 1.0, False),
            ("debt_usd", 0.0, np.inf, True),
            ("deposits_usd", 0.0, np.inf, True),
        ):
            value = getattr(self, name)
            if not lowest <= value < below or (is_open and value == lowest):
                least = "above" if is_open else "at least"
                raise ContractError(f"{name} is {value}, must be {least} {lowest:g}, below {below}")
        if self.base_apr + self.slope1 <= 0.0:
            raise ContractError(
                "base_apr and slope1 are both 0",
                remedy="a market that pays nothing below its kink needs no curve",
            )

    @property
    def is_steeper_above_the_kink(self) -> bool:
        """Whether the borrow APR rises faster above ``U*`` than below."""
        above = self.slope2 / (1.0 - self.optimal_utilisation)
        return above > self.slope1 / self.optimal_utilisation

    def utilisation(self, others_usd: Floats, own_usd: Floats) -> Floats:
        """Share of all deposits that is lent, at most 1: ``debt / (others + own)``.

        Parameters
        ----------
        others_usd, own_usd : ndarray of the same shape
            Deposits of everybody else and ours, USD, not negative.
        """
        total = others_usd + own_usd
        # comparing before dividing: an empty market would divide by zero
        return self.debt_usd / np.maximum(total, self.debt_usd)

    def borrow_apr(self, utilisation: Floats) -> Floats:
        """APR (fraction) that borrowers pay at ``utilisation``."""
        optimal = self.optimal_utilisation
        below = np.minimum(utilisation / optimal, 1.0)
        above = np.maximum(utilisation - optimal, 0.0) / (1.0 - optimal)
        result: Floats = self.base_apr + self.slope1 * below + self.slope2 * above
        return result

    def supply_apr(self, utilisation: Floats) -> Floats:
        """APR (fraction) that depositors get at ``utilisation``: ``R(U) U (1 - rho)``."""
        return self.borrow_apr(utilisation) * utilisation * (1.0 - self.reserve_factor)

    def supply_apy(self, utilisation: Floats) -> Floats:
        """APY (fraction) that depositors get at ``utilisation``."""
        return apr_to_apy(self.supply_apr(utilisation))

    def yield_usd(self, others_usd: Floats, own_usd: Floats) -> Floats:
        """What our deposit earns in USD per year, before compounding."""
        return own_usd * self.supply_apr(self.utilisation(others_usd, own_usd))

    def marginal_apr(self, others_usd: float, own_usd: float, *, is_above: bool) -> float:
        """What the next dollar earns per year, on the branch above or below the kink, U below 1.

        The derivative of `yield_usd`: on a branch ``R = a + b U`` of the borrow APR,
        ``(1 - rho) (a B S / T^2 + b B^2 (S - x) / T^3)`` with debt B, others S, ours x, T = S + x.
        """
        a, b = self._branch(is_above=is_above)
        debt, total = self.debt_usd, others_usd + own_usd
        use = debt / total
        slope = a * use * others_usd + b * use * use * (others_usd - own_usd)
        return (1.0 - self.reserve_factor) * slope / total

    def concave_up_to_usd(self, others_usd: float, *, is_above: bool) -> float:
        """Our deposit up to which `yield_usd` is concave on a branch; infinity: everywhere.

        Its second derivative has the sign of ``b B (1 - 3 S / T) - a S`` (as in `marginal_apr`).
        Never below ``others_usd`` where utilisation is on that branch: there ``a + b U`` is not
        negative.
        """
        a, b = self._branch(is_above=is_above)
        steep = b * self.debt_usd
        if steep <= a * others_usd:
            return float(np.inf)
        return others_usd * (3.0 * steep / (steep - a * others_usd) - 1.0)

    def _branch(self, *, is_above: bool) -> tuple[float, float]:
        """Level ``a`` and slope ``b`` of the borrow APR ``a + b U`` on one side of the kink."""
        if not is_above:
            return self.base_apr, self.slope1 / self.optimal_utilisation
        slope = self.slope2 / (1.0 - self.optimal_utilisation)
        return self.base_apr + self.slope1 - slope * self.optimal_utilisation, slope

    def share_kept(self, others_usd: Floats, own_usd: Floats) -> Floats:
        """Supply APR with our deposit over the supply APR at ``deposits_usd``.

        At most 1 where ``others_usd + own_usd`` is at least ``deposits_usd``, above 1 where it is
        less: who leaves raises the rate of those that stay.
        """
        now = self.utilisation(np.array(self.deposits_usd), np.array(0.0))
        kept: Floats = self.supply_apr(self.utilisation(others_usd, own_usd)) / self.supply_apr(now)
        return kept
