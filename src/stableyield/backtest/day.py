"""One day's decision: what was known, what may be used, and the problem it makes.

The live job and the backtest call the same functions; only who supplies the market view differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.problem import AllocationProblem, PoolInput, RateModel
from stableyield.backtest.gas import GasPricing
from stableyield.backtest.inputs import DayInputs, Icebox, QuickForecaster, observe
from stableyield.config import AllocationParameters
from stableyield.domain.costs import GasCosts
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import Book
from stableyield.errors import InputError, MissingDataError
from stableyield.forecast import Forecaster
from stableyield.market.panel import MarketView
from stableyield.screening import HeldPools, IceboxTracker, Screening

__all__ = [
    "DayInputs",
    "GasPricing",
    "Icebox",
    "Prepared",
    "QuickForecaster",
    "exec_days",
    "observe",
    "prepare",
    "prices_of",
    "screen_day",
]

Floats = NDArray[np.float64]

MAX_PRICE_AGE_DAYS = 7


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
        if not self.book.layout.keys:
            return self.price_flags
        held = self._held_pools
        frozen = held.frozen(self.inputs.outlook(held.places.columns).is_known)
        return (*self.price_flags, *(f"frozen: {pool_id}" for pool_id in frozen))

    @cached_property
    def must_leave(self) -> bool:
        """Whether a pool that is held has to be left."""
        return bool(self.book.layout.keys) and self._held_pools.must_leave

    @cached_property
    def _held_pools(self) -> HeldPools:
        inputs = self.inputs
        places = inputs.places(self.book.layout).held(inputs.view, inputs.parameters)
        return HeldPools(inputs.view, inputs.parameters, places, inputs.iceboxed)

    def risk_groups_of(self, book: Book) -> NDArray[np.int8]:
        """Risk group of each position of ``book``, 0 where the pool is unknown; (n_positions,)."""
        inputs, places = self.inputs, self.inputs.places(book.layout)
        groups = inputs.risk_groups_of(places.held(inputs.view, inputs.parameters).columns)
        return places.of_positions(groups, 0).astype(np.int8)

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
) -> tuple[Mapping[str, float], list[str]]:
    """Prices of the day, with those of owned tokens completed by policy, and what was flagged.

    Raises
    ------
    MissingDataError
        When an owned token has no price today and the policy ``missing_price`` is ``raise``, or
        ``last`` and there is none in the last 7 days.
    """
    prices = view.prices_usd
    missing = [token for token in book.tokens if token not in prices]
    if not missing:
        return prices, []
    completed, flags = dict(prices), []
    for token in missing:
        price, age = _last_price(view, token)
        if parameters.missing_price == "raise" or not np.isfinite(price):
            raise MissingDataError(
                f"owned token {token} has no price",
                where=f"day {view.day}",
                remedy="add it to prices_daily, or set missing_price=last (at most 7 days old)",
            )
        completed[token] = price
        flags.append(f"price of {token} is {age} days old")
    return MappingProxyType(completed), flags


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
