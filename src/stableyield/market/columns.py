"""Typed columns from those of a file; what does not fit is named by row, column and value."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stableyield.errors import ContractError

MISSING_TEXTS = ("", "nan", "null", "none", "nat", "<na>")
_TRUE = ("true", "1", "1.0", "yes")
_FALSE = ("false", "0", "0.0", "no")
_FIRST_YEAR, _LAST_YEAR = 2009, 2100


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a table came from, for messages.

    Parameters
    ----------
    file : str
        Name of the file or table.
    is_csv : bool
        Rows are then named by their line (the header is line 1), else by their number from 1.
    """

    file: str
    is_csv: bool = False

    def row(self, position: int) -> str:
        """Name of the row at ``position`` (from 0)."""
        return f"line {position + 2}" if self.is_csv else f"row {position + 1}"

    def error(self, what: str, column: str, position: int, value: object) -> ContractError:
        """A `ContractError` that names file, row, column and value."""
        return ContractError(
            f"column {column!r} holds {_shown(value)}: {what}",
            where=f"{self.file}, {self.row(position)}",
            remedy="correct or remove the row",
        )


def to_timestamps(column: pd.Series[Any], origin: Origin) -> pd.Series[Any]:
    """Moments in UTC without a time zone, datetime64[us]; the time of day is kept.

    Raises
    ------
    ContractError
        For numbers (seconds or milliseconds? since when?), texts that are not ISO 8601, and years
        outside 2009..2100. A missing value stays missing.
    """
    name = str(column.name)
    if pd.api.types.is_numeric_dtype(column) and len(column) and column.notna().any():
        raise origin.error("dates are ISO 8601 texts or timestamps", name, 0, column.iloc[0])
    texts = column if pd.api.types.is_datetime64_any_dtype(column) else column.astype("str")
    moments = pd.to_datetime(texts, utc=True, errors="coerce", format="ISO8601")
    moments = moments.dt.tz_localize(None).astype("datetime64[us]")
    if (bad := _first(moments.isna() & ~is_missing(column))) is not None:
        raise origin.error("not a date (want YYYY-MM-DD)", name, bad, column.iloc[bad])
    outside = (moments.dt.year < _FIRST_YEAR) | (moments.dt.year > _LAST_YEAR)
    if (bad := _first(outside)) is not None:
        raise origin.error("a date outside 2009..2100", name, bad, column.iloc[bad])
    return moments


def to_numbers(column: pd.Series[Any], origin: Origin) -> pd.Series[Any]:
    """Floats; a missing value is NaN.

    Raises
    ------
    ContractError
        For a text that is not a number.
    """
    if pd.api.types.is_numeric_dtype(column):
        return column.astype("float64")
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    if (bad := _first(numbers.isna() & ~is_missing(column))) is not None:
        raise origin.error("not a number", str(column.name), bad, column.iloc[bad])
    return numbers


def to_flags(column: pd.Series[Any], origin: Origin, *, default: bool) -> pd.Series[Any]:
    """Booleans from true/false, 1/0 and yes/no; a missing value is ``default``.

    Raises
    ------
    ContractError
        For anything else.
    """
    texts = column.astype("str").str.lower()
    missing = is_missing(column)
    true = texts.isin(_TRUE)
    if (bad := _first(~(true | texts.isin(_FALSE) | missing))) is not None:
        raise origin.error("neither true nor false", str(column.name), bad, column.iloc[bad])
    return pd.Series(np.where(missing, default, true).astype(bool), column.index, name=column.name)


def to_texts(column: pd.Series[Any]) -> pd.Series[Any]:
    """Texts without surrounding blanks; missing and empty ones are missing (NaN)."""
    texts = column.astype("str").str.strip()
    says_nothing = column.isna() | (texts == "")
    return texts.mask(says_nothing) if says_nothing.any() else texts


def to_lists(
    column: pd.Series[Any], origin: Origin, *, of: type[str] | type[float]
) -> pd.Series[Any]:
    """Tuples from JSON lists (or lists, as parquet has them); a missing one is an empty tuple.

    Raises
    ------
    ContractError
        For malformed JSON, something else than a list, or items of another type.
    """
    values = [
        _list_of(value, of, str(column.name), position, origin)
        for position, value in enumerate(column.tolist())
    ]
    return pd.Series(values, column.index, dtype=object, name=column.name)


def is_missing(column: pd.Series[Any]) -> pd.Series[Any]:
    """Where a column says nothing."""
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return column.isna()
    return column.isna() | column.astype("str").str.strip().str.lower().isin(MISSING_TEXTS)


def _list_of(
    value: Any, of: type[str] | type[float], column: str, position: int, origin: Origin
) -> tuple[Any, ...]:
    found = value
    if isinstance(value, str):
        try:
            found = json.loads(value) if value.strip() else []
        except json.JSONDecodeError as error:
            raise origin.error(f"not a JSON list ({error.msg})", column, position, value) from error
    elif isinstance(value, np.ndarray):
        found = value.tolist()
    elif pd.api.types.is_scalar(value) and pd.isna(value):
        found = []
    if isinstance(found, str) or not isinstance(found, Sequence):
        raise origin.error("not a JSON list", column, position, value)
    wanted = str if of is str else (int, float)
    if not all(isinstance(item, wanted) and not isinstance(item, bool) for item in found):
        kind = "texts" if of is str else "numbers"
        raise origin.error(f"not a JSON list of {kind}", column, position, value)
    return tuple(of(item) for item in found)


def _first(where: pd.Series[Any]) -> int | None:
    """Position of the first True."""
    flags = where.to_numpy(dtype=bool)
    return int(flags.argmax()) if flags.any() else None


def _shown(value: object) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    text = value.isoformat() if isinstance(value, pd.Timestamp) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
