"""Reading and writing: who may write what, all or nothing, and a line in the audit log for each.

Every write of this room takes a `Batch`, and only `writing` makes one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from sqlalchemy import Connection, Engine, func, insert, select, text

from stableyield.errors import InputError
from stableyield.store.clock import from_micros, to_micros
from stableyield.store.engine import WRITES, check_file_is_there, is_sqlite
from stableyield.store.failures import NotAllowedError, translated
from stableyield.store.schema import AUDIT_LOG
from stableyield.store.tables import AREA_OF


class Role(StrEnum):
    """What an actor may write."""

    SERVICE = "service"  # everything: the scheduled job and the command line
    OPERATOR = "operator"  # lists, overrides, defaults and runs; no market data, no books
    READER = "reader"  # nothing


_MAY_WRITE: Mapping[Role, frozenset[str]] = MappingProxyType(
    {
        Role.SERVICE: frozenset({"market", "judgement", "books", "runs", "raw"}),
        Role.OPERATOR: frozenset({"judgement", "runs"}),
        Role.READER: frozenset(),
    }
)
_OTHER_AREAS: Mapping[str, str] = MappingProxyType(
    {
        "raw_payloads": "raw",
        "runs": "runs",
        "run_stages": "runs",
        "allocation_parameters": "runs",
        "plans": "books",
        "asset_allocations": "books",
        "ledger_entries": "books",
    }
)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who writes.

    Parameters
    ----------
    name : str
        A person or a job.
    origin : str
        Where the write comes from: ``pipeline``, ``cli``, ``web``, ``notebook``.
    role : Role

    Raises
    ------
    InputError
        When name or origin are empty.
    """

    name: str
    origin: str
    role: Role = Role.SERVICE

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.origin.strip():
            raise InputError(
                "an actor without name or origin", remedy="say who writes, and from where"
            )

    def may_write(self, table: str) -> bool:
        """Whether this actor's role allows writing ``table``."""
        area = AREA_OF.get(table) or _OTHER_AREAS[table]
        return area in _MAY_WRITE[self.role]


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did.

    Parameters
    ----------
    n_rows : int
        Rows that were given.
    n_new, n_revised : int
        Rows of new keys, and rows that differ from what was known; the rest was there already.
    sha256 : str
        Of the rows that were given.
    """

    n_rows: int
    n_new: int
    n_revised: int
    sha256: str


@dataclass(frozen=True)
class Batch:
    """An open transaction of one actor; see `writing`.

    Parameters
    ----------
    connection : Connection
    actor : Actor
    at : datetime
        The moment from which everything in the batch is known; UTC.
    run_id : str, optional
    """

    connection: Connection
    actor: Actor
    at: datetime
    run_id: str | None = None
    _seen: set[str] = field(default_factory=set)

    @property
    def at_micros(self) -> int:
        """``at`` in microseconds since 1970."""
        return to_micros(self.at)

    def begin_table(self, table: str, lock: str | None = None) -> None:
        """See that the actor may write ``table``, that time has not run backwards, and lock it.

        Raises
        ------
        NotAllowedError
            When the role of the actor does not allow it.
        InputError
            When the table was last written at a later moment than this batch's.
        """
        if not self.actor.may_write(table):
            raise NotAllowedError(
                f"{self.actor.name} ({self.actor.role.value}) may not write {table}",
                where=self.actor.origin,
                remedy="have it done by an actor whose role allows it",
            )
        if table in self._seen:
            return
        if not is_sqlite(self.connection):
            name = self.connection.dialect.identifier_preparer.quote(lock or table)
            self.connection.execute(text(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE"))
        last = self.connection.scalar(
            select(func.max(AUDIT_LOG.c.at_micros)).where(AUDIT_LOG.c.table_name == table)
        )
        if last is not None and last > self.at_micros:
            raise InputError(
                f"the clock went back: {table} was last written at "
                f"{from_micros(last).isoformat()}, this batch is of {self.at.isoformat()}",
                where=table,
                remedy="set the clock of this machine; past knowledge is never rewritten",
            )
        self._seen.add(table)

    def audit(self, table: str, written: Written, action: str = "write") -> None:
        """Leave a line in the audit log."""
        self.connection.execute(
            insert(AUDIT_LOG).values(
                at=self.at,
                at_micros=self.at_micros,
                actor=self.actor.name,
                origin=self.actor.origin,
                role=self.actor.role.value,
                action=action,
                table_name=table,
                run_id=self.run_id,
                n_rows=written.n_rows,
                n_new=written.n_new,
                n_revised=written.n_revised,
                sha256=written.sha256,
            )
        )


@contextmanager
def writing(
    engine: Engine, actor: Actor, *, at: datetime, run_id: str | None = None
) -> Iterator[Batch]:
    """A transaction: everything that is written inside is kept, or, after any error, nothing.

    Parameters
    ----------
    engine : Engine
    actor : Actor
    at : datetime
        Now, in UTC: the moment from which what is written counts as known.
    run_id : str, optional
        The run that writes, for the audit log.

    Raises
    ------
    StoreError
        When the database fails, is locked for too long, or refuses a row.
    InputError
        When ``at`` has no time zone.
    """
    to_micros(at)
    doing = f"writing as {actor.name}"
    with (
        translated(engine.url, doing),
        engine.connect().execution_options(**{WRITES: True}) as connection,
        connection.begin(),
    ):
        check_file_is_there(connection)
        yield Batch(connection, actor, at, run_id)
        check_file_is_there(connection)


@contextmanager
def reading(engine: Engine, what: str) -> Iterator[Connection]:
    """A connection whose reads see one state of the database, whatever is written meanwhile.

    Raises
    ------
    StoreError
        When the database fails.
    """
    with translated(engine.url, f"reading {what}"), engine.connect() as connection:
        if not is_sqlite(connection):
            connection = connection.execution_options(  # noqa: PLW2901 - the same connection
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        with connection.begin():
            check_file_is_there(connection)
            yield connection
