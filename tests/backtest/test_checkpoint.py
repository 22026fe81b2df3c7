"""A run that is stopped anywhere and resumed is the run that was never stopped, to the last bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from stableyield.backtest import BacktestSettings, CashFlow, run_backtest, run_policies
from stableyield.backtest.benchmarks import BestSingle, EqualWeight, Idle
from stableyield.backtest.checkpoint import LOG_FILE, STATE_FILE, Checkpoint
from stableyield.backtest.policy import Decision, MilpPolicy
from stableyield.errors import InputError
from stableyield.forecast import baseline
from support.markets import day, hand_made, lax, pool, synthetic_panel

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("daily_log", "positions", "transactions", "benchmarks")
SPAN = {"start": day(35), "end": day(46), "aum_usd": 2e5}
FLOWS = (CashFlow(day(38), "USDC", 5e4), CashFlow(day(41), "USDC", -1.2e5))


class StoppedError(Exception):
    """The power went off."""


def stop_after(n_days):
    def progress(done, _):
        if done == n_days:
            raise StoppedError

    return progress


def run(panel=None, policy=EqualWeight, **changes):
    """A run without a solver, unless told otherwise; each with a policy of its own."""
    known = {"quick": True, **changes}
    return run_backtest(panel or synthetic_panel(), policy=policy(), **known)


def csv_of(result) -> list[str]:
    return [getattr(result, name).to_csv(index=False) for name in TABLES]


def timeless(result) -> tuple:
    plan = {key: value for key, value in result.last_plan.items() if key != "solve_seconds"}
    run = {key: value for key, value in result.run.items() if key != "timings"}
    return json.dumps([plan, run], sort_keys=True)


@pytest.fixture(scope="module")
def whole():
    return run(cash_flows=FLOWS, **SPAN)


@pytest.mark.parametrize("save_every", [1, 5, 100])
def test_a_run_that_saves_itself_is_the_same_run(whole, tmp_path, save_every):
    saved = run(cash_flows=FLOWS, checkpoint=tmp_path, save_every=save_every, **SPAN)
    assert csv_of(saved) == csv_of(whole)
    assert timeless(saved) == timeless(whole)


@pytest.mark.parametrize("save_every", [1, 4])
@pytest.mark.parametrize("n_days", range(1, 12))
def test_a_run_that_stops_after_any_day_goes_on_as_if_it_had_not(
    whole, tmp_path, n_days, save_every
):
    keep = {"checkpoint": tmp_path, "save_every": save_every, "cash_flows": FLOWS, **SPAN}
    with pytest.raises(StoppedError):
        run(progress=stop_after(n_days), **keep)
    seen = []
    again = run(resume=True, progress=lambda done, n: seen.append(done), **keep)
    assert seen[0] == 1 + n_days - n_days % save_every  # it does not begin anew
    assert csv_of(again) == csv_of(whole)
    assert timeless(again) == timeless(whole)


def test_a_run_with_plans_goes_on_with_its_last_plan(tmp_path):
    span = {**SPAN, "end": day(40), "policy": MilpPolicy, "with_benchmarks": False}
    one = run(**span)
    with pytest.raises(StoppedError):
        run(progress=stop_after(4), checkpoint=tmp_path, save_every=2, **span)
    other = run(checkpoint=tmp_path, save_every=2, resume=True, **span)
    assert csv_of(other) == csv_of(one)
    assert timeless(other) == timeless(one)
    assert one.last_plan["status"] == "optimal"


@pytest.mark.parametrize("mode", ["independent", "compounded"])
def test_every_mode_goes_on_where_it_stopped(tmp_path, mode):
    one = run(mode=mode, **SPAN)
    keep = {"checkpoint": tmp_path, "save_every": 2, "mode": mode, **SPAN}
    with pytest.raises(StoppedError):
        run(progress=stop_after(5), **keep)
    assert csv_of(run(resume=True, **keep)) == csv_of(one)


def test_several_policies_go_on_together(tmp_path):
    settings = BacktestSettings(**SPAN)

    def policies():
        return [EqualWeight(), BestSingle(), Idle()]

    one = run_policies(synthetic_panel(), settings, policies())
    with pytest.raises(StoppedError):
        run_policies(
            *(synthetic_panel(), settings, policies()),
            progress=stop_after(7),
            checkpoint=tmp_path,
            save_every=3,
        )
    other = run_policies(
        synthetic_panel(), settings, policies(), checkpoint=tmp_path, save_every=3, resume=True
    )
    assert list(other) == ["equal_weight", "best_single", "idle"]
    for name, result in one.items():
        assert csv_of(other[name]) == csv_of(result)


def test_a_run_that_is_done_is_not_done_again(whole, tmp_path):
    keep = {"checkpoint": tmp_path, "cash_flows": FLOWS, **SPAN}
    run(**keep)
    seen = []
    again = run(resume=True, progress=lambda *done: seen.append(done), **keep)
    assert seen == []
    assert csv_of(again) == csv_of(whole)
    assert timeless(again) == timeless(whole)


# --- a log that was not finished, or is damaged ---


def stopped(directory: Path, n_days: int = 7, save_every: int = 3) -> dict:
    keep = {"checkpoint": directory, "save_every": save_every, "cash_flows": FLOWS, **SPAN}
    with pytest.raises(StoppedError):
        run(progress=stop_after(n_days), **keep)
    return keep


@pytest.mark.parametrize("n_bytes", [1, 17, 18, 40, 500, None])
def test_a_record_that_no_snapshot_stands_on_is_cut_off_torn_or_not(
    whole, tmp_path, monkeypatch, n_bytes
):
    keep = stopped(tmp_path, n_days=4)

    def crash(*_):
        raise StoppedError

    log = tmp_path / LOG_FILE
    size = log.stat().st_size
    with monkeypatch.context() as patched:
        patched.setattr("stableyield.backtest.checkpoint.write_atomic", crash)
        with pytest.raises(StoppedError):
            run(resume=True, **keep)
    content = log.read_bytes()
    assert len(content) > size + 600
    log.write_bytes(content if n_bytes is None else content[: size + n_bytes])
    assert csv_of(run(resume=True, **keep)) == csv_of(whole)


def test_garbage_after_the_snapshot_is_cut_off(whole, tmp_path):
    keep = stopped(tmp_path)
    with (tmp_path / LOG_FILE).open("ab") as log:
        log.write(b"\x00\xff\n garbage")
    assert csv_of(run(resume=True, **keep)) == csv_of(whole)


def test_a_run_killed_before_its_first_snapshot_begins_anew(whole, tmp_path):
    keep = stopped(tmp_path, n_days=2)
    assert not (tmp_path / STATE_FILE).exists()
    assert csv_of(run(resume=True, **keep)) == csv_of(whole)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        (LOG_FILE, lambda content: content.replace(b"USDC", b"USDT", 1), "not what was written"),
        (LOG_FILE, lambda content: content[:100], "100 bytes"),
        (STATE_FILE, lambda content: content[:-9], "damaged"),
        (STATE_FILE, lambda content: b"[]", "damaged"),
        (STATE_FILE, lambda content: content.replace(b"2024", b"2023", 1), "not what was written"),
    ],
)
def test_a_damaged_checkpoint_is_refused_and_named(tmp_path, name, change, reason):
    keep = stopped(tmp_path)
    path = tmp_path / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=f"the checkpoint is damaged: {name}: ") as found:
        run(resume=True, **keep)
    assert reason in str(found.value)


def test_a_log_that_is_gone_is_a_damage(tmp_path):
    keep = stopped(tmp_path)
    (tmp_path / LOG_FILE).unlink()
    with pytest.raises(InputError, match=r"damaged: days\.log"):
        run(resume=True, **keep)


def test_a_snapshot_that_miscounts_its_days_is_a_damage(tmp_path):
    keep = stopped(tmp_path)
    path = tmp_path / STATE_FILE
    path.write_text(path.read_text().replace('"n_days":6', '"n_days":5'))
    with pytest.raises(InputError, match=r"state\.json: it is not what was written"):
        run(resume=True, **keep)


# --- whose checkpoint it is ---


def test_a_checkpoint_is_not_overwritten_by_accident(tmp_path):
    keep = stopped(tmp_path)
    with pytest.raises(InputError, match="there is a checkpoint already"):
        run(**keep)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"aum_usd": 3e5}, "aum_usd was 200000.0, is 300000.0"),
        ({"parameters": lax()}, "parameters.group1_max_pct was 0.35, is 1.0"),
        ({"cash_flows": FLOWS[:1]}, "cash_flows was "),
        ({"end": day(45)}, "end was 2024-02-16, is 2024-02-15"),
        ({"mode": "compounded"}, "mode was portfolio, is compounded"),
        ({"forecaster": baseline("mean7")}, "forecaster.settings.name was ewma, is mean7"),
        ({"with_benchmarks": False}, "policies.best_single"),
        ({"policy": lambda: EqualWeight("other")}, "policies.other"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused_and_the_difference_named(
    tmp_path, change, difference
):
    keep = stopped(tmp_path)
    with pytest.raises(InputError, match="the checkpoint is of another run") as found:
        run(resume=True, **{**keep, **change})
    assert difference in "\n".join([found.value.what, *found.value.details])


def test_another_market_is_another_run(tmp_path):
    keep = stopped(tmp_path)
    with pytest.raises(InputError, match=r"another run: data_sha256 was [0-9a-f]{64}, is"):
        run(synthetic_panel(seed=8), resume=True, **keep)


def test_other_code_is_another_run(tmp_path, monkeypatch):
    keep = stopped(tmp_path)
    monkeypatch.setattr("stableyield.backtest.tables.code_sha256", lambda: "0" * 64)
    with pytest.raises(InputError, match="another run: code_sha256 was"):
        run(resume=True, **keep)


@dataclass
class Counting:
    """A policy that remembers how many days it saw, and tells nobody."""

    name: str = "counting"
    n_days: int = 0
    notes: list[int] = field(default_factory=list)

    def decide(self, prepared, inputs) -> Decision:
        self.n_days += 1
        return Decision.keep(prepared)


class Telling(Counting):
    """The same, and it tells."""

    def state(self):
        return {"n_days": self.n_days}

    def restore(self, state):
        self.n_days = state["n_days"]


def test_a_policy_with_an_untold_memory_is_not_saved_wrongly(tmp_path):
    keep = {"checkpoint": tmp_path, "with_benchmarks": False, **SPAN}
    with pytest.raises(InputError, match="'counting' changes its attribute 'n_days'"):
        run(policy=Counting, **keep)


def test_a_policy_of_one_s_own_gets_its_memory_back(tmp_path):
    keep = {"checkpoint": tmp_path, "save_every": 4, "with_benchmarks": False, **SPAN}
    with pytest.raises(StoppedError):
        run(policy=Telling, progress=stop_after(6), **keep)
    policy = Telling()
    run(policy=lambda: policy, resume=True, **keep)
    assert policy.n_days == 12


def test_floats_come_back_to_the_last_bit(tmp_path):
    values = np.random.default_rng(4).lognormal(0.0, 20.0, 500).tolist()
    values += [float("nan"), float("inf"), -0.0, 5e-324, 0.1 + 0.2]
    with Checkpoint(tmp_path, {"a": 1}) as first:
        first.open(resume=False)
        first.save(1, values, {"x": values})
    with Checkpoint(tmp_path, {"a": 1}) as second:
        found = second.open(resume=True)
    for back in (found.blocks[0], found.state["x"]):
        assert np.array(back).tobytes() == np.array(values).tobytes()


def test_a_checkpoint_needs_a_directory_and_a_rhythm(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="not a directory"):
        Checkpoint(tmp_path / "file", {})
    with pytest.raises(InputError, match="save_every is 0"):
        Checkpoint(tmp_path, {}, save_every=0)
    with pytest.raises(InputError, match="not open"):
        Checkpoint(tmp_path, {}).save(1, [], None)


# --- how often ---


@pytest.mark.parametrize(
    ("save_seconds", "expected"), [(0.001, [30, 60, 90]), (0.02, [100]), (0.011, [55])]
)
def test_a_run_is_saved_every_thirty_days_but_not_so_often_that_it_slows_down(
    tmp_path, monkeypatch, save_seconds, expected
):
    now = [0.0]
    monkeypatch.setattr("stableyield.backtest.checkpoint.time.perf_counter", lambda: now[0])

    def slow_write(*_):
        now[0] += save_seconds

    monkeypatch.setattr("stableyield.backtest.checkpoint.write_atomic", slow_write)
    saved, last = [], 0
    with Checkpoint(tmp_path, {}) as checkpoint:
        checkpoint._save_seconds = save_seconds
        checkpoint.open(resume=False)
        for n in range(1, 101):
            now[0] += 0.01  # seconds a day
            if checkpoint.is_due(n - last):
                checkpoint.save(n - last, [], None)
                saved, last = [*saved, n], n
    assert saved == expected


@pytest.mark.parametrize(("seconds", "waits"), [(0.5, False), (1.5, True)])
def test_the_end_of_a_run_that_is_sooner_lived_again_does_not_wait_for_the_disk(
    tmp_path, monkeypatch, seconds, waits
):
    now, synced = [0.0], []
    monkeypatch.setattr("stableyield.backtest.checkpoint.time.perf_counter", lambda: now[0])
    monkeypatch.setattr("stableyield.backtest.checkpoint.os.fsync", synced.append)
    with Checkpoint(tmp_path, {"a": 1}) as checkpoint:
        checkpoint.open(resume=False)
        now[0] += seconds
        checkpoint.save(3, ["block"], {"state": 1})
    assert len(synced) == (2 if waits else 0)
    with Checkpoint(tmp_path, {"a": 1}) as again:
        assert again.open(resume=True).blocks == (["block"],)


def test_a_run_that_is_saved_when_asked_waits_for_the_disk_every_time(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("stableyield.backtest.checkpoint.os.fsync", synced.append)
    with Checkpoint(tmp_path, {}, save_every=1) as checkpoint:
        checkpoint.open(resume=False)
        checkpoint.save(1, [], None)
    assert len(synced) == 2


# --- one process at a time ---

HOLDER = """
import sys, time
from pathlib import Path
from stableyield.backtest.checkpoint import Checkpoint
checkpoint = Checkpoint(Path(sys.argv[1]), {})
checkpoint.open(resume=False)
print("open", flush=True)
time.sleep(60)
"""


def test_two_runs_cannot_use_one_checkpoint_and_a_killed_one_does_not_keep_it(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "open\n"
    with pytest.raises(InputError, match="another run is using the checkpoint") as refused:
        run(checkpoint=tmp_path, **SPAN)
    assert str(tmp_path) in str(refused.value)
    holder.kill()
    holder.communicate()
    run(checkpoint=tmp_path, **SPAN)


def test_a_run_that_fails_leaves_its_checkpoint_to_the_next(tmp_path):
    keep = stopped(tmp_path)
    with pytest.raises(InputError, match="there is a checkpoint already"):
        run(**keep)
    run(resume=True, **keep)


# --- kill -9 ---

SCRIPT = """
import sys
from pathlib import Path
from stableyield.backtest import CashFlow, run_backtest
from support.markets import day, synthetic_panel
where = Path(sys.argv[1])
flows = (CashFlow(day(38), "USDC", 5e4), CashFlow(day(41), "USDC", -1.2e5))
result = run_backtest(synthetic_panel(), cash_flows=flows, start=day(35), end=day(60), aum_usd=2e5,
                      checkpoint=where / "saved", save_every=3, resume=True,
                      progress=lambda done, n: print(done, flush=True))
