"""What every policy of a day sees: the market as it was known, and what follows from it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stableyield.backtest.almanac import Almanac, Outlook
from stableyield.backtest.gas import GasPricing
from stableyield.backtest.places import Places
from stableyield.config import AllocationParameters
from stableyield.domain.costs import GasCosts
from stableyield.domain.portfolio import Layout
from stableyield.forecast import Forecast, Forecaster
from stableyield.market.panel import MarketView
from stableyield.screening import (
    Finding,
    PoolForecasts,
    Screening,
    critical_findings,
    screen,
    screen_book,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Columns = NDArray[np.intp]


@runtime_checkable
class QuickForecaster(Protocol):
    """A forecaster that has parts of its forecast sooner than the whole; shape (n_pools,) each."""

    def expected(self, view: MarketView, horizon_days: int) -> tuple[Floats, Floats]:
        """The ``apy_pct`` and ``tvl_usd`` of the forecast, bit by bit."""
        ...

    def apy_q10_pct(self, view: MarketView, horizon_days: int) -> Floats:
        """The ``apy_q10_pct`` of the forecast, bit by bit."""
        ...


class Icebox(Protocol):
    """The tokens in the icebox, day after day."""

    def advance(self, view: MarketView) -> frozenset[str]:
        """Those of the view's day."""
        ...

    @property
    def unjudged(self) -> frozenset[str]:
        """Those that the day could not be judged for."""
        ...


@dataclass(frozen=True, eq=False)
class DayInputs:
    """What every policy of a day shares, each part made when the first policy asks for it.

    Parameters
    ----------
    view : MarketView
    parameters : AllocationParameters
    forecaster : Forecaster
    critical : tuple of Finding
        What is so wrong with the day's data that nothing may be traded on it.
    iceboxed, unjudged : frozenset of str
        Tokens in the icebox, and tokens that it could not judge today.
    gas : GasPricing
    tvl_includes_position : bool
        Whether TVL forecasts include what we hold.
    almanac : Almanac, optional
        What is kept from day to day.
    """

    view: MarketView
    parameters: AllocationParameters
    forecaster: Forecaster
    critical: tuple[Finding, ...]
    iceboxed: frozenset[str]
    unjudged: frozenset[str]
    gas: GasPricing
    tvl_includes_position: bool = False
    almanac: Almanac | None = field(default=None, repr=False)

    @cached_property
    def _almanac(self) -> Almanac:
        """That of the run, where it is of the same parameters and forecaster."""
        known = self.almanac
        if (
            known is not None
            and known.parameters is self.parameters
            and known.forecaster is self.forecaster
        ):
            return known
        return Almanac(self.parameters, self.forecaster)

    @cached_property
    def forecast(self) -> Forecast:
        """The whole forecast, quantiles included."""
        return self.forecaster.forecast(self.view, self._horizon_days)

    @cached_property
    def expected(self) -> PoolForecasts:
        """The expected APY and TVL of the forecast, of every pool."""
        if "forecast" not in vars(self):
            if self._almanac.knows_expected:
                return self._almanac.expected(self.view)
            if isinstance(self.forecaster, QuickForecaster):
                return PoolForecasts(*self.forecaster.expected(self.view, self._horizon_days))
        return PoolForecasts(self.forecast.apy_pct, self.forecast.tvl_usd)

    def outlook(self, columns: Columns) -> Outlook:
        """What is expected of some pools, by column."""
        is_there = not {"expected", "forecast"}.isdisjoint(vars(self))
        if is_there or not self._almanac.knows_expected:
            return Outlook.of(self.expected, columns)
        return self._almanac.outlook(self.view, columns)

    def places(self, layout: Layout, view: MarketView | None = None) -> Places:
        """Where the positions of a layout are among the pools of a view: the day's, or another."""
        return self._almanac.atlas.find(layout, (view or self.view).directory)

    @cached_property
    def apy_q10_pct(self) -> Floats:
        """The 10 % quantile of the forecast APY, percent."""
        if "forecast" not in vars(self) and isinstance(self.forecaster, QuickForecaster):
            return self.forecaster.apy_q10_pct(self.view, self._horizon_days)
        return self.forecast.apy_q10_pct

    @property
    def _horizon_days(self) -> int:
        return max(1, round(self.parameters.horizon_days))

    @cached_property
    def _screening(self) -> Screening:
        """Both filters, for a book without positions."""
        return screen(
            self.view,
            self.parameters,
            forecasts=self.expected,
            iceboxed=self.iceboxed,
            unjudged=self.unjudged,
        )

    def screening(self, held: Collection[str]) -> Screening:
        """Both filters, for a book with positions in the pools ``held``."""
        return screen_book(self.view, self._screening, self.expected, held)

    @cached_property
    def risk_groups(self) -> Ints:
        """Risk group of each pool of the view, 1 to 3; shape (n_pools,)."""
        if "_screening" in vars(self):
            return self._screening.risk_groups
        return self._almanac.risk_groups(self.view)

    def risk_groups_of(self, columns: Columns) -> Ints:
        """Risk group of some pools, by column; shape (n_columns,)."""
        if "_screening" in vars(self):
            return self._screening.risk_groups[columns]
        return self._almanac.risk_groups(self.view, columns)

    @cached_property
    def general_gas(self) -> GasCosts:
        """Gas costs of the day where the protocol does not matter."""
        return self.gas_at("")

    @cached_property
    def _gas_by_protocol(self) -> dict[str, GasCosts]:
        return {}

    def gas_at(self, protocol: str) -> GasCosts:
        """Gas costs of the day at a protocol."""
        known = self._gas_by_protocol
        if protocol not in known:
            known[protocol] = self.gas.costs(self.view, protocol)
        return known[protocol]


def observe(
    view: MarketView,
    parameters: AllocationParameters,
    forecaster: Forecaster,
    icebox: Icebox,
    gas: GasPricing,
    almanac: Almanac | None = None,
) -> DayInputs:
    """Forecast, icebox and data quality of the view's day."""
    return DayInputs(
        view,
        parameters,
        forecaster,
        critical_findings(view),
        icebox.advance(view),
        icebox.unjudged,
        gas,
        almanac=almanac,
    )
