"""One run at a time, whatever becomes of the process that runs.

The lock is the operating system's or the server's, so that it ends with its holder: on SQLite a
write lock on a file beside the database, on PostgreSQL an advisory lock of one connection. A row
in ``run_locks`` only says who holds it.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, delete, insert, select, text
from sqlalchemy.exc import SQLAlchemyError

from stableyield.errors import InputError
from stableyield.store.engine import WRITES, check_file_is_there, is_sqlite, sqlite_file
from stableyield.store.failures import StoreError, shown, translated
from stableyield.store.schema import RUN_LOCKS
from stableyield.store.session import Actor

_CLASS = 0x57AB  # of our advisory locks


class BusyError(StoreError):
    """Another run holds the lock."""


@dataclass(frozen=True)
class RunLock:
    """A lock that is held; see `run_lock`."""

    name: str
    engine: Engine
    _session: Connection | None = None

    def check(self) -> None:
        """See that the lock is still held, before something that must not happen twice.

        Raises
        ------
        StoreError
            When the connection that held it was lost.
        """
        if self._session is None:
            return  # a lock on a file ends with the process only
        with translated(self.engine.url, f"holding the lock {self.name!r}"):
            held = self._session.scalar(
                text(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted "
                    "AND pid = pg_backend_pid() AND classid = :kind AND objid = :name"
                ),
                {"kind": _CLASS, "name": _number(self.name)},
            )
        if not held:
            raise StoreError(
                f"the lock {self.name!r} was lost",
                where=shown(self.engine.url),
                remedy="see that the server runs, then run again",
            )


@contextmanager
def run_lock(engine: Engine, name: str, actor: Actor, *, at: datetime) -> Iterator[RunLock]:
    """Hold the lock ``name``; it is free again after the block, or when this process dies.

    Parameters
    ----------
    engine : Engine
    name : str
        Letters, digits, dashes and underscores.
    actor : Actor
    at : datetime
        Now, in UTC.

    Raises
    ------
    BusyError
        When another process, or another block of this one, holds it; says who, and since when.
    StoreError
        When the database fails. After an error of the block it is a note of that one.
    """
    if not name.replace("-", "").replace("_", "").isalnum():
        raise InputError(f"{name!r} is no name of a lock", remedy="use letters and digits")
    hold = _hold_file if is_sqlite(engine) else _hold_advisory
    with hold(engine, name) as lock:
        _note(engine, name, actor, at, is_held=True)
        try:
            yield lock
        except BaseException as error:
            try:
                _note(engine, name, actor, at, is_held=False)
            except StoreError as problem:  # what went wrong first is what counts
                error.add_note(f"{problem}; the lock itself is free")
            raise
        _note(engine, name, actor, at, is_held=False)


@contextmanager
def _hold_file(engine: Engine, name: str) -> Iterator[RunLock]:
    database = sqlite_file(engine)
    if database is None:
        raise InputError("a database in memory has no lock", remedy="use a file, or PostgreSQL")
    path = Path(f"{database}.{name}.lock")
    with closing(_locked(path, engine, name)):
        yield RunLock(name, engine)


def _locked(path: Path, engine: Engine, name: str) -> sqlite3.Connection:
    """A connection that holds ``path``: SQLite knows how to lock a file on every system."""
    with translated(engine.url, f"taking the lock {name!r}"):
        connection = sqlite3.connect(path, timeout=0.0, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            connection.close()
            if "locked" not in str(error):
                raise
            raise _busy(engine, name) from None
    return connection


@contextmanager
def _hold_advisory(engine: Engine, name: str) -> Iterator[RunLock]:
    key = {"kind": _CLASS, "name": _number(name)}
    doing = f"taking the lock {name!r}"
    with translated(engine.url, doing):
        session = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        with translated(engine.url, doing):
            taken = session.scalar(text("SELECT pg_try_advisory_lock(:kind, :name)"), key)
        if not taken:
            raise _busy(engine, name)
        try:
            yield RunLock(name, engine, session)
        finally:
            with suppress(SQLAlchemyError):  # a connection that was lost holds nothing any more
                session.execute(text("SELECT pg_advisory_unlock(:kind, :name)"), key)
    finally:
        session.invalidate()  # what else it held the server gives back, when it notices
        session.close()


def _number(name: str) -> int:
    return zlib.crc32(name.encode()) >> 1  # a positive int4


def _busy(engine: Engine, name: str) -> BusyError:
    with translated(engine.url, "reading run_locks"), engine.connect() as connection:
        row = connection.execute(
            select(RUN_LOCKS).where(RUN_LOCKS.c.name == name, RUN_LOCKS.c.is_held)
        ).first()
    holder = f": {row.owner}, process {row.pid} on {row.host}, since {row.since}" if row else ""
    return BusyError(
        f"another run holds the lock {name!r}{holder}",
        where=shown(engine.url),
        remedy="wait until it ends; a process that died holds nothing",
    )


def _note(engine: Engine, name: str, actor: Actor, at: datetime, *, is_held: bool) -> None:
    row = {
        "name": name,
        "owner": f"{actor.name} ({actor.origin})",
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": at,
        "is_held": is_held,
    }
    with (
        translated(engine.url, f"noting the lock {name!r}"),
        engine.connect().execution_options(**{WRITES: True}) as connection,
        connection.begin(),
    ):
        check_file_is_there(connection)
        connection.execute(delete(RUN_LOCKS).where(RUN_LOCKS.c.name == name))
        connection.execute(insert(RUN_LOCKS).values(**row))
