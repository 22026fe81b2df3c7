"""From the last book to today's: what positions earned since, what came and went.

The same accounting as the backtest's: `realised` and `next_day`, one calendar day at a time, also
over days on which no run took place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from sqlalchemy import Engine

from stableyield.backtest.day import exec_days, prices_of
from stableyield.backtest.ledger import next_day
from stableyield.backtest.realised import realised
from stableyield.config import AllocationParameters
from stableyield.domain.portfolio import Book, Position
from stableyield.market.panel import MarketPanel
from stableyield.pipeline.journal import AMOUNT_TOLERANCE, book_of
from stableyield.store import read_frame

BOOKED, OBSERVED = "booked", "observed"


@dataclass(frozen=True)
class Snapshot:
    """The book after the plan of a day.

    Parameters
    ----------
    day : date
    book : Book
    """

    day: date
    book: Book


@dataclass(frozen=True)
class BookDay:
    """One calendar day of the books, up to the moment at which its run decides.

    Parameters
    ----------
    day : date
    opening : Book
        After the plan of the day before.
    book : Book
        At the end of the day: with what was earned, brought and taken.
    prices_usd : mapping of token to USD price
        Of the end of the day; everything that is owned has one.
    earned : mapping of (pool_id, token) to amount
    flows : mapping of token to amount
        What the owner brought (positive) or took.
    flags : tuple of str
        Old prices, and pools that earned nothing because their return is unknown.
    owed : mapping of token to amount
        What the owner takes and the wallet cannot give: the next run raises it.
    """

    day: date
    opening: Book
    book: Book
    prices_usd: Mapping[str, float]
    earned: Mapping[Position, float] = field(default_factory=dict)
    flows: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    owed: Mapping[str, float] = field(default_factory=dict)

    @property
    def aum_usd(self) -> float:
        """What is owned before the run of the day, at its closing prices, less what is owed."""
        owed = math.fsum(amount * self.prices_usd[token] for token, amount in self.owed.items())
        return self.book.aum_usd(self.prices_usd) - owed


def last_snapshot(
    engine: Engine, before: date, known_by: datetime | None = None
) -> Snapshot | None:
    """The newest book of a day before ``before``; None when nothing was ever booked."""
    last = before - timedelta(days=1)
    rows = read_frame(engine, "daily_balances", known_by=known_by, last=last)
    rows = rows[(rows["basis"] == BOOKED) & (rows["amount"] > 0.0)]
    if rows.empty:
        return None
    newest = rows[rows["date"] == rows["date"].max()]
    keys = zip(newest["location"], newest["token"], strict=True)
    balances = dict(zip(keys, newest["amount"].tolist(), strict=True))
    return Snapshot(newest["date"].iloc[0].date(), book_of(balances))


def carry(
    last: Snapshot | None,
    panel: MarketPanel,
    day: date,
    flows: Mapping[date, Mapping[str, float]],
    parameters: AllocationParameters,
) -> tuple[BookDay, ...]:
    """Every day from the one after ``last`` to ``day``, in order; the last one is that of the run.

    Parameters
    ----------
    last : Snapshot, optional
        None: the books are new, and begin on ``day`` with all flows up to it.
    panel : MarketPanel
    day : date
    flows : mapping of day to token to amount
    parameters : AllocationParameters
        ``own_impact`` says whether the returns still have to be diluted by our own share.

    Raises
    ------
    MissingDataError
        When something that is owned or owed has no price.
    """
    if last is None:
        brought: dict[str, float] = {}
        for of_day in (flows[each] for each in sorted(flows) if each <= day):
            for token, amount in of_day.items():
                brought[token] = brought.get(token, 0.0) + amount
        book, owed = with_flows(Book(), brought, {})
        prices, _ = prices_of(panel.as_of(day), _with_owed(book, owed), parameters)
        return (BookDay(day, Book(), book, prices, flows=brought, owed=owed),)
    days: list[BookDay] = []
    book, owed = last.book, {}
    patient = parameters.model_copy(update={"missing_price": "last"})
    for each in exec_days(last.day + timedelta(days=1), day):
        rules = parameters if each == day else patient  # nothing is decided on the days between
        today, tomorrow = panel.as_of(each - timedelta(days=1)), panel.as_of(each)
        prices, _ = prices_of(today, book, patient)
        next_prices, old = prices_of(tomorrow, book, rules)
        result = next_day(book, prices, next_prices, realised(tomorrow, book, rules))
        missing = tuple(f"no realised return on {each}: {pool}" for pool in result.missing)
        earned = {
            key: amount - book.positions[key]
            for key, amount in result.book.positions.items()
            if amount != book.positions[key]
        }
        lost = {
            key: -amount
            for key, amount in book.positions.items()
            if key not in result.book.positions
        }
        of_day = dict(flows.get(each, {}))
        owned, owed = with_flows(result.book, of_day, owed)
        prices, _ = prices_of(tomorrow, _with_owed(owned, owed), rules)
        flags = (*old, *missing)
        days.append(BookDay(each, book, owned, prices, earned | lost, of_day, flags, owed))
        book = owned
    return tuple(days)


def with_flows(
    book: Book, flows: Mapping[str, float], owed: Mapping[str, float]
) -> tuple[Book, dict[str, float]]:
    """The book after what was brought to the wallet or taken from it, and what is owed then.

    A withdrawal that the wallet cannot pay is owed as a whole: nobody has taken a part of it. What
    is missing to the last `AMOUNT_TOLERANCE` of a wallet that is emptied is rounding.

    Parameters
    ----------
    book : Book
    flows : mapping of token to amount
        What the owner brings (positive) or takes.
    owed : mapping of token to amount
        From earlier days.
    """
    wallet, left = dict(book.wallet), dict(owed)
    for token, amount in flows.items():
        there = wallet.get(token, 0.0) + max(amount, 0.0)
        due = left.pop(token, 0.0) + max(-amount, 0.0)
        if due > there + AMOUNT_TOLERANCE:
            left[token] = due
            due = 0.0
        wallet[token] = max(there - due, 0.0)
    return Book(wallet, book.positions), left


def _with_owed(book: Book, owed: Mapping[str, float]) -> Book:
    """The book with what is owed in its wallet, so that each token of either gets a price."""
    needed = {token: amount for token, amount in owed.items() if not book.wallet.get(token)}
    return Book({**book.wallet, **needed}, book.positions) if needed else book
