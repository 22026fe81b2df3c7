"""What goes wrong in the middle of a run: nothing is lost, nothing is done twice."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from stableyield.errors import InputError, SolverError
from stableyield.pipeline import Outcome, stages
from stableyield.pipeline.carry import last_snapshot
from stableyield.pipeline.daily_run import LOCK
from stableyield.pipeline.journal import balances_of, balances_of_book
from stableyield.sources.skew import ClockSkewError
from stableyield.store import (
    Actor,
    BusyError,
    Run,
    StoreError,
    list_runs,
    live_run_of,
    read_entries,
    read_plan,
    read_stages,
    read_steps,
    run_lock,
)
from stableyield.store.clock import to_micros
from support.crash import watch
from support.databases import child_environment, fresh_sqlite, later
from support.treasury import DAY, Treasury, count_of

N_KILLS = 20
CHILD = (
    "import sys; from support.crash import run_until; "
    "run_until(*sys.argv[1:3], *map(int, sys.argv[3:]))"
)


class GoneError(StoreError):
    """The database went away."""


def with_stage(name: str, **changes: object) -> tuple[stages.Stage, ...]:
    """The stages of a run, one of them changed."""
    return tuple(
        replace(each, **changes) if each.name == name else each for each in stages.DECISION
    )


def check_consistent(engine: Engine) -> None:
    """Nothing is half there, whatever happened before."""
    live = [run for run in list_runs(engine) if run.kind == "live" and run.exec_date == DAY]
    assert len([run for run in live if run.status in {"running", "done"}]) <= 1
    n_plans = 0
    for run in live:
        if run.status == "superseded":
            continue
        recorded = [
            each.status for each in read_stages(engine, run.run_id) if each.stage == "record"
        ]
        if "done" not in recorded:
            with pytest.raises(InputError, match="has no plan"):
                read_plan(engine, run.run_id)
            continue
        n_plans += 1
        plan = read_plan(engine, run.run_id).document
        assert len(read_steps(engine, run.run_id)) == len(plan["transactions"])
    assert n_plans <= 1
    snapshot = last_snapshot(engine, DAY + timedelta(days=1))
    assert (snapshot is not None) == (n_plans == 1)
    journal = balances_of(read_entries(engine))
    owned = {("warm_wallet", "USDC"): 100_000.0}
    if snapshot is not None:
        owned = balances_of_book(snapshot.book)
    for key in {*journal, *owned}:
        assert journal.get(key, 0.0) == pytest.approx(owned.get(key, 0.0), abs=1e-6)


@pytest.mark.parametrize(
    "stage",
    [
        "record",
        *(pytest.param(s, marks=pytest.mark.slow) for s in ("quality", "books", "forecast")),
    ],
)
def test_a_run_that_the_database_left_is_taken_up_where_it_stopped(
    stage: str, treasury: Treasury, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise GoneError("the connection to the database was lost")

    with monkeypatch.context() as patch:
        patch.setattr("stableyield.pipeline.daily_run.DECISION", with_stage(stage, look=gone))
        with pytest.raises(GoneError):
            treasury.run()
    (run,) = list_runs(treasury.engine)
    assert run.status == "running"
    check_consistent(treasury.engine)
    assert f"FAILED in stage {stage}" in treasury.listener.heard[0][1]
    asked = treasury.source.asked
    outcome = treasury.run()
    assert outcome.was_resumed
    assert outcome.run.run_id == run.run_id
    assert treasury.source.asked == asked  # it goes on with what it knew
    attempts = [e.attempt for e in read_stages(treasury.engine, run.run_id) if e.stage == stage]
    assert attempts == [1, 2]
    check_consistent(treasury.engine)


@pytest.mark.slow
@pytest.mark.parametrize("write", ["write_decision", "write_bookings"])
def test_a_record_that_breaks_off_leaves_neither_plan_nor_bookings(
    write: str, treasury: Treasury, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = getattr(stages, write)

    def half(*arguments: object) -> None:
        whole(*arguments)
        raise GoneError("the connection to the database was lost")

    with monkeypatch.context() as patch:
        patch.setattr(stages, write, half)
        with pytest.raises(GoneError):
            treasury.run()
    assert count_of(treasury.engine, "plans") == 0
    assert count_of(treasury.engine, "asset_allocations") == 0
    check_consistent(treasury.engine)
    treasury.run()
    check_consistent(treasury.engine)


def run_without_a_solver(treasury: Treasury, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The run that fails in the middle."""

    def fail(*_: object) -> None:
        raise SolverError("no plan was found in time")

    with monkeypatch.context() as patch:
        patch.setattr("stableyield.pipeline.work.solve", fail)
        with pytest.raises(SolverError):
            treasury.run()
    (run,) = list_runs(treasury.engine)
    return run


