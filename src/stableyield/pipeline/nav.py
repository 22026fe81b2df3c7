"""The daily results: balances, the ledger by token, assets and realised yield.

The yield of day t is ``(assets before the run of t+1 - assets before the run of t) / assets before
the run of t``, without what was brought or taken between the two. Year to date the days are linked:
``(1 + y_1) (1 + y_2) ... - 1`` from the first of January on, so that the size of deposits does not
matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import pandas as pd

from stableyield.domain.portfolio import CENT_USD, Book
from stableyield.errors import ConservationError
from stableyield.pipeline.carry import BOOKED, BookDay
from stableyield.pipeline.journal import (
    ASSETS,
    CONVERSION,
    DEPOSITS,
    DIFFERENCES,
    EXCHANGE,
    GAS,
    WITHDRAWALS,
    YIELD,
    balances_of_book,
)
from stableyield.store import LedgerLine

# account -> column of daily_ledger, and the sign with which it adds to the holdings
_COLUMNS: Mapping[str, tuple[str, float]] = {
    DEPOSITS: ("deposits_amount", -1.0),
    WITHDRAWALS: ("withdrawals_amount", 1.0),
    EXCHANGE: ("conversions_amount", -1.0),
    GAS: ("costs_amount", 1.0),
    CONVERSION: ("costs_amount", 1.0),
    YIELD: ("yield_amount", -1.0),
    DIFFERENCES: ("yield_amount", -1.0),
}
_TAKEN = ("withdrawals_amount", "costs_amount")
_PARTS = ("deposits_amount", "withdrawals_amount", "conversions_amount", "costs_amount")


def balances_frame(
    day: date,
    book: Book,
    prices_usd: Mapping[str, float],
    run_id: str,
    earlier: Iterable[tuple[str, str]] = (),
) -> pd.DataFrame:
    """Rows of ``daily_balances``; balances in ``earlier`` that are no more are 0."""
    balances = dict.fromkeys(earlier, 0.0) | balances_of_book(book)
    rows = [
        (location, token, amount, prices_usd.get(token), amount * prices_usd.get(token, math.nan))
        for (location, token), amount in sorted(balances.items())
    ]
    columns = ["location", "token", "amount", "price_usd", "amount_usd"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(date=pd.Timestamp(day), basis=BOOKED, run_id=run_id)


def ledger_frame(
    days: Sequence[BookDay],
    lines: Sequence[LedgerLine],
    run_id: str,
    earlier_ytd_usd: Mapping[str, float],
) -> pd.DataFrame:
    """Rows of ``daily_ledger``, one a day and token, made from the journal alone.

    Parameters
    ----------
    days : sequence of BookDay
    lines : sequence of LedgerLine
        Of these days.
    run_id : str
    earlier_ytd_usd : mapping of token to USD
        Realised yield of the year before the first of ``days``.

    Raises
    ------
    ConservationError
        When a token's opening, movements and closing do not add up: a bug.
    """
    rows: list[dict[str, Any]] = []
    ytd, year = dict(earlier_ytd_usd), days[0].day.year
    held = _by_token(days[0].opening)
    for each in days:
        if each.day.year != year:
            ytd, year = {}, each.day.year
        moved = _moved_on(each.day, lines)
        for token in sorted({*held, *moved}):
            row = _row(each, token, held.get(token, 0.0), moved.get(token, {}))
            if row["close_usd"] is not None:
                row["realised_yield_usd"] = row["yield_amount"] * row["close_usd"]
                ytd[token] = ytd.get(token, 0.0) + row["realised_yield_usd"]
                row["realised_yield_ytd_usd"] = ytd[token]
            rows.append({**row, "run_id": run_id})
            held[token] = row["closing_amount"]
    return pd.DataFrame(rows)


def _row(day: BookDay, token: str, opening: float, moved: Mapping[str, float]) -> dict[str, Any]:
    parts = {name: moved.get(name, 0.0) for name in (*_PARTS, "yield_amount")}
    signed = [-amount if name in _TAKEN else amount for name, amount in parts.items()]
    closing = math.fsum([opening, *signed])
    price = day.prices_usd.get(token)
    change = math.fsum([closing, -opening, -moved.get("assets", 0.0)])
    if abs(change) * (price or 1.0) > CENT_USD:
        raise ConservationError(
            f"{change} {token} appeared or disappeared", where=f"ledger of {day.day}"
        )
    return {
        "date": pd.Timestamp(day.day),
        "token": token,
        "opening_amount": opening,
        **parts,
        "closing_amount": closing,
        "close_usd": price,
        "nav_usd": None if price is None else closing * price,
    }


def _moved_on(day: date, lines: Iterable[LedgerLine]) -> dict[str, dict[str, float]]:
    """Sums of the accounts by token and column; ``assets`` is what the holdings changed by."""
    found: dict[str, dict[str, list[float]]] = {}
    for line in lines:
        if line.date != day:
            continue
        is_asset = line.account.startswith(ASSETS)
        name, sign = ("assets", 1.0) if is_asset else _COLUMNS[line.account]
        found.setdefault(line.token, {}).setdefault(name, []).append(sign * line.amount)
    return {
        token: {name: math.fsum(parts) for name, parts in columns.items()}
        for token, columns in found.items()
    }


def _by_token(book: Book) -> dict[str, float]:
    held: dict[str, list[float]] = {}
    for (_, token), amount in balances_of_book(book).items():
        held.setdefault(token, []).append(amount)
    return {token: math.fsum(parts) for token, parts in held.items()}


def assets_frame(days: Sequence[BookDay], costs_usd: float, run_id: str) -> pd.DataFrame:
    """Rows of ``daily_nav`` for ``days``: assets before the run of each, and what it cost.

    Days without a run cost nothing; ``costs_usd`` is of the plan of the last one.
    """
    return pd.DataFrame(
        {
            "date": [pd.Timestamp(each.day) for each in days],
            "assets_before_usd": [each.aum_usd for each in days],
            "costs_usd": [*[0.0] * (len(days) - 1), costs_usd],
            "run_id": run_id,
        }
    )


def results_frame(days: Sequence[BookDay], earlier: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``daily_nav`` for the day before each of ``days``, now that its end is known.

    Parameters
    ----------
    days : sequence of BookDay
    earlier : DataFrame
        Rows of ``daily_nav`` before the first of ``days``, in order.
    """
    first = pd.Timestamp(days[0].day - timedelta(days=1))
    before, past = earlier[earlier["date"] == first], earlier[earlier["date"] < first]
    if before.empty:
        days, assets_usd = days[1:], days[0].aum_usd
    else:
        assets_usd = float(before["assets_before_usd"].iloc[0])
    past = past[past["yield_ytd"].notna() & (past["date"].dt.year == first.year)]
    ytd = float(past["yield_ytd"].iloc[-1]) if len(past) else 0.0
    rows: list[dict[str, Any]] = []
    for each in days:
        of = each.day - timedelta(days=1)
        ytd = 0.0 if (of.month, of.day) == (1, 1) else ytd
        rows.append(_result(each, assets_usd, ytd))
        ytd, assets_usd = rows[-1]["yield_ytd"], each.aum_usd
    return pd.DataFrame(rows)


def _result(day: BookDay, assets_usd: float, ytd: float) -> dict[str, Any]:
    """What the day before ``day`` brought."""
    value = [amount * day.prices_usd[token] for token, amount in day.flows.items()]
    deposits = math.fsum(usd for usd in value if usd > 0.0)
    withdrawals = -math.fsum(usd for usd in value if usd < 0.0)
    earned = math.fsum([day.aum_usd, -assets_usd, -deposits, withdrawals])
    yield_day = earned / assets_usd if assets_usd > 0.0 else 0.0
    return {
        "date": pd.Timestamp(day.day - timedelta(days=1)),
        "assets_before_usd": assets_usd,
        "assets_next_usd": day.aum_usd,
        "deposits_usd": deposits,
        "withdrawals_usd": withdrawals,
        "yield_usd": earned,
        "yield_day": yield_day,
        "yield_ytd": (1.0 + ytd) * (1.0 + yield_day) - 1.0,
    }
