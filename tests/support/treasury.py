"""A treasury that is run by hand: a clock that ticks, a small market, and a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Engine, text

from stableyield.market.assemble import panel_of
from stableyield.market.frames import MarketFrames
from stableyield.market.panel import MarketPanel
from stableyield.market.synthetic import SyntheticSettings, UniverseModel, simulate_market
from stableyield.pipeline import DayOptions, Flow, Job, Outcome, RunRequest, book_flow, run_day
from stableyield.pipeline.ingest import cut
from stableyield.pipeline.notify import NotifyError
from stableyield.sources import Clock, Fetched, Span
from stableyield.store import Actor
from support.databases import NOW

FIRST_DAY = date(2025, 11, 1)
N_DAYS = 40
DAY = date(2025, 12, 1)
"""The first day that is decided; the market goes on for nine more."""
LAX: Mapping[str, object] = {
    "min_pools": 2,
    "max_alloc_percentage": 0.6,
    "position_max_pct_total_assets": 0.6,
    "group1_max_pct": 1.0,
    "group2_max_pct": 1.0,
    "group3_max_pct": 1.0,
    "min_gain_usd": 0.0,
}


@dataclass
class TickingClock:
    """A clock that goes on by a second whenever it is read; it can be set."""

    moment: datetime = NOW

    def now(self) -> datetime:
        self.moment += timedelta(seconds=1)
        return self.moment

    def _seconds(self) -> float:
        return self.moment.timestamp()

    def clock(self) -> Clock:
        return Clock(self.now, self._seconds, lambda _: None, lambda: 0.5)


@dataclass
class Listener:
    """A notifier that remembers, and fails when it is told to."""

    name: str = "listener"
    fails: bool = False
    heard: list[tuple[str, str]] = field(default_factory=list)

    def send(self, subject: str, text: str) -> None:
        self.heard.append((subject, text))
        if self.fails:
            raise NotifyError("nobody is there")


@dataclass
class FramesSource:
    """Market frames as a source; can be changed and can fail."""

    frames: MarketFrames
    balances: pd.DataFrame | None = None
    error: Exception | None = None
    name: str = "frames"
    asked: int = 0

    def fetch(self, span: Span) -> Fetched:
        self.asked += 1
        if self.error is not None:
            raise self.error
        tables = cut(self.frames, span.last)
        if self.balances is not None:
            tables["balances"] = self.balances
        return Fetched(tables, ())


@cache
def small_market() -> MarketFrames:
    """Ten calm pools without listings, delistings or gaps."""
    universe = UniverseModel(late_share=0.0, delisting_hazard=0.0, missing_day_share=0.0)
    frames = simulate_market(
        SyntheticSettings(
            seed=11, n_days=N_DAYS, n_pools=10, first_day=FIRST_DAY, universe=universe
        )
    )
    return replace(frames, assumptions=())


@cache
def small_panel() -> MarketPanel:
    """The panel of `small_market`."""
    return panel_of(small_market())


@dataclass
class Treasury:
    """An engine, a clock and a job to run days with."""

    engine: Engine
    directory: Path
    ticking: TickingClock = field(default_factory=TickingClock)
    source: FramesSource = field(default_factory=lambda: FramesSource(small_market()))
    listener: Listener = field(default_factory=Listener)
    parameters: dict[str, object] = field(default_factory=lambda: dict(LAX))

    @property
    def job(self) -> Job:
        return Job(
            self.engine,
            self.directory / "runs",
            (self.source,),
            (self.listener,),
            clock=self.ticking.clock(),
        )

    def run(self, day: date = DAY, **changes: Any) -> Outcome:
        return run_day(self.job, self.request(day, **changes))

    def request(self, day: date = DAY, **changes: Any) -> RunRequest:
        own = {name: changes.pop(name) for name in ("is_dry", "again") if name in changes}
        options = DayOptions(**changes.pop("options", {}))
        return RunRequest(day, options=options, overrides={**self.parameters, **changes}, **own)

    def bring(self, amount: float = 100_000.0, token: str = "USDC", day: date = DAY) -> None:
        flow = Flow(token, amount, day, "test")
        book_flow(self.engine, Actor("tester", "tests"), self.ticking.clock(), flow)

    def counts(self) -> dict[str, int]:
        """Rows of every table that runs write."""
        return {name: count_of(self.engine, name) for name in WRITTEN}


WRITTEN = (
    *("runs", "run_stages", "allocation_parameters", "plans", "asset_allocations"),
    *("ledger_entries", "daily_balances_revisions", "daily_ledger_revisions"),
    *("daily_nav_revisions", "pool_daily_revisions", "forecasts_revisions"),
    *("pool_assessments_revisions", "icebox_tokens_revisions"),
)


def count_of(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text(f"select count(*) from {table}")) or 0)


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)
