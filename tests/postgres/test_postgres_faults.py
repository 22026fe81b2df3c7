"""What only a server can do: end connections, refuse passwords, run out of patience."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from stableyield.store import (
    StoreError,
    connect,
    read_frame,
    run_lock,
    write_frame,
    write_market_table,
    writing,
)
from support.databases import DAY, NOW, TESTER, daily_frame, later, pools_frame

pytestmark = pytest.mark.slow


def end_other_connections(engine: Engine) -> None:
    other = connect(engine.url.render_as_string(hide_password=False))
    with other.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    other.dispose()


def test_a_server_that_goes_away_in_the_middle_of_a_batch_keeps_nothing_of_it(
    postgres: Engine,
) -> None:
    with writing(postgres, TESTER, at=NOW) as batch:
        write_market_table(batch, "pools", pools_frame("a"))

    def write_while_the_server_goes() -> None:
        with writing(postgres, TESTER, at=later(1)) as batch:
            write_market_table(batch, "pools", pools_frame("a", "b"))
            end_other_connections(postgres)
            write_frame(batch, "pool_daily", daily_frame(("a", DAY, 5.0, 1.0)))

    with pytest.raises(StoreError, match="the connection to the database was lost"):
        write_while_the_server_goes()
    assert read_frame(postgres, "pools")["pool_id"].tolist() == ["a"]  # and it connects again


def test_a_lock_that_was_lost_with_its_connection_is_noticed(postgres: Engine) -> None:
    with run_lock(postgres, "daily", TESTER, at=NOW) as lock:
        end_other_connections(postgres)
        with pytest.raises(StoreError, match=r"holding the lock 'daily': the connection .* lost"):
            lock.check()
    with run_lock(postgres, "daily", TESTER, at=NOW) as lock:
        lock.check()


def test_a_table_that_another_session_locks_is_waited_for_then_named(postgres: Engine) -> None:
    impatient = connect(
        postgres.url.render_as_string(hide_password=False), busy_timeout_seconds=0.05
    )
    with writing(postgres, TESTER, at=NOW) as batch:
        write_market_table(batch, "pools", pools_frame("a"))
        with (
            pytest.raises(StoreError, match="another process is writing"),
            writing(impatient, TESTER, at=NOW) as second,
        ):
            write_market_table(second, "pools", pools_frame("b"))
    assert read_frame(postgres, "pools")["pool_id"].tolist() == ["a"]
    impatient.dispose()


def test_a_database_that_does_not_exist_is_named(postgres: Engine) -> None:
    nowhere = connect(postgres.url.set(database="nowhere").render_as_string(hide_password=False))
    with pytest.raises(StoreError, match="the database cannot be reached"):
        read_frame(nowhere, "pools")


def test_sessions_keep_utc(postgres: Engine) -> None:
    with postgres.connect() as connection:
        assert connection.scalar(text("SHOW timezone")) == "UTC"
