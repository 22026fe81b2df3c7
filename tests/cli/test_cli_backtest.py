"""``backtest``, ``report`` and ``demo``: numbers on the screen, files in a directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Cli = Callable[..., Any]
SHORT = ("--start", "2024-01-12", "--end", "2024-01-14", "--set", "min_pools=0")
FILES = {
    *(f"{name}.csv" for name in ("benchmarks", "daily_log", "positions", "transactions")),
    *(f"{name}.parquet" for name in ("benchmarks", "daily_log", "positions", "transactions")),
    *("equity.png", "metrics.json", "plan.json", "report.html", "run.json", "timings.parquet"),
}


def test_the_strategy_stands_beside_its_benchmarks(cli: Cli, made_market: Path) -> None:
    outcome = cli("backtest", "--market", made_market, *SHORT, "--aum", "250000")
    assert (outcome.code, outcome.err) == (0, "")
    title, header, *_ = outcome.out.splitlines()
    assert title.startswith("2024-01-12 to 2024-01-15, 3 days, AUM 250,000.00 -> 250,")
    assert header.split("  ")[0] == "policy"
    assert {line.split(" ")[0] for line in outcome.out.splitlines()} >= {"strategy", "equal_weight"}
    assert "warning: Only 3 days" in outcome.out
    assert "assumed: gas: the day's gas price" in outcome.out
    assert "nothing was written; give --out DIR" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_a_run_is_written_and_its_report_renders_again(
    cli: Cli, made_market: Path, tmp_path: Path
) -> None:
    run = tmp_path / "deep" / "run"
    outcome = cli("backtest", "--market", made_market, *SHORT, "--out", run)
    assert outcome.out.splitlines()[-1] == f"report: {run / 'report.html'}"
    assert {path.name for path in run.iterdir()} == FILES
    page = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    again = cli("report", run)
    assert (again.code, again.out) == (0, f"report: {run / 'report.html'}\n")
    assert (run / "report.html").read_bytes() == page
    assert cli("report", run, "--json").document == {"report": str(run / "report.html")}


def test_the_same_command_writes_the_same_csv(cli: Cli, made_market: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert cli("backtest", "--market", made_market, *SHORT, "--out", tmp_path / name).code == 0
    for path in (tmp_path / "one").glob("*.csv"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_json_is_the_metrics_and_the_path_of_the_report(
    cli: Cli, made_market: Path, tmp_path: Path
) -> None:
    command = ("backtest", "--market", made_market, *SHORT, "--json")
    outcome = cli(*command, "--out", tmp_path / "run")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.document["n_days"] == 3
    assert outcome.document["report"] == str(tmp_path / "run" / "report.html")
    assert cli(*command).document["report"] is None


def test_the_start_token_may_be_any_of_the_market(cli: Cli, made_market: Path) -> None:
    outcome = cli("backtest", "--market", made_market, *SHORT, "--token", "DAI", "--json")
    assert outcome.document["strategy"]["aum_start_usd"] == pytest.approx(1e6)


def test_fixed_gas_stands_in_for_gas_prices_and_is_reported(cli: Cli, market: Path) -> None:
    (market / "gas_daily.csv").unlink()
    outcome = cli("backtest", "--market", market, *SHORT, "--gas-usd", "5,6,8")
    assert outcome.code == 0
    assert "assumed: gas: fixed at 5 USD a deposit, 6 a withdrawal, 8 a" in outcome.out


def test_par_is_assumed_only_when_asked_and_reported(cli: Cli, market: Path) -> None:
    (market / "prices_daily.csv").unlink()
    command = ("backtest", "--market", market, *SHORT)
    assert cli(*command).code == 2
    outcome = cli(*command, "--assume-par")
    assert outcome.code == 0
    assert "assumed: Par is assumed: " in outcome.out


def test_a_price_that_is_missing_on_a_day_stops_the_run(
    cli: Cli, market: Path, tmp_path: Path
) -> None:
    prices = pd.read_csv(market / "prices_daily.csv")
    gone = (prices["token"] == "USDC") & (prices["date"] == "2024-01-13")
    assert gone.sum() == 1
    prices[~gone].to_csv(market / "prices_daily.csv", index=False)
    command = ("backtest", "--market", market, *SHORT, "--set", "max_alloc_percentage=0.05")
    outcome = cli(*command, "--out", tmp_path / "run")
    assert outcome.code == 2
    assert outcome.first_line.startswith("error: day 2024-01-13: owned token USDC has no price")
    assert "missing_price=last" in outcome.first_line
    assert not (tmp_path / "run").exists()
    assert cli(*command, "--set", "missing_price=last").code == 0


def test_a_day_without_rows_is_held_through(cli: Cli, market: Path) -> None:
    rows = pd.read_csv(market / "pool_daily.csv")
    rows[rows["date"] != "2024-01-13"].to_csv(market / "pool_daily.csv", index=False)
    outcome = cli("backtest", "--market", market, *SHORT)
    assert outcome.code == 0
    assert "1 of 3 days did not follow a fresh plan" in outcome.out


def test_a_day_without_a_plan_exits_3_when_it_shall_not_be_held_through(
    cli: Cli, made_market: Path, tmp_path: Path
) -> None:
    impossible = ("--set", "min_pools=50", "--set", "on_failure=raise")
    out = tmp_path / "run"
    outcome = cli("backtest", "--market", made_market, *SHORT[:4], *impossible, "--out", out)
    assert outcome.code == 3
    assert "no plan meets the limits" in outcome.first_line
    assert not out.exists()


def test_the_demo_ends_with_a_report_and_three_numbers(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("demo", "--days", "2", "--pools", "5", "--out", tmp_path / "run")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert [line[:18].strip() for line in lines] == [
        *("report", "net APY", "costs", "vs equal weight")
    ]
    assert Path(lines[0][18:]) == tmp_path / "run" / "report.html"
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


def test_the_demo_speaks_json(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("demo", "--days", "2", "--pools", "5", "--out", tmp_path / "run", "--json")
    assert outcome.document["report"] == str(tmp_path / "run" / "report.html")
    assert outcome.document["n_days"] == 2


# --- modes, the owner's money, checkpoints ---


def test_the_mode_is_printed_with_the_numbers(cli: Cli, made_market: Path) -> None:
    outcome = cli("backtest", "--market", made_market, *SHORT, "--mode", "independent")
    assert outcome.code == 0
    assert "assumed: mode independent: every day starts from the same AUM" in outcome.out
    wrong = cli("backtest", "--market", made_market, *SHORT, "--mode", "chained")
    assert (wrong.code, "choose one of portfolio, independent" in wrong.first_line) == (2, True)


def test_the_owner_s_money_comes_from_a_file(cli: Cli, made_market: Path, tmp_path: Path) -> None:
    flows = tmp_path / "flows.csv"
    flows.write_text("day,token,amount\n2024-01-13,USDC,50000\n2024-01-14,USDC,-20000\n")
    command = ("backtest", "--market", made_market, *SHORT, "--cash-flows", flows)
    assert cli(*command, "--out", tmp_path / "run").code == 0
    log = pd.read_csv(tmp_path / "run" / "daily_log.csv")
    assert log["flow_usd"].round().tolist() == pytest.approx([0.0, 5e4, -2e4], rel=0.01)
    flows.write_text("day,token,amount\n2024-01-20,USDC,50000\n")
    outside = cli(*command)
    assert outside.code == 2
    assert "2024-01-20 is outside the run" in outside.first_line
    flows.write_text("day,amount\n")
    assert "the columns are day, amount" in cli(*command).first_line


def test_a_run_is_saved_and_gone_on_with(cli: Cli, made_market: Path, tmp_path: Path) -> None:
    command = ("backtest", "--market", made_market, *SHORT, "--checkpoint", tmp_path / "saved")
    assert cli(*command, "--save-every", "1", "--out", tmp_path / "one").code == 0
    again = cli(*command)
    assert again.code == 2
    assert "there is a checkpoint already" in again.first_line
    assert cli(*command, "--resume", "--out", tmp_path / "two").code == 0
    for path in (tmp_path / "one").glob("*.csv"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    other = cli(*command, "--resume", "--aum", "5")
    assert other.code == 2
    assert "the checkpoint is of another run: aum_usd was 1000000.0, is 5.0" in other.first_line
    nowhere = cli("backtest", "--market", made_market, *SHORT, "--resume")
    assert "--resume needs --checkpoint" in nowhere.first_line


def test_risk_adjusted_forecasts_have_to_be_there(cli: Cli, made_market: Path) -> None:
    command = ("backtest", "--market", made_market, *SHORT, "--forecast", "foreign:risk_adj")
    outcome = cli(*command)
    assert outcome.code == 2
    assert "there are no risk-adjusted foreign forecasts" in outcome.first_line


def test_a_malformed_run_directory_exits_2(cli: Cli, made_market: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert cli("backtest", "--market", made_market, *SHORT, "--out", run).code == 0
    log = pd.read_parquet(run / "daily_log.parquet")
    log.drop(columns="aum_end").to_parquet(run / "daily_log.parquet")
    outcome = cli("report", run)
    assert outcome.code == 2
    assert "column aum_end is missing" in outcome.first_line
    log.to_parquet(run / "daily_log.parquet")
    (run / "run.json").write_text('{"assumptions": 5}')
    outcome = cli("report", run)
    assert outcome.code == 2
    assert "assumptions is int" in outcome.first_line
