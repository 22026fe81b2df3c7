"""A database from its URL: a SQLite file, or PostgreSQL.

SQLite runs in WAL mode with foreign keys on; a transaction that writes takes the write lock at its
start, so that two writers wait for each other instead of failing half-way.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from stableyield.errors import ParameterError
from stableyield.store.failures import StoreError, shown

BUSY_TIMEOUT_SECONDS = 5.0
CONNECT_TIMEOUT_SECONDS = 10
WRITES = "stableyield_writes"  # execution option of a connection whose transaction will write
_FORMS = "give sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE"
_INODE = "stableyield_inode"


def default_url() -> str:
    """The database where none is named: a file in the current directory."""
    return "sqlite:///stableyield.db"


def normalised_url(url: str) -> URL:
    """The URL with the driver that is used: psycopg 3 for PostgreSQL.

    Raises
    ------
    ParameterError
        When it is not a URL of SQLite or PostgreSQL; the text is not repeated, for it may hold a
        password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ParameterError("the database URL cannot be read", remedy=_FORMS) from None
    backend, _, driver = parsed.drivername.partition("+")
    if backend == "sqlite" and driver in {"", "pysqlite"}:
        return parsed.set(drivername="sqlite")
    if backend in {"postgres", "postgresql"} and driver in {"", "psycopg"}:
        return parsed.set(drivername="postgresql+psycopg")
    raise ParameterError(f"databases of kind {parsed.drivername!r} are not served", remedy=_FORMS)


def connect(
    url: str | None = None, *, busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS
) -> Engine:
    """An engine on the database at ``url``; connects when first used.

    Parameters
    ----------
    url : str, optional
        ``sqlite:///PATH``, or ``postgresql://...`` (psycopg 3 is the driver); `default_url` when
        absent.
    busy_timeout_seconds : float
        How long a statement waits for a lock that another process holds.

    Raises
    ------
    ParameterError
        When the URL is of another kind, or the driver is not installed.
    """
    parsed = normalised_url(url if url is not None else default_url())
    if parsed.get_backend_name() == "sqlite":
        # parameters may be amounts, and there may be 100,000 of them: not for messages
        engine = create_engine(parsed, hide_parameters=True)
        _set_up_sqlite(engine, busy_timeout_seconds)
        return engine
    lock_ms = int(busy_timeout_seconds * 1000)
    try:
        return create_engine(
            parsed,
            hide_parameters=True,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_SECONDS,
                "application_name": "stableyield",
                "options": f"-c timezone=UTC -c lock_timeout={lock_ms}",
            },
        )
    except ModuleNotFoundError:
        raise ParameterError(
            "the driver of PostgreSQL is not installed",
            remedy="install the extra postgres: pip install -e '.[postgres]' in a clone",
        ) from None


def is_sqlite(engine: Engine | Connection) -> bool:
    """Whether this is SQLite; otherwise it is PostgreSQL."""
    return engine.dialect.name == "sqlite"


def sqlite_file(engine: Engine) -> Path | None:
    """The file of a SQLite database; None in memory and on PostgreSQL."""
    name = engine.url.database
    if not is_sqlite(engine) or not name or name == ":memory:":
        return None
    return Path(name)


def check_file_is_there(connection: Connection) -> None:
    """See that the SQLite file that is open is still the one at its path.

    A deleted file can be written to for as long as it is open, and all of it would be lost.

    Raises
    ------
    StoreError
        When the file was deleted, moved or replaced.
    """
    path = sqlite_file(connection.engine)
    opened = connection.info.get(_INODE)
    if path is None or opened is None or _inode(path) == opened:
        return
    connection.invalidate()
    connection.engine.dispose()
    raise _gone(connection.engine)


def _gone(engine: Engine) -> StoreError:
    return StoreError(
        "the database file was deleted, moved or replaced while it was open",
        where=shown(engine.url),
        remedy="put the file back, or start again to migrate a new one; nothing of this batch "
        "was kept",
    )


def _set_up_sqlite(engine: Engine, busy_timeout_seconds: float) -> None:
    path = sqlite_file(engine)
    was_there = False

    @event.listens_for(engine, "do_connect")
    def _not_anew(*_: Any) -> None:
        if path is not None and was_there and _inode(path) is None:
            raise _gone(engine)  # SQLite would begin a new, empty file there

    @event.listens_for(engine, "connect")
    def _configure(dbapi_connection: Any, record: Any) -> None:
        dbapi_connection.isolation_level = None  # transactions begin where _begin says
        cursor = dbapi_connection.cursor()
        for pragma in (
            f"busy_timeout = {int(busy_timeout_seconds * 1000)}",
            "journal_mode = WAL",
            "synchronous = FULL",  # books: a committed plan survives a power cut
            "foreign_keys = ON",
            "temp_store = MEMORY",
            "cache_size = -65536",  # KiB
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        nonlocal was_there
        if path is not None:
            record.info[_INODE] = _inode(path)
            was_there = record.info[_INODE] is not None  # a file: URI names no path

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - one call, on every commit
    except OSError:
        return None
    return found.st_dev, found.st_ino
