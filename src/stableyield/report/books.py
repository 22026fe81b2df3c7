"""The tables of a result as the report reads them: checked columns, daily books, flags of a day."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.errors import ContractError
from stableyield.report.performance import PolicyDays

if TYPE_CHECKING:
    from stableyield.backtest.result import BacktestResult

STRATEGY = "strategy"
EQUAL_WEIGHT = "equal_weight"
CLAIRVOYANT = "clairvoyant"

_BOOK_COLUMNS = ("aum_start", "aum_end", "gas_usd", "conversion_usd", "turnover_usd")
_FLOW_COLUMN = "flow_usd"  # optional: runs without deposits and withdrawals may lack it
_KNOWN_COLUMNS = ("yield_usd", "price_usd")
_COLUMNS = {
    "daily_log": (
        *("exec_date", "status", "solver_status", "flags", "yield_usd", "price_usd"),
        *("daily_actual_pnl", "daily_forecast_pnl", *_BOOK_COLUMNS),
    ),
    "positions": ("exec_date", "pool_id", "symbol", "chain", "protocol", "token", "amount_usd"),
    "benchmarks": ("policy", "exec_date", *_BOOK_COLUMNS),
}
_USUAL = frozenset({"", "done", "ok", "optimal"})


def policy_books(
    result: BacktestResult,
) -> tuple[NDArray[np.datetime64], dict[str, PolicyDays]]:
    """The exec dates, and the daily books of the strategy (first) and of each benchmark.

    Raises
    ------
    ContractError
        When a column is missing, the exec dates are not consecutive or differ between the strategy
        and a benchmark, or an AUM, a yield or a change of prices is unknown.
    """
    for table, columns in _COLUMNS.items():
        if missing := [name for name in columns if name not in getattr(result, table)]:
            raise ContractError(
                f"column {missing[0]} is missing", where=table, remedy="see docs/formats.md"
            )
    for name in _KNOWN_COLUMNS:
        refuse_unknown(result.daily_log, name, "daily_log")
    days = exec_dates(result.daily_log)
    gaps = np.diff(days) != np.timedelta64(1, "D")
    if gaps.any():
        raise ContractError(
            f"the day after {days[int(np.argmax(gaps))]} is missing",
            where="daily_log",
            remedy="a backtest has one row for each consecutive day",
        )
    books = {STRATEGY: _policy_days(result.daily_log)}
    for policy, rows in result.benchmarks.groupby("policy", sort=True):
        if not np.array_equal(exec_dates(rows), days):
            raise ContractError(
                "the days are not those of the strategy",
                where=f"benchmarks, policy {policy}",
                remedy="run every benchmark over the same days",
            )
        books[str(policy)] = _policy_days(rows)
    return days, books


def exec_dates(frame: pd.DataFrame) -> NDArray[np.datetime64]:
    """The exec_date column as days, from ISO text, dates or timestamps."""
    return pd.to_datetime(frame["exec_date"]).to_numpy().astype("datetime64[D]")


def refuse_unknown(frame: pd.DataFrame, column: str, table: str) -> None:
    """Every amount of a column is a number: an unknown one is not left out of a sum.

    Raises
    ------
    ContractError
        With the first row that is not, and its day and pool.
    """
    unknown = ~np.isfinite(frame[column].to_numpy(dtype=np.float64))
    if unknown.any():
        row = int(np.argmax(unknown))
        pool = f", pool {frame['pool_id'].iloc[row]}" if "pool_id" in frame else ""
        raise ContractError(
            f"{column} is {frame[column].iloc[row]}",
            where=f"{table}, row {row}, day {exec_dates(frame)[row]}{pool}",
            remedy="an amount is a number; write the table again from the run",
        )


def _policy_days(frame: pd.DataFrame) -> PolicyDays:
    columns = [*_BOOK_COLUMNS, *([_FLOW_COLUMN] if _FLOW_COLUMN in frame else [])]
    return PolicyDays(**{name: frame[name].to_numpy(dtype=np.float64) for name in columns})


def is_unusual(status: str) -> bool:
    """True for a day that did not follow a fresh plan: held, relaxed, infeasible, time limit."""
    return status.lower() not in _USUAL


def read_flags(text: object) -> list[str]:
    """The flags of a day from their JSON text; an absent text has none."""
    if not isinstance(text, str) or not text.strip():
        return []
    try:
        value = json.loads(text)
    except ValueError:
        return [text]
    return [str(flag) for flag in value] if isinstance(value, list) else [str(value)]
