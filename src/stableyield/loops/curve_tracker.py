"""Which rate curve a reserve follows, reading by reading.

Governance changes a reserve's curve now and then. While one curve reproduces the readings they are
one stretch; readings that contradict it wait until they are enough to fit a curve of their own,
which then holds from the first of them. A reading that contradicts and is not confirmed is an
outlier. The reserve factor splits a stretch too, where it was steady before and after its step.

The tracker knows only the readings that were added: what it says after one of them does not depend
on those that follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

import numpy as np

from stableyield.loops.curve_fit import FittedCurve, Observations, fit_curve
from stableyield.loops.rate_curve import RateCurve

Basis = Literal["seen", "carried", "assumed"]

ASSUMED_SLOPE2 = 0.60  # of Aave's stablecoin reserves in 2023: 0.60 to 0.87
ASSUMED_KINKS = (0.80, 0.90, 0.92, 0.95, 0.99)  # the lowest that no reading below it contradicts
ASSUMED_RESERVE_FACTOR = 0.10  # of Aave's stablecoin reserves in 2023
_WAITING_READINGS = 30  # a contradiction that is not confirmed within so many is an outlier
_SHARE_STEP = 0.03  # of the reserve factor: less is drift (stable-rate debt), not a decision
_SHARE_READINGS = 10  # whose median is the reserve factor
_STEP_READINGS = 3  # that confirm a step
_FEW_ABOVE = 8  # readings above the kink: fewer do not place it well
_TRIED_READINGS = (12, 8, 5, 3)  # of the last contradictions, where all together are no curve
_SURE_READINGS = 24  # on both sides of the kink: fitting anew cannot bring a contradiction in


@dataclass(frozen=True, slots=True)
class Description:
    """A curve and what of it was not seen.

    Parameters
    ----------
    curve : RateCurve
    kink_basis : {"seen", "carried", "assumed"}
        Where the kink and the slope above it are from.
    reserve_factor_basis : {"seen", "assumed"}
    """

    curve: RateCurve
    kink_basis: Basis
    reserve_factor_basis: Basis


@dataclass(eq=False)
class Stretch:
    """Readings that one curve reproduces.

    Parameters
    ----------
    rows : list of int
        Positions of the readings.
    fitted : FittedCurve
    outliers : list of int
        Readings in between that nothing explains.
    is_step : bool
        Only the reserve factor changed: the curve is the one of the stretch before.
    """

    rows: list[int]
    fitted: FittedCurve
    outliers: list[int] = field(default_factory=list)
    is_step: bool = False


class CurveTracker:
    """Follows the curve of one reserve; `add` one reading after the other.

    Parameters
    ----------
    seen : Observations
        All readings in the order of time; only those that were added are looked at.
    """

    def __init__(self, seen: Observations) -> None:
        self._seen = seen
        self._shares = seen.reserve_factor
        self._waiting: list[int] = []  # contradict the current curve
        self._since: list[int] = []  # agree with it, but came after the first that contradicts
        self._settled: list[Description] = []  # of the stretches before the last described one
        self.stretches: list[Stretch] = []

    def add(self, row: int) -> None:
        """Take in the reading at ``row``, the one behind the last."""
        if self.stretches and self._is_explained(self.stretches[-1], row):
            if self._waiting:
                self._since.append(row)
            else:
                self._extend(self.stretches[-1], row)
        else:
            self._waiting.append(row)
            self._try_new_curve()
        self._give_up(row)

    def close(self) -> None:
        """Count what is still open to the last stretch: contradictions are its outliers."""
        if self.stretches:
            self.stretches[-1].rows += self._since
            self.stretches[-1].outliers += self._waiting
        self._waiting, self._since = [], []

    def describe(self, index: int = -1) -> Description | None:
        """The curve of a stretch, with what it did not show filled in; nothing before the first."""
        if not self.stretches:
            return None
        place = index % len(self.stretches)
        for stretch in self.stretches[len(self._settled) : place]:
            self._settled.append(self._described(stretch, self._curve_before(len(self._settled))))
        return self._described(self.stretches[place], self._curve_before(place))

    def _curve_before(self, place: int) -> RateCurve | None:
        """The curve of the stretch before ``place``; all but the last one change no more."""
        return self._settled[place - 1].curve if place else None

    def _is_explained(self, current: Stretch, row: int) -> bool:
        """Whether the current curve reproduces a reading, as it is or fitted anew with it."""
        if current.fitted.reproduces(self._seen.take([row])):
            return True
        if current.fitted.n_above >= _FEW_ABOVE and len(current.rows) >= _SURE_READINGS:
            return False
        again = fit_curve(self._seen.take([*current.rows, row]))
        if again is not None:
            current.fitted = again
        return again is not None

    def _extend(self, current: Stretch, row: int) -> None:
        current.rows.append(row)
        if not current.is_step and self._is_due(current, row):
            current.fitted = fit_curve(self._seen.take(current.rows)) or current.fitted
        run = current.rows[-_STEP_READINGS:]
        earlier = current.rows[-_STEP_READINGS - _SHARE_READINGS : -_STEP_READINGS]
        if len(earlier) >= _STEP_READINGS and self._is_step(earlier, run):
            del current.rows[-_STEP_READINGS:]
            self.stretches.append(Stretch(run, current.fitted, is_step=True))

    def _is_due(self, current: Stretch, row: int) -> bool:
        """Whether to fit anew, as the first fit had few readings: at 4, 8, 16 ... of them.

        And with each of the first readings above the kink.
        """
        n, fitted = len(current.rows), current.fitted
        is_above = fitted.n_above > 0 and bool(self._seen.utilisation[row] > fitted.kink)
        return n & (n - 1) == 0 or (is_above and fitted.n_above < _FEW_ABOVE)

    def _is_step(self, earlier: list[int], run: list[int]) -> bool:
        """Whether the reserve factor was steady, then moved, and is steady again."""
        was, now = self._shares[earlier], self._shares[run]
        if not (np.ptp(was) <= _SHARE_STEP and np.ptp(now) <= _SHARE_STEP):  # NaN: not steady
            return False
        is_possible = now.min() >= 0.0 and now.max() < 1.0
        return bool(is_possible and np.abs(now - np.median(was)).min() > _SHARE_STEP)

    def _try_new_curve(self) -> None:
        """Begin a stretch when the last contradictions, with what came between, are a curve."""
        n_waiting = len(self._waiting)
        for n in (n_waiting, *(n for n in _TRIED_READINGS if n < n_waiting)):
            first = self._waiting[-n]
            rows = sorted([*self._waiting[-n:], *(r for r in self._since if r > first)])
            if fitted := fit_curve(self._seen.take(rows)):
                self._begin(Stretch(rows, fitted))
                return

    def _begin(self, new: Stretch) -> None:
        first = new.rows[0]
        if self.stretches:
            old = self.stretches[-1]
            old.outliers += [row for row in self._waiting if row < first]
            old.rows += [row for row in self._since if row < first]
            self._move_boundary(old, new)
        self._waiting, self._since = [], []
        if not (self.stretches and self._is_the_same(self.stretches[-1], new)):
            self.stretches.append(new)

    def _is_the_same(self, old: Stretch, new: Stretch) -> bool:
        """Join ``new`` to ``old`` when one curve explains both: the kink of ``old`` was vague."""
        if old.fitted.n_above >= _FEW_ABOVE or old.is_step:
            return False
        rows = [*old.rows, *new.rows]
        fitted = fit_curve(self._seen.take(rows))
        if fitted is not None:
            old.rows, old.fitted = rows, fitted
        return fitted is not None

    def _move_boundary(self, old: Stretch, new: Stretch) -> None:
        """Give ``new`` the last readings of ``old`` that only made ``old`` agree with them.

        The first reading of a new curve may pass for one above the kink of the old one.
        """
        while len(old.rows) > 1 and not any(row > old.rows[-1] for row in old.outliers):
            last = self._seen.take(old.rows[-1:])
            if not new.fitted.reproduces(last):
                return
            rest = fit_curve(self._seen.take(old.rows[:-1]))
            if rest is None or rest.reproduces(last):
                return
            new.rows.insert(0, old.rows.pop())
            old.fitted = rest

    def _give_up(self, row: int) -> None:
        """Contradictions that were not confirmed for long are outliers."""
        while self._waiting and row - self._waiting[0] >= _WAITING_READINGS:
            outlier = self._waiting.pop(0)
            if self.stretches:
                self.stretches[-1].outliers.append(outlier)
                first = self._waiting[0] if self._waiting else row + 1
                for explained in [r for r in self._since if r < first]:
                    self._extend(self.stretches[-1], explained)
            self._since = [r for r in self._since if self._waiting and r > self._waiting[0]]

    def _described(self, stretch: Stretch, before: RateCurve | None) -> Description:
        fitted = stretch.fitted
        share, share_basis = self._share(stretch)
        kink, slope2, basis = self._kink(stretch, before)
        curve = RateCurve(
            base_apr=fitted.base_apr,
            slope1=fitted.below * kink,
            slope2=slope2,
            optimal_utilisation=kink,
            reserve_factor=share,
        )
        return Description(curve, basis, share_basis)

    def _share(self, stretch: Stretch) -> tuple[float, Basis]:
        """The reserve factor: median of the last readings, where that can be one."""
        shares = self._shares[stretch.rows[-_SHARE_READINGS:]]
        seen = [share for share in shares.tolist() if not math.isnan(share)]
        share = median(seen) if seen else -1.0
        if 0.0 <= share < 1.0 and max(seen) - min(seen) <= 2.0 * _SHARE_STEP:
            return share, "seen"
        return ASSUMED_RESERVE_FACTOR, "assumed"

    def _kink(self, stretch: Stretch, before: RateCurve | None) -> tuple[float, float, Basis]:
        """Optimal utilisation, slope above it, and where they are from."""
        fitted = stretch.fitted
        if fitted.has_kink:
            return fitted.kink, fitted.above * (1.0 - fitted.kink), "seen"
        used = self._seen.utilisation[stretch.rows]
        highest = float(used[used <= fitted.kink].max()) if fitted.n_above else float(used.max())
        if before is not None and highest <= before.optimal_utilisation:
            return before.optimal_utilisation, before.slope2, "carried"
        kink = next((kink for kink in ASSUMED_KINKS if kink >= highest), ASSUMED_KINKS[-1])
        return kink, ASSUMED_SLOPE2, "assumed"
