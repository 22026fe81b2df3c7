"""One day's decision: what was known, what may be used, and the problem it makes.

The live job and the backtest call the same functions; only who supplies the market view differs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.problem import AllocationProblem, PoolInput, RateModel
from stableyield.config import AllocationParameters
from stableyield.domain.costs import GasCosts, GasTable
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import Book
from stableyield.errors import InputError, MissingDataError
from stableyield.forecast import Forecast, Forecaster
from stableyield.market.panel import MarketView
from stableyield.screening import (
    Finding,
    HeldPools,
    IceboxTracker,
    PoolForecasts,
    Screening,
    critical_findings,
    risk_groups,
    screen,
    screen_book,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_PRICE_AGE_DAYS = 7


@runtime_checkable
class QuickForecaster(Protocol):
    """A forecaster that has parts of its forecast sooner than the whole; shape (n_pools,) each."""

    def expected(self, view: MarketView, horizon_days: int) -> tuple[Floats, Floats]:
        """The ``apy_pct`` and ``tvl_usd`` of the forecast, bit by bit."""
        ...

    def apy_q10_pct(self, view: MarketView, horizon_days: int) -> Floats:
        """The ``apy_q10_pct`` of the forecast, bit by bit."""
        ...


@dataclass(frozen=True)
class GasPricing:
    """Where gas costs come from.

    Parameters
    ----------
    table : GasTable
        Gas units by protocol family and operation, with the market's dated prices.
    fixed : GasCosts, optional
        Explicit costs in USD for every transaction, instead of the market's.
    """

    table: GasTable = field(default_factory=GasTable)
    fixed: GasCosts | None = None

    @property
    def assumption(self) -> str:
        """What is assumed, for a report."""
        if (fixed := self.fixed) is None:
            return (
                "gas: the day's gas price and ETH price, at Ethereum mainnet's price on every chain"
            )
        return (
            f"gas: fixed at {fixed.allocation:g} USD a deposit, {fixed.withdrawal:g} a withdrawal, "
            f"{fixed.conversion:g} a conversion"
        )

    def costs(self, view: MarketView, protocol: str) -> GasCosts:
        """Gas costs at ``protocol`` on the view's day.

        Raises
        ------
        MissingDataError
            When the gas or ETH price of that day is unknown and nothing is fixed.
        """
        if self.fixed is not None:
            return self.fixed
        gwei, eth_usd = float(view.gas.gas_gwei[-1]), float(view.gas.eth_usd[-1])
        if not (math.isfinite(gwei) and math.isfinite(eth_usd)):
            raise MissingDataError(
                f"gas price ({gwei} gwei) or ETH price ({eth_usd} USD) is unknown",
                where=f"day {view.day}",
                remedy="add the day to gas_daily, or give fixed gas costs in USD",
            )
        return self.table.costs(protocol, gwei, eth_usd)


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
    """

    view: MarketView
    parameters: AllocationParameters
    forecaster: Forecaster
    critical: tuple[Finding, ...]
    iceboxed: frozenset[str]
    unjudged: frozenset[str]
    gas: GasPricing
    tvl_includes_position: bool = False

    @cached_property
    def forecast(self) -> Forecast:
        """The whole forecast, quantiles included."""
        return self.forecaster.forecast(self.view, self._horizon_days)

    @cached_property
    def expected(self) -> PoolForecasts:
        """The expected APY and TVL of the forecast."""
        if "forecast" not in vars(self) and isinstance(self.forecaster, QuickForecaster):
            return PoolForecasts(*self.forecaster.expected(self.view, self._horizon_days))
        return PoolForecasts(self.forecast.apy_pct, self.forecast.tvl_usd)

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
        return risk_groups(self.view.pool_series.apy_pct, self.parameters).group

    @cached_property
    def general_gas(self) -> GasCosts:
        """Gas costs of the day where the protocol does not matter."""
        return self.gas.costs(self.view, "")

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
    icebox: IceboxTracker,
    gas: GasPricing,
) -> DayInputs:
    """Forecast, icebox and data quality of the view's day."""
    critical = critical_findings(view)
    iceboxed = icebox.advance(view)
    return DayInputs(view, parameters, forecaster, critical, iceboxed, icebox.unjudged, gas)


def screen_day(
    view: MarketView, parameters: AllocationParameters, forecaster: Forecaster
) -> Screening:
    """Both filters on the view's day, for an empty book."""
    inputs = observe(view, parameters, forecaster, IceboxTracker(parameters), GasPricing())
    return inputs.screening(())


