"""Bring a database to the schema of this program.

The migrations are part of the package. Each is run once; its sha256 is kept, and a migration that
was changed after it ran is refused, because nobody could say any more what the database holds. All
of them run in one transaction, under a lock: two processes may start at once, and a failure leaves
the database as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import Script, ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, insert, select, text

from stableyield.store.engine import WRITES, is_sqlite
from stableyield.store.failures import StoreError, shown, translated
from stableyield.store.schema import MIGRATION_CHECKSUMS

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK_KEY = 0x57AB1E  # of PostgreSQL's advisory lock, any number that is ours
_WAIT_MS = 60_000  # for another process that migrates


def migrate(engine: Engine, *, at: datetime, directory: Path = MIGRATIONS) -> tuple[str, ...]:
    """Run the migrations that have not run yet; does nothing where there are none.

    Parameters
    ----------
    engine : Engine
    at : datetime
        Now, in UTC; noted beside each migration.
    directory : Path
        With ``versions/``.

    Returns
    -------
    tuple of str
        The versions that were run, in order.

    Raises
    ------
    StoreError
        When an applied migration was changed, the database is newer than this program, or a
        migration fails; the database is then as it was.
    """
    scripts = _scripts(directory)
    with translated(engine.url, "migrating"), _alone(engine) as connection:
        MIGRATION_CHECKSUMS.create(connection, checkfirst=True)
        applied = _check(connection, scripts)
        pending = [script for script in _in_order(scripts) if script.revision not in applied]
        if pending:
            _upgrade(connection, scripts)
            connection.execute(
                insert(MIGRATION_CHECKSUMS),
                [
                    {"version": script.revision, "sha256": _sha256(script), "applied_at": at}
                    for script in pending
                ],
            )
    return tuple(script.revision for script in pending)


def pending_migrations(engine: Engine, directory: Path = MIGRATIONS) -> tuple[str, ...]:
    """Versions that `migrate` would run.

    Raises
    ------
    StoreError
        As `migrate`.
    """
    scripts = _scripts(directory)
    every = [script.revision for script in _in_order(scripts)]
    with translated(engine.url, "looking at the migrations"), engine.connect() as connection:
        if not engine.dialect.has_table(connection, MIGRATION_CHECKSUMS.name):
            return tuple(every)
        applied = _check(connection, scripts)
    return tuple(version for version in every if version not in applied)


def _scripts(directory: Path) -> ScriptDirectory:
    config = Config()
    # versions would be written as percent signs otherwise, by the parser of ini files
    config.set_main_option("script_location", str(directory).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def _in_order(scripts: ScriptDirectory) -> list[Script]:
    return list(reversed(list(scripts.walk_revisions())))


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction that no other migration overlaps."""
    with engine.connect().execution_options(**{WRITES: True}) as connection:
        if is_sqlite(engine):
            driver: Any = connection.connection.driver_connection
            (usual_ms,) = driver.execute("PRAGMA busy_timeout").fetchone()
            driver.execute(f"PRAGMA busy_timeout = {_WAIT_MS}")
        with connection.begin():
            if is_sqlite(engine):
                driver.execute(f"PRAGMA busy_timeout = {usual_ms}")
            else:
                connection.execute(text(f"SET LOCAL lock_timeout = {_WAIT_MS}"))
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})"))
            yield connection


def _check(connection: Connection, scripts: ScriptDirectory) -> set[str]:
    """Versions that ran, each seen to be the one that is shipped."""
    noted = connection.execute(
        select(MIGRATION_CHECKSUMS.c.version, MIGRATION_CHECKSUMS.c.sha256)
    ).all()
    for version, sha256 in noted:
        try:
            script = scripts.get_revision(version)
        except CommandError:
            script = None
        if script is None:
            raise StoreError(
                f"the database has migration {version}, which this program does not know",
                where=shown(connection.engine.url),
                remedy="install the version of stableyield that wrote it, or a newer one",
            )
        if _sha256(script) != sha256:
            raise StoreError(
                f"migration {version} was changed after it had run here",
                where=f"{shown(connection.engine.url)}, {Path(script.path).name}",
                remedy="put the shipped file back, and write a new migration for the change",
                details=(f"ran as sha256 {sha256}", f"is now {_sha256(script)}"),
            )
    return {version for version, _ in noted}


def _sha256(script: Script) -> str:
    content = Path(script.path).read_bytes().replace(b"\r\n", b"\n")  # as any checkout has it
    return hashlib.sha256(content).hexdigest()


def _upgrade(connection: Connection, scripts: ScriptDirectory) -> None:
    def steps(revision: Any, _context: Any) -> Any:
        return scripts._upgrade_revs("head", revision)

    config = Config()
    with EnvironmentContext(config, scripts, fn=steps) as environment:
        environment.configure(connection=connection)
        environment.run_migrations()
