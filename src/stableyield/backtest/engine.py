"""The daily loop: observe, decide, settle, earn, record; for the strategy and its benchmarks.

One day (exec date t): the view ``as_of(t)`` is forecast and screened, each policy decides from its
own book, the plan is applied and its costs leave the book, positions earn the realised return of
t -> t+1, and everything is re-priced at t+1. Only the accounting sees t+1, after the decision.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from stableyield.allocation import Plan
from stableyield.backtest.day import DayInputs, exec_days, observe, prepare, prices_of
from stableyield.backtest.ledger import DayResult, next_day
from stableyield.backtest.policy import Decision, Optimised, Policy, benchmarks
from stableyield.backtest.realised import forecast_yield_usd, realised
from stableyield.backtest.result import BacktestResult
from stableyield.backtest.settings import BacktestSettings
from stableyield.config import AllocationParameters
from stableyield.domain.portfolio import CENT_USD, Book
from stableyield.errors import ConservationError
from stableyield.market.panel import MarketPanel, MarketView
from stableyield.screening import IceboxTracker


@dataclass(frozen=True, eq=False)
class DayRecord:
    """One policy's day, as it goes into the tables."""

    policy: str
    exec_date: date
    view: MarketView
    aum_start_usd: float
    decision: Decision
    result: DayResult
    forecast_yield_usd: float
    risk_groups: Mapping[str, int]
    flags: tuple[str, ...]
    seconds: float


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
        problem = prepared.problem
        decision = (
            Decision.hold(problem, "data_quality")
            if inputs.quality.critical
            else self.policy.decide(prepared, inputs)
        )
        money = decision.settlement
        if abs(problem.aum_usd - money.aum_after_usd - money.costs_usd) > CENT_USD:
            raise ConservationError(
                f"{problem.aum_usd} USD before are not {money.aum_after_usd} USD after plus "
                f"{money.costs_usd} USD of costs",
                where=f"{self.policy.name} on {inputs.view.day}",
            )
        next_prices, price_flags = prices_of(tomorrow, money.after, parameters)
        result = next_day(
            money.after,
            problem.prices_usd,
            next_prices,
            realised(tomorrow, money.after, parameters),
        )
        self.book = result.book
        self.last_plan = decision.plan or self.last_plan
        missing = tuple(f"no realised return: {pool_id}" for pool_id in result.missing)
        stops = tuple(f"data quality: {finding}" for finding in inputs.quality.critical)
        return DayRecord(
            policy=self.policy.name,
            exec_date=inputs.view.day,
            view=inputs.view,
            aum_start_usd=problem.aum_usd,
            decision=decision,
            result=result,
            forecast_yield_usd=forecast_yield_usd(inputs, money.after, problem.prices_usd),
            risk_groups={pool.pool_id: pool.risk_group for pool in problem.pools},
            flags=(*stops, *prepared.flags, *price_flags, *missing),
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
    runners = [Runner(policy or Optimised(), settings.first_book(panel))]
    if settings.with_benchmarks:
        own, book = runners[0].policy.name, runners[0].book
        runners += [Runner(other, book) for other in benchmarks() if other.name != own]
    icebox = IceboxTracker(settings.parameters)
    records: list[DayRecord] = []
    days = exec_days(start, end)
    for n, day in enumerate(days):
        inputs = observe(
            panel.as_of(day), settings.parameters, settings.forecaster, icebox, settings.gas
        )
        tomorrow = panel.as_of(day + timedelta(days=1))
        records += [runner.run_day(inputs, tomorrow, settings.parameters) for runner in runners]
        if progress is not None:
            progress(n + 1, len(days))
    return build_result(panel, settings, records, runners[0].last_plan)
