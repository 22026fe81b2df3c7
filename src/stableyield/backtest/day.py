"""One day's decision: what was known, what may be used, and the problem it makes.

The live job and the backtest call the same functions; only who supplies the market view differs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

import numpy as np

from stableyield.allocation.problem import AllocationProblem, PoolInput, RateModel
from stableyield.config import AllocationParameters
from stableyield.domain.costs import GasCosts, GasTable
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import Book
from stableyield.errors import MissingDataError
from stableyield.forecast import Forecast, Forecaster
from stableyield.market.panel import MarketView
from stableyield.screening import (
    IceboxTracker,
    PoolForecasts,
    QualityReport,
    Screening,
    assess,
    screen,
)

MAX_PRICE_AGE_DAYS = 7


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
        if not (np.isfinite(gwei) and np.isfinite(eth_usd)):
            raise MissingDataError(
                f"gas price ({gwei} gwei) or ETH price ({eth_usd} USD) is unknown",
                where=f"day {view.day}",
                remedy="add the day to gas_daily, or give fixed gas costs in USD",
            )
        return self.table.costs(protocol, gwei, eth_usd)


@dataclass(frozen=True, eq=False)
class DayInputs:
    """What every policy of a day shares: the view, its quality, the forecast and the icebox."""

    view: MarketView
    quality: QualityReport
    forecast: Forecast
    iceboxed: frozenset[str]
    unjudged: frozenset[str]
    gas: GasPricing
    tvl_includes_position: bool = False

    @cached_property
    def gas_by_protocol(self) -> Mapping[str, GasCosts]:
        """Gas costs of the day, by protocol."""
        protocols = sorted({pool.protocol for pool in self.view.pools})
        return {protocol: self.gas.costs(self.view, protocol) for protocol in protocols}


def observe(
    view: MarketView,
    parameters: AllocationParameters,
    forecaster: Forecaster,
    icebox: IceboxTracker,
    gas: GasPricing,
) -> DayInputs:
    """Forecast, icebox and data quality of the view's day."""
    forecast = forecaster.forecast(view, max(1, round(parameters.horizon_days)))
    quality = assess(view)
    iceboxed = icebox.advance(view)
    return DayInputs(view, quality, forecast, iceboxed, icebox.unjudged, gas)


def screen_day(
    view: MarketView, parameters: AllocationParameters, forecaster: Forecaster
) -> Screening:
    """Both filters on the view's day, for an empty book."""
    inputs = observe(view, parameters, forecaster, IceboxTracker(parameters), GasPricing())
    return _screen(inputs, (), parameters)


def _screen(
    inputs: DayInputs, held: Collection[str], parameters: AllocationParameters
) -> Screening:
    return screen(
        inputs.view,
        parameters,
        held=held,
        forecasts=PoolForecasts(inputs.forecast.apy_pct, inputs.forecast.tvl_usd),
        iceboxed=inputs.iceboxed,
        unjudged=inputs.unjudged,
    )


@dataclass(frozen=True, eq=False)
class Prepared:
    """The allocation problem of one book on one day, and why it looks like that."""

    problem: AllocationProblem
    screening: Screening
    flags: tuple[str, ...]


def prepare(inputs: DayInputs, book: Book, parameters: AllocationParameters) -> Prepared:
    """Screen for ``book`` and build its allocation problem.

    Raises
    ------
    MissingDataError
        When something that is owned has no price and the policy is to stop.
    """
    view, forecast = inputs.view, inputs.forecast
    screening = _screen(inputs, book.pool_ids, parameters)
    prices, flags = prices_of(view, book, parameters)
    rate_model = RateModel.PRO_RATA if parameters.own_impact == "pro_rata" else RateModel.CONSTANT
    pools = [
        PoolInput(
            pool.pool_id,
            pool.symbol,
            pool.chain,
            pool.protocol,
            pool.tokens,
            pool.token_shares,
            apy_pct=float(forecast.apy_pct[i]),
            apy_q10_pct=float(forecast.apy_q10_pct[i]),
            tvl_usd=float(forecast.tvl_usd[i]),
            risk_group=int(screening.risk_groups[i]),
            state=state,
            rate_model=rate_model,
            gas=inputs.gas_by_protocol[pool.protocol],
        )
        for i, (pool, state) in enumerate(zip(view.pools, screening.states, strict=True))
        if state is not PoolState.EXCLUDED
    ]
    problem = AllocationProblem(
        pools,
        book,
        prices,
        inputs.gas.costs(view, ""),
        parameters,
        tvl_includes_position=inputs.tvl_includes_position,
    )
    frozen = [p.pool_id for p in pools if p.state is PoolState.FROZEN]
    flags += [f"frozen: {pool_id}" for pool_id in frozen]
    return Prepared(problem, screening, tuple(flags))


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
