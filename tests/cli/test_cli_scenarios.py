from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "scenarios" / "notebook.toml"
STUDY = """
[defaults]
mock = { pools = 5 }
[[scenario]]
name = "possible"
[[scenario]]
name = "im [red]possible[/red]"
[scenario.parameters]
min_pools = 6
[[scenario]]
name = "from a file"
problem = "problem.json"
"""


@pytest.fixture
def study(problem_file: Path, tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def test_the_table_shows_every_scenario_and_the_reason_of_the_infeasible_one(cli, study):
    outcome = cli("scenarios", study)
    assert outcome.code == 0
    assert outcome.err == ""
    lines = outcome.out.splitlines()
    assert lines[0] == "3 scenarios"
    assert any(line.startswith("possible") and "optimal" in line for line in lines)
    assert any("infeasible" in line and " - " in line for line in lines)
    assert "im [red]possible[/red]: 6 pools" in outcome.out
    assert all(len(line) <= 80 for line in lines)


def test_tables_and_figures_are_written(cli, study, tmp_path):
    out = tmp_path / "out"
    outcome = cli("scenarios", study, "--out", out, "--figure", "from a file")
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1] == f"written to {out}"
    table = pd.read_csv(out / "backtesting_results.csv")
    assert table["status"].tolist() == ["optimal", "infeasible", "optimal"]
    assert {path.name for path in out.glob("*.png")} == {"comparison.png", "plan_from_a_file.png"}
    assert (out / "transactions_possible.csv").exists()
    assert (out / "allocations_im_red_possible_red.parquet").exists()


def test_csv_files_of_two_runs_differ_in_the_solve_time_only(cli, study, tmp_path):
    for name in ("a", "b"):
        assert cli("scenarios", study, "--out", tmp_path / name, "--figure", "possible").code == 0
    names = sorted(path.name for path in (tmp_path / "a").glob("*.csv"))
    assert len(names) == 7
    for name in names:
        first, second = ((tmp_path / run / name).read_bytes() for run in ("a", "b"))
        if name == "backtesting_results.csv":
            first, second = (_without_solve_time(text.decode()) for text in (first, second))
        assert first == second


def _without_solve_time(text: str) -> list[list[str]]:
    rows = [line.split(",") for line in text.splitlines()]
    place = rows[0].index("solve_time")
    return [row[:place] + row[place + 1 :] for row in rows]


def test_json_holds_the_rows_of_the_table(cli, study):
    document = cli("scenarios", study, "--json").document
    rows = document["scenarios"]
    assert [row["status"] for row in rows] == ["optimal", "infeasible", "optimal"]
    assert rows[2]["total_aum"] == pytest.approx(100_000.0)
    assert document["out"] is None


def test_assumptions_of_a_market_are_said(cli, made_market, tmp_path):
    path = tmp_path / "days.toml"
    path.write_text(
        f"[defaults.market]\ndirectory = {json.dumps(str(made_market))}\nday = 2024-01-20\n"
        '[[scenario]]\nname = "one"\n[scenario.parameters]\nmin_pools = 1\n'
    )
    assert "assumed: synthetic market" in cli("scenarios", path).out
    assert "one" in cli("scenarios", path, "--json").document["assumptions"]


def test_the_shipped_scenarios_run(cli, tmp_path):
    outcome = cli("scenarios", NOTEBOOK, "--json")
    assert outcome.code == 0
    assert [row["total_aum"] for row in outcome.document["scenarios"]] == pytest.approx(
        [999_729.21] * 4 + [998_141.04, 1_000_214.30, 1_000_416.35], abs=0.005
    )


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        (STUDY.replace("min_pools", "min_pool"), (), "did you mean 'min_pools'"),
        (STUDY.replace("problem.json", "other.json"), (), "scenario 'from a file'"),
        (STUDY, ("--figure", "posible"), "did you mean 'possible'"),
        ("[[", (), "is not TOML"),
    ],
)
def test_bad_input_exits_with_2_says_what_and_writes_nothing(
    cli, study, tmp_path, text, arguments, said
):
    study.write_text(text, encoding="utf-8")
    outcome = cli("scenarios", study, "--out", tmp_path / "out", *arguments)
    assert outcome.code == 2
    assert said in outcome.first_line
    assert "study.toml" in outcome.first_line
    assert outcome.out == ""
    assert not (tmp_path / "out").exists()


def test_a_file_as_out_is_refused_before_anything_is_read(cli, study):
    outcome = cli("scenarios", study.with_name("none.toml"), "--out", study)
    assert outcome.code == 2
    assert "--out is a file" in outcome.first_line
