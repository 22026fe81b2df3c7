"""``allocate``: a plan on the screen, in a file and as JSON; infeasible is an answer, exit 3."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
INFEASIBLE = ("--set", "max_alloc_percentage=0.01", "--set", "min_invested_pct=0.9")


def test_the_plan_is_shown_in_80_columns(cli: Cli, problem_file: Path) -> None:
    outcome = cli("allocate", problem_file)
    assert (outcome.code, outcome.err) == (0, "")
    assert "5 transactions, in this order" in outcome.out
    assert "Book after the plan" in outcome.out
    assert "unaccounted 0.00" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 84
    for line in outcome.out.splitlines():
        assert "e-" not in line


def test_the_plan_file_is_what_json_prints(cli: Cli, problem_file: Path, tmp_path: Path) -> None:
    plan_file = tmp_path / "plan.json"
    outcome = cli("allocate", problem_file, "--out", plan_file, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.document == json.loads(plan_file.read_text())
    assert outcome.document["status"] == "optimal"
    books = (outcome.document["aum_before_usd"], outcome.document["aum_after_usd"])
    assert books[0] - books[1] == pytest.approx(outcome.document["costs"]["total_usd"], abs=0.01)


def test_a_parameter_that_is_set_changes_the_plan(cli: Cli, problem_file: Path) -> None:
    document = cli("allocate", problem_file, "--set", "max_alloc_percentage=0.2", "--json").document
    assert max(row["amount_usd"] for row in document["positions"]) <= 20_000.01


def test_lists_are_set_with_commas(cli: Cli, problem_file: Path) -> None:
    outcome = cli("allocate", problem_file, "--set", "approved_chains=Ethereum, Base", "--json")
    assert outcome.code == 0


def test_an_infeasible_problem_exits_3_and_leaves_the_book(
    cli: Cli, problem_file: Path, tmp_path: Path
) -> None:
    plan_file = tmp_path / "plan.json"
    outcome = cli("allocate", problem_file, "--out", plan_file, *INFEASIBLE)
    assert outcome.code == 3
    assert outcome.first_line.startswith("error: no plan meets the limits: 90,000.00 USD must be")
    assert "relax" in outcome.first_line
    assert "nothing is moved" in outcome.out
    document = json.loads(plan_file.read_text())
    assert document["status"] == "infeasible"
    assert document["wallet"]["USDC"]["amount"] == 100_000.0
    assert document["aum_after_usd"] == document["aum_before_usd"]
    assert {"limit", "needed", "available"} <= set(document["infeasible_because"][0])


def test_an_infeasible_problem_is_one_json_document_too(cli: Cli, problem_file: Path) -> None:
    outcome = cli("allocate", problem_file, "--json", *INFEASIBLE)
    assert outcome.code == 3
    assert outcome.document["status"] == "infeasible"
    assert outcome.first_line.startswith("error: ")


def test_what_was_relaxed_is_said(cli: Cli, problem_file: Path) -> None:
    outcome = cli("allocate", problem_file, *INFEASIBLE, "--set", "on_failure=relax")
    assert outcome.code == 0
    assert "relaxed: " in outcome.out


def test_a_pool_that_is_asked_about_is_answered(
    cli: Cli, problem: dict[str, Any], problem_file: Path
) -> None:
    first, second = (pool["pool_id"] for pool in problem["pools"][:2])
    outcome = cli("allocate", problem_file, "--why-not", first, "--why-not", second)
    assert outcome.code == 0
    assert f"why not: {first}: " in outcome.out
    assert f"why not: {second}: " in outcome.out
    document = cli("allocate", problem_file, "--why-not", first, "--json").document
    rows = document["explanation"]["why_not"]
    assert rows[0]["pool_id"] == first
    assert rows[0]["is_exact"]
    assert [row["pool_id"] for row in rows].count(first) == 1


def test_a_pool_that_is_not_there_cannot_be_asked_about(cli: Cli, problem_file: Path) -> None:
    outcome = cli("allocate", problem_file, "--why-not", "nowhere")
    assert outcome.code == 2
    assert "there is no pool 'nowhere'" in outcome.first_line


def test_low_rates_that_are_confirmed_are_taken(
    cli: Cli, problem: dict[str, Any], tmp_path: Path
) -> None:
    for pool in problem["pools"]:
        pool["forecast_apy_pct"] = 0.3
    path = tmp_path / "low.json"
    path.write_text(json.dumps(problem))
    assert cli("allocate", path).code == 2
    assert cli("allocate", path, "--confirm-percent").code == 0


def test_names_are_never_read_as_markup_and_never_cut(
    cli: Cli, problem: dict[str, Any], tmp_path: Path
) -> None:
    name = "Ethereum:0x7578f31cc44fdf2f123a6f84c42f702f9c990091[red]:smile:"
    problem["pools"][5]["pool_id"] = name
    path = tmp_path / "names.json"
    path.write_text(json.dumps(problem))
    outcome = cli("allocate", path)
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= len("binding: max_alloc_percentage of ") + 2 * len(name)
    folded = "".join(line.split("ALLOCATION  ")[-1].split("  ")[0].strip() for line in lines)
    assert "[red]" in folded
    assert ":smile:" in folded
    assert "25,000.00" in outcome.out
