"""The policy that docs/policies.md shows is short, runs, and does what the page says."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import stableyield as sy
from stableyield.backtest import benchmarks
from stableyield.backtest.settings import BacktestSettings
from support.markets import day, synthetic_panel

PAGE = Path(__file__).resolve().parents[2] / "docs" / "policies.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def executed(code: str, names: dict[str, Any]) -> dict[str, Any]:
    exec(compile(code, str(PAGE), "exec"), names)
    return names


def test_a_policy_of_ones_own_takes_at_most_fifteen_lines() -> None:
    lines = [line for line in blocks()[0].splitlines() if line.strip()]
    assert len(lines) <= 15


def test_the_policy_of_the_page_runs_and_trades_on_mondays_only() -> None:
    names = executed(blocks()[0], {})
    names |= {"sy": sy, "panel": synthetic_panel()}
    code = blocks()[1].replace("policy=", f"start={day(36)!r}, end={day(50)!r}, policy=")
    result = executed("import datetime\n" + code, names)["result"]
    traded = {date.fromisoformat(on) for on in result.transactions["exec_date"]}
    assert {on.weekday() for on in traded} == {0}
    assert result.run["policy"] == "mondays"


def test_the_analyses_of_the_page_run() -> None:
    settings = BacktestSettings(start=day(40), end=day(41), with_benchmarks=False)
    names = executed(blocks()[2].splitlines()[0], {"panel": synthetic_panel()})
    quick = (
        blocks()[2]
        .replace("capacity_curve(panel, settings)", "0")
        .replace("break_even_cost(panel, settings)", "0")
    )
    found = executed(quick, names | {"settings": settings})["found"]
    assert len(found.parts) == 4


def test_the_page_names_every_policy() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for policy in benchmarks.all_benchmarks():
        assert f"`{type(policy).__name__}(" in page
