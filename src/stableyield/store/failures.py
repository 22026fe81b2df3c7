"""What the database could not do, said so that an operator can act on it, and without secrets."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from stableyield.errors import InputError, SourceError


class StoreError(SourceError):
    """The database failed, or refused what it was given; nothing of the batch was kept."""


class NotAllowedError(InputError):
    """The actor's role may not write this table."""


# A part of the driver's message (lower case), what it means and what to do. The first match counts.
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"database is locked|database table is locked|lock timeout|deadlock",
        "another process is writing, and did not finish in time",
        "wait for it to end, or stop it; then try again",
    ),
    (
        r"disk is full|no space left|could not extend file|file too large",
        "the disk is full",
        "free space, then try again; what was committed before is intact",
    ),
    (
        r"disk i/o error",
        "the disk failed, or a limit on file sizes was reached",
        "check the disk and the limits of the process, then try again",
    ),
    (
        r"foreign key|unique constraint|not null constraint|not-null|check constraint|"
        r"duplicate key|append-only|violates",
        "the database refused a row",
        "correct the row; the constraint is named below",
    ),
    (
        r"no such (table|column|view)|relation .* does not exist|column .* does not exist",
        "the schema of the database is not that of this program",
        "run the migrations: stableyield.store.migrate(engine)",
    ),
    (
        r"readonly|read-only",
        "the database may only be read",
        "give this user the right to write, or another database",
    ),
    (
        r"not a database|malformed|corrupt",
        "the database file is damaged or is not a database",
        "restore it from a backup; keep the damaged file",
    ),
    (
        r"unable to open|could not translate host|connection refused|connection failed|"
        r"password authentication|no password supplied|role .* does not exist|"
        r"database .* does not exist|timeout expired|no such file",
        "the database cannot be reached",
        "check the URL, the server and the directory of the file",
    ),
    (
        r"terminat|closed|connection .*lost|reset by peer|broken pipe|shutting down|"
        r"server .*unexpectedly|consuming input|sending query|starting up",
        "the connection to the database was lost",
        "see that the server runs, then run again: the batch was rolled back",
    ),
)


def shown(url: URL) -> str:
    """The URL for messages: its password masked, its options left out, as they may hold one."""
    return url.set(query={}).render_as_string(hide_password=True)


@contextmanager
def translated(url: URL, doing: str) -> Iterator[None]:
    """Turn what the driver raises inside into a `StoreError` that says what was being done.

    Raises
    ------
    StoreError
        Instead of any error of SQLAlchemy, of sqlite3 or of psycopg.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise store_error(error, url, doing) from _without_secrets(error, url)
    except sqlite3.Error as error:
        raise store_error(error, url, doing) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "psycopg":
            raise
        raise store_error(error, url, doing) from _without_secrets(error, url)


def store_error(error: BaseException, url: URL, doing: str) -> StoreError:
    """The `StoreError` of a driver's error."""
    raw = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    lines = [_masked(line.strip(), url) for line in raw.splitlines() if line.strip()]
    text = " ".join(lines).lower()
    what, remedy = next(
        ((what, remedy) for pattern, what, remedy in _CAUSES if re.search(pattern, text)),
        ("the database failed", "see the details below"),
    )
    return StoreError(f"{doing}: {what}", where=shown(url), remedy=remedy, details=tuple(lines[:4]))


def _secrets(url: URL) -> list[str]:
    given = [url.password, *(url.query.get(name) for name in ("password", "sslpassword"))]
    return [str(secret) for secret in given if secret]


def _masked(text: str, url: URL) -> str:
    """``text`` without the password, however the driver came to quote it."""
    for secret in _secrets(url):
        text = text.replace(secret, "***")
    return text


def _without_secrets(error: Exception, url: URL) -> Exception | None:
    """The cause to chain: none when its own message would show the password."""
    return None if any(secret in str(error) for secret in _secrets(url)) else error
