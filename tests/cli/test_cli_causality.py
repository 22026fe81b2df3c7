"""``check-causality``: own policies and forecasters, named by module or file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
SHORT = ("--start", "2024-01-12", "--end", "2024-01-16", "--days", "2", "--set", "min_pools=0")

POLICIES = """
from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from helpers_of_mine import into
from stableyield.backtest.policy import Decision
from stableyield.forecast import baseline


@dataclass
class Patient:
    name: str = "patient"

    def decide(self, prepared, inputs):
        return into(prepared, 1000.0)


@dataclass
class Peeking:
    panel: object
    name: str = "peeking"

    def decide(self, prepared, inputs):
        tomorrow = self.panel.as_of(inputs.view.day + timedelta(days=1))
        target_usd = 5000.0 + 1000.0 * (inputs.view.day.day % 2)
        return into(prepared, target_usd * tomorrow.prices_usd["USDC"])


@dataclass
class Lazy:
    name: str = "lazy"

    def decide(self, prepared, inputs):
        return Decision.keep(prepared)


rolls = iter(range(1000))


class Dicing:
    name = "dicing"

    def decide(self, prepared, inputs):
        return into(prepared, 1000.0 + 100.0 * next(rolls))


def forecaster_of_mine():
    return baseline("mean7")


number = 7
"""
HELPERS = """
from stableyield.backtest.policy import Decision
from stableyield.backtest.rebalance import rebalance


def into(prepared, usd):
    return Decision(rebalance(prepared.problem, {prepared.problem.pools[0].pool_id: usd}))
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file of policies with a module beside it, as a user has them."""
    path = tmp_path / "policies_of_mine.py"
    path.write_text(POLICIES, encoding="utf-8")
    (tmp_path / "helpers_of_mine.py").write_text(HELPERS, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield path
    for name in [name for name in sys.modules if name.endswith("_of_mine")]:
        del sys.modules[name]


def test_a_causal_policy_exits_0_and_says_what_was_compared(
    cli: Cli, made_market: Path, own: Path
) -> None:
    command = ("check-causality", "--market", made_market, *SHORT)
    outcome = cli(*command, "--policy", f"{own}:Patient")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[0] == "policy patient, forecaster ewma"
    assert outcome.out.count("nothing") == 2
    assert "causal: 2024-01-12 to 2024-01-16, " in outcome.out
    assert " compared in 2 other futures" in outcome.out


def test_a_leak_exits_1_and_names_day_pool_and_values(
    cli: Cli, made_market: Path, own: Path, tmp_path: Path
) -> None:
    command = ("check-causality", "--market", made_market, *SHORT)
    out = tmp_path / "found.json"
    outcome = cli(*command, "--policy", f"{own}:Peeking", "--out", out)
    assert outcome.code == 1
    assert "NOT CAUSAL" in outcome.out
    first, *details = outcome.err.splitlines()
    assert first.startswith("error: day 2024-01-14, pool synthetic-")
    assert "the decision changes with what happens after 2024-01-14" in first
    assert "a bug: please report" not in first
    assert details[0].startswith("  as it is: ")
    assert details[1].startswith("  other future: ")
    document = json.loads(out.read_text(encoding="utf-8"))
    assert not document["is_causal"]
    assert [leak["changed_after"] for leak in document["leaks"]] == ["2024-01-14", "2024-01-16"]
    assert cli(*command, "--policy", f"{own}:Peeking", "--json").document == document


def test_the_clairvoyant_is_caught_by_its_module_name(cli: Cli, made_market: Path) -> None:
    policy = "stableyield.backtest.clairvoyant:Clairvoyant"
    outcome = cli("check-causality", "--market", made_market, *SHORT, "--policy", policy)
    assert outcome.code == 1


def test_a_module_of_the_current_directory_is_found(
    cli: Cli, made_market: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own.parent)
    command = ("check-causality", "--market", made_market, *SHORT, "--json")
    document = cli(
        *command,
        *("--policy", "policies_of_mine:Lazy"),
        *("--forecaster", "policies_of_mine:forecaster_of_mine"),
    ).document
    assert (document["policy"], document["forecaster"]) == ("lazy", "mean7")


def test_a_forecaster_may_be_named_as_in_backtest(cli: Cli, made_market: Path, own: Path) -> None:
    command = ("check-causality", "--market", made_market, *SHORT)
    outcome = cli(*command, "--policy", f"{own}:Lazy", "--forecaster", "median")
    assert outcome.code == 0
    assert "forecaster median" in outcome.out
    assert "warning: the policy moved no money" in outcome.out


def test_a_policy_that_throws_dice_is_said_to_be_unrepeatable(
    cli: Cli, made_market: Path, own: Path
) -> None:
    outcome = cli("check-causality", "--market", made_market, *SHORT, "--policy", f"{own}:Dicing")
    assert outcome.code == 1
    assert "not repeatable: two runs on the same market differ" in outcome.out
    assert "two runs on the same market differ" in outcome.first_line


@pytest.mark.parametrize(
    ("policy", "what"),
    [
        ("Patient", "names no code"),
        (":Patient", "names no code"),
        ("{own}:", "names no code"),
        ("{own}:Patiemt", "did you mean 'Patient'?"),
        ("{own}:number", "7 has no decide()"),
        ("nowhere.py:Patient", "there is no file nowhere.py"),
        ("no_such_module_here:Patient", "there is no module 'no_such_module_here'"),
        ("stableyield.no_such_room:X", "there is no module 'stableyield.no_such_room'"),
    ],
)
def test_code_that_cannot_be_found_exits_2_with_a_remedy(
    cli: Cli, made_market: Path, own: Path, policy: str, what: str
) -> None:
    named = policy.format(own=own)
    outcome = cli("check-causality", "--market", made_market, *SHORT, "--policy", named)
    assert outcome.code == 2
    assert what in outcome.first_line


@pytest.mark.parametrize(
    ("text", "what"),
    [("1 / 0", "ZeroDivisionError: division by zero"), ("def f(:", "SyntaxError: ")],
)
def test_code_that_breaks_on_import_exits_2_with_the_line(
    cli: Cli, made_market: Path, own: Path, text: str, what: str
) -> None:
    own.write_text(text, encoding="utf-8")
    command = ("check-causality", "--market", made_market, *SHORT)
    outcome = cli(*command, "--policy", f"{own}:X")
    assert outcome.code == 2
    assert f"importing {own}: {what}" in outcome.first_line
    assert text in outcome.err


def test_a_module_that_breaks_or_lacks_another_is_told_from_a_missing_one(
    cli: Cli, made_market: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own.parent)
    command = ("check-causality", "--market", made_market, *SHORT, "--policy")
    for name, text, what in (
        ("lacking_of_mine", "import no_such_library", "No module named 'no_such_library'"),
        ("breaking_of_mine", "raise ValueError('broken')", "ValueError: broken"),
    ):
        (own.parent / f"{name}.py").write_text(text, encoding="utf-8")
        outcome = cli(*command, f"{name}:X")
        assert outcome.code == 2
        assert f"importing {name}: " in outcome.first_line
        assert what in outcome.first_line
