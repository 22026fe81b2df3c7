"""URLs, and messages that help without giving secrets away."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from stableyield.errors import ParameterError
from stableyield.store import StoreError, connect, default_url, read_frame
from stableyield.store.clock import from_micros, to_micros
from stableyield.store.engine import normalised_url
from stableyield.store.failures import store_error
from support.databases import NOW, rows_of


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_url_of_postgresql_gets_psycopg_3(scheme: str) -> None:
    assert normalised_url(f"{scheme}://u:p@h/d").drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    "url",
    ["mysql://u:s3cret@h/d", "postgresql+asyncpg://u:s3cret@h/d", "s3cret", "", "sqlite:s3cret"],
)
def test_other_databases_are_refused_without_repeating_the_password(url: str) -> None:
    with pytest.raises(ParameterError, match="give sqlite:///PATH or postgresql://") as caught:
        connect(url)
    assert "s3cret" not in str(caught.value)


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ParameterError, match=r"extra postgres"):
        connect("postgresql://u@h/d")


def test_without_a_url_the_database_is_a_file_in_the_current_directory() -> None:
    assert connect().url.database == "stableyield.db"
    assert default_url() == "sqlite:///stableyield.db"


def test_sqlite_runs_in_wal_mode_with_foreign_keys(sqlite: Engine) -> None:
    for pragma, value in (("journal_mode", "wal"), ("foreign_keys", 1), ("synchronous", 2)):
        assert rows_of(sqlite, f"PRAGMA {pragma}") == [(value,)]
    assert rows_of(sqlite, "PRAGMA busy_timeout") == [(5000,)]


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    engine = connect("postgresql://someone:s3cret@127.0.0.1:1/books?password=s3cret2")
    with pytest.raises(StoreError, match="reading pools: the database cannot be reached") as caught:
        read_frame(engine, "pools")
    error: BaseException | None = caught.value
    assert caught.value.exit_code == 4
    assert "someone:***@127.0.0.1:1/books" in caught.value.one_line
    while error is not None:
        assert "s3cret" not in str(error) + str(getattr(error, "details", ""))
        error = error.__cause__


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}/nowhere/x.db")
    with pytest.raises(StoreError, match=r"nowhere/x\.db: reading pools: .*cannot be reached"):
        read_frame(engine, "pools")


def test_a_file_that_is_no_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("not a database, but long enough to be taken for one" * 20)
    with pytest.raises(StoreError, match="damaged or is not a database"):
        read_frame(connect(f"sqlite:///{tmp_path}/x.db"), "pools")


def test_a_failure_that_nobody_foresaw_keeps_the_drivers_words() -> None:
    error = store_error(
        RuntimeError("the moon fell\non s3cret"), normalised_url("postgresql://u:s3cret@h/d"), "x"
    )
    assert error.what == "x: the database failed"
    assert error.details == ("the moon fell", "on ***")


def test_moments_survive_to_the_microsecond() -> None:
    assert from_micros(to_micros(NOW)) == NOW
