"""A database that fails in the middle loses nothing that was there, and says what happened."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine, text

from stableyield.store import (
    StoreError,
    connect,
    load_panel,
    migrate,
    read_frame,
    write_frame,
    write_market_table,
    writing,
)
from stableyield.store.engine import sqlite_file
from support.databases import (
    DAY,
    NOW,
    TESTER,
    child_environment,
    daily_frame,
    later,
    pools_frame,
    rows_of,
)

# Writes a batch, day after day, and says so before and after each; never ends by itself.
WRITER = """
import itertools, sys
from datetime import timedelta
from support.databases import DAY, TESTER, daily_frame, later, pools_frame
from stableyield.store import connect, write_frame, write_market_table, writing

engine = connect(sys.argv[1])
ids = [f"pool {n}" for n in range(5000)]
with writing(engine, TESTER, at=later(1)) as batch:
    write_market_table(batch, "pools", pools_frame(*ids))
for hour in itertools.count(2):
    print("begin", hour, flush=True)
    frame = daily_frame(*((pool, DAY, float(hour), 1.0) for pool in ids))
    with writing(engine, TESTER, at=later(hour)) as batch:
        write_frame(batch, "pool_daily", frame)
    print("end", hour, flush=True)
"""


@pytest.fixture
def with_pool(engine: Engine) -> Engine:
    with writing(engine, TESTER, at=NOW) as batch:
        write_market_table(batch, "pools", pools_frame("a"))
        write_frame(batch, "pool_daily", daily_frame(("a", DAY, 5.0, 1e6)))
    return engine


def test_an_error_inside_a_batch_undoes_all_of_it(with_pool: Engine) -> None:
    def write_and_fail() -> None:
        with writing(with_pool, TESTER, at=later(1)) as batch:
            write_market_table(batch, "pools", pools_frame("a", "b"))
            rows = (("a", DAY, 9.0, 1.0), ("b", DAY, 9.0, 1.0))
            write_frame(batch, "pool_daily", daily_frame(*rows))
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert read_frame(with_pool, "pools")["pool_id"].tolist() == ["a"]
    assert read_frame(with_pool, "pool_daily")["apy_pct"].tolist() == [5.0]
    assert rows_of(with_pool, "select count(*) from audit_log") == [(2,)]
    assert rows_of(with_pool, "select pool_id from pool_keys") == [("a",)]


def test_a_full_disk_is_named_and_nothing_is_half_written(sqlite: Engine) -> None:
    with writing(sqlite, TESTER, at=NOW) as batch:
        write_market_table(batch, "pools", pools_frame("a"))
        (pages,) = batch.connection.exec_driver_sql("PRAGMA page_count").one()
        batch.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
    many = pools_frame(*(f"pool number {n}" for n in range(5000)))
    with (
        pytest.raises(StoreError, match=r"the disk is full \(free space, then try again"),
        writing(sqlite, TESTER, at=later(1)) as batch,
    ):
        write_market_table(batch, "pools", many)
    assert read_frame(sqlite, "pools")["pool_id"].tolist() == ["a"]
    assert rows_of(sqlite, "PRAGMA integrity_check") == [("ok",)]


def test_a_database_that_another_process_writes_is_waited_for_then_named(
    sqlite: Engine, tmp_path: Path
) -> None:
    url = sqlite.url.render_as_string()
    with closing(sqlite3.connect(sqlite_file(sqlite) or "", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        impatient = connect(url, busy_timeout_seconds=0.01)
        with (
            pytest.raises(StoreError, match="another process is writing, and did not finish"),
            writing(impatient, TESTER, at=NOW) as batch,
        ):
            write_market_table(batch, "pools", pools_frame("a"))
        assert read_frame(impatient, "pools").empty  # readers do not wait
        other.execute("ROLLBACK")
    with writing(impatient, TESTER, at=NOW) as batch:
        write_market_table(batch, "pools", pools_frame("a"))
    impatient.dispose()


@pytest.mark.parametrize("act", [Path.unlink, lambda path: path.rename(f"{path}.moved")])
def test_a_file_that_vanishes_in_the_middle_of_a_batch_is_noticed(
    act: Callable[[Path], object], sqlite: Engine
) -> None:
    path = sqlite_file(sqlite)
    assert path is not None

    def write_and_lose_it() -> None:
        with writing(sqlite, TESTER, at=NOW) as batch:
            write_market_table(batch, "pools", pools_frame("a"))
            act(path)

    with pytest.raises(StoreError, match="was deleted, moved or replaced while it was open"):
        write_and_lose_it()


def test_a_file_that_was_replaced_since_the_last_batch_is_noticed(
    sqlite: Engine, tmp_path: Path
) -> None:
    path = sqlite_file(sqlite)
    assert path is not None
    with writing(sqlite, TESTER, at=NOW) as batch:
        write_market_table(batch, "pools", pools_frame("a"))
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        name.unlink(missing_ok=True)
    migrate(connect(f"sqlite:///{path}"), at=NOW)
    with pytest.raises(StoreError, match="was deleted, moved or replaced"):
        read_frame(sqlite, "pools")
    assert read_frame(sqlite, "pools").empty  # from now on, the new file


def test_a_read_only_file_says_so(sqlite: Engine) -> None:
    read_only = connect(f"sqlite:///file:{sqlite_file(sqlite)}?mode=ro&uri=true")
    with (
        pytest.raises(StoreError, match="may only be read"),
        writing(read_only, TESTER, at=NOW) as batch,
    ):
        write_market_table(batch, "pools", pools_frame("a"))
    read_only.dispose()


def test_readers_see_one_state_while_a_batch_is_open(with_pool: Engine) -> None:
    with writing(with_pool, TESTER, at=later(1)) as batch:
        write_frame(batch, "pool_daily", daily_frame(("a", DAY, 9.0, 1e6)))
        assert read_frame(with_pool, "pool_daily")["apy_pct"].tolist() == [5.0]
    assert read_frame(with_pool, "pool_daily")["apy_pct"].tolist() == [9.0]


def test_two_connections_may_not_close_the_same_revision(with_pool: Engine) -> None:
    base = "pool_daily_revisions"
    doubled = f"insert into {base} select * from {base}"
    with (
        pytest.raises(StoreError, match="the database refused a row"),
        writing(with_pool, TESTER, at=later(1)) as batch,
    ):
        batch.connection.execute(text(doubled))


def test_what_looks_like_a_command_is_kept_as_text(with_pool: Engine) -> None:
    nasty = 'x\'); DROP TABLE pools_revisions; --\n\\.\n\t"%s" ../../../etc/passwd {} \u202e'
    pools = pools_frame(nasty).assign(symbol=nasty, tokens=pd.Series([(nasty,)], dtype=object))
    with writing(with_pool, TESTER, at=later(1)) as batch:
        write_frame(
            batch,
            "pools",
            pools.rename(columns={"tokens": "underlying_tokens"}).assign(is_active=True),
        )
        write_frame(batch, "pool_daily", daily_frame((nasty, DAY, 1.0, 1.0)))
    row = read_frame(with_pool, "pools").query("pool_id != 'a'").iloc[0]
    assert (row["pool_id"], row["symbol"], row["underlying_tokens"]) == (nasty, nasty, (nasty,))
    assert nasty in load_panel(with_pool).as_of(DAY).pool_ids


@pytest.mark.slow
@pytest.mark.parametrize("n_lines", [1, 4, 7])
def test_a_writer_that_is_killed_leaves_whole_batches(n_lines: int, engine: Engine) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, engine.url.render_as_string(hide_password=False)],
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment(),
    )
    assert child.stdout is not None
    lines = [child.stdout.readline().split() for _ in range(n_lines)]
    os.kill(child.pid, signal.SIGKILL)
    lines += [line.split() for line in child.communicate(timeout=30)[0].splitlines()]
    done = max((int(hour) for what, hour in lines if what == "end"), default=1)
    begun = max(int(hour) for what, hour in lines if what == "begin")
    known = read_frame(engine, "pool_daily")
    assert len(known) in ({0, 5000} if done == 1 else {5000})
    assert set(known["apy_pct"]) <= {float(done), float(begun)}  # all of one batch, or of the other
    assert len(set(known["apy_pct"])) <= 1
    n_batches = rows_of(engine, "select count(*) from audit_log where table_name = 'pool_daily'")
    assert n_batches[0][0] in {done - 1, begun - 1}
    with writing(engine, TESTER, at=later(1e4)) as batch:  # nothing is left locked
        write_frame(batch, "pool_daily", daily_frame(("pool 0", DAY, 0.5, 1.0)))
