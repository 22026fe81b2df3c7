from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.offline
import pytest

from stableyield.report import compute_metrics, render_report
from stableyield.report.definitions import DEFINITIONS
from stableyield.report.document import headline, plain_json, verdict

EVIL = "<script>alert('x')</script>"


def page_of(result) -> str:
    """The page without plotly.js, which is a library's text and not ours."""
    page = render_report(result, compute_metrics(result))
    assert page.count(plotly.offline.get_plotlyjs()) == 1
    return page.replace(plotly.offline.get_plotlyjs(), "")


@pytest.fixture(scope="module")
def page(result) -> str:
    return page_of(result)


def test_the_page_asks_nothing_of_the_network(page):
    for request in ('src="', "<link", "@import", "url(", "http://", "https://", "fetch("):
        assert request not in page
    assert "default-src 'none'" in page


def test_the_library_is_embedded_and_loads_nothing_by_a_tag(result):
    page = render_report(result, compute_metrics(result))
    for request in ('src="http', "<link", "@import", "url(http"):
        assert request not in page


def test_the_same_result_gives_the_same_page(result, page):
    assert page_of(result) == page


def test_the_first_screen_names_apy_lead_profit_costs_and_days(page, result):
    top = page[: page.index('id="equity-plot"')]
    metrics = compute_metrics(result)
    assert f"{metrics['strategy']['net_apy_pct']:.2f}\N{NO-BREAK SPACE}%" in top
    assert f"{metrics['excess']['equal_weight']['net_apy_points']:.2f} points above" in top
    assert f"${metrics['strategy']['profit_usd']:,.0f}" in top
    assert f"${metrics['costs']['total_usd']:,.0f}" in top
    assert "90 days" in top


def test_warnings_and_assumptions_stand_in_plain_sight(page, result):
    for text in (*compute_metrics(result)["warnings"], *result.run["assumptions"]):
        assert text in page


def test_the_metric_table_defines_every_metric(page):
    for item in DEFINITIONS:
        assert item.label in page
        assert item.text.replace("'", "&#39;") in page


def test_the_guide_defines_every_metric():
    guide = Path(__file__).resolve().parents[2] / "docs" / "report.md"
    text = guide.read_text(encoding="utf-8")
    for item in DEFINITIONS:
        assert f"`{item.key}`" in text
        assert item.label in text


def test_the_plan_table_names_pools_tokens_and_amounts(page, result):
    step = next(s for s in result.last_plan["transactions"] if s["type"] == "CONVERSION")
    plan = page[page.index('id="plan"') :]
    assert f"USDC → {step['to_token']}" in plan
    assert f"${step['amount_usd']:,.2f}" in plan
    assert "USDC · morpho-blue · Base" in plan
    assert "Limits that hold the gain down" in plan


def test_transactions_are_listed_in_the_order_of_the_plan(page, result):
    plan = page[page.index('id="plan"') : page.index("The book after them")]
    actions = re.findall(r"<td>(Withdraw|Convert|Deposit)</td>", plan)
    words = {"WITHDRAWAL": "Withdraw", "CONVERSION": "Convert", "ALLOCATION": "Deposit"}
    assert actions == [words[step["type"]] for step in result.last_plan["transactions"]]


def test_days_with_flags_and_held_days_are_listed(page):
    days = page[page.index('id="days"') :]
    assert "no realised return: USDT · fluid-lending · Arbitrum" in days
    assert "held" in days
    assert "12 Apr 2025" in days


def test_a_day_on_which_the_solver_ran_out_of_time_is_listed(result):
    log = result.daily_log.assign(flags="[]", status="done", solver_status="optimal")
    log.loc[3, "solver_status"] = "time_limit"
    page = page_of(replace(result, daily_log=log))
    days = page[page.index('id="days"') :]
    assert "time limit" in days
    assert "6 Mar 2025" in days


