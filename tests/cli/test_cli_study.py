"""``study`` and ``backtest --policy``: what a policy is worth, at the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
SHORT = ("--start", "2024-01-12", "--end", "2024-01-16", "--set", "min_pools=0")
LAZY = """
from stableyield.backtest.policy import Decision


class Lazy:
    name = "lazy"

    def decide(self, prepared, inputs):
        return Decision.keep(prepared)


def needy(something):
    return Lazy()
"""


@pytest.fixture
def lazy(tmp_path: Path) -> str:
    """A policy of a user's own, as it is named at the command line."""
    path = tmp_path / "lazy_policy.py"
    path.write_text(LAZY, encoding="utf-8")
    return f"{path}:Lazy"


def test_regret_names_every_cause_and_adds_up(cli: Cli, made_market: Path, tmp_path: Path) -> None:
    out = tmp_path / "regret.json"
    command = ("study", "regret", "--market", made_market, *SHORT, "--aum", "200000")
    outcome = cli(*command, "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    document = json.loads(out.read_text(encoding="utf-8"))
    *parts, total = document["parts"]
    assert [part["cause"] for part in parts] == ["forecast", "constraint", "cost", "dilution"]
    assert sum(part["usd"] for part in parts) == pytest.approx(total["usd"])
    assert document["strategy"]["aum_start_usd"] == pytest.approx(2e5)
    printed = {line.split(" ")[0] for line in outcome.out.splitlines()}
    assert printed >= {"strategy", "forecast", "constraint", "cost", "dilution", "total"}
    assert cli(*command, "--json").document == document


def test_capacity_is_one_row_for_each_amount(cli: Cli, made_market: Path, lazy: str) -> None:
    command = ("study", "capacity", "--market", made_market, *SHORT, "--policy", lazy)
    outcome = cli(*command, "--aum", "2e6", "--aum", "1e5")
    rows = [line.split() for line in outcome.out.splitlines() if line.startswith("lazy")]
    assert [row[1] for row in rows] == ["100,000", "2,000,000"]
    assert "nothing was invested at 100,000, 2,000,000 USD" in " ".join(outcome.out.split())


def test_break_even_says_why_there_is_none(cli: Cli, made_market: Path, lazy: str) -> None:
    command = ("study", "break-even", "--market", made_market, *SHORT, "--policy", lazy)
    outcome = cli(*command)
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1] == "break-even: behind even if trading were free"
    assert cli(*command, "--json").document["multiple"] is None


def test_several_amounts_are_for_the_capacity_curve(cli: Cli, made_market: Path) -> None:
    outcome = cli("study", "regret", "--market", made_market, "--aum", "1e5", "--aum", "1e6")
    assert outcome.code == 2
    assert "regret takes one --aum" in outcome.first_line


def test_a_policy_that_cannot_be_made_is_refused_before_anything_runs(
    cli: Cli, made_market: Path, lazy: str, tmp_path: Path
) -> None:
    out = tmp_path / "answer.json"
    needy = lazy.replace(":Lazy", ":needy")
    outcome = cli(
        "study", "capacity", "--market", made_market, *SHORT, "--policy", needy, "--out", out
    )
    assert outcome.code == 2
    assert "needy needs something" in outcome.first_line
    assert not out.exists()


def test_a_policy_of_ones_own_is_backtested_beside_the_benchmarks(
    cli: Cli, made_market: Path, lazy: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    outcome = cli(
        *("backtest", "--market", made_market, *SHORT, "--policy", lazy, "--quick", "--out", out)
    )
    assert (outcome.code, outcome.err) == (0, "")
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert run["policy"] == "lazy"
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["strategy"]["costs_usd"] == 0.0
    assert set(metrics["benchmarks"]) == {"idle", "best_single", "equal_weight", "top_k"}
    assert "clairvoyant" in metrics["undefined"]["captured_pct"]


def test_a_run_is_not_written_among_the_files_of_a_market(cli: Cli, made_market: Path) -> None:
    before = {path.name for path in made_market.iterdir()}
    outcome = cli("backtest", "--market", made_market, *SHORT, "--quick", "--out", made_market)
    assert outcome.code == 2
    assert "--out is a market directory" in outcome.first_line
    assert {path.name for path in made_market.iterdir()} == before


BROKEN = """
class Nameless:
    def decide(self, prepared, inputs):
        return None


class Idle:
    name = "idle hands"


class One:
    name = "one"

    def decide(self, prepared, inputs):
        return 1
"""


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("Nameless", "Nameless is no policy"),
        ("Idle", "is no policy"),
        ("One", "one on 2024-01-12: decide() gave int, not a Decision"),
    ],
)
def test_a_policy_that_is_none_is_the_users_mistake_and_no_bug(
    cli: Cli, made_market: Path, tmp_path: Path, name: str, complaint: str
) -> None:
    path = tmp_path / "broken_policy.py"
    path.write_text(BROKEN, encoding="utf-8")
    command = ("backtest", "--market", made_market, *SHORT, "--quick")
    outcome = cli(*command, "--policy", f"{path}:{name}")
    assert outcome.code == 2
    assert complaint in outcome.first_line
    assert "bug" not in outcome.err
