"""All tables of the database, for building statements; the migrations make them.

A test compares what the migrations made with what stands here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from stableyield.config import canonical_json
from stableyield.store.clock import Moment
from stableyield.store.tables import REVISED, Kind, RevisedTable


class JsonText(TypeDecorator[Any]):
    """JSON as canonical text; SQLite would turn 50.0 in a column of type JSON into 50."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        """What the driver gets; None of a column that may be empty is NULL."""
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        """What the caller gets."""
        return None if value is None else json.loads(value)


METADATA = MetaData()
INGESTED, SUPERSEDED, REVISION = "ingested_at", "superseded_at", "revision"
UNKNOWN_HORIZON = 0  # in the revisions: a key has no empty column
_TYPES: Mapping[Kind, type[TypeEngine[Any]]] = {
    "pool": Integer,
    "text": Text,
    "json": Text,
    "number": Double,
    "integer": Integer,
    "flag": SmallInteger,
    "day": Integer,
    "horizon": Integer,
}
_ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER keys by itself
_RUN = "runs.run_id"


def stored_name(column: str, kind: Kind) -> str:
    """Name of a column in the revisions: a pool is kept by its number."""
    return "pool_key" if kind == "pool" else column


def _revisions(table: RevisedTable) -> Table:
    columns: list[Column[Any]] = []
    for name, kind in table.kinds.items():
        link = (ForeignKey("pool_keys.pool_key"),) if kind == "pool" else ()
        is_key = name in table.key
        columns.append(
            Column(
                stored_name(name, kind),
                _TYPES[kind],
                *link,
                primary_key=is_key,
                nullable=not is_key and name not in table.needed,
                autoincrement=False,
            )
        )
    # days first: a day's rows lie together, and history is read by ranges of days
    columns.sort(key=lambda column: not (column.primary_key and column.name.endswith("date")))
    own = [
        Column(REVISION, Integer, primary_key=True, autoincrement=False),
        Column(INGESTED, BigInteger, nullable=False),
        Column(SUPERSEDED, BigInteger),
    ]
    return Table(table.base, METADATA, *columns, *own, sqlite_with_rowid=False)


POOL_KEYS = Table(
    "pool_keys",
    METADATA,
    Column("pool_key", Integer, primary_key=True),
    Column("pool_id", Text, nullable=False, unique=True),
)
REVISIONS: Mapping[str, Table] = MappingProxyType(
    {name: _revisions(table) for name, table in REVISED.items()}
)

AUDIT_LOG = Table(
    "audit_log",
    METADATA,
    Column("audit_id", _ID, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("at_micros", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("table_name", Text, nullable=False),
    Column("run_id", Text),
    Column("n_rows", Integer, nullable=False),
    Column("n_new", Integer, nullable=False),
    Column("n_revised", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
)
RAW_PAYLOADS = Table(
    "raw_payloads",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("request", Text, primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("fetched_at", Moment, nullable=False),
    Column("n_bytes", BigInteger, nullable=False),
    Column("body_zlib", LargeBinary, nullable=False),
)
RUNS = Table(
    "runs",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("exec_date", Date, nullable=False),
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("known_by", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("versions", JsonText, nullable=False),
    Column("inputs_sha256", String(64)),
    Column("parameters_sha256", String(64)),
    Column("error", Text),
    Column("summary", JsonText),
)
RUN_STAGES = Table(
    "run_stages",
    METADATA,
    Column("run_id", Text, ForeignKey(_RUN), primary_key=True),
    Column("stage", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("status", Text, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("seconds", Double),
    Column("detail", JsonText),
)
ALLOCATION_PARAMETERS = Table(
    "allocation_parameters",
    METADATA,
    Column("run_id", Text, ForeignKey(_RUN), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),  # JSON, null too
)
PLANS = Table(
    "plans",
    METADATA,
    Column("run_id", Text, ForeignKey(_RUN), primary_key=True),
    Column("status", Text, nullable=False),
    Column("objective_usd", Double),
    Column("aum_before_usd", Double, nullable=False),
    Column("aum_after_usd", Double, nullable=False),
    Column("inputs_sha256", String(64), nullable=False),
    Column("document_sha256", String(64), nullable=False),
    Column("document", Text, nullable=False),
    Column("problem", Text, nullable=False),
)
ASSET_ALLOCATIONS = Table(
    "asset_allocations",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("from_location", Text, nullable=False),
    Column("to_location", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("to_token", Text),
    Column("amount", Double, nullable=False),
    Column("to_amount", Double),
    Column("amount_usd", Double, nullable=False),
    Column("gas_cost_usd", Double, nullable=False),
    Column("conversion_cost_usd", Double, nullable=False),
    Column("total_cost_usd", Double, nullable=False),
    Column("gas_paid", JsonText, nullable=False),
    ForeignKeyConstraint(["run_id"], ["plans.run_id"]),
)
LEDGER_ENTRIES = Table(
    "ledger_entries",
    METADATA,
    Column("entry_id", Text, primary_key=True),
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("date", Date, nullable=False),
    Column("account", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("amount", Double, nullable=False),
    Column("price_usd", Double),
    Column("amount_usd", Double),
    Column("memo", Text, nullable=False),
    Column("run_id", Text, ForeignKey(_RUN)),
)
RUN_LOCKS = Table(
    "run_locks",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("since", Moment, nullable=False),
    Column("is_held", Boolean, nullable=False),
)
MIGRATION_CHECKSUMS = Table(
    "migration_checksums",
    METADATA,
    Column("version", Text, primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("applied_at", Moment, nullable=False),
)