@dataclass(frozen=True, eq=False)
class Prepared:
    """What can be done with one book on one day; see `prepare`.

    Screening and problem are made when a policy asks for them: one that only holds does not.

    Parameters
    ----------
    inputs : DayInputs
    book : Book
    prices_usd : mapping of token to USD price
        Everything that is owned has one.
    aum_usd : float
    gas : GasCosts
        Where the protocol does not matter.
    price_flags : tuple of str
        Prices that are not of today.
    """

    inputs: DayInputs
    book: Book
    prices_usd: Mapping[str, float]
    aum_usd: float
    gas: GasCosts
    price_flags: tuple[str, ...]

    @cached_property
    def screening(self) -> Screening:
        """What may be done with each pool of the view."""
        return self.inputs.screening(self.book.pool_ids)

    @cached_property
    def flags(self) -> tuple[str, ...]:
        """What a reader must know of the day: old prices, pools that cannot be traded."""
        if not self.book.positions:
            return self.price_flags
        frozen = self._held_pools.frozen(self.inputs.expected)
        return (*self.price_flags, *(f"frozen: {pool_id}" for pool_id in frozen))

    @cached_property
    def must_leave(self) -> bool:
        """Whether a pool that is held has to be left."""
        return bool(self.book.positions) and self._held_pools.must_leave

    @cached_property
    def _held_pools(self) -> HeldPools:
        inputs = self.inputs
        return HeldPools(inputs.view, inputs.parameters, self.book.pool_ids, inputs.iceboxed)

    def risk_groups_of(self, book: Book) -> dict[str, int]:
        """Risk group of each pool of the view that ``book`` holds."""
        index = self.inputs.view.pool_index
        held = [pool_id for pool_id in book.pool_ids if pool_id in index]
        if not held:
            return {}
        groups = self.inputs.risk_groups[[index[pool_id] for pool_id in held]]
        return dict(zip(held, groups.tolist(), strict=True))

    @cached_property
    def problem(self) -> AllocationProblem:
        """The allocation problem.

        It has the forecast's q10 where ``risk_aversion`` gives that a weight.
        """
        if self.inputs.parameters.risk_aversion > 0.0:
            return self._problem(self.inputs.apy_q10_pct)
        return self.expected_problem

    @cached_property
    def expected_problem(self) -> AllocationProblem:
        """The allocation problem without quantiles: for policies that do not look at them."""
        return self._problem(np.full(len(self.inputs.view.pools), np.nan))

    def _problem(self, apy_q10_pct: Floats) -> AllocationProblem:
        inputs, parameters = self.inputs, self.inputs.parameters
        is_shared = parameters.own_impact == "pro_rata"
        rate_model = RateModel.PRO_RATA if is_shared else RateModel.CONSTANT
        by_pool = zip(
            inputs.view.pools,
            self.screening.states,
            inputs.expected.apy_pct.tolist(),
            apy_q10_pct.tolist(),
            inputs.expected.tvl_usd.tolist(),
            self.screening.risk_groups.tolist(),
            strict=True,
        )
        pools = [
            PoolInput(
                pool.pool_id,
                pool.symbol,
                pool.chain,
                pool.protocol,
                pool.tokens,
                pool.token_shares,
                apy_pct=apy_pct,
                apy_q10_pct=q10_pct,
                tvl_usd=tvl_usd,
                risk_group=risk_group,
                state=state,
                rate_model=rate_model,
                gas=inputs.gas_at(pool.protocol),
            )
            for pool, state, apy_pct, q10_pct, tvl_usd, risk_group in by_pool
            if state is not PoolState.EXCLUDED
        ]
        return AllocationProblem(
            pools,
            self.book,
            self.prices_usd,
            self.gas,
            parameters,
            tvl_includes_position=inputs.tvl_includes_position,
        )


def prepare(inputs: DayInputs, book: Book, parameters: AllocationParameters) -> Prepared:
    """What can be done with ``book`` on the day of ``inputs``.

    Raises
    ------
    MissingDataError
        When something that is owned has no price and the policy is to stop, or when the gas price
        of the day is unknown.
    InputError
        When nothing is left.
    """
    if parameters is not inputs.parameters:
        inputs = replace(inputs, parameters=parameters)
    prices, flags = prices_of(inputs.view, book, parameters)
    aum_usd = book.aum_usd(prices)
    if aum_usd <= 0.0:
        raise InputError("the wallet and the positions are empty", remedy="give some money")
    return Prepared(inputs, book, prices, aum_usd, inputs.general_gas, tuple(flags))


def prices_of(
    view: MarketView, book: Book, parameters: AllocationParameters
) -> tuple[dict[str, float], list[str]]:
    """Prices of the day, with those of owned tokens completed by policy, and what was flagged.

    Raises
    ------
    MissingDataError
        When an owned token has no price today and the policy ``missing_price`` is ``raise``, or
        ``last`` and there is none in the last 7 days.
    """
    prices = dict(view.prices_usd)
    flags = []
    for token in book.tokens:
        if token in prices:
            continue
        price, age = _last_price(view, token)
        if parameters.missing_price == "raise" or not np.isfinite(price):
            raise MissingDataError(
                f"owned token {token} has no price",
                where=f"day {view.day}",
                remedy="add it to prices_daily, or set missing_price=last (at most 7 days old)",
            )
        prices[token] = price
        flags.append(f"price of {token} is {age} days old")
    return prices, flags


def _last_price(view: MarketView, token: str) -> tuple[float, int]:
    """Last known price and its age in days; NaN when older than a week."""
    if token not in view.token_index:
        return float("nan"), 0
    recent = view.token_series.close_usd[-1 - MAX_PRICE_AGE_DAYS :, view.token_index[token]]
    known = np.flatnonzero(np.isfinite(recent))
    if len(known) == 0:
        return float("nan"), 0
    return float(recent[known[-1]]), len(recent) - 1 - int(known[-1])


def exec_days(first: date, last: date) -> list[date]:
    """Every day from ``first`` to ``last``."""
    days = np.arange(np.datetime64(first, "D"), np.datetime64(last, "D") + np.timedelta64(1, "D"))
    return [day.astype(date) for day in days]
