"""One day's decision, made from what the store knew by a moment, and from nothing else.

Everything here is a function of the run's day, its ``known_by``, parameters and options. So a run
that was interrupted makes the same decision when it is taken up again, and a replay of a run that
is long over makes it once more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property

import pandas as pd
from sqlalchemy import Engine

from stableyield.allocation import Plan, solve
from stableyield.backtest.day import DayInputs, Prepared, observe, prepare
from stableyield.config import AllocationParameters
from stableyield.domain.portfolio import Book
from stableyield.errors import InputError, MissingDataError
from stableyield.forecast import Forecaster, forecaster
from stableyield.forecast.drift import Verdict
from stableyield.forecast.provenance import watched
from stableyield.forecast.registry import FOREIGN
from stableyield.forecast.watched_stored import StoredWatch
from stableyield.market.panel import MarketPanel, MarketView
from stableyield.pipeline.carry import OBSERVED, BookDay, Snapshot, carry, last_snapshot
from stableyield.pipeline.forecasting import OF_FILES, StoredForecasts, document_of
from stableyield.pipeline.journal import flows_of
from stableyield.pipeline.move_rule import Movement, move_or_hold
from stableyield.pipeline.options import DayOptions
from stableyield.pipeline.paying import Payment, pay, with_payment
from stableyield.pipeline.reconcile import (
    Reconciliation,
    balances_in,
    observed_book,
    reconcile,
)
from stableyield.screening import IceboxOverride, IceboxTracker, QualityReport, assess, prefilter
from stableyield.screening.result import Screening
from stableyield.store import Window, load_panel, read_entries, read_frame

HISTORY_DAYS = 730  # that a decision looks back; older rows stay in the store
FRESH_PRICE_DAYS = 7


@dataclass(frozen=True, eq=False)
class DayWork:
    """The work of one run, each part made when it is first asked for.

    Parameters
    ----------
    engine : Engine
    day : date
    known_by : datetime
    parameters : AllocationParameters
    options : DayOptions
    """

    engine: Engine
    day: date
    known_by: datetime
    parameters: AllocationParameters
    options: DayOptions

    @cached_property
    def snapshot(self) -> Snapshot | None:
        """The book after the last run before this day."""
        return last_snapshot(self.engine, self.day, self.known_by)

    @property
    def held(self) -> tuple[str, ...]:
        """Pools that hold something."""
        observed = {place for place, _ in self.observed}
        booked = set() if self.snapshot is None else set(self.snapshot.book.pool_ids)
        return tuple(sorted((observed & self._known_pools) | booked))

    @cached_property
    def panel(self) -> MarketPanel:
        """The market of the pools that may be held, up to the day, as it was known."""
        first = self.day - timedelta(days=HISTORY_DAYS)
        if self.snapshot is not None:
            first = min(first, self.snapshot.day)
        method = FOREIGN if self.options.forecast in OF_FILES else None
        window = Window(first, self.day, self.known_by, method, self.candidates)
        panel = load_panel(self.engine, window)
        if panel.last_day < self.day:
            raise InputError(
                f"the newest pool rows are of {panel.last_day}",
                where=f"day {self.day}",
                remedy="ingest the day first, or choose a day that is there",
            )
        return panel

    @cached_property
    def _pools(self) -> pd.DataFrame:
        return read_frame(self.engine, "pools", known_by=self.known_by)

    @property
    def _known_pools(self) -> set[str]:
        return set(self._pools["pool_id"])

    @cached_property
    def candidates(self) -> tuple[str, ...]:
        """Pools worth loading: those held, and those on approved places whose tokens are priced.

        Raises
        ------
        MissingDataError
            When no token at all has a price of the last days.
        """
        since = self.day - timedelta(days=FRESH_PRICE_DAYS)
        prices = read_frame(
            self.engine, "token_prices_daily", known_by=self.known_by, first=since, last=self.day
        )
        priced = set(prices["token"])
        if not priced:
            raise MissingDataError(
                f"no token has a price of the last {FRESH_PRICE_DAYS} days",
                where=f"day {self.day}",
                remedy="ingest the prices of the day, or choose a day that has some",
            )
        booked = set() if self.snapshot is None else set(self.snapshot.book.pool_ids)
        keep = booked | {place for place, _ in self.observed}
        chains, protocols = self.parameters.approved_chains, self.parameters.approved_protocols
        rows = zip(
            *(self._pools[name] for name in ("pool_id", "chain", "protocol", "underlying_tokens")),
            strict=True,
        )
        return tuple(
            pool_id
            for pool_id, chain, protocol, tokens in rows
            if pool_id in keep
            or (
                (not chains or chain in chains)
                and (not protocols or protocol in protocols)
                and priced.issuperset(tokens)
            )
        )

    @cached_property
    def view(self) -> MarketView:
        """The market at the end of the day."""
        return self.panel.as_of(self.day)

    @cached_property
    def quality(self) -> QualityReport:
        """What is wrong with the day's data."""
        return assess(self.view, held=self.held)

    @cached_property
    def observed(self) -> dict[tuple[str, str], float]:
        """Balances that a provider or a file told of for this day."""
        rows = read_frame(
            self.engine, "daily_balances", known_by=self.known_by, first=self.day, last=self.day
        )
        return balances_in(rows[rows["basis"] == OBSERVED])

    @cached_property
    def book_days(self) -> tuple[BookDay, ...]:
        """Every day of the books since the last run, this one included, as booked."""
        first = None if self.snapshot is None else self.snapshot.day + timedelta(days=1)
        flows = flows_of(read_entries(self.engine, first, self.day), self.known_by)
        rules = self.parameters
        if self.options.data_include_us:  # what the pools paid is diluted by us already
            rules = rules.model_copy(update={"own_impact": "none"})
        return carry(self.snapshot, self.panel, self.day, flows, rules)

    @cached_property
    def found(self) -> Reconciliation:
        """The books against what was observed."""
        today = self.book_days[-1]
        prices = {**self.view.prices_usd, **today.prices_usd}
        known = {key: amount for key, amount in self.observed.items() if key[1] in prices}
        return reconcile(today.book, known, prices)

    @property
    def is_new(self) -> bool:
        """Whether the books begin with what was observed."""
        return self.snapshot is None and not self.book_days[-1].book.tokens

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Observed tokens without a price: left out, and reported."""
        prices = {**self.view.prices_usd, **self.book_days[-1].prices_usd}
        return tuple(sorted({token for _, token in self.observed if token not in prices}))

    @cached_property
    def book(self) -> Book:
        """What is really there to allocate: the booked book, corrected by what was observed.

        Raises
        ------
        DataQualityError
            When the two differ by too much.
        InputError
            When nothing is there.
        """
        today = self.book_days[-1]
        if not self.is_new:
            self.found.raise_if_above(self.options.max_difference_pct)
        book = observed_book(today.book, self.found)
        if not book.tokens:
            raise InputError(
                "the treasury is empty",
                where=f"day {self.day}",
                remedy="book what it begins with: stableyield ledger deposit TOKEN AMOUNT, or give "
                "its balances with --balances FILE",
            )
        return book

    @cached_property
    def today(self) -> BookDay:
        """The day of the run in the books, with the book that is really there."""
        prices = {**self.view.prices_usd, **self.book_days[-1].prices_usd}
        owned = {token: prices[token] for token in self.book.tokens}
        day = self.book_days[-1]
        return replace(day, book=self.book, prices_usd={**day.prices_usd, **owned})

    @cached_property
    def prefiltered(self) -> Screening:
        """What stands against each pool before anything is forecast."""
        return prefilter(self.view, self.parameters, held=self.book.pool_ids)

    @cached_property
    def watch(self) -> StoredWatch:
        """The forecaster of the options, judged by what it said on earlier days."""
        watch = watched(forecaster(self.options.forecast))
        since = self.day - timedelta(days=HISTORY_DAYS)
        return StoredWatch(
            watch, StoredForecasts(self.engine, watch.name, since, self.day, self.known_by)
        )

    @cached_property
    def forecaster(self) -> Forecaster:
        """Who forecasts: a model that may be replaced does so under watch."""
        watch = self.watch.watch
        return self.watch if watch.may_replace else watch.model

    @cached_property
    def verdict(self) -> Verdict:
        """How the forecasts of earlier days turned out."""
        return self.watch.verdict(self.view, self.inputs.forecast.horizon_days)

    @cached_property
    def icebox(self) -> IceboxTracker:
        """The icebox, advanced to the day."""
        tracker = IceboxTracker(self.parameters, self._overrides())
        tracker.advance(self.view)
        return tracker

    def _overrides(self) -> list[IceboxOverride]:
        rows = read_frame(self.engine, "icebox_overrides", known_by=self.known_by)
        rows = rows[~rows["is_withdrawn"].fillna(value=False).astype(bool)]
        return [
            IceboxOverride(
                str(row["token"]),
                bool(row["iceboxed"]),
                str(row["reason"]),
                row["expires"].date(),
                row["set_on"].date(),
            )
            for row in rows.to_dict("records")
        ]

    @cached_property
    def inputs(self) -> DayInputs:
        """What every policy of the day shares; the backtest's own function."""
        inputs = observe(self.view, self.parameters, self.forecaster, self.icebox, self.options.gas)
        return replace(inputs, tvl_includes_position=self.options.data_include_us)

    @cached_property
    def payment(self) -> Payment:
        """What the owner is paid beyond what the wallet had.

        Raises
        ------
        InputError
            When it cannot be raised.
        """
        whole = prepare(self.inputs, self.book, self.parameters)
        return pay(whole, self.book_days[-1].owed)

    @cached_property
    def prepared(self) -> Prepared:
        """What can be done with the book that is left; the backtest's own function."""
        return prepare(self.inputs, self.payment.book, self.parameters)

    @cached_property
    def decision(self) -> tuple[Plan, Movement]:
        """The plan, after the move rule.

        Raises
        ------
        InfeasibleError, SolverError
            When there is no plan and ``on_failure`` is ``raise``.
        InputError
            When what the owner takes cannot be raised.
        """
        plan, movement = move_or_hold(solve(self.prepared.problem), self.parameters.min_gain_usd)
        return with_payment(self._told(plan), movement, self.payment)

    def _told(self, plan: Plan) -> Plan:
        """The plan; where another serves than the options name, its explanation says so."""
        if self.forecaster is not self.watch or not self.verdict.is_fallback:
            return plan
        verdict = document_of(self.verdict)
        return replace(plan, explain=lambda: {**plan.explanation, "forecast_watch": verdict})
