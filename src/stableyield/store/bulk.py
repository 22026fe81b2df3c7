"""Many rows at once: executemany and plain cursors on SQLite, COPY on PostgreSQL."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray
from sqlalchemy import Connection, Integer, Select, Table, cast, func, literal_column
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION

from stableyield.store.engine import is_sqlite

Array: TypeAlias = NDArray[Any]
_ARROW: Any = pa  # neither declares what it exports
_CSV: Any = pa_csv
ROWS_AT_ONCE = 100_000
_COPY_HEADER_BYTES = 19  # signature, flags and extension length of PostgreSQL's binary format
_COPY_BLOCK_BYTES = 1 << 22


def insert_rows(connection: Connection, table: Table, arrays: Mapping[str, Array]) -> None:
    """Put rows into ``table`` as fast as the engine can.

    Parameters
    ----------
    arrays : mapping of column to ndarray of shape (n_rows,)
        NaN and None are NULL. At most `ROWS_AT_ONCE` rows keep the memory small.
    """
    quote = connection.dialect.identifier_preparer.quote
    names = ", ".join(quote(name) for name in arrays)
    driver: Any = connection.connection.driver_connection
    if is_sqlite(connection):
        marks = ", ".join("?" * len(arrays))
        driver.executemany(
            f"INSERT INTO {quote(table.name)} ({names}) VALUES ({marks})",
            zip(*(array.tolist() for array in arrays.values()), strict=True),
        )
        return
    with driver.cursor() as cursor:
        if any(array.dtype == object for array in arrays.values()):
            with cursor.copy(f"COPY {quote(table.name)} ({names}) FROM STDIN") as copy:
                for row in zip(*(_values(table, n, a) for n, a in arrays.items()), strict=True):
                    copy.write_row(row)
        else:
            with cursor.copy(f"COPY {quote(table.name)} ({names}) FROM STDIN (FORMAT csv)") as copy:
                copy.write(_csv(table, arrays))


def number_blocks(connection: Connection, query: Select[Any]) -> Iterator[NDArray[np.float64]]:
    """The rows of a query of numbers, block by block, as float64 arrays (n_rows, n_columns).

    NULL is NaN. The numbers go from the driver to the array without a Python object a row on
    PostgreSQL (COPY in binary), and without a tuple that outlives its block on SQLite.
    """
    if is_sqlite(connection):
        yield from _sqlite_blocks(connection, query)
    else:
        yield from _postgres_blocks(connection, query)


def _sqlite_blocks(connection: Connection, query: Select[Any]) -> Iterator[NDArray[np.float64]]:
    width = len(query.selected_columns)
    statement = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
    driver: Any = connection.connection.driver_connection
    cursor = driver.execute(statement)
    while rows := cursor.fetchmany(ROWS_AT_ONCE // 4):
        numbers = np.fromiter(chain.from_iterable(rows), np.float64, len(rows) * width)
        yield numbers.reshape(-1, width)


def _postgres_blocks(connection: Connection, query: Select[Any]) -> Iterator[NDArray[np.float64]]:
    # With NaN for NULL every row has the same bytes: a count, then a length and a float a column.
    columns = [
        func.coalesce(cast(column, DOUBLE_PRECISION), literal_column("'NaN'::float8"))
        for column in query.selected_columns
    ]
    statement = query.with_only_columns(*columns).compile(
        connection, compile_kwargs={"literal_binds": True}
    )
    row = np.dtype([("n", ">i2"), ("fields", [("bytes", ">i4"), ("value", ">f8")], len(columns))])
    driver: Any = connection.connection.driver_connection
    waiting, n_skip = bytearray(), _COPY_HEADER_BYTES
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY ({statement}) TO STDOUT (FORMAT binary)") as copy,
    ):
        for data in copy:
            waiting += data
            if len(waiting) >= _COPY_BLOCK_BYTES:
                n_rows = (len(waiting) - n_skip) // row.itemsize
                yield _numbers(waiting, row, n_rows, n_skip)
                del waiting[: n_skip + n_rows * row.itemsize]
                n_skip = 0
    n_rows = (len(waiting) - n_skip) // row.itemsize  # the two bytes of the end are left over
    yield _numbers(waiting, row, n_rows, n_skip)


def _numbers(data: bytearray, row: np.dtype[Any], n_rows: int, offset: int) -> NDArray[np.float64]:
    rows = np.frombuffer(bytes(data), dtype=row, count=n_rows, offset=offset)
    return rows["fields"]["value"].astype(np.float64)


def _values(table: Table, name: str, array: Array) -> list[Any]:
    """Python values with None for NULL; whole numbers where the column wants them."""
    if array.dtype.kind != "f":
        values: list[Any] = array.tolist()
        return values
    whole = isinstance(table.c[name].type, Integer)
    return [None if x != x else int(x) if whole else x for x in array.tolist()]  # noqa: PLR0124


def _csv(table: Table, arrays: Mapping[str, Array]) -> memoryview:
    """Numbers as csv, an empty field for NULL."""
    columns = {}
    for name, array in arrays.items():
        column = _ARROW.array(array, from_pandas=True)
        if isinstance(table.c[name].type, Integer) and array.dtype.kind == "f":
            column = column.cast(_ARROW.int64())
        columns[name] = column
    buffer = io.BytesIO()
    _CSV.write_csv(_ARROW.table(columns), buffer, _CSV.WriteOptions(include_header=False))
    return buffer.getbuffer()
