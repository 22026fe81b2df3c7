"""What a run writes: judgements of the day, the plan, and its bookings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Engine

from stableyield.allocation import Plan, problem_document
from stableyield.domain.portfolio import CENT_USD
from stableyield.pipeline.carry import BOOKED
from stableyield.pipeline.journal import (
    DEPOSITS,
    DIFFERENCES,
    check_conserved,
    difference_lines,
    plan_lines,
    reversal_of,
    yield_lines,
)
from stableyield.pipeline.nav import assets_frame, balances_frame, ledger_frame, results_frame
from stableyield.pipeline.paying import all_steps, whole_document
from stableyield.pipeline.work import DayWork
from stableyield.store import (
    Batch,
    LedgerLine,
    read_entries,
    read_frame,
    supersede_run,
    write_entries,
    write_frame,
    write_plan,
)

Floats = NDArray[np.float64]
_ICEBOX_SOURCE = "store"


def write_icebox(batch: Batch, work: DayWork) -> None:
    """Keep every stay in the icebox; one that is not over is revised when it is."""
    events = work.icebox.events
    if not events:
        return
    frame = pd.DataFrame(
        {
            "token": [event.token for event in events],
            "source": _ICEBOX_SOURCE,
            "entered": pd.to_datetime([event.entered for event in events]),
            "rule": [event.rule for event in events],
            "left": pd.to_datetime(pd.Series([event.left for event in events], dtype=object)),
            **{
                name: [getattr(event, name) for event in events]
                for name in ("low_usd", "close_usd", "peg_usd", "iceboxed", "reason")
            },
        }
    )
    write_frame(batch, "icebox_tokens", frame)


def write_assessments(batch: Batch, work: DayWork) -> None:
    """Keep what screening said of every pool: state, reasons, risk group and the figures."""
    screening = work.prepared.screening
    table = screening.to_frame()
    n_known = len(screening.pool_ids)
    apy_pct, expected = work.view.pool_series.apy_pct, work.inputs.expected

    def with_gone(values: Floats) -> Floats:
        return np.concatenate([values, np.full(len(table) - n_known, np.nan)])

    frame = pd.DataFrame(
        {
            "pool_id": table["pool_id"],
            "date": table["day"],
            "state": table["state"],
            "is_filtered_out": table["state"] != "open",
            "filter_reason": table["reasons"].where(table["reasons"] != "", None),
            "pool_group": table["risk_group"].where(table["risk_group"] > 0).astype("Int64"),
            "apy_delta_today_yesterday": table["apy_delta_pp"],
            "stddev_apy_7d": table["stddev_7d_pp"],
            "stddev_apy_30d": table["stddev_30d_pp"],
            "rolling_apy_7d": with_gone(_mean_of_last(apy_pct, 7)),
            "rolling_apy_30d": with_gone(_mean_of_last(apy_pct, 30)),
            "forecasted_apy": with_gone(expected.apy_pct),
            "forecasted_tvl": with_gone(expected.tvl_usd),
        }
    )
    write_frame(batch, "pool_assessments", frame)


def _mean_of_last(values: Floats, n_days: int) -> Floats:
    recent = values[-n_days:]
    known = np.isfinite(recent)
    count = known.sum(axis=0)
    total = np.where(known, recent, 0.0).sum(axis=0)
    mean: Floats = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return mean


@dataclass(frozen=True)
class Bookings:
    """Everything that recording a plan adds to the books.

    Parameters
    ----------
    lines : tuple of LedgerLine
    balances, ledger, assets, results : DataFrame
        Rows of ``daily_balances``, ``daily_ledger`` and ``daily_nav`` (before and after the run).
    """

    lines: tuple[LedgerLine, ...]
    balances: pd.DataFrame
    ledger: pd.DataFrame
    assets: pd.DataFrame
    results: pd.DataFrame


def bookings_of(engine: Engine, work: DayWork, run_id: str, plan: Plan) -> Bookings:
    """The bookings of a plan and of the days since the last run.

    Raises
    ------
    ConservationError
        When the journal with them does not add up to the book after the plan, to 0.01 USD.
    """
    days = (*work.book_days[:-1], work.today)
    day, prices = work.day, work.today.prices_usd
    money = plan.settlement
    account = DEPOSITS if work.is_new else DIFFERENCES
    lines = (
        *(
            line
            for each in days
            for line in yield_lines(run_id, each.day, each.earned, each.prices_usd)
        ),
        *difference_lines(run_id, day, work.found.amounts(), prices, account=account),
        *plan_lines(run_id, day, all_steps(plan, work.payment), money.prices_usd),
    )
    known = read_entries(engine, last=day)
    check_conserved((*known, *lines), money.after, money.prices_usd, CENT_USD)
    of_these_days = [line for line in known if line.date >= days[0].day and _counts(line)]
    year_start = date(days[0].day.year, 1, 1)
    before = days[0].day - timedelta(days=1)
    earned = read_frame(engine, "daily_ledger", first=year_start, last=before)
    navs = read_frame(engine, "daily_nav", last=before)
    stale = read_frame(engine, "daily_balances", first=day, last=day)
    stale = stale[stale["basis"] == BOOKED]
    return Bookings(
        lines,
        balances_frame(
            day,
            money.after,
            money.prices_usd,
            run_id,
            zip(stale["location"], stale["token"], strict=True),
        ),
        ledger_frame(days, (*of_these_days, *lines), run_id, _ytd_usd(earned)),
        assets_frame(days, money.costs_usd + work.payment.costs_usd, run_id),
        results_frame(days, navs),
    )


def _counts(line: LedgerLine) -> bool:
    """Flows count; what a run booked and what reversed it cancel each other."""
    return line.run_id is None


def _ytd_usd(rows: pd.DataFrame) -> dict[str, float]:
    known = rows[rows["realised_yield_ytd_usd"].notna()].drop_duplicates("token", keep="last")
    return dict(zip(known["token"], known["realised_yield_ytd_usd"].tolist(), strict=True))


def write_bookings(batch: Batch, bookings: Bookings) -> None:
    """Write them; all of them are one transaction with the plan."""
    write_entries(batch, bookings.lines)
    write_frame(batch, "daily_balances", bookings.balances)
    if len(bookings.ledger):
        write_frame(batch, "daily_ledger", bookings.ledger)
    write_frame(batch, "daily_nav", bookings.assets)
    if len(bookings.results):
        write_frame(batch, "daily_nav", bookings.results)


def write_decision(batch: Batch, run_id: str, plan: Plan) -> None:
    """Keep the plan, its problem and its steps."""
    write_plan(batch, run_id, whole_document(plan), problem_document(plan.problem))


def undo_run(batch: Batch, engine: Engine, run_id: str, day: date) -> None:
    """Supersede a run that is done, and reverse its bookings; its plan stays to be read."""
    supersede_run(batch, run_id)
    lines = read_entries(engine)
    write_entries(batch, reversal_of(lines, run_id))
    rows = read_frame(engine, "daily_balances", first=day, last=day)
    rows = rows[rows["basis"] == BOOKED]
    zero = rows[["date", "basis", "location", "token"]].assign(amount=0.0, amount_usd=0.0)
    write_frame(batch, "daily_balances", zero)
