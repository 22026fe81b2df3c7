"""Money that the owner brings or takes, and the state of the books."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from stableyield.errors import InputError
from stableyield.pipeline.carry import BOOKED, OBSERVED, last_snapshot
from stableyield.pipeline.daily_run import LOCK
from stableyield.pipeline.journal import AMOUNT_TOLERANCE, ASSETS, balances_of, book_of, flow_lines
from stableyield.pipeline.moments import Moments, check_day
from stableyield.pipeline.reconcile import Reconciliation, balances_in, reconcile
from stableyield.sources.clock import Clock
from stableyield.store import (
    Actor,
    LedgerLine,
    migrate,
    read_entries,
    read_frame,
    run_lock,
    write_entries,
    writing,
)

_LATER = date(9999, 12, 31)


@dataclass(frozen=True)
class Flow:
    """Money that comes or goes.

    Parameters
    ----------
    token : str
    amount : float
        Token units; negative takes out.
    day : date
        It counts from this day's run on.
    memo : str
    """

    token: str
    amount: float
    day: date
    memo: str = ""


def book_flow(engine: Engine, actor: Actor, clock: Clock, flow: Flow) -> tuple[LedgerLine, ...]:
    """Book what the owner brings to the wallet or takes from it; the journal lines.

    Only what lies in the wallet can be taken: nothing is withdrawn from a pool for it.

    Raises
    ------
    InputError
        When the day is to come or its books are closed, or more is taken than the wallet has.
    BusyError
        While a run is under way.
    """
    moments = Moments(clock)
    check_day(flow.day, moments.now())
    migrate(engine, at=moments.now())
    with run_lock(engine, LOCK, actor, at=moments.now()):
        last = last_snapshot(engine, _LATER)
        if last is not None and flow.day <= last.day:
            raise InputError(
                f"the books of {flow.day} are closed: the last run was on {last.day}",
                where=f"{flow.amount} {flow.token}",
                remedy="date it after that day",
            )
        in_wallet = _in_wallet(read_entries(engine), flow.token)
        if in_wallet + flow.amount < -AMOUNT_TOLERANCE:
            raise InputError(
                f"{-flow.amount} {flow.token} cannot be taken: the wallet has {in_wallet}, and "
                "only the wallet gives",
                where=f"day {flow.day}",
                remedy="take less, or let a run with lower limits leave more in the wallet first, "
                "as with --set position_max_pct_total_assets=0.05",
            )
        moment = moments.now()
        lines = flow_lines(moment, flow.day, flow.token, flow.amount, flow.memo)
        with writing(engine, actor, at=moment) as batch:
            write_entries(batch, lines)
    return lines


def _in_wallet(lines: tuple[LedgerLine, ...], token: str) -> float:
    book = balances_of(line for line in lines if line.account == f"{ASSETS}warm_wallet")
    return book.get(("warm_wallet", token), 0.0)


@dataclass(frozen=True, eq=False)
class Books:
    """The books as they stand.

    Parameters
    ----------
    day : date, optional
        Of the last run.
    balances : DataFrame
        ``daily_balances`` of that day, booked.
    ledger, nav : DataFrame
        ``daily_ledger`` and ``daily_nav``.
    reconciliation : Reconciliation, optional
        Of that day, where balances were observed on it.
    """

    day: date | None
    balances: pd.DataFrame
    ledger: pd.DataFrame
    nav: pd.DataFrame
    reconciliation: Reconciliation | None

    def to_dict(self) -> dict[str, Any]:
        """For the command line."""
        found = self.reconciliation
        return {
            "day": None if self.day is None else str(self.day),
            "balances": _rows(self.balances, ("location", "token", "amount", "amount_usd")),
            "nav": _rows(self.nav.tail(31), tuple(map(str, self.nav.columns))),
            "reconciliation": None if found is None else found.to_dict(),
        }


def read_books(engine: Engine) -> Books:
    """The books after the last run."""
    last = last_snapshot(engine, _LATER)
    rows = read_frame(engine, "daily_balances")
    ledger, nav = read_frame(engine, "daily_ledger"), read_frame(engine, "daily_nav")
    if last is None:
        return Books(None, rows[0:0], ledger, nav, None)
    of_day = rows[(rows["date"] == pd.Timestamp(last.day)) & (rows["amount"] > 0.0)]
    booked = of_day[of_day["basis"] == BOOKED].reset_index(drop=True)
    observed = balances_in(of_day[of_day["basis"] == OBSERVED])
    prices = dict(zip(booked["token"], booked["price_usd"].tolist(), strict=True))
    known = {key: amount for key, amount in observed.items() if key[1] in prices}
    book = book_of(balances_in(booked))
    found = reconcile(book, known, prices) if known else None
    return Books(last.day, booked, ledger, nav, found)


def _rows(frame: pd.DataFrame, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    shown = frame[list(columns)].copy()
    for name in shown.select_dtypes("datetime"):
        shown[name] = shown[name].dt.strftime("%Y-%m-%d")
    known = shown.astype(object).where(shown.notna(), None)
    return [{str(name): row[name] for name in row} for row in known.to_dict("records")]
