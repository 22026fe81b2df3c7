"""What to backtest."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

from stableyield.backtest.cash_flows import CashFlow
from stableyield.backtest.day import GasPricing
from stableyield.backtest.modes import Mode, mode_of
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
    quick : bool
        Whether to leave out the benchmarks that solve a program every day, as the strategy does:
        persistence and the clairvoyant. Each takes as long as the strategy.
    mode : Mode
        What carries over from day to day; its name will do.
    cash_flows : tuple of CashFlow
        What the owner brings and takes; each on an exec day of the run.

    Raises
    ------
    InputError
        For an unknown mode, or cash flows where nothing carries over.
    """

    start: date | None = None
    end: date | None = None
    aum_usd: float = 1_000_000.0
    token: str = "USDC"
    parameters: AllocationParameters = field(default_factory=AllocationParameters)
    forecaster: Forecaster = field(default_factory=lambda: baseline("ewma"))
    gas: GasPricing = field(default_factory=GasPricing)
    with_benchmarks: bool = True
    quick: bool = False
    mode: Mode = Mode.PORTFOLIO
    cash_flows: tuple[CashFlow, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "mode", mode_of(self.mode))
        object.__setattr__(self, "cash_flows", tuple(self.cash_flows))
        if self.cash_flows and self.mode is Mode.INDEPENDENT:
            raise InputError(
                "cash flows need an AUM that carries over",
                where="mode independent",
                remedy="choose mode portfolio, or leave the cash flows out",
            )

    @property
    def forecaster_version(self) -> str:
        """The forecaster and its settings, as far as it tells."""
        return getattr(self.forecaster, "model_version", "") or self.forecaster.name

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What a reader of the result must know of how it was made."""
        flows = "the owner's cash flows: at the end of their day, before its decision"
        found = (self.mode.assumption, flows if self.cash_flows else None, self.gas.assumption)
        return tuple(text for text in found if text)

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
        for flow in self.cash_flows:
            if not start <= flow.day <= end:
                raise DayOutOfRangeError(
                    f"the cash flow of {flow.amount} {flow.token} on {flow.day} is outside the run",
                    remedy=f"choose a day from {start} to {end}, or leave it out",
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
