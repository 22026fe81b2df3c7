"""What the commands of the daily job share: settings, database, clock, who is asking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from stableyield.config import Settings
    from stableyield.store import Actor

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="sqlite:///PATH or postgresql://...; else STABLEYIELD_DATABASE_URL, else a file here.",
    ),
]


def settings_of() -> Settings:
    """What the environment says."""
    from stableyield.config import Settings

    return Settings.load()


def engine_of(database: str | None, settings: Settings) -> Engine:
    """The database that is asked for."""
    from stableyield.store import connect

    if database is not None:
        return connect(database)
    url = settings.database_url
    return connect(None if url is None else url.get_secret_value())


def operator() -> Actor:
    """Who works on the command line."""
    from stableyield.store import Actor

    return Actor("operator", "cli")


def migrated(engine: Engine) -> Engine:
    """The engine, with the schema of this program."""
    from stableyield.sources import system_clock
    from stableyield.store import migrate

    migrate(engine, at=system_clock().utc_now())
    return engine
