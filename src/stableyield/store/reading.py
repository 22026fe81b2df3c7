"""Reading rows that may have been corrected: the latest, or those that were known by a moment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import ColumnElement, Connection, Engine, Select, Table, or_, select

from stableyield.errors import InputError
from stableyield.store.clock import to_day_number, to_micros
from stableyield.store.schema import (
    INGESTED,
    POOL_KEYS,
    REVISION,
    REVISIONS,
    SUPERSEDED,
    UNKNOWN_HORIZON,
    stored_name,
)
from stableyield.store.session import reading
from stableyield.store.tables import REVISED, Kind, RevisedTable

_US = "datetime64[us]"


def known_rows(table: Table, known_by: datetime | None) -> ColumnElement[bool]:
    """The revisions that were current at ``known_by``; the latest ones where it is None."""
    if known_by is None:
        return table.c[SUPERSEDED].is_(None)
    moment = to_micros(known_by)
    still = or_(table.c[SUPERSEDED].is_(None), table.c[SUPERSEDED] > moment)
    return (table.c[INGESTED] <= moment) & still


def between(
    column: ColumnElement[int], first: date | None, last: date | None
) -> ColumnElement[bool]:
    """Days from ``first`` to ``last``, both included; an absent end is open."""
    first_number = to_day_number(first or date.min)
    return column.between(first_number, to_day_number(last or date.max))


def read_frame(
    engine: Engine,
    table: str,
    *,
    known_by: datetime | None = None,
    first: date | None = None,
    last: date | None = None,
    only: Mapping[str, str | int] | None = None,
) -> pd.DataFrame:
    """The rows of ``table``, one a key.

    Parameters
    ----------
    engine : Engine
    table : str
        A key of `stableyield.store.tables.REVISED`.
    known_by : datetime, optional
        Only what had been ingested by then, as it was then; the latest when absent.
    first, last : date, optional
        Days (of the first day column of the key), both included.
    only : mapping of column to value, optional
        Rows with these texts and whole numbers alone.

    Returns
    -------
    DataFrame
        Key and values, sorted by key; dates are datetime64[us], numbers float64, flags boolean
        (missing where unknown), lists tuples. Empty, with its columns, where nothing is known.

    Raises
    ------
    InputError
        When days are asked of a table without days, or ``known_by`` has no time zone.
    StoreError
        When the database fails.
    """
    with reading(engine, table) as connection:
        return read_table(connection, table, known_by=known_by, first=first, last=last, only=only)


def read_table(
    connection: Connection,
    table: str,
    *,
    known_by: datetime | None = None,
    first: date | None = None,
    last: date | None = None,
    only: Mapping[str, str | int] | None = None,
) -> pd.DataFrame:
    """As `read_frame`, inside a transaction that is open already."""
    spec, base = REVISED[table], REVISIONS[table]
    query = _query(spec, base).where(known_rows(base, known_by))
    if first is not None or last is not None:
        query = query.where(between(base.c[day_column(spec)], first, last))
    query = query.where(*(base.c[name] == value for name, value in (only or {}).items()))
    frame = _frame(connection, spec.kinds, query)
    return frame.sort_values(list(spec.key), kind="stable", ignore_index=True)


def read_history(engine: Engine, table: str) -> pd.DataFrame:
    """Every revision of ``table`` that there ever was, the oldest of a key first.

    Returns
    -------
    DataFrame
        As `read_frame`, and revision, ingested_at, superseded_at (UTC; missing: current).
    """
    spec, base = REVISED[table], REVISIONS[table]
    own = (base.c[REVISION], base.c[INGESTED], base.c[SUPERSEDED])
    kinds: dict[str, Kind] = {
        **spec.kinds,
        **dict.fromkeys((REVISION, INGESTED, SUPERSEDED), "integer"),
    }
    with reading(engine, f"the history of {table}") as connection:
        frame = _frame(connection, kinds, _query(spec, base, *own))
    for name in (INGESTED, SUPERSEDED):
        frame[name] = pd.to_datetime(frame[name], unit="us", utc=True)
    frame = frame.assign(**{REVISION: frame[REVISION].astype("int64")})
    return frame.sort_values([*spec.key, REVISION], kind="stable", ignore_index=True)


def day_column(spec: RevisedTable) -> str:
    """The day that rows of a table are of.

    Raises
    ------
    InputError
        When the table has none.
    """
    for name, kind in spec.key.items():
        if kind == "day":
            return name
    raise InputError(f"rows of {spec.name} have no day", remedy="read them without first and last")


def _query(spec: RevisedTable, base: Table, *more: ColumnElement[Any]) -> Select[Any]:
    columns = [
        POOL_KEYS.c.pool_id if kind == "pool" else base.c[stored_name(name, kind)]
        for name, kind in spec.kinds.items()
    ]
    query = select(*columns, *more).select_from(base)
    if "pool" in spec.kinds.values():
        query = query.join(POOL_KEYS, POOL_KEYS.c.pool_key == base.c["pool_key"])
    return query


def _frame(
    connection: Connection, kinds: dict[str, Kind] | Any, query: Select[Any]
) -> pd.DataFrame:
    rows = connection.execute(query).all()
    columns = zip(*rows, strict=True) if rows else ((),) * len(kinds)
    return pd.DataFrame(
        {
            name: _series(kind, values)
            for (name, kind), values in zip(kinds.items(), columns, strict=True)
        }
    )


def _series(kind: Kind, values: tuple[Any, ...]) -> pd.Series[Any]:
    if kind == "number":
        return pd.Series(np.array(values, dtype=np.float64))
    if kind in {"integer", "horizon"}:
        numbers = pd.Series(values, dtype="Int64")
        return numbers if kind == "integer" else numbers.where(numbers != UNKNOWN_HORIZON)
    if kind == "flag":
        flags = [None if value is None else bool(value) for value in values]
        return pd.Series(flags, dtype="boolean")
    if kind == "day":
        days = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        known = np.where(np.isnan(days), 0.0, days).astype(np.int64).astype("datetime64[D]")
        return pd.Series(np.where(np.isnan(days), np.datetime64("NaT"), known).astype(_US))
    if kind == "json":
        return pd.Series([_parsed(value) for value in values], dtype=object)
    return pd.Series(values, dtype="str")


def _parsed(value: str | None) -> Any:
    found = None if value is None else json.loads(value)
    return tuple(found) if isinstance(found, list) else found