def test_changed_parameters_stand_out_with_their_default(page):
    row = re.search(r'<tr class="changed">.*?risk_aversion.*?</tr>', page[-30000:], re.DOTALL)
    assert row is not None
    assert "0.3" in row[0]
    assert "0.5" in row[0]


def test_hashes_and_versions_are_printed(page, result):
    assert result.run["parameters_sha256"] in page
    assert result.run["data_sha256"]["pool_daily"] in page
    assert "Libraries: highspy" in page


def test_every_text_from_the_data_is_escaped(result):
    plan = dict(result.last_plan)
    plan["transactions"] = [{**plan["transactions"][0], "token": EVIL, "from_location": EVIL}]
    plan["explanation"] = {EVIL: [{EVIL: EVIL}], "relaxed": [EVIL]}
    bad = result.benchmarks["policy"].replace("best_single", EVIL)
    hostile = replace(
        result,
        positions=result.positions.assign(symbol=EVIL, token=EVIL),
        benchmarks=result.benchmarks.assign(policy=bad),
        daily_log=result.daily_log.assign(flags=f'["{EVIL}"]', status=EVIL),
        last_plan=plan,
        run={**result.run, "policy": EVIL, "assumptions": [EVIL], EVIL: EVIL, "token": EVIL},
    )
    page = page_of(hostile)
    assert "alert(" in page
    assert "<script>alert(" not in page
    assert page.lower().count("<script>") == 2  # plotly.js and the page's own


def test_an_infeasible_plan_tells_why(result):
    because = [
        {"limit": "min_pools", "needed": 5.0, "available": 4.0, "detail": "4 pools are open"},
        {"limit": "gas", "needed": math.nan, "available": 10.0},
    ]
    plan = {"status": "infeasible", "transactions": [], "infeasible_because": because}
    page = page_of(replace(result, last_plan=plan))
    assert "Why there is no plan" in page
    assert "4 pools are open" in page
    assert "Nothing moves" in page


def test_a_run_of_one_day_without_plan_benchmarks_or_facts_is_still_a_page(make_result):
    day = make_result(1)
    bare = replace(
        day,
        benchmarks=day.benchmarks.iloc[:0],
        transactions=day.transactions.iloc[:0],
        daily_log=day.daily_log.assign(daily_forecast_pnl=np.nan),
        last_plan={},
        run={},
    )
    page = page_of(bare)
    assert "Only 1 day:" in page
    assert "this run has no such benchmark" in page
    assert "No day has both a forecast and a realised profit" in page


def test_a_run_without_trouble_says_that_no_day_needs_a_look(result):
    calm = replace(
        result,
        daily_log=result.daily_log.assign(flags="[]", status="done", solver_status="optimal"),
    )
    assert "None: every day followed a fresh plan" in page_of(calm)


def test_more_days_than_a_page_holds_are_counted(make_result):
    long = make_result(130)
    noisy = replace(long, daily_log=long.daily_log.assign(flags='["gas unknown"]'))
    assert "30 more days are in daily_log.csv" in page_of(noisy)


def test_the_verdict_says_less_when_it_is_less(result):
    metrics = compute_metrics(result)
    behind = {**metrics, "excess": {"equal_weight": {"net_apy_points": -0.5, "profit_usd": -99.0}}}
    assert headline(behind).endswith("0.50 points below equal weight")
    assert "$99 less than" in verdict(behind)


def test_a_better_benchmark_is_named(result):
    assert "Better than the strategy: Best single pool by $" in verdict(compute_metrics(result))


def test_plain_json_keeps_values_and_writes_unknown_numbers_as_null():
    value = {
        "nan": math.nan,
        "set": {"b", "a"},
        "array": np.array([1.0, math.inf]),
        "day": pd.Timestamp("2025-01-02").date(),
        3: (1, True, None),
    }
    assert plain_json(value) == {
        "nan": None,
        "set": ["a", "b"],
        "array": [1.0, None],
        "day": "2025-01-02",
        "3": [1, True, None],
    }