(where / "daily_log.csv").write_text(result.daily_log.to_csv(index=False))
"""


def start_run(where: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(where)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])},
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_at_random(run: subprocess.Popen, rng: random.Random) -> bool:
    """Kill the run some days from now, in the middle of one; False where it ends before."""
    for _ in range(rng.randrange(1, 7)):
        if not run.stdout.readline():
            break
    time.sleep(rng.uniform(0.0, 0.1))
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert run.returncode in (0, -signal.SIGKILL)
    return run.returncode != 0


@pytest.mark.slow
def test_a_run_killed_twenty_times_writes_the_log_of_one_that_was_not(tmp_path):
    rng, kills, finished = random.Random(5), 0, []
    while kills < 20:
        where = tmp_path / str(len(finished))
        where.mkdir(exist_ok=True)
        if kill_at_random(start_run(where), rng):
            kills += 1
        else:
            finished.append(where)
    (tmp_path / "never").mkdir()
    for where in (tmp_path / "never", tmp_path / str(len(finished))):
        where.mkdir(exist_ok=True)
        start_run(where).communicate()
        assert (where / "daily_log.csv").exists()
        finished.append(where)
    expected = (tmp_path / "never" / "daily_log.csv").read_bytes()
    assert expected.count(b"\n") == 27
    assert [(where / "daily_log.csv").read_bytes() == expected for where in finished] == (
        [True] * len(finished)
    )


def test_a_hand_made_market_is_saved_and_resumed_on_its_only_day(tmp_path):
    panel = hand_made([pool("a")], 6)
    keep = {"start": day(3), "end": day(3), "parameters": lax(), "checkpoint": tmp_path}
    one = run(panel, **keep)
    assert csv_of(run(panel, resume=True, **keep)) == csv_of(one)
