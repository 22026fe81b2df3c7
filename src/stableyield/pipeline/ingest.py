"""What sources hand on, into the store: every table, and every answer word for word."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Engine, func, select

from stableyield.market.files import read_frames
from stableyield.market.frames import MarketFrames
from stableyield.pipeline.carry import OBSERVED
from stableyield.pipeline.reconcile import balances_in
from stableyield.sources import Fetched, Span, read_balances
from stableyield.sources.skew import ClockSkewError
from stableyield.store import Batch, reading, write_frame, write_market_table, write_payload
from stableyield.store.schema import REVISIONS

BALANCES = "balances"
_TABLES = ("pools", "pool_daily", "prices_daily", "gas_daily", "forecasts", "lend_borrow_daily")
_DAY_OF = {"forecasts": "exec_date"}


@dataclass(frozen=True)
class MarketDirectory:
    """A market directory as a source: what it says up to the day that is asked for.

    Parameters
    ----------
    directory : Path
    confirm_percent : bool
        Low percent columns really are percent.
    today : date, optional
        UTC day of this machine's clock, where it is the clock that chose the day to decide: rows
        of later days then say that the clock is behind.
    """

    directory: Path
    confirm_percent: bool = False
    today: date | None = None

    @property
    def name(self) -> str:
        """For messages and records."""
        return f"market directory {self.directory}"

    def fetch(self, span: Span) -> Fetched:
        """The tables up to the last day of ``span``, as they would have been then.

        Raises
        ------
        InputError
            When a table is missing or breaks its contract.
        ClockSkewError
            When it has rows of days after ``today``.
        """
        frames = read_frames(self.directory, confirm_percent=self.confirm_percent)
        newest = frames.pool_daily["date"].max()
        if self.today is not None and newest > pd.Timestamp(self.today):
            raise ClockSkewError(
                f"there are pool rows of {newest:%Y-%m-%d}, and it is {self.today} by this "
                "machine's clock",
                where=str(self.directory),
                remedy="set the clock if it is behind; else name the day with --day",
            )
        tables = cut(frames, span.last)
        return Fetched(tables, (), assumptions=frames.assumptions)


@dataclass(frozen=True)
class BalanceFile:
    """A balance file as a source: what is owned on the day that is asked for.

    Parameters
    ----------
    path : Path
    """

    path: Path

    @property
    def name(self) -> str:
        """For messages and records."""
        return f"balance file {self.path.name}"

    def fetch(self, span: Span) -> Fetched:  # noqa: ARG002 - a file is of the day it is given for
        """The balances.

        Raises
        ------
        InputError
            When the file is missing or cannot be read.
        """
        return Fetched({BALANCES: read_balances(self.path)}, ())


def cut(frames: MarketFrames, last: date) -> dict[str, pd.DataFrame]:
    """The tables of ``frames`` without what was not known by the end of ``last``."""
    end = pd.Timestamp(last)
    tables: dict[str, pd.DataFrame] = {}
    for name in _TABLES:
        frame = getattr(frames, name)
        if frame is None:
            continue
        day = _DAY_OF.get(name, "date")
        tables[name] = frame if name == "pools" else frame[frame[day] <= end]
    is_over = frames.pool_daily["date"].max() <= end
    known = tables["pool_daily"]["pool_id"].unique()
    pools = tables["pools"][tables["pools"]["pool_id"].isin(known)].reset_index(drop=True)
    if not is_over:
        if "listed_until" in pools:
            ends = pools["listed_until"]
            pools = pools.assign(listed_until=ends.where(ends < end))
        if "is_active" in pools:  # only the last day of a market says what is inactive
            pools = pools.assign(is_active=True)
    return tables | {"pools": pools}


def newest_day(engine: Engine, table: str) -> date | None:
    """The newest day of which the store has rows of ``table``; None where it has none."""
    rows = REVISIONS[table]
    with reading(engine, f"the newest day of {table}") as connection:
        last = connection.scalar(select(func.max(rows.c.date)))
    return None if last is None else date(1970, 1, 1) + timedelta(days=last)


def newest_pool_rows(engine: Engine, fetched: Iterable[Fetched]) -> date | None:
    """The newest day of pool rows among what was fetched; where none were, of the store.

    Nothing stands for no rows at all.
    """
    found = [each.tables["pool_daily"]["date"] for each in fetched if "pool_daily" in each.tables]
    days = [rows.max().date() for rows in found if len(rows)]
    return max(days) if days else newest_day(engine, "pool_daily")


@dataclass(frozen=True)
class Ingested:
    """What came in, in numbers.

    Parameters
    ----------
    rows : mapping of table to (rows given, new, revised)
    masked : mapping of reason to count
    assumptions : tuple of str
    n_answers : int
        Answers of providers.
    """

    rows: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    masked: dict[str, int] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()
    n_answers: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As the run keeps it."""
        return {
            "rows": {
                name: {"given": given, "new": new, "revised": revised}
                for name, (given, new, revised) in self.rows.items()
            },
            "masked": self.masked,
            "assumptions": list(self.assumptions),
            "n_answers": self.n_answers,
        }


def write_fetched(batch: Batch, fetched: Fetched, day: date) -> Ingested:
    """Write every table that came, and keep every answer.

    Parameters
    ----------
    batch : Batch
    fetched : Fetched
    day : date
        That observed balances are of.
    """
    rows: dict[str, tuple[int, int, int]] = {}
    for name in _TABLES:
        frame = fetched.tables.get(name)
        if frame is None or frame.empty:
            continue
        if name == "pools" and "pool_meta" in frame:
            written = write_frame(
                batch, name, frame.rename(columns={"tokens": "underlying_tokens"})
            )
        else:
            written = write_market_table(batch, name, frame, confirm_percent=True)
        rows[name] = (written.n_rows, written.n_new, written.n_revised)
    if (balances := fetched.tables.get(BALANCES)) is not None and len(balances):
        observed = _observed(balances, day)
        written = write_frame(batch, "daily_balances", observed)
        rows[BALANCES] = (written.n_rows, written.n_new, written.n_revised)
    for answer in fetched.provenance:
        what = f"{answer.endpoint} {answer.item}".strip()
        write_payload(batch, answer.source, what, answer.body)
    return Ingested(rows, dict(fetched.masked), fetched.assumptions, len(fetched.provenance))


def _observed(balances: pd.DataFrame, day: date) -> pd.DataFrame:
    known = balances_in(balances)
    frame = pd.DataFrame(
        [(place, token, amount) for (place, token), amount in known.items()],
        columns=["location", "token", "amount"],
    )
    return frame.assign(date=pd.Timestamp(day), basis=OBSERVED)
