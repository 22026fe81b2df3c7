"""A frame as columns that the database can take: typed, finite, without a key that repeats."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.config import canonical_json
from stableyield.errors import ContractError
from stableyield.market.columns import Origin, is_missing, to_flags, to_numbers, to_timestamps
from stableyield.store.schema import UNKNOWN_HORIZON, stored_name
from stableyield.store.tables import Kind, RevisedTable

Array: TypeAlias = NDArray[Any]
_LARGEST_INTEGER = 2**31


@dataclass(frozen=True, eq=False)
class Columns:
    """Rows of one table, column by column, under the names of the revisions.

    Parameters
    ----------
    arrays : mapping of str to ndarray of shape (n_rows,)
        int64 for days and pools of the key; float64 for other numbers, NaN where unknown; object
        for texts, None where unknown.
    sha256 : str
        Of the content, with pools by their id.
    """

    arrays: Mapping[str, Array]
    sha256: str

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.arrays.values())))


def columns_of(
    table: RevisedTable,
    frame: pd.DataFrame,
    pool_keys: Callable[[pd.Index[Any]], NDArray[np.int64]],
    origin: Origin,
) -> Columns:
    """The columns of ``frame`` that ``table`` has.

    Parameters
    ----------
    table : RevisedTable
    frame : DataFrame
        With every key column; of the values those that it says something about.
    pool_keys : callable
        Numbers of pool ids; -1 where a pool is not known.
    origin : Origin
        For messages.

    Raises
    ------
    ContractError
        When a key column or a needed value is missing or empty, a column is unknown, a value does
        not fit its kind or is infinite, a pool is not known, or a key repeats.
    """
    _check_names(table, frame, origin)
    digest = hashlib.sha256(table.name.encode())
    arrays: dict[str, Array] = {}
    for name, kind in table.kinds.items():
        if name not in frame:
            continue
        digest.update(f"\x00{name}\x00".encode())
        column = frame[name]
        if kind == "pool":
            array = _pools(column, pool_keys, digest, origin)
        else:
            array = _array(column, kind, origin)
            _refuse_empty(array, name, origin, needed=_is_needed(table, name))
            digest.update(_bytes(array, column, origin))
            if kind == "horizon":
                array = np.where(np.isnan(array), UNKNOWN_HORIZON, array)
            if name in table.key and array.dtype != object:
                array = array.astype(np.int64)
        arrays[stored_name(name, kind)] = array
    _refuse_repeats(table, arrays, frame, origin)
    return Columns(arrays, digest.hexdigest())


def _check_names(table: RevisedTable, frame: pd.DataFrame, origin: Origin) -> None:
    known = f"{table.name} has {', '.join(table.kinds)}"
    for name in table.key:
        if name not in frame:
            raise ContractError(
                f"column {name!r} is missing", where=origin.file, remedy="add it", details=(known,)
            )
    for name in map(str, frame.columns):
        if name not in table.kinds:
            raise ContractError(
                f"column {name!r} is not one of {table.name}",
                where=origin.file,
                remedy="leave it out or rename it",
                details=(known,),
            )


def _array(column: pd.Series[Any], kind: Kind, origin: Origin) -> Array:
    if kind == "text":
        return _texts(column, origin)
    if kind == "json":
        return _jsons(column)
    if kind == "day":
        days = to_timestamps(column, origin).to_numpy().astype("datetime64[D]")
        return np.where(np.isnat(days), np.nan, days.astype(np.int64).astype(np.float64))
    if kind == "flag":
        flags = to_flags(column, origin, default=False).to_numpy(dtype=np.float64)
        return np.where(is_missing(column).to_numpy(dtype=bool), np.nan, flags)
    numbers = to_numbers(column, origin).to_numpy(dtype=np.float64, na_value=np.nan)
    _refuse(np.isinf(numbers), column, "not finite", origin)
    if kind in {"integer", "horizon"}:
        whole = np.isnan(numbers) | (
            (np.trunc(numbers) == numbers) & (np.abs(numbers) < _LARGEST_INTEGER)
        )
        _refuse(~whole, column, "not a whole number", origin)
    if kind == "horizon":
        _refuse(numbers < 1, column, "not a number of days, from 1", origin)
    return numbers


def _texts(column: pd.Series[Any], origin: Origin) -> Array:
    missing = column.isna().to_numpy(dtype=bool)
    texts: Array = column.to_numpy(dtype=object, copy=True)
    texts[missing] = None
    not_text = ~missing & ~np.fromiter((isinstance(t, str) for t in texts), bool, len(texts))
    _refuse(not_text, column, "not a text", origin)
    return texts


def _jsons(column: pd.Series[Any]) -> Array:
    texts = np.empty(len(column), dtype=object)
    texts[:] = [
        None if value is None or (isinstance(value, float) and np.isnan(value)) else _json(value)
        for value in column.tolist()
    ]
    return texts


def _json(value: Any) -> str:
    return canonical_json(list(value) if isinstance(value, tuple) else value)


def _bytes(array: Array, column: pd.Series[Any], origin: Origin) -> bytes:
    """The content of a column; refuses texts that a database cannot keep."""
    if array.dtype != object:
        return np.where(np.isnan(array), np.nan, array + 0.0).tobytes()  # one NaN, one zero
    joined = "\x00".join("\x01" if text is None else text for text in array)
    try:
        encoded = joined.encode()
    except UnicodeEncodeError:
        encoded = b""
    if joined and (not encoded or joined.count("\x00") != len(array) - 1):
        bad = np.fromiter((text is not None and not _is_storable(text) for text in array), bool)
        _refuse(bad, column, "a NUL or half a character, which no database keeps", origin)
    return encoded


def _is_storable(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _pools(
    column: pd.Series[Any],
    pool_keys: Callable[[pd.Index[Any]], NDArray[np.int64]],
    digest: Any,
    origin: Origin,
) -> Array:
    codes, ids = pd.factorize(column)
    _refuse(codes < 0, column, "empty", origin)
    names = pd.Series(ids, dtype=object, name=column.name)
    digest.update(_bytes(_texts(names, origin), names, origin))
    digest.update(codes.astype(np.int64).tobytes())
    keys = pool_keys(pd.Index(names))
    if (keys < 0).any():
        unknown = names[keys < 0].tolist()
        raise ContractError(
            f"pool_id {unknown[0]!r} is not in pools",
            where=origin.file,
            remedy="write the pool to pools first, or leave its rows out",
            details=(f"{len(unknown)} pools in all are unknown",),
        )
    return keys[codes]


def _is_needed(table: RevisedTable, name: str) -> bool:
    """Whether a column may not be empty; of the key only a horizon may."""
    if name in table.key:
        return table.key[name] != "horizon"
    return name in table.needed


def _refuse_empty(array: Array, name: str, origin: Origin, *, needed: bool) -> None:
    if not needed:
        return
    if array.dtype == object:
        empty = np.fromiter((value is None for value in array), bool, len(array))
    else:
        empty = np.isnan(array)
    _refuse(empty, pd.Series(array, name=name, dtype=object), "empty", origin)


def _refuse(where: NDArray[np.bool_], column: pd.Series[Any], what: str, origin: Origin) -> None:
    if where.any():
        position = int(where.argmax())
        raise origin.error(what, str(column.name), position, column.iloc[position])


def _refuse_repeats(
    table: RevisedTable, arrays: Mapping[str, Array], frame: pd.DataFrame, origin: Origin
) -> None:
    key = {name: arrays[stored_name(name, kind)] for name, kind in table.key.items()}
    repeats = pd.DataFrame(key).duplicated().to_numpy()
    if repeats.any():
        position = int(repeats.argmax())
        values = ", ".join(str(frame[name].iloc[position]) for name in table.key)
        raise origin.error("this key occurs twice", ", ".join(table.key), position, values)
