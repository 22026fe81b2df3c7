"""Money that the owner brings or takes, and the state of the books."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from stableyield.domain.portfolio import WALLET, price_of
from stableyield.errors import InputError
from stableyield.pipeline.carry import BOOKED, OBSERVED, Snapshot, last_snapshot
from stableyield.pipeline.daily_run import LOCK
from stableyield.pipeline.ingest import newest_day
from stableyield.pipeline.journal import AMOUNT_TOLERANCE, balances_of, book_of, flow_lines
from stableyield.pipeline.moments import Moments, check_day, check_not_behind
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
_PRICE_AGE = timedelta(days=7)
_LONGEST_TOKEN = 100
_LARGEST_AMOUNT = 1e15


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

    Raises
    ------
    InputError
        When the token is blank or too long, or the amount is no number or beyond all money.
    """

    token: str
    amount: float
    day: date
    memo: str = ""

    def __post_init__(self) -> None:
        if self.token != self.token.strip() or not 0 < len(self.token) <= _LONGEST_TOKEN:
            raise InputError(
                f"{self.token[:_LONGEST_TOKEN]!r} is no symbol of a token",
                remedy="give it as the market has it, without blanks around it",
            )
        if not abs(self.amount) <= _LARGEST_AMOUNT:
            raise InputError(
                f"the amount of {self.token} is {self.amount:g}",
                remedy=f"give token units, at most {_LARGEST_AMOUNT:g}",
            )


def book_flow(engine: Engine, actor: Actor, clock: Clock, flow: Flow) -> tuple[LedgerLine, ...]:
    """Book what the owner brings to the wallet or takes from it; the journal lines.

    What the wallet lacks of a withdrawal, the run of its day raises from what lies in pools.

    Raises
    ------
    InputError
        When the day is to come or its books are closed, a token is brought that has no price, or
        more is taken than there is.
    ClockSkewError
        When the clock is behind what the store has.
    BusyError
        While a run is under way.
    """
    moments = Moments(clock)
    check_day(flow.day, moments.now())
    migrate(engine, at=moments.now())
    with run_lock(engine, LOCK, actor, at=moments.now()):
        check_not_behind(engine, moments.now())
        last = last_snapshot(engine, _LATER)
        if last is not None and flow.day <= last.day:
            raise InputError(
                f"the books of {flow.day} are closed: the last run was on {last.day}",
                where=f"{flow.amount} {flow.token}",
                remedy="date it after that day",
            )
        _check_token(engine, flow)
        _check_enough(engine, flow, last)
        moment = moments.now()
        lines = flow_lines(moment, flow.day, flow.token, flow.amount, flow.memo)
        with writing(engine, actor, at=moment) as batch:
            write_entries(batch, lines)
    return lines


def _check_token(engine: Engine, flow: Flow) -> None:
    """Refuse to bring a token that has no price: the next run could not value it.

    Where the store has no prices yet, nobody knows.
    """
    newest = newest_day(engine, "token_prices_daily")
    if newest is None or flow.amount < 0.0:
        return
    known = set(read_frame(engine, "token_prices_daily", first=newest - _PRICE_AGE)["token"])
    if flow.token not in known:
        near = sorted(each for each in known if each.casefold() == flow.token.casefold())
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise InputError(
            f"the store has no price of {flow.token!r}{hint}",
            where=f"day {flow.day}",
            remedy="symbols are case-exact; ingest its price first if it is a new one",
        )


def _check_enough(engine: Engine, flow: Flow, last: Snapshot | None) -> None:
    """Refuse to take more than the books have: of the wallet, or of all after the first run."""
    balances = balances_of(read_entries(engine))
    in_wallet = balances.get((WALLET, flow.token), 0.0)
    if in_wallet + flow.amount >= -AMOUNT_TOLERANCE:
        return
    if last is None:
        raise InputError(
            f"{-flow.amount} {flow.token} cannot be taken: the wallet has {in_wallet}",
            where=f"day {flow.day}",
            remedy="take less: no run has put anything into pools yet",
        )
    rows = read_frame(engine, "token_prices_daily", first=last.day - _PRICE_AGE)
    newest = rows.sort_values("date").drop_duplicates("token", keep="last")
    prices = dict(zip(newest["token"], newest["close_usd"].tolist(), strict=True))
    price = price_of(flow.token, prices, f"withdrawal on {flow.day}")
    owned = sum(amount * prices.get(token, 0.0) for (_, token), amount in balances.items())
    if owned + flow.amount * price < 0.0:
        raise InputError(
            f"{-flow.amount} {flow.token} cannot be taken: they are {-flow.amount * price:,.2f} "
            f"USD, and the books have {max(owned, 0.0):,.2f} USD",
            where=f"day {flow.day}",
            remedy="take less",
        )


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
