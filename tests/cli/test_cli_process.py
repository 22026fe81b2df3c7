"""The command as the shell starts it: what it imports, its exit code, its pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HEAVY = ("numpy", "pandas", "pyarrow", "highspy", "pandera", "plotly", "matplotlib")
LIST_HEAVY = f"import sys; print([name for name in {HEAVY!r} if name in sys.modules])"


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, **options
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["backtest", "--help"]])
def test_help_needs_no_heavy_import(arguments: list[str]) -> None:
    code = f"from stableyield.cli.app import run; run({arguments!r}); {LIST_HEAVY}"
    assert python("-c", code).stdout.splitlines()[-1] == "[]"


def test_a_mistake_in_the_arguments_is_found_before_heavy_imports() -> None:
    arguments = ["backtest", "--market", "m", "--aum", "0"]
    code = f"from stableyield.cli.app import run; print(run({arguments!r})); {LIST_HEAVY}"
    assert python("-c", code).stdout.splitlines() == ["2", "[]"]


def test_the_module_runs_like_the_command() -> None:
    done = python("-m", "stableyield", "report", "no-such-run")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no-such-run: no such directory (")
    assert len(done.stderr.splitlines()) == 1


def test_an_infeasible_problem_exits_3_in_a_shell(problem_file: Path) -> None:
    limits = ("--set", "max_alloc_percentage=0.01", "--set", "min_invested_pct=0.9")
    done = python("-m", "stableyield", "allocate", str(problem_file), "--json", *limits)
    assert done.returncode == 3
    assert json.loads(done.stdout)["status"] == "infeasible"
    assert done.stderr.startswith("error: no plan meets the limits")


def test_a_reader_that_stops_early_is_no_error(made_market: Path) -> None:
    """As in ``stableyield icebox ... | head -1``."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    prices = str(made_market / "prices_daily.csv")
    with os.fdopen(write_end, "w") as nobody:
        done = subprocess.run(
            [sys.executable, "-m", "stableyield", "icebox", "--prices", prices, "--json"],
            stdout=nobody,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr
