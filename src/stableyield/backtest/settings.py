"""What to backtest."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

from stableyield.backtest.day import GasPricing
from stableyield.config import AllocationParameters
from stableyield.domain.portfolio import Book, price_of
from stableyield.errors import DayOutOfRangeError, InputError
from stableyield.forecast import Forecaster, baseline
from stableyield.market.panel import MarketPanel


@dataclass(frozen=True)
class BacktestSettings:
    """What to backtest.

    Parameters
    ----------
    start, end : date, optional
        First and last exec day; absent: the market's first day, and the day before its last. The
        last day of a market cannot be an exec day, as nothing is known of what it earns.
    aum_usd : float
        USD to start with.
    token : str
        The token that the start money is in.
    parameters : AllocationParameters
    forecaster : Forecaster
    gas : GasPricing
    with_benchmarks : bool
        Whether to run the benchmark policies too.
    """

    start: date | None = None
    end: date | None = None
    aum_usd: float = 1_000_000.0
    token: str = "USDC"
    parameters: AllocationParameters = field(default_factory=AllocationParameters)
    forecaster: Forecaster = field(default_factory=lambda: baseline("ewma"))
    gas: GasPricing = field(default_factory=GasPricing)
    with_benchmarks: bool = True

    def span(self, panel: MarketPanel) -> tuple[date, date]:
        """First and last exec day in ``panel``.

        Raises
        ------
        DayOutOfRangeError
            When a day is outside the market or the span is empty.
        """
        last_possible = panel.last_day - timedelta(days=1)
        start, end = self.start or panel.first_day, self.end or last_possible
        for name, day in (("start", start), ("end", end)):
            if not panel.first_day <= day <= panel.last_day:
                raise DayOutOfRangeError(
                    f"{name} {day} is outside the market's history",
                    remedy=f"choose a day from {panel.first_day} to {panel.last_day}",
                )
        end = min(end, last_possible)
        if start > end:
            raise DayOutOfRangeError(
                f"no exec day from {start} to {end}",
                remedy="start must be before end, and a day before the market's last",
            )
        return start, end

    def first_book(self, panel: MarketPanel) -> Book:
        """The start money, at the start token's price on the first day.

        Raises
        ------
        InputError
            When the amount is not positive, or the token has no price on that day.
        """
        view = panel.as_of(self.span(panel)[0])
        if not self.aum_usd > 0.0:
            raise InputError(f"aum_usd is {self.aum_usd}", remedy="give a positive amount of USD")
        price = price_of(self.token, view.prices_usd, f"start token on {view.day}")
        return Book({self.token: self.aum_usd / price})