def test_a_stage_that_fails_ends_the_run_and_is_kept(
    treasury: Treasury, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_without_a_solver(treasury, monkeypatch)
    assert (run.status, run.error) == ("failed", "no plan was found in time")
    failed = [each for each in read_stages(treasury.engine, run.run_id) if each.status == "failed"]
    assert [each.stage for each in failed] == ["allocate"]
    assert failed[0].detail == {"error": "no plan was found in time"}
    assert (treasury.directory / "runs" / str(DAY) / "failed.txt").is_file()
    check_consistent(treasury.engine)


@pytest.mark.slow
def test_after_a_run_that_failed_the_next_one_begins_anew(
    treasury: Treasury, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_without_a_solver(treasury, monkeypatch)
    outcome = treasury.run()
    assert outcome.run.run_id != run.run_id
    check_consistent(treasury.engine)


@pytest.mark.slow
def test_a_bug_in_a_stage_is_told_and_raised_as_it_is(
    treasury: Treasury, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("stableyield.pipeline.daily_run.DECISION", with_stage("icebox", look=bug))
    with pytest.raises(ZeroDivisionError):
        treasury.run()
    assert "ZeroDivisionError: division by zero" in treasury.listener.heard[0][1]
    assert list_runs(treasury.engine)[0].status == "failed"


def test_two_runs_at_once_are_one(decided: tuple[Treasury, Outcome]) -> None:
    treasury, first = decided
    told = list(treasury.listener.heard)
    other = Actor("the other one", "tests")
    with (
        run_lock(treasury.engine, LOCK, other, at=treasury.ticking.now()),
        pytest.raises(BusyError, match="another run holds the lock 'daily': the other one"),
    ):
        treasury.run(again=True)
    assert list_runs(treasury.engine) == (first.run,)
    assert treasury.listener.heard == told  # the run that is under way will tell
    assert treasury.run().was_done


@pytest.mark.slow
def test_a_clock_that_is_set_back_during_a_run_does_not_stop_it(treasury: Treasury) -> None:
    treasury.source.fetch = _setting_back(treasury)  # type: ignore[method-assign]
    assert treasury.run().run.status == "done"


@pytest.mark.parametrize("stage", [None, pytest.param("forecast", marks=pytest.mark.slow)])
def test_a_clock_that_jumps_far_ahead_during_a_run_writes_nothing_there(
    stage: str | None, treasury: Treasury, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = treasury.ticking.moment
    monkeypatch.setattr(treasury.ticking, "_seconds", began.timestamp)  # time itself goes on

    def jump(*_: object) -> dict[str, object]:
        treasury.ticking.moment += timedelta(days=400)
        return {}

    with monkeypatch.context() as patch:
        if stage is None:
            patch.setattr(treasury.source, "fetch", jump)
        else:
            patch.setattr("stableyield.pipeline.daily_run.DECISION", with_stage(stage, look=jump))
        with pytest.raises(ClockSkewError, match="jumped ahead by 400 days"):
            treasury.run()
    with treasury.engine.connect() as connection:
        last = connection.scalar(text("select max(at_micros) from audit_log"))
    assert last < to_micros(began + timedelta(days=1))
    assert "jumped ahead" in treasury.listener.heard[0][1]
    treasury.ticking.moment = began + timedelta(hours=1)
    if stage is not None:  # another run from end to end
        assert treasury.run().was_resumed
    check_consistent(treasury.engine)


def _setting_back(treasury: Treasury):
    fetch = treasury.source.fetch

    def fetch_and_set_back(span):
        treasury.ticking.moment -= timedelta(hours=2)
        return fetch(span)

    return fetch_and_set_back


def test_a_clock_that_went_back_between_runs_is_refused_and_nothing_is_lost(
    decided: tuple[Treasury, Outcome],
) -> None:
    treasury, _ = decided
    counts = treasury.counts()
    treasury.ticking.moment -= timedelta(days=3)
    with pytest.raises(InputError, match="the clock went back"):
        treasury.run(DAY + timedelta(days=1))
    assert treasury.counts() == counts


@pytest.mark.slow
def test_a_clock_that_was_set_right_again_lets_the_next_day_be_decided(
    decided: tuple[Treasury, Outcome],
) -> None:
    treasury, first = decided
    treasury.ticking.moment -= timedelta(days=3)
    with pytest.raises(InputError, match="the clock went back"):
        treasury.run(DAY + timedelta(days=1))
    treasury.ticking.moment += timedelta(days=4)
    second = treasury.run(DAY + timedelta(days=1))
    assert second.plan["aum_before_usd"] == pytest.approx(first.plan["aum_after_usd"], rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("after", "status"), [("record", "done"), ("forecast", "failed")])
def test_a_run_that_nobody_took_up_is_closed_by_the_next_day(
    after: str, status: str, treasury: Treasury, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if after == "record":
            patch.setattr("stableyield.pipeline.daily_run.write_files", die)
        else:
            patch.setattr("stableyield.pipeline.daily_run.DECISION", with_stage("screen", look=die))
        with pytest.raises(KeyboardInterrupt):
            treasury.run()
    left = list_runs(treasury.engine)[0]
    assert left.status == "running"
    treasury.run(DAY + timedelta(days=1))
    closed = list_runs(treasury.engine, exec_date=DAY)[0]
    assert (closed.run_id, closed.status) == (left.run_id, status)


def test_a_database_file_that_vanishes_in_the_middle_is_an_exit_of_4(
    treasury: Treasury, monkeypatch: pytest.MonkeyPatch
) -> None:
    if treasury.engine.dialect.name != "sqlite":
        pytest.skip("a server's files are its own")
    path = Path(str(treasury.engine.url.database))

    def lose_it(going: stages.Going) -> dict[str, object]:
        path.unlink()
        return {}

    with monkeypatch.context() as patch:
        patch.setattr("stableyield.pipeline.daily_run.DECISION", with_stage("screen", look=lose_it))
        with pytest.raises(StoreError) as raised:
            treasury.run()
    assert raised.value.exit_code == 4
    assert "FAILED in stage screen" in treasury.listener.heard[0][1]
    assert not path.exists()  # nor is an empty one there in its place


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """No file may grow beyond ``n_bytes``: what a full disk is to a database."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room_kib", [100, pytest.param(400, marks=pytest.mark.slow)])
def test_a_disk_that_runs_full_is_an_exit_of_4_and_the_next_run_is_whole(
    room_kib: int, treasury: Treasury
) -> None:
    if treasury.engine.dialect.name != "sqlite":
        pytest.skip("a server's files are its own")
    with files_of_at_most(room_kib * 1024), pytest.raises(StoreError) as raised:
        treasury.run()
    assert raised.value.exit_code == 4
    check_consistent(treasury.engine)
    assert treasury.run().run.status == "done"
    check_consistent(treasury.engine)


@pytest.mark.slow
def test_kill_9_at_random_moments_loses_nothing_and_does_nothing_twice(
    treasury: Treasury, tmp_path: Path
) -> None:
    url = treasury.engine.url.render_as_string(hide_password=False)
    reference = treasury.run(is_dry=True).plan["transactions"]
    moments = random.Random(20).sample(range(1, _statements_of_a_run(tmp_path)), N_KILLS)
    for hour, n in enumerate(moments, start=1):
        command = [sys.executable, "-c", CHILD, url, str(tmp_path), str(n), str(hour)]
        killed = subprocess.run(
            command, env=child_environment(), capture_output=True, text=True, check=False
        )
        assert killed.returncode == -9, killed.stderr
        check_consistent(treasury.engine)
        treasury.ticking.moment = later(hour + 0.5)
        outcome = treasury.run()
        assert outcome.run.status == "done"
        assert outcome.plan["transactions"] == reference
        assert live_run_of(treasury.engine, DAY) == outcome.run
        check_consistent(treasury.engine)


def _statements_of_a_run(directory: Path) -> int:
    (directory / "counted").mkdir()
    with fresh_sqlite(directory / "counted") as engine:
        counted = Treasury(engine, directory / "counted")
        counted.bring()
        seen: list[int] = []
        watch(engine, seen.append)
        counted.run()
    assert len(seen) > 100
    return seen[-1]
