"""``stableyield run`` and its companions as an operator types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Cli = Callable[..., Any]
KEY = "key-that-nobody-may-see"


@pytest.fixture
def treasury(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty directory with a database of its own, and a secret in the environment."""
    directory = tmp_path / "treasury"
    directory.mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.setenv("STABLEYIELD_DATABASE_URL", "sqlite:///treasury.db")
    monkeypatch.setenv("STABLEYIELD_ETHERSCAN_KEY", KEY)
    monkeypatch.delenv("STABLEYIELD_SLACK_WEBHOOK", raising=False)
    return directory


@pytest.fixture
def day(made_market: Path) -> date:
    """The last day but one of the market."""
    last = pd.to_datetime(pd.read_csv(made_market / "pool_daily.csv")["date"]).max()
    return last.date() - timedelta(days=1)


LAX = ("--set", "min_pools=1", "--set", "profit_optimization=true", "--set", "min_gain_usd=0")


def test_a_day_from_deposit_to_replay(cli: Cli, treasury: Path, market: Path, day: date) -> None:
    assert cli("ledger", "deposit", "USDC", 100_000, "--day", day).code == 0
    dry = cli("run", "--market", market, "--day", day, "--dry-run", "--json", *LAX)
    assert dry.code == 0, dry.err
    first = cli("run", "--market", market, "--day", day, *LAX)
    assert first.code == 0, first.err
    assert "AUM" in first.out
    assert first.err == ""
    again = cli("run", "--market", market, "--day", day, "--json")
    assert again.code == 0
    assert again.document["was_done"]
    stored = cli("run", "--no-ingest", "--day", day, "--again", "--json", *LAX)
    assert stored.document["aum_after_usd"] == again.document["aum_after_usd"], stored.err
    run_id = stored.document["run_id"]
    rows = cli("runs", "--json").document
    assert [row["kind"] for row in rows] == ["live", "live", "dry"]
    assert [row["status"] for row in rows] == ["done", "superseded", "done"]
    assert rows[0]["run_id"] == run_id
    stages = cli("runs", run_id, "--json").document["stages"]
    assert {"ingest", "allocate", "record", "notify"} <= {row["stage"] for row in stages}
    replay = cli("replay", run_id, "--json", "--out", treasury / "both")
    assert replay.code == 0, replay.err
    assert replay.document["is_identical"]
    both = [(treasury / "both" / f"{name}.json").read_text() for name in ("recorded", "replayed")]
    assert json.loads(both[0])["transactions"] == json.loads(both[1])["transactions"]
    quality = cli("quality", "--day", day, "--json")
    assert quality.document["score"] > 50.0
    (watch,) = quality.document["forecasts"]
    assert (watch["method"], watch["is_judged"], watch["mae"]) == ("ewma", False, None)
    books = cli("ledger", "show", "--json").document
    assert books["day"] == str(day)
    total = sum(row["amount_usd"] for row in books["balances"])
    assert total == pytest.approx(again.document["aum_after_usd"])
    for command in (("runs",), ("runs", run_id), ("ledger", "show"), ("quality",)):
        shown = cli(*command)
        assert shown.code == 0
        assert str(day) in shown.out
        if command in {("runs", run_id), ("quality",)}:
            assert "ewma is not judged yet: 0 of the 10 scored days" in shown.out
    assert cli("replay", run_id).out.startswith(f"{run_id} replayed: the same plan")


def test_an_infeasible_day_is_recorded_and_exits_with_3(
    cli: Cli, treasury: Path, market: Path, day: date
) -> None:
    cli("ledger", "deposit", "USDC", 100_000, "--day", day)
    limits = ("--set", "min_pools=5", "--set", "pool_tvl_limit=1e15")
    found = cli("run", "--market", market, "--day", day, *limits)
    assert found.code == 3, found.err
    assert "no plan meets the limits" in found.first_line
    (run,) = cli("runs", "--json").document
    assert run["status"] == "done"


def test_an_empty_treasury_exits_with_2_and_leaves_its_message(
    cli: Cli, treasury: Path, market: Path, day: date
) -> None:
    found = cli("run", "--market", market, "--day", day)
    assert found.code == 2
    assert "the treasury is empty" in found.first_line
    failed = (treasury / "stableyield-runs" / str(day) / "failed.txt").read_text()
    assert "the treasury is empty" in failed


