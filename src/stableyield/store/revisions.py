"""Writing rows that may be corrected: what is known already is not written twice.

Of a key that is new, revision 0 is written. Of a key whose content differs, the current revision
notes the moment at which it was superseded, and the next one is added. Equal content leaves no
trace but the line in the audit log. A column that a frame does not have is not spoken of: a new
revision keeps what was known of it. A value that is NaN or None says that it is unknown.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    CursorResult,
    MetaData,
    Table,
    and_,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    update,
)

from stableyield.market.columns import Origin
from stableyield.store.bulk import ROWS_AT_ONCE, insert_rows
from stableyield.store.columns import Columns, columns_of
from stableyield.store.engine import is_sqlite
from stableyield.store.schema import (
    INGESTED,
    POOL_KEYS,
    REVISION,
    REVISIONS,
    SUPERSEDED,
    stored_name,
)
from stableyield.store.session import Batch, Written
from stableyield.store.tables import REVISED, RevisedTable


def write_frame(
    batch: Batch, table: str, frame: pd.DataFrame, origin: Origin | None = None
) -> Written:
    """Write the rows of ``frame``, each as a new revision where it says something new.

    Parameters
    ----------
    batch : Batch
    table : str
        A key of `stableyield.store.tables.REVISED`.
    frame : DataFrame
        With the table's key; of its values those that the frame speaks of.
    origin : Origin, optional
        Where the rows are from, for messages.

    Raises
    ------
    ContractError
        When a row does not fit the table; see `stableyield.store.columns.columns_of`.
    NotAllowedError, InputError
        When the actor may not write the table, or the clock went back.
    """
    spec, base = REVISED[table], REVISIONS[table]
    batch.begin_table(table, base.name)
    origin = origin or Origin(table)
    if table == "pools" and "pool_id" in frame:
        _add_pool_keys(batch.connection, frame["pool_id"])
    columns = columns_of(spec, frame, lambda ids: _pool_keys(batch.connection, ids), origin)
    n_inserted = n_revised = 0
    for first in range(0, columns.n_rows, ROWS_AT_ONCE):
        added, revised = _merge(batch, spec, base, columns, slice(first, first + ROWS_AT_ONCE))
        n_inserted, n_revised = n_inserted + added, n_revised + revised
    written = Written(columns.n_rows, n_inserted - n_revised, n_revised, columns.sha256)
    batch.audit(table, written)
    return written


def pool_numbers(connection: Connection) -> dict[str, int]:
    """Number of every pool id that the store knows."""
    rows = connection.execute(select(POOL_KEYS.c.pool_id, POOL_KEYS.c.pool_key))
    return {row.pool_id: row.pool_key for row in rows}


def _pool_keys(connection: Connection, ids: pd.Index[Any]) -> NDArray[np.int64]:
    known = pool_numbers(connection)
    return np.array([known.get(pool_id, -1) for pool_id in ids], dtype=np.int64)


def _add_pool_keys(connection: Connection, ids: pd.Series[Any]) -> None:
    known = pool_numbers(connection)
    texts = (pool_id for pool_id in ids.tolist() if isinstance(pool_id, str))
    if new := [pool_id for pool_id in dict.fromkeys(texts) if pool_id not in known]:
        connection.execute(insert(POOL_KEYS), [{"pool_id": pool_id} for pool_id in new])


def _merge(
    batch: Batch, spec: RevisedTable, base: Table, columns: Columns, rows: slice
) -> tuple[int, int]:
    """Rows inserted, and how many of them replace an older revision."""
    connection = batch.connection
    given = list(columns.arrays)
    staged = _staging(spec.name, tuple(given))
    connection.execute(text(f"DROP TABLE IF EXISTS {staged.name}"))
    staged.create(connection, checkfirst=False)
    insert_rows(connection, staged, {name: columns.arrays[name][rows] for name in given})
    if not is_sqlite(connection):
        connection.execute(text(f"ANALYZE {staged.name}"))
    key = [stored_name(name, kind) for name, kind in spec.key.items()]
    n_revised = _supersede(batch, base, staged, key, [name for name in given if name not in key])
    n_inserted = _add(batch, base, staged, key)
    connection.execute(text(f"DROP TABLE {staged.name}"))
    return n_inserted, n_revised


@lru_cache(maxsize=64)  # so that SQLAlchemy finds the statements that it compiled before
def _staging(name: str, columns: tuple[str, ...]) -> Table:
    """A temporary table with some columns of the revisions; not part of the schema."""
    like = REVISIONS[name].c
    return Table(
        f"staged_{name}",
        MetaData(),
        *(Column(column, like[column].type) for column in columns),
        prefixes=["TEMPORARY"],
    )


def _same_key(one: Any, other: Any, key: list[str]) -> ColumnElement[bool]:
    return and_(*(one.c[name] == other.c[name] for name in key))


def _supersede(batch: Batch, base: Table, staged: Table, key: list[str], values: list[str]) -> int:
    """Close the current revisions that say something else than the staged rows."""
    if not values:
        return 0
    differs = or_(*(base.c[name].is_distinct_from(staged.c[name]) for name in values))
    closed: CursorResult[Any] = batch.connection.execute(
        update(base)
        .values({SUPERSEDED: batch.at_micros})
        .where(_same_key(base, staged, key), base.c[SUPERSEDED].is_(None), differs)
    )
    return closed.rowcount


def _add(batch: Batch, base: Table, staged: Table, key: list[str]) -> int:
    """Add a revision for every staged key that has no current one."""
    past = base.alias("past")
    last = base.alias("last")
    newest = (
        select(past.c[REVISION])
        .where(_same_key(past, staged, key))
        .order_by(past.c[REVISION].desc())
        .limit(1)
        .scalar_subquery()
    )
    sources: dict[str, ColumnElement[Any]] = {
        column.name: staged.c[column.name] if column.name in staged.c else last.c[column.name]
        for column in base.columns
        if column.name not in {REVISION, INGESTED, SUPERSEDED}
    }
    next_revision = func.coalesce(last.c[REVISION] + 1, 0)
    rows = (
        select(*sources.values(), next_revision, literal(batch.at_micros))
        .select_from(
            staged.outerjoin(last, and_(_same_key(last, staged, key), last.c[REVISION] == newest))
        )
        .where(or_(last.c[REVISION].is_(None), last.c[SUPERSEDED].is_not(None)))
    )
    added: CursorResult[Any] = batch.connection.execute(
        insert(base).from_select([*sources, REVISION, INGESTED], rows),
        execution_options={"preserve_rowcount": True},
    )
    return added.rowcount
