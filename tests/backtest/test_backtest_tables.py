"""The tables of a run: their columns, their contents, and that they can be written."""

from __future__ import annotations

import io
import json
import re
from inspect import cleandoc

import numpy as np
import pandas as pd
import pytest

from stableyield._version import __version__
from stableyield.backtest import BacktestResult, BacktestSettings, GasPricing, run_backtest
from stableyield.backtest.benchmarks import Idle
from stableyield.backtest.engine import Runner
from stableyield.backtest.rows import rows_of
from stableyield.backtest.tables import build_result, code_sha256
from stableyield.config import AllocationParameters, sha256_of
from stableyield.domain.costs import GasCosts
from stableyield.domain.portfolio import Book
from stableyield.forecast import ForeignForecaster, baseline
from support.markets import NO_GAS, column, day, hand_made, lax, observed, pool, synthetic_panel

TABLES = ("daily_log", "positions", "transactions", "benchmarks", "timings")


@pytest.fixture(scope="module")
def result():
    return run_backtest(synthetic_panel(), start=day(35), end=day(48))


def documented_columns(table: str) -> list[str]:
    """What the docstring of `BacktestResult` promises, in order."""
    text = cleandoc(BacktestResult.__doc__).split(f"{table} : DataFrame\n")[1]
    lines = []
    for line in text.splitlines():
        if not line.startswith(" "):
            break
        lines.append(line.strip())
    sentence = " ".join(lines).removeprefix("One row a day: ")
    columns = re.split(r"[.:] ", re.sub(r"\([^)]*\)", "", sentence))[0]
    return [name.strip(" .") for name in columns.split(",")]


@pytest.mark.parametrize("table", TABLES)
def test_columns_are_those_of_the_documentation(result, table):
    promised = documented_columns(table)
    assert len(promised) >= 3
    assert list(getattr(result, table).columns) == promised


@pytest.mark.parametrize("table", TABLES)
def test_columns_are_the_same_when_there_is_nothing_to_tell(table):
    empty = run_backtest(
        hand_made([pool("a")], 4), policy=Idle(), with_benchmarks=False, gas=NO_GAS
    )
    assert list(getattr(empty, table).columns) == documented_columns(table)


@pytest.mark.parametrize("table", TABLES)
def test_tables_survive_csv(result, table):
    frame = getattr(result, table)
    text = frame.to_csv(index=False)
    again = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values={"gap_usd": [""]})
    assert len(again) == len(frame) > 0
    numbers = frame.select_dtypes("number").columns
    pd.testing.assert_frame_equal(
        again[numbers], frame[numbers], check_dtype=False, check_exact=False, rtol=1e-15
    )


def test_allocations_add_up_to_the_money_after_the_plan(result):
    log = result.daily_log
    for name in ("allocations_by_token", "allocations_by_pool"):
        totals = log[name].map(lambda text: sum(json.loads(text).values()))
        np.testing.assert_allclose(totals, log["aum_after"], rtol=1e-12)


def test_positions_are_the_book_after_the_plan(result):
    log, rows = result.daily_log, result.positions
    by_day = rows.groupby("exec_date")["amount_usd"].sum()
    np.testing.assert_allclose(by_day, log.set_index("exec_date")["aum_after"], rtol=1e-12)
    pools = rows[rows["pool_id"] != "warm_wallet"]
    counts = pools.groupby("exec_date")["pool_id"].nunique()
    assert counts.tolist() == log["n_positions"].tolist()
    assert set(pools["risk_group"]) <= {1, 2, 3}
    assert pools[["symbol", "chain", "protocol"]].ne("").all(axis=None)
    last = json.loads(log["allocations_by_pool"].iloc[-1])
    mine = pools[pools["exec_date"] == log["exec_date"].iloc[-1]]
    assert mine.groupby("pool_id")["amount_usd"].sum().to_dict() == pytest.approx(
        {key: usd for key, usd in last.items() if key != "warm_wallet"}
    )


def test_a_position_outside_the_market_is_shown_by_its_id():
    """Only a policy that is given such a book can have one."""
    panel = hand_made([pool("a")], 4)
    runner = Runner(Idle(), Book({"USDC": 1.0}, {("elsewhere", "USDC"): 5.0}))
    record = runner.run_day(observed(panel, day(2), lax()), panel.as_of(day(3)), lax())
    settings = BacktestSettings(parameters=lax(), gas=NO_GAS)
    row = build_result(panel, settings, [rows_of(record)], {}).positions.iloc[0]
    assert (row["pool_id"], row["symbol"], row["chain"]) == ("elsewhere", "elsewhere", "")
    assert record.flags == ("no realised return: elsewhere",)


def test_costs_of_transactions_are_the_fees_of_their_day(result):
    steps = result.transactions
    assert "HOLD" not in set(steps["type"])
    by_day = steps.groupby("exec_date")[["gas_cost_usd", "conversion_cost_usd"]].sum()
    log = result.daily_log.set_index("exec_date").loc[by_day.index]
    np.testing.assert_allclose(by_day["gas_cost_usd"], log["gas_usd"], atol=1e-9)
    np.testing.assert_allclose(by_day["conversion_cost_usd"], log["conversion_usd"], atol=1e-9)
    np.testing.assert_allclose(
        steps["total_cost_usd"], steps["gas_cost_usd"] + steps["conversion_cost_usd"], atol=1e-12
    )
    is_sale = steps["type"] == "CONVERSION"
    assert is_sale.any()
    assert (steps["to_token"].ne("") == is_sale).all()
    assert (steps["to_amount"].gt(0.0) == is_sale).all()