def test_balances_that_are_not_the_booked_ones_exit_with_5(
    cli: Cli, treasury: Path, market: Path, day: date
) -> None:
    cli("ledger", "deposit", "USDC", 100_000, "--day", day)
    (treasury / "balances.csv").write_text("token,amount\nUSDC,50000\n")
    options = ("--market", market, "--day", day, "--balances", "balances.csv", *LAX)
    found = cli("run", *options)
    assert found.code == 5
    assert "observed balances differ" in found.first_line
    taken = cli("run", *options, "--max-difference-pct", "0.6", "--json")
    assert taken.code == 0, taken.err
    assert taken.document["aum_before_usd"] == pytest.approx(50_000.0, rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--day", "soon"), "--day 'soon' is not a day"),
        (("--forecast", "crystal"), "no forecaster is called 'crystal'"),
        (("--no-ingest", "--source-url", "http://127.0.0.1:9"), "exclude each other"),
        (("--set", "min_gain=1"), "unknown parameter 'min_gain', did you mean 'min_gain_usd'?"),
        (("--database", "mysql://host/db"), "databases of kind 'mysql' are not served"),
    ],
)
def test_bad_usage_exits_with_2(
    arguments: tuple[str, ...], message: str, cli: Cli, treasury: Path, market: Path
) -> None:
    source = () if "--no-ingest" in arguments else ("--market", market)
    found = cli("run", *source, *arguments)
    assert found.code == 2
    assert message in found.first_line


def test_a_database_that_is_not_there_exits_with_4(cli: Cli, treasury: Path, market: Path) -> None:
    found = cli("run", "--market", market, "--database", "sqlite:///no/such/place/t.db")
    assert found.code == 4
    assert "database cannot be reached" in found.first_line or "unable" in found.first_line


def test_a_provider_that_is_not_there_exits_with_4(cli: Cli, treasury: Path) -> None:
    found = cli("doctor", "--source-url", "http://127.0.0.1:9")
    assert found.code == 4
    assert "source defillama" in found.first_line
    assert KEY not in found.out + found.err


def test_the_doctor_prints_no_secret(cli: Cli, treasury: Path) -> None:
    found = cli("doctor", "--offline", "--json")
    assert found.code == 0
    checks = {row["what"]: row for row in found.document}
    assert checks["gas and balances (Etherscan)"]["verdict"] == "ok"
    assert checks["chat"]["verdict"] == "warning"
    assert KEY not in found.out + found.err
    assert cli("doctor", "--offline").code == 0


def test_a_withdrawal_of_what_is_not_there_is_refused(cli: Cli, treasury: Path) -> None:
    assert cli("ledger", "deposit", "USDC", 10).code == 0
    found = cli("ledger", "withdraw", "USDC", 11)
    assert found.code == 2
    assert "the wallet has 10" in found.first_line
    assert cli("ledger", "deposit", "USDC", "0").code == 2
    assert cli("ledger", "withdraw", "USDC", 4).code == 0
    assert "nothing" not in cli("ledger", "show").out


def test_no_run_is_no_error(cli: Cli, treasury: Path) -> None:
    assert cli("runs").out.strip() == "no runs"
    missing = cli("runs", "20240101-nothing")
    assert missing.code == 2
    assert "there is no run" in missing.first_line


def test_a_report_that_is_not_there_is_not_pointed_at(
    cli: Cli, treasury: Path, market: Path, day: date
) -> None:
    cli("ledger", "deposit", "USDC", 100_000, "--day", day)
    (treasury / "full").write_text("a file stands where the directory should be")
    options = ("--market", market, "--day", day, "--out", "full/runs", *LAX)
    found = cli("run", *options)
    assert found.code == 0, found.err
    assert "report failed" in found.out
    assert "no report was written" in found.out
    assert "report.html" not in found.out


def test_a_market_of_the_past_is_not_decided_for_today(
    cli: Cli, treasury: Path, market: Path, day: date
) -> None:
    cli("ledger", "deposit", "USDC", 100_000, "--day", day)
    found = cli("run", "--market", market)
    assert found.code == 2
    assert "the data are stale" in found.first_line
    assert "by this machine's clock" in found.first_line
    assert cli("runs").out.strip() == "no runs"  # a clock in doubt writes nothing


def test_a_withdrawal_beyond_the_wallet_is_booked_and_raised_by_the_run(
    cli: Cli, treasury: Path, market: Path, day: date
) -> None:
    cli("ledger", "deposit", "USDC", 100_000, "--day", day)
    assert cli("run", "--market", market, "--day", day, *LAX).code == 0
    later = day + timedelta(days=1)
    assert cli("ledger", "withdraw", "USDC", 40_000, "--day", later).code == 0
    found = cli("run", "--market", market, "--day", later, "--json", *LAX)
    assert found.code == 0, found.err
    assert found.document["decision"].startswith("Pay the owner 40,000.00 USDC, raised in")
    assert found.document["aum_before_usd"] == pytest.approx(60_000.0, rel=0.02)
