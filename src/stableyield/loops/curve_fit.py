"""Fit of a kinked rate curve to observations of utilisation, borrow APR and supply APR.

Of the models that reproduce all observations the one with the fewest parameters is taken: a line
through 0 (everything below the kink, no base rate), a line, a kink without, and a kink with a base
rate. Rates follow from utilisation exactly on chain, so what a model misses by more than the data's
rounding is not noise but another curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

APR_TOLERANCE = 2e-4  # 0.02 percentage points
UTILISATION_TOLERANCE = 5e-4  # sizes lag behind rates and hold interest that nobody claimed yet
_N_SPARE = 2  # readings that a fit needs beyond its parameters: they confirm it
_N_ABOVE = 2  # readings above the kink that tell where it is
_STEEPER = 2.0  # the slope above a kink is at least so many times the slope below
_SMALLEST_INTEREST = 1e-4  # less says nothing about the reserve factor
_COARSE_KINKS = np.arange(0.30, 0.991, 0.01)
_FINE_STEPS = np.arange(-0.009, 0.0091, 0.001)


@dataclass(frozen=True, eq=False)
class Observations:
    """Readings of one reserve, in the order of time: arrays of one shape (n,).

    Parameters
    ----------
    utilisation : ndarray
        Debt over deposits, above 0.
    borrow_apr, supply_apr : ndarray
        Fractions per year.
    """

    utilisation: Floats
    borrow_apr: Floats
    supply_apr: Floats

    def __len__(self) -> int:
        """Number of readings."""
        return len(self.utilisation)

    def take(self, rows: list[int]) -> Observations:
        """The readings at ``rows``."""
        return Observations(self.utilisation[rows], self.borrow_apr[rows], self.supply_apr[rows])

    @property
    def reserve_factor(self) -> Floats:
        """``1 - s / (R U)`` of each; NaN where too little interest is paid to tell."""
        interest = self.borrow_apr * self.utilisation
        ratio = np.full(len(self), np.nan)
        np.divide(self.supply_apr, interest, out=ratio, where=interest > _SMALLEST_INTEREST)
        return 1.0 - ratio


@dataclass(frozen=True, slots=True)
class FittedCurve:
    """Borrow APR ``r0 + b1 min(U, U*) + b2 max(U - U*, 0)``.

    Parameters
    ----------
    base_apr, below, above : float
        ``r0``, ``b1``, ``b2``; the last is NaN when nothing was seen above the kink.
    kink : float
        ``U*``; NaN when nothing was seen above it.
    n_above : int
        Readings above the kink.
    """

    base_apr: float
    below: float
    above: float
    kink: float
    n_above: int = 0

    @property
    def has_kink(self) -> bool:
        """Whether enough was seen above the kink to say where it is."""
        return self.n_above >= _N_ABOVE

    def borrow_apr(self, utilisation: Floats) -> Floats:
        """APR at ``utilisation``; where nothing was seen above the kink the line goes on."""
        if np.isnan(self.kink):
            return self.base_apr + self.below * utilisation
        lower = np.minimum(utilisation, self.kink)
        return self.base_apr + self.below * lower + self.above * (utilisation - lower)

    def misses(self, seen: Observations) -> Floats:
        """How far each reading is off, in tolerances: up to 1 the curve reproduces it."""
        slope = np.full(len(seen), self.below)
        if not np.isnan(self.kink):
            slope[seen.utilisation > self.kink] = self.above
        allowed = APR_TOLERANCE + UTILISATION_TOLERANCE * slope
        missed: Floats = np.abs(seen.borrow_apr - self.borrow_apr(seen.utilisation)) / allowed
        return missed

    def reproduces(self, seen: Observations) -> bool:
        """Whether the curve reproduces all readings."""
        return bool((self.misses(seen) <= 1.0).all())


def fit_curve(seen: Observations) -> FittedCurve | None:
    """The simplest curve that reproduces all readings and is confirmed by two of them.

    Nothing when there is none.
    """
    for has_base, has_kink in ((False, False), (True, False), (False, True), (True, True)):
        if len(seen) < 1 + has_base + 2 * has_kink + _N_SPARE:
            return None
        found = _least_squares(seen, has_base=has_base, has_kink=has_kink)
        if found is not None and found.reproduces(seen):
            return found
    return None


def _least_squares(seen: Observations, *, has_base: bool, has_kink: bool) -> FittedCurve | None:
    """The curve of one form with the smallest squared error; nothing when it is none."""
    if not has_kink:
        return _best_of(seen, np.array([1.0]), has_base=has_base, has_kink=False)
    low, high = seen.utilisation.min(), seen.utilisation.max()
    coarse = _COARSE_KINKS[(low < _COARSE_KINKS) & (high > _COARSE_KINKS)]
    round_one = _best_of(seen, coarse, has_base=has_base, has_kink=True)
    # a round figure is what governance sets: a finer one only where the round one fails
    if round_one is None or round_one.reproduces(seen):
        return round_one
    fine = round_one.kink + _FINE_STEPS
    fine = fine[(low < fine) & (high > fine)]
    return _best_of(seen, fine, has_base=has_base, has_kink=True)


def _best_of(
    seen: Observations, kinks: Floats, *, has_base: bool, has_kink: bool
) -> FittedCurve | None:
    """The best of one least-squares fit a kink, all solved together; convex, not negative."""
    if not len(kinks):
        return None
    lower = np.minimum(seen.utilisation, kinks[:, None])
    terms = [lower]
    if has_kink:
        terms.append(seen.utilisation - lower)
    if has_base:
        terms.append(np.ones_like(lower))
    scale = APR_TOLERANCE + 20.0 * APR_TOLERANCE * seen.borrow_apr  # high rates are less exact
    design, target = np.stack(terms, axis=-1) / scale[:, None], seen.borrow_apr / scale
    squares = design.transpose(0, 2, 1) @ design
    moments = design.transpose(0, 2, 1) @ target
    found = (np.linalg.pinv(squares, hermitian=True) @ moments[..., None])[..., 0]
    errors = np.square((design @ found[..., None])[..., 0] - target).sum(axis=1)
    below = found[:, 0]
    above = found[:, 1] if has_kink else np.full(len(kinks), np.nan)
    base = found[:, -1] if has_base else np.zeros(len(kinks))
    possible = (below >= 0.0) & (base >= -APR_TOLERANCE)
    if has_kink:
        possible &= above >= _STEEPER * below
    if not possible.any():
        return None
    best = int(np.where(possible, errors, np.inf).argmin())
    kink = float(kinks[best]) if has_kink else np.nan
    n_above = int((seen.utilisation > kink).sum()) if has_kink else 0
    return FittedCurve(
        max(float(base[best]), 0.0), float(below[best]), float(above[best]), kink, n_above
    )
