"""The daily loop: observe, decide, settle, earn, record; for the strategy and its benchmarks.

One day (exec date t): the view ``as_of(t)`` is forecast and screened, each policy decides from its
own book, the plan is applied and its costs leave the book, positions earn the realised return of
t -> t+1, and everything is re-priced at t+1. Only the accounting sees t+1, after the decision.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from stableyield.allocation import Plan
from stableyield.backtest.day import DayInputs, exec_days, observe, prepare, prices_of
from stableyield.backtest.ledger import next_day
from stableyield.backtest.policy import Decision, Optimised, Policy, benchmarks
from stableyield.backtest.realised import forecast_yield_usd, realised
from stableyield.backtest.record import DayRecord, DayTotals
from stableyield.backtest.result import BacktestResult
from stableyield.backtest.settings import BacktestSettings
from stableyield.config import AllocationParameters
from stableyield.domain.portfolio import CENT_USD, Book
from stableyield.errors import ConservationError
from stableyield.market.panel import MarketPanel, MarketView
from stableyield.screening import IceboxTracker


@dataclass
class Runner:
    """One policy and its book on its way through the days."""

    policy: Policy
    book: Book
    last_plan: Plan | None = None

    def run_day(
        self, inputs: DayInputs, tomorrow: MarketView, parameters: AllocationParameters
    ) -> DayRecord:
        """Decide on the day of ``inputs`` and carry the book to ``tomorrow``.

        Raises
        ------
        ConservationError
            When AUM before is not AUM after plus costs, to a cent: a bug.
        """
        started = time.perf_counter()
        prepared = prepare(inputs, self.book, parameters)
        decision = (
            Decision.keep(prepared, "data_quality")
            if inputs.critical
            else self.policy.decide(prepared, inputs)
        )
        money = decision.settlement
        if abs(prepared.aum_usd - money.aum_after_usd - money.costs_usd) > CENT_USD:
            raise ConservationError(
                f"{prepared.aum_usd} USD before are not {money.aum_after_usd} USD after plus "
                f"{money.costs_usd} USD of costs",
                where=f"{self.policy.name} on {inputs.view.day}",
            )
        prices = prepared.prices_usd
        next_prices, price_flags = prices_of(tomorrow, money.after, parameters)
        result = next_day(
            money.after, prices, next_prices, realised(tomorrow, money.after, parameters)
        )
        self.book = result.book
        self.last_plan = decision.plan or self.last_plan
        missing = tuple(f"no realised return: {pool_id}" for pool_id in result.missing)
        stops = tuple(f"data quality: {finding}" for finding in inputs.critical)
        return DayRecord(
            policy=self.policy.name,
            exec_date=inputs.view.day,
            status=decision.status,
            is_held=decision.is_held,
            money=money,
            result=result,
            forecast_yield_usd=forecast_yield_usd(inputs, money.after, prices),
            risk_groups=prepared.risk_groups_of(money.after),
            flags=(*stops, *prepared.flags, *price_flags, *missing),
            gap_usd=decision.gap_usd,
            solve_seconds=decision.solve_seconds,
            seconds=time.perf_counter() - started,
        )


def run_backtest(
    panel: MarketPanel,
    settings: BacktestSettings | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    policy: Policy | None = None,
    **changes: Any,
) -> BacktestResult:
    """Backtest the strategy (or another policy) and its benchmarks over a market's history.

    Parameters
    ----------
    panel : MarketPanel
    settings : BacktestSettings, optional
    progress : callable, optional
        Called with the number of days done and the number of all days.
    policy : Policy, optional
        Instead of the optimiser.
    **changes
        Fields of `BacktestSettings` to replace: ``start=...``, ``aum_usd=...``.

    Raises
    ------
    InputError
        When a setting does not fit the market.
    """
    from stableyield.backtest.tables import build_result  # noqa: PLC0415 - pandas, after the loop

    settings = replace(settings or BacktestSettings(), **changes)
    start, end = settings.span(panel)
    strategy = Runner(policy or Optimised(), settings.first_book(panel))
    others = [
        Runner(other, strategy.book)
        for other in (benchmarks() if settings.with_benchmarks else ())
        if other.name != strategy.policy.name
    ]
    icebox = IceboxTracker(settings.parameters)
    records: list[DayRecord] = []
    totals: list[DayTotals] = []
    days = exec_days(start, end)
    tomorrow = panel.as_of(start)
    for n, day in enumerate(days):
        inputs = observe(tomorrow, settings.parameters, settings.forecaster, icebox, settings.gas)
        tomorrow = panel.as_of(day + timedelta(days=1))
        records.append(strategy.run_day(inputs, tomorrow, settings.parameters))
        totals += [other.run_day(inputs, tomorrow, settings.parameters).totals for other in others]
        if progress is not None:
            progress(n + 1, len(days))
    return build_result(panel, settings, records, strategy.last_plan, totals)
