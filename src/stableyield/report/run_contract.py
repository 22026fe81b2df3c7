"""What the files of a run must hold before a report is made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pandas as pd

from stableyield.errors import ContractError

_BOOK = ("aum_start", "aum_end", "gas_usd", "conversion_usd", "turnover_usd")
_COLUMNS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = MappingProxyType(
    {  # of each table: texts, and numbers
        "daily_log": (
            ("exec_date", "status", "solver_status", "flags"),
            (*_BOOK, "yield_usd", "price_usd", "daily_actual_pnl", "daily_forecast_pnl"),
        ),
        "positions": (
            ("exec_date", "pool_id", "symbol", "chain", "protocol", "token"),
            ("amount", "amount_usd"),
        ),
        "transactions": (("exec_date", "type", "from_location", "to_location"), ("amount_usd",)),
        "benchmarks": (("exec_date", "policy"), _BOOK),
        "timings": (("exec_date",), ("solve_seconds", "day_seconds")),
    }
)
_RUN: Mapping[str, type] = MappingProxyType(
    {"assumptions": list, "parameters": dict, "libraries": dict, "timings": dict}
)
_PLAN: Mapping[str, type] = MappingProxyType(
    {
        **dict.fromkeys(("transactions", "positions", "infeasible_because"), list),
        **dict.fromkeys(("wallet", "costs", "expected", "explanation"), dict),
    }
)
_ROWS = MappingProxyType(
    {"transactions": ("type", "from_location", "to_location"), "positions": ("pool_id",)}
)
_REMEDY = "run the backtest again with --out; docs/formats.md says what the file holds"


def check_table(name: str, frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """The table, if it has the columns that a report needs.

    Raises
    ------
    ContractError
        When a column is missing, a number is a text, or a day is none; names the column.
    """
    texts, numbers = _COLUMNS[name]
    for column in (*texts, *numbers):
        if column not in frame.columns:
            raise ContractError(f"column {column} is missing", where=where, remedy=_REMEDY)
    if frame.empty:
        return frame
    for column in numbers:
        kind = frame[column].dtype
        if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind):
            raise ContractError(
                f"column {column} holds {kind}, not numbers", where=where, remedy=_REMEDY
            )
    days = frame["exec_date"]
    if pd.api.types.is_numeric_dtype(days.dtype):
        raise ContractError("column exec_date holds numbers", where=where, remedy=_REMEDY)
    is_none = pd.to_datetime(days, errors="coerce", format="ISO8601").isna()
    if is_none.any():
        found = days[is_none].iloc[0]
        raise ContractError(f"exec_date {found!r} is no day", where=where, remedy=_REMEDY)
    return frame


def check_run(document: dict[str, Any], where: str) -> dict[str, Any]:
    """The description of a run, if its parts are what they must be.

    Raises
    ------
    ContractError
        When a part has another type; names it.
    """
    _refuse(_wrong_parts(document, _RUN), where)
    if any(not isinstance(text, str) for text in document.get("assumptions") or ()):
        _refuse(iter(["assumptions holds something that is no text"]), where)
    return document


def check_plan(document: dict[str, Any], where: str) -> dict[str, Any]:
    """A plan file, if its parts are what they must be; an empty one is of a run without plans.

    Raises
    ------
    ContractError
        When a part has another type, or a row lacks what names it.
    """
    _refuse(_wrong_parts(document, _PLAN), where)
    _refuse(_wrong_rows(document), where)
    return document


def _wrong_parts(document: Mapping[str, Any], parts: Mapping[str, type]) -> Iterator[str]:
    for name, kind in parts.items():
        value = document.get(name)
        if value is not None and not isinstance(value, kind):
            wanted = "a list" if kind is list else "an object"
            yield f"{name} is {type(value).__name__} {str(value)[:40]!r}, not {wanted}"


def _wrong_rows(plan: Mapping[str, Any]) -> Iterator[str]:
    for name, keys in _ROWS.items():
        for n, row in enumerate(plan.get(name) or ()):
            missing = keys if not isinstance(row, dict) else [k for k in keys if k not in row]
            if missing:
                yield f"{name}[{n}] has no {missing[0]}"
    for token, held in (plan.get("wallet") or {}).items():
        if not isinstance(held, dict):
            yield f"wallet.{token} is no object"


def _refuse(faults: Iterator[str], where: str) -> None:
    for fault in faults:
        raise ContractError(fault, where=where, remedy=_REMEDY)
