"""A market's days as the machine sees them: what was quoted then, and what it really paid after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import DAYS_PER_YEAR
from stableyield.loops.accounting import LegRates, LoopBook, Prices
from stableyield.loops.candidates import DayView
from stableyield.loops.inputs import PriceTable
from stableyield.loops.rates import LoopRates
from stableyield.loops.risk_table import RiskParameters
from stableyield.loops.settings import LoopSettings

Floats = NDArray[np.float64]

# ``(day, asset, debt_asset, opened_on)``; ``opened_on`` is None of a new position
TermsOf = Callable[[date, str, str, date | None], RiskParameters]


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a position supplies and borrows, USD."""

    supplied_usd: float
    borrowed_usd: float


# ``(row, asset, debt_asset, rates, sizes)`` -> rates with our own size in the market
Impact = Callable[[int, str, str, LegRates, Sizes], LegRates]


@dataclass(frozen=True, eq=False)
class MarketDays:
    """One market with prices, gas and terms, by row of its days.

    Parameters
    ----------
    rates : LoopRates
    prices : PriceTable
    gas_usd : ndarray of shape (n_days,)
        Of one plain transaction.
    terms_of : callable
        ``terms_of(day, asset, debt_asset, opened_on)``.
    settings : LoopSettings
    impact : callable, optional
        How our own size changes the rates of a row; absent: not at all.
    """

    rates: LoopRates
    prices: PriceTable
    gas_usd: Floats
    terms_of: TermsOf
    settings: LoopSettings
    impact: Impact | None = None

    def day(self, row: int) -> date:
        """The UTC day of a row."""
        day: date = self.rates.days[row].astype("datetime64[D]").item()
        return day

    def years(self, row: int) -> float:
        """Length of the step from a row to the next, in years."""
        step = self.rates.days[row + 1] - self.rates.days[row]
        return float(step / np.timedelta64(1, "D")) / DAYS_PER_YEAR

    def view(self, row: int) -> DayView:
        """What is known at the end of the day of ``row``."""
        has_price = self.prices.is_known[row]
        supply = np.isfinite(self._signal["supply"][row]) & has_price
        borrow = supply & np.isfinite(self._signal["borrow"][row]) & self.rates.is_borrowable[row]
        names = np.array(self.rates.assets, dtype=object)
        day = self.day(row)

        def by_asset(table: Floats) -> dict[str, float]:
            return dict(zip(self.rates.assets, table[row].tolist(), strict=True))

        return DayView(
            assets=tuple(names[supply]),
            borrowable=frozenset(names[borrow]),
            rates=lambda asset, debt, own, owed: self._quoted(row, asset, debt, Sizes(own, owed)),
            terms=lambda asset, debt, opened_on: self.terms_of(day, asset, debt, opened_on),
            cash_usd=by_asset(self.rates.available_usd),
            prices={"": 1.0, **by_asset(self.prices.close)},
            gas_usd=float(self.gas_usd[row]),
            supplied_usd=by_asset(self.rates.supplied_usd),
            borrowed_usd=by_asset(self.rates.borrowed_usd),
        )

    def realised(self, row: int, book: LoopBook) -> tuple[LegRates, tuple[str, ...]]:
        """Rates that a position earned and paid from ``row`` to the next row, and its flags."""
        if not book.is_supplied:
            return LegRates(0.0), ()
        prices = self.pair_prices(row, book)
        sizes = Sizes(book.collateral_usd(prices), book.debt_usd(prices))
        rates = self._rates("realised", row + 1, book.asset, book.debt_asset)
        if self.impact is not None:
            rates = self.impact(row + 1, book.asset, book.debt_asset, rates, sizes)
        legs = [book.asset, *([book.debt_asset] if book.debt_asset else [])]
        stale = [a for a in legs if not self.rates.is_fresh[row + 1, self._column(a)]]
        return rates, tuple(f"{asset}: no rate that day, the last one is used" for asset in stale)

    def pair_prices(self, row: int, book: LoopBook, *, at_low: bool = False) -> Prices:
        """Prices of a position's tokens on a row; optionally the collateral's low of the day."""
        table = self.prices.low if at_low else self.prices.close
        collateral = float(table[row, self._column(book.asset)]) if book.asset else 1.0
        debt = float(self.prices.close[row, self._column(book.debt_asset)])
        return Prices(collateral, debt if book.debt_asset else 1.0)

    def _column(self, asset: str) -> int:
        return self._columns.get(asset, 0)

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {asset: column for column, asset in enumerate(self.rates.assets)}

    def _quoted(self, row: int, asset: str, debt_asset: str, sizes: Sizes) -> LegRates:
        rates = self._rates("signal", row, asset, debt_asset)
        if self.impact is None:
            return rates
        return self.impact(row, asset, debt_asset, rates, sizes)

    def _rates(self, kind: str, row: int, asset: str, debt_asset: str) -> LegRates:
        table = self._signal if kind == "signal" else self._realised
        i, j = self._column(asset), self._column(debt_asset)
        kept = 1.0 - self.settings.rewards_haircut
        reward = float(self.rates.supply_reward_apr[row, i]) * kept
        supply = float(table["supply"][row, i])
        if not debt_asset:
            return LegRates(supply, 0.0, reward)
        owed = float(self.rates.borrow_reward_apr[row, j]) * kept
        return LegRates(supply, float(table["borrow"][row, j]), reward, owed)

    @cached_property
    def _signal(self) -> dict[str, Floats]:
        """Rates that a decision goes by: the day's last reading, or its mean over some days."""
        found = {"supply": self.rates.quoted_supply_apr, "borrow": self.rates.quoted_borrow_apr}
        n = self.settings.signal_days
        return found if n == 1 else {name: _trailing(table, n) for name, table in found.items()}

    @cached_property
    def _realised(self) -> dict[str, Floats]:
        """Rates that a day really paid; where unknown, the last known."""
        tables = {"supply": self.rates.supply_apr, "borrow": self.rates.borrow_apr}
        return {name: _carried(table) for name, table in tables.items()}


def _trailing(table: Floats, n: int) -> Floats:
    """Mean of the known values of the last ``n`` rows; NaN where the row itself is unknown."""
    known = np.isfinite(table)
    total = np.cumsum(np.where(known, table, 0.0), axis=0)
    count = np.cumsum(known, axis=0).astype(np.float64)
    total[n:] -= total[:-n].copy()
    count[n:] -= count[:-n].copy()
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0.0)
    return np.where(known, mean, np.nan)


def _carried(table: Floats) -> Floats:
    """Each column with its unknown values replaced by the last known one."""
    rows = np.where(np.isfinite(table), np.arange(len(table))[:, None], 0)
    result: Floats = np.take_along_axis(table, np.maximum.accumulate(rows, axis=0), axis=0)
    return result
