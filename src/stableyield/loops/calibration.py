"""Rate models of a market's reserves from their history, with the days on which they changed.

`stableyield.loops.curve_tracker` follows the readings in the order of time and says how it tells
one curve from the next.

Nothing here looks ahead of the rates that it is given: a decision on day t uses
``calibrate(rates.until(t))``, or the entry of that day in ``calibrate_daily(rates)``, which is the
same, computed in one pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.errors import MissingDataError
from stableyield.loops.curve_fit import Observations
from stableyield.loops.curve_tracker import Basis, CurveTracker
from stableyield.loops.rate_curve import RateCurve
from stableyield.loops.rates import LoopRates


@dataclass(frozen=True, slots=True)
class RatePeriod:
    """Days on which one curve held for one asset.

    Parameters
    ----------
    asset : str
    first_day, last_day : date
        Of the first and the last reading that it reproduces.
    curve : RateCurve
    kink_basis : {"seen", "carried", "assumed"}
        Where the kink and the slope above it are from: readings on both sides of it, the period
        before, or what is usual on Aave. The slope per utilisation below the kink is always seen;
        ``slope1`` is that slope times the kink.
    reserve_factor_basis : {"seen", "assumed"}
        Stable-rate debt (Aave v2) hides the reserve factor: it is assumed where the rates say no
        steady share between 0 and 1.
    n_days, n_outliers : int
        Readings that the curve reproduces, and readings in between that nothing explains.
    rmse_apr, max_residual_apr : float
        Of the borrow APR over the readings that it reproduces, fractions.
    """

    asset: str
    first_day: date
    last_day: date
    curve: RateCurve
    kink_basis: Basis
    reserve_factor_basis: Basis
    n_days: int
    n_outliers: int
    rmse_apr: float
    max_residual_apr: float


@dataclass(frozen=True, eq=False)
class Calibration:
    """Rate models of a market by asset.

    Parameters
    ----------
    market : str
        The market in words.
    periods : mapping of str to tuple of RatePeriod
        In the order of time; empty for an asset whose readings give no curve (no borrow rate, or
        too few days).
    """

    market: str
    periods: Mapping[str, tuple[RatePeriod, ...]]

    def current(self, asset: str) -> RatePeriod:
        """The last period of ``asset``.

        Raises
        ------
        MissingDataError
            When the asset has none.
        """
        found = self.periods.get(asset, ())
        if not found:
            raise MissingDataError(
                f"the rate model of {asset} is unknown",
                where=self.market,
                remedy="a curve needs three days of supply, borrow and sizes; turn own impact off "
                "or leave the asset out",
            )
        return found[-1]

    def curve_on(self, asset: str, day: date) -> RateCurve:
        """The curve that held on ``day``, in hindsight: the last period that began by then.

        Raises
        ------
        MissingDataError
            When no period of the asset began by then.
        """
        begun = tuple(period for period in self.periods.get(asset, ()) if period.first_day <= day)
        return replace(self, periods={asset: begun}).current(asset).curve

    def table(self) -> pd.DataFrame:
        """One row a period: asset, days, parameters, basis and residuals (fractions)."""
        rows = [
            {
                "asset": period.asset,
                "first_day": period.first_day,
                "last_day": period.last_day,
                "base_apr": period.curve.base_apr,
                "slope1": period.curve.slope1,
                "slope2": period.curve.slope2,
                "optimal_utilisation": period.curve.optimal_utilisation,
                "reserve_factor": period.curve.reserve_factor,
                "slope_per_utilisation": period.curve.slope_per_utilisation,
                "kink_basis": period.kink_basis,
                "reserve_factor_basis": period.reserve_factor_basis,
                "n_days": period.n_days,
                "n_outliers": period.n_outliers,
                "rmse_apr": period.rmse_apr,
                "max_residual_apr": period.max_residual_apr,
            }
            for asset in sorted(self.periods)
            for period in self.periods[asset]
        ]
        return pd.DataFrame(rows)


def calibrate(rates: LoopRates) -> Calibration:
    """The rate models of each asset of a market, period by period.

    Parameters
    ----------
    rates : LoopRates
        Needs supply and borrow rates and utilisation; an asset without gets no period.
    """
    periods = {asset: _periods_of(rates, asset) for asset in rates.assets}
    return Calibration(rates.name, periods)


def calibrate_daily(rates: LoopRates) -> tuple[Mapping[str, RateCurve], ...]:
    """The curve of each asset as it was known at the end of each day; no look-ahead.

    Returns
    -------
    tuple of mapping of str to RateCurve, one a day
        ``calibrate(rates.until(day)).current(asset).curve`` for all days and assets; an asset whose
        readings so far give no curve is not in the mapping.
    """
    curves: list[dict[str, RateCurve]] = [{} for _ in range(rates.n_days)]
    for asset in rates.assets:
        seen, at = _readings(rates, asset)
        tracker = CurveTracker(seen)
        row = 0
        known: RateCurve | None = None
        for day in range(rates.n_days):
            if row < len(at) and at[row] == day:
                tracker.add(row)
                described = tracker.describe()
                known = described.curve if described else None
                row += 1
            if known is not None:
                curves[day][asset] = known
    return tuple(curves)


def _readings(rates: LoopRates, asset: str) -> tuple[Observations, NDArray[np.intp]]:
    """What a curve can be fitted to, and the rows of its days."""
    column = rates.column_of(asset)
    used = np.minimum(rates.utilisation[:, column], 1.0)
    borrow, supply = rates.quoted_borrow_apr[:, column], rates.quoted_supply_apr[:, column]
    known = rates.is_fresh[:, column] & np.isfinite(borrow) & np.isfinite(supply)
    known &= (borrow > 0.0) & (used > 0.0)
    return Observations(used[known], borrow[known], supply[known]), np.flatnonzero(known)


def _periods_of(rates: LoopRates, asset: str) -> tuple[RatePeriod, ...]:
    seen, at = _readings(rates, asset)
    tracker = CurveTracker(seen)
    for row in range(len(seen)):
        tracker.add(row)
    descriptions = [tracker.describe(index) for index in range(len(tracker.stretches))]
    tracker.close()
    periods = []
    for described, stretch in zip(descriptions, tracker.stretches, strict=True):
        if described is None:
            continue
        kept = seen.take(stretch.rows)
        missed = kept.borrow_apr - stretch.fitted.borrow_apr(kept.utilisation)
        periods.append(
            RatePeriod(
                asset=asset,
                first_day=rates.days[at[stretch.rows[0]]].astype("datetime64[D]").item(),
                last_day=rates.days[at[stretch.rows[-1]]].astype("datetime64[D]").item(),
                curve=described.curve,
                kink_basis=described.kink_basis,
                reserve_factor_basis=described.reserve_factor_basis,
                n_days=len(stretch.rows),
                n_outliers=len(stretch.outliers),
                rmse_apr=float(np.sqrt(np.mean(np.square(missed)))),
                max_residual_apr=float(np.abs(missed).max()),
            )
        )
    return tuple(periods)
