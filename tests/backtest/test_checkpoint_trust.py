"""A checkpoint is resumed by the run that made it, and by no other: money, settings, memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stableyield.backtest import run_backtest
from stableyield.backtest.benchmarks import EqualWeight
from stableyield.backtest.checkpoint import STATE_FILE
from stableyield.backtest.choice import keep_what_may_be_kept
from stableyield.backtest.day import DayInputs, Prepared
from stableyield.backtest.policy import Decision
from stableyield.backtest.rebalance import rebalance
from stableyield.cli.own_code import load_own
from stableyield.errors import InputError
from support.markets import day, synthetic_panel

SPAN: dict[str, Any] = {"start": day(35), "end": day(46), "aum_usd": 2e5, "with_benchmarks": False}


class StoppedError(Exception):
    """The power went off."""


def stop_after_7(done: int, _: int) -> None:
    if done == 7:
        raise StoppedError


def stopped(directory: Path, policy: Any) -> dict[str, Any]:
    """A run that was stopped after 7 days, the last snapshot being that of day 6."""
    keep = {"checkpoint": directory, "save_every": 3, **SPAN}
    with pytest.raises(StoppedError):
        run_backtest(synthetic_panel(), policy=policy, progress=stop_after_7, **keep)
    return keep


def bring_to(prepared: Prepared, usd: float) -> Decision:
    first = min(each.pool_id for each in prepared.expected_problem.pools)
    return Decision(rebalance(prepared.expected_problem, {first: usd}))


# --- what was written ---


def test_money_that_is_written_into_a_checkpoint_is_a_damage(tmp_path: Path) -> None:
    keep = stopped(tmp_path, EqualWeight())
    path = tmp_path / STATE_FILE
    document = json.loads(path.read_text(encoding="utf-8"))
    wallet = document["state"][0]["wallet"]
    wallet["USDC"] = wallet.get("USDC", 0.0) + 1000.0
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match="the checkpoint is damaged"):
        run_backtest(synthetic_panel(), policy=EqualWeight(), resume=True, **keep)


@pytest.mark.parametrize("name", ["state", "log_bytes", "checksum", "key_sha256"])
def test_a_state_without_one_of_its_parts_is_a_damage(tmp_path: Path, name: str) -> None:
    keep = stopped(tmp_path, EqualWeight())
    path = tmp_path / STATE_FILE
    document = json.loads(path.read_text(encoding="utf-8"))
    del document[name]
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match="the checkpoint is damaged"):
        run_backtest(synthetic_panel(), policy=EqualWeight(), resume=True, **keep)


def test_what_a_killed_run_left_half_written_is_swept_away(tmp_path: Path) -> None:
    keep = stopped(tmp_path, EqualWeight())
    (tmp_path / f".{STATE_FILE}.4711.tmp").write_text("{", encoding="utf-8")
    run_backtest(synthetic_panel(), policy=EqualWeight(), resume=True, **keep)
    assert {path.name for path in tmp_path.iterdir()} == {STATE_FILE, "days.log"}


# --- whose settings ---


class Plain:
    """A policy as docs/policies.md shows it, with a setting."""

    name = "plain"

    def __init__(self, setting: Any) -> None:
        self.setting = setting

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:
        return bring_to(prepared, 1e4)


@dataclass
class Weighted:
    """A policy with a setting of any kind."""

    setting: Any
    name: str = "weighted"

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:
        return bring_to(prepared, 1e4)


SETTINGS = {
    "a number": (1e4, 5e4),
    "a mapping": ({"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 3.0}),
    "a set": ({"a", "b"}, {"a", "c"}),
    "a day": (day(3), day(4)),
    "an array": (np.arange(3.0), np.arange(3.0) + 1.0),
    "a market": (synthetic_panel(), None),
    "a list": ([1, (2, 3)], [1, (2, 4)]),
}


@pytest.mark.parametrize("make", [Plain, Weighted])
@pytest.mark.parametrize("kind", SETTINGS)
def test_another_setting_of_ones_own_policy_makes_another_run(
    tmp_path: Path, make: Callable[[Any], Any], kind: str
) -> None:
    one, other = SETTINGS[kind]
    keep = stopped(tmp_path, make(one))
    with pytest.raises(InputError, match=r"of another run: policies\..*setting"):
        run_backtest(synthetic_panel(), policy=make(other), resume=True, **keep)
    run_backtest(synthetic_panel(), policy=make(one), resume=True, **keep)


OWN_FILE = """
from stableyield.backtest.policy import Decision


class Mine:
    name = "mine"

    def decide(self, prepared, inputs):
        return Decision.keep(prepared)
"""


def test_another_text_of_ones_own_policy_makes_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", [])
    source = tmp_path / "mine.py"
    source.write_text(OWN_FILE, encoding="utf-8")
    keep = stopped(tmp_path / "run", load_own(f"{source}:Mine", "--policy")())
    source.write_text(OWN_FILE + "\n# and something else\n", encoding="utf-8")
    again = load_own(f"{source}:Mine", "--policy")()
    with pytest.raises(InputError, match=r"of another run: policies\.mine\.source_sha256"):
        run_backtest(synthetic_panel(), policy=again, resume=True, **keep)


# --- whose memory ---


@dataclass
class EveryThird:
    """Trades on every third day that it has seen: its memory is a list."""

    name: str = "every_third"
    seen: list[date] = field(default_factory=list)

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:
        self.seen.append(inputs.view.day)
        if len(self.seen) % 3:
            return keep_what_may_be_kept(prepared)
        return bring_to(prepared, 1e3 * len(self.seen))


def test_a_memory_that_is_changed_in_place_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="changes its attribute 'seen'"):
        run_backtest(
            synthetic_panel(), policy=EveryThird(), checkpoint=tmp_path, save_every=3, **SPAN
        )


class Counting:
    """Tells its memory as most people's code would have it."""

    name = "counting"

    def __init__(self, memory: Any) -> None:
        self.memory = memory

    def decide(self, prepared: Prepared, inputs: DayInputs) -> Decision:
        return Decision.keep(prepared)

    def state(self) -> dict[str, Any]:
        return {"n": self.memory}

    def restore(self, state: dict[str, Any]) -> None:
        self.memory = state["n"]


@pytest.mark.parametrize("memory", [np.int64(3), {1, 2}, day(3)], ids=repr)
def test_a_memory_that_json_cannot_keep_is_refused_by_the_name_of_its_policy(
    tmp_path: Path, memory: Any
) -> None:
    with pytest.raises(InputError, match="'counting' remembers what JSON cannot keep"):
        run_backtest(
            synthetic_panel(), policy=Counting(memory), checkpoint=tmp_path, save_every=3, **SPAN
        )