def test_turnover_is_what_is_withdrawn_and_allocated(result):
    steps = result.transactions
    moved = steps[steps["type"] != "CONVERSION"].groupby("exec_date")["amount_usd"].sum()
    log = result.daily_log.set_index("exec_date")["turnover_usd"]
    np.testing.assert_allclose(log, moved.reindex(log.index, fill_value=0.0), atol=1e-6)


def test_token_changes_are_positions_that_come_and_go(result):
    held = {}
    in_pools = result.positions[result.positions["pool_id"] != "warm_wallet"]
    for name, rows in in_pools.groupby("exec_date"):
        held[name] = set(zip(rows["pool_id"], rows["token"], strict=True))
    before = set()
    for name, expected in result.daily_log.set_index("exec_date")["n_token_changes"].items():
        assert len(held.get(name, set()) ^ before) == expected
        before = held.get(name, set())
    assert result.daily_log["n_token_changes"].iloc[1:].gt(0).any()


def test_the_realised_apy_is_the_day_s_growth_over_a_year(result):
    log = result.daily_log
    growth = log["aum_end"] / log["aum_start"]
    np.testing.assert_allclose(log["realised_apy_pct"], 100.0 * (growth**365 - 1.0), rtol=1e-12)


def test_the_forecast_of_a_day_s_gain_is_net_of_its_costs():
    panel = hand_made([pool("a")], 5, {"apy_pct": 10.0})
    fixed = GasPricing(fixed=GasCosts(7.0, 0.0, 0.0))
    log = run_backtest(panel, start=day(2), parameters=lax(), gas=fixed).daily_log
    a_day = 5e5 * (1.1 ** (1 / 365) - 1.0)
    assert log["daily_forecast_pnl"].iloc[0] == pytest.approx(a_day - 7.0, abs=0.01)
    assert log["daily_forecast_pnl"].iloc[1] == pytest.approx(a_day, abs=0.05)


def test_a_day_that_multiplies_money_is_infinite_over_a_year_and_no_error():
    panel = hand_made([pool("a")], 5, token_arrays={"close_usd": column(5, 1.0, day_2=0.1)})
    log = run_backtest(panel, policy=Idle(), with_benchmarks=False, gas=NO_GAS).daily_log
    assert log["realised_apy_pct"].tolist() == pytest.approx([0.0, -100.0, np.inf, 0.0])
    assert log["aum_end"].tolist() == pytest.approx([1e6, 1e5, 1e6, 1e6])


def test_flags_and_status_are_told_for_every_day(result):
    log = result.daily_log
    assert set(log["status"]) <= {"done", "held"}
    assert all(isinstance(json.loads(text), list) for text in log["flags"])
    assert log["solver_status"].eq("optimal").all()
    assert log["gap_usd"].between(0.0, 1.0).all()


def test_timings_are_told_apart_from_the_log(result):
    assert result.timings["exec_date"].tolist() == result.daily_log["exec_date"].tolist()
    assert result.timings["day_seconds"].gt(0.0).all()
    assert (result.timings["solve_seconds"] <= result.timings["day_seconds"]).all()


def test_a_run_says_what_it_was_made_of(result):
    run = result.run
    panel = synthetic_panel()
    assert run["data_sha256"] == panel.sha256
    assert run["parameters"] == AllocationParameters().model_dump(mode="json")
    assert run["parameters_sha256"] == sha256_of(run["parameters"])
    assert run["code_sha256"] == code_sha256()
    assert re.fullmatch("[0-9a-f]{64}", run["code_sha256"])
    assert run["code_version"] == __version__
    assert (run["start"], run["end"], run["n_days"]) == ("2024-02-05", "2024-02-18", 14)
    assert (run["aum_start_usd"], run["token"], run["policy"]) == (1e6, "USDC", "strategy")
    assert run["forecaster"] == baseline("ewma").model_version
    assert set(run["libraries"]) >= {"numpy", "pandas", "highspy"}
    assert run["assumptions"][:-1] == list(panel.provenance.assumptions) != []
    assert "mainnet" in run["assumptions"][-1]
    json.dumps(run, allow_nan=False)


def test_fixed_gas_is_an_assumption():
    fixed = GasPricing(fixed=GasCosts(1.5, 2.0, 0.25))
    panel = hand_made([pool("a")], 4, {"forecast_apy_pct": 5.0, "forecast_tvl_usd": 1e7})
    run = run_backtest(panel, gas=fixed, forecaster=ForeignForecaster()).run
    assert run["assumptions"] == [
        "gas: fixed at 1.5 USD a deposit, 2 a withdrawal, 0.25 a conversion"
    ]
    assert run["forecaster"] == "foreign"


def test_the_last_plan_is_that_of_the_last_day(result):
    plan = result.last_plan
    log = result.daily_log.iloc[-1]
    assert plan["aum_after_usd"] == log["aum_after"]
    assert plan["gap_usd"] == log["gap_usd"]
    steps = [step for step in plan["transactions"] if step["type"] != "HOLD"]
    day_steps = result.transactions[result.transactions["exec_date"] == log["exec_date"]]
    assert len(steps) == len(day_steps)


def test_a_policy_without_plans_has_none():
    result = run_backtest(hand_made([pool("a")], 4), policy=Idle(), gas=NO_GAS)
    assert result.last_plan == {}
    assert result.daily_log["gap_usd"].isna().all()
    assert set(result.daily_log["solver_status"]) == {"done"}
