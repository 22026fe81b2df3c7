"""Supply and borrow rates of lending markets from the database and from providers.

Both hold ``lend_borrow_daily`` rows that were checked when they came in; a provider's are fetched
by any `stableyield.sources.Source` of that table: DefiLlama's paid history (`LendBorrowHistory`),
its keyless snapshot (`LendBorrowSnapshot`), Aave's own interface (`AaveRates`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING

import pandas as pd

from stableyield.errors import MissingDataError
from stableyield.loops.rate_files import TABLE, rates_from_table
from stableyield.loops.rates import LoopRates
from stableyield.market.columns import Origin

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from stableyield.sources.base import Fetched

_DATABASE = f"{TABLE} of the database"


def rates_from_store(
    engine: Engine,
    *,
    known_by: datetime | None = None,
    first: date | None = None,
    last: date | None = None,
) -> tuple[LoopRates, ...]:
    """The markets whose rates the database holds.

    Parameters
    ----------
    engine : Engine
        As `stableyield.store.connect` gives it.
    known_by : datetime, optional
        Only what had been ingested by then, as it was then; the latest when absent.
    first, last : date, optional
        Days, both included.

    Raises
    ------
    MissingDataError
        When the database has no such row.
    StoreError
        When the database fails.
    """
    from stableyield.store.reading import read_frame  # noqa: PLC0415 - files need no database

    frame = read_frame(engine, TABLE, known_by=known_by, first=first, last=last)
    if frame.empty:
        raise MissingDataError(
            "the database has no lending rates" + (" of these days" if first or last else ""),
            where=TABLE,
            remedy="write a lend_borrow_daily table into it (docs/store.md), or give a file",
        )
    return rates_from_table(frame, origin=Origin(_DATABASE), confirm_percent=True)


def rates_from_fetched(fetched: Iterable[Fetched]) -> tuple[LoopRates, ...]:
    """The markets in what sources have fetched, one or several reserves each.

    What the sources assumed, and from which day on their rows are provisional, is in the notes of
    every market. Answers without a row of their days are left out.

    Parameters
    ----------
    fetched : iterable of Fetched

    Raises
    ------
    MissingDataError
        When none of them has a lending rate.
    ContractError
        When two of them give the same reserve and moment, or two reserves are of one token.
    """
    answers = [answer for answer in fetched if TABLE in answer.tables]
    if not answers:
        raise MissingDataError(
            "no source gave a lending rate",
            where=TABLE,
            remedy="ask for other days, or check the pools that were asked for",
        )
    frame = pd.concat([answer.tables[TABLE] for answer in answers], ignore_index=True)
    notes = _notes_of(answers)
    markets = rates_from_table(frame, origin=Origin("the sources' rates"), confirm_percent=True)
    return tuple(replace(market, notes=(*market.notes, *notes)) for market in markets)


def _notes_of(answers: list[Fetched]) -> tuple[str, ...]:
    """What the sources assumed, once each, and the first day that may still change."""
    said = dict.fromkeys(text for answer in answers for text in answer.assumptions)
    first = min((day for answer in answers if (day := answer.provisional_from)), default=None)
    last = max(answer.tables[TABLE]["date"].max().date() for answer in answers)
    if first is None or last < first:
        return tuple(said)
    return (*said, f"Rates of {first} and later are provisional: the day had not ended.")
