"""One run at a time, and a run that died holds nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from sqlalchemy import Engine

from stableyield.errors import InputError
from stableyield.store import BusyError, StoreError, connect, read_frame, run_lock
from stableyield.store.engine import sqlite_file
from support.databases import NOW, TESTER, child_environment, rows_of

HOLDER = """
import sys
from support.databases import NOW, TESTER
from stableyield.store import connect, run_lock
with run_lock(connect(sys.argv[1]), "daily", TESTER, at=NOW):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_held_by_one(engine: Engine) -> None:
    with run_lock(engine, "daily", TESTER, at=NOW) as lock:
        lock.check()
        with (
            pytest.raises(
                BusyError, match=rf"tester \(tests\), process {os.getpid()} on .*, since"
            ),
            run_lock(engine, "daily", TESTER, at=NOW),
        ):
            pass
        with run_lock(engine, "other", TESTER, at=NOW):
            pass
        assert rows_of(engine, "select name from run_locks where is_held") == [("daily",)]
    with run_lock(engine, "daily", TESTER, at=NOW):
        pass
    assert rows_of(engine, "select count(*) from run_locks where is_held") == [(0,)]


def test_a_lock_is_free_after_an_error(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError), run_lock(engine, "daily", TESTER, at=NOW):
        _ = 1 / 0
    with run_lock(engine, "daily", TESTER, at=NOW) as lock:
        lock.check()


def lose_the_file_under_a_lock(sqlite: Engine, error: Exception | None) -> None:
    with run_lock(sqlite, "daily", TESTER, at=NOW):
        path = sqlite_file(sqlite)
        assert path is not None
        path.unlink()
        if error is not None:
            raise error


def test_a_database_that_vanished_under_a_lock_does_not_hide_what_went_wrong_first(
    sqlite: Engine,
) -> None:
    with pytest.raises(ZeroDivisionError, match="the first") as raised:
        lose_the_file_under_a_lock(sqlite, ZeroDivisionError("the first"))
    (note,) = raised.value.__notes__
    assert "noting the lock" not in note  # nothing was written anywhere
    assert "was deleted, moved or replaced" in note


def test_a_database_that_vanished_under_a_lock_is_not_begun_anew(sqlite: Engine) -> None:
    with pytest.raises(StoreError, match="was deleted, moved or replaced while it was open"):
        lose_the_file_under_a_lock(sqlite, None)
    with pytest.raises(StoreError, match="was deleted, moved or replaced while it was open"):
        read_frame(sqlite, "pools")
    path = sqlite_file(sqlite)
    assert path is not None
    assert not path.exists()


def test_names_of_locks_are_plain(engine: Engine) -> None:
    with (
        pytest.raises(InputError, match="is no name of a lock"),
        run_lock(engine, "../../etc", TESTER, at=NOW),
    ):
        pass


def test_a_database_in_memory_has_no_lock() -> None:
    with (
        pytest.raises(InputError, match="a database in memory has no lock"),
        run_lock(connect("sqlite://"), "daily", TESTER, at=NOW),
    ):
        pass


@pytest.mark.slow
def test_a_process_that_is_killed_gives_its_lock_back(engine: Engine) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, engine.url.render_as_string(hide_password=False)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment(),
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    with (
        pytest.raises(BusyError, match=f"process {child.pid}"),
        run_lock(engine, "daily", TESTER, at=NOW),
    ):
        pass
    child.kill()
    child.communicate(timeout=30)
    for _ in range(1000):  # a server notices the death of a client when it next reads
        try:
            with run_lock(engine, "daily", TESTER, at=NOW):
                return
        except BusyError:
            continue
    pytest.fail("the lock of a dead process was not given back")
