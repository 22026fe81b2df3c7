"""What our own two legs do to the rates, where the market's rate model is known.

The model, fitted to the readings up to each day, gives the difference that our size makes:
supplying at ``S + L E``, borrowing at ``B + (L - 1) E``. It is added to the rate that was observed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from stableyield.loops.accounting import LegRates
from stableyield.loops.calibration import calibrate_daily
from stableyield.loops.market_days import Sizes
from stableyield.loops.rate_curve import RateCurve, diluted_borrow_apr, diluted_supply_apr
from stableyield.loops.rates import LoopRates, day_counts

_NOTHING = Sizes(0.0, 0.0)


@dataclass(frozen=True, eq=False)
class KinkedImpact:
    """Our size on both legs of one market, by row of its days.

    Parameters
    ----------
    rates : LoopRates
    curves : tuple of mapping of asset to RateCurve, one a day
        As they were known at the end of each day; an asset without a curve is not in it.
    """

    rates: LoopRates
    curves: tuple[Mapping[str, RateCurve], ...]
    _without_us: dict[tuple[int, str, bool], float] = field(default_factory=dict, repr=False)

    def __call__(
        self, row: int, asset: str, debt_asset: str, rates: LegRates, sizes: Sizes
    ) -> LegRates:
        """Rates with us in the market; unchanged where a curve or a size is not known."""
        both = asset == debt_asset
        own = Sizes(sizes.supplied_usd, sizes.borrowed_usd if both else 0.0)
        supply = max(rates.supply_apr + self._change(row, asset, own, is_supply=True), 0.0)
        if not debt_asset:
            return replace(rates, supply_apr=supply)
        owed = Sizes(sizes.supplied_usd if both else 0.0, sizes.borrowed_usd)
        borrow = rates.borrow_apr + self._change(row, debt_asset, owed, is_supply=False)
        return replace(rates, supply_apr=supply, borrow_apr=borrow)

    def _change(self, row: int, asset: str, own: Sizes, *, is_supply: bool) -> float:
        """What our size adds to a rate of ``asset``."""
        column, curve = self.rates.column_of(asset), self.curves[row].get(asset)
        supplied = float(self.rates.supplied_usd[row, column])
        borrowed = float(self.rates.borrowed_usd[row, column])
        is_known = supplied > 0.0 and borrowed >= 0.0
        if curve is None or not is_known or own == _NOTHING:
            return 0.0
        diluted = diluted_supply_apr if is_supply else diluted_borrow_apr
        with_us = diluted(curve, supplied, borrowed, own.supplied_usd, own.borrowed_usd)
        place = row, asset, is_supply
        if place not in self._without_us:
            self._without_us[place] = diluted(curve, supplied, borrowed, 0.0, 0.0)
        return with_us - self._without_us[place]


def kinked_impact(rates: LoopRates) -> tuple[KinkedImpact, tuple[str, ...]]:
    """Calibrate a market's curves, and say where there are none."""
    curves = calibrate_daily(rates)
    has_rate = np.isfinite(rates.supply_apr)
    has_curve = np.array([[asset in known for asset in rates.assets] for known in curves])
    missing = has_rate & ~has_curve
    said = [f"{rates.name}: own size moves both rates along curves fitted to the history."]
    if missing.any():
        days = day_counts(rates, missing)
        said.append(f"{rates.name}: no rate model is known, so no own impact, for {days}.")
    return KinkedImpact(rates, curves), tuple(said)
