"""``stableyield loop``: runs, statistics and stress as users type them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stableyield.store import connect, migrate, write_market_table, writing
from support.databases import NOW, TESTER

Cli = Callable[..., Any]

N_DAYS = 40


def make_table(n_days: int = N_DAYS) -> pd.DataFrame:
    """Supply and borrow rates of two coins on Aave v3, Ethereum, in percent."""
    days = pd.date_range("2024-01-01", periods=n_days, freq="D")
    swing = np.sin(np.arange(n_days) / 5.0)
    parts = []
    for symbol, supply, borrow in (("USDC", 9.0 + swing, 12.0 + swing), ("USDT", 2.0, 3.0 - swing)):
        parts.append(
            pd.DataFrame(
                {
                    "market_id": f"aave-v3-ethereum-{symbol}",
                    "chain": "Ethereum",
                    "protocol": "aave-v3",
                    "symbol": symbol,
                    "date": days.strftime("%Y-%m-%d"),
                    "supply_apr_pct": supply,
                    "borrow_apr_pct": borrow,
                    "supplied_usd": 1e8,
                    "borrowed_usd": 8e7,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def rates(tmp_path: Path) -> Path:
    path = tmp_path / "rates.csv"
    make_table().to_csv(path, index=False)
    return path


def run(cli: Cli, rates: Path, *more: object) -> Any:
    return cli("loop", "--rates", rates, "--gas-usd", 1, "--equity", 100_000, *more)


def test_a_run_prints_the_loop_beside_plain_supply(cli: Cli, rates: Path) -> None:
    outcome = run(cli, rates, "--leverage", 2)
    assert outcome.code == 0, outcome.err
    assert "aave-v3 on Ethereum" in outcome.out
    assert "plain %" in outcome.out
    assert "assumed: Par is assumed" in outcome.out
    assert "nothing was written" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_a_run_writes_tables_and_a_page_that_asks_nothing_of_the_network(
    cli: Cli, rates: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    outcome = run(cli, rates, "--ltv", 0.7, "--rounds", 3, "--out", out, "--as-notebook")
    assert outcome.code == 0, outcome.err
    names = {path.name for path in out.iterdir()}
    tables = (
        "daily_log",
        "unlevered",
        "held",
        "transactions",
        "corrections",
        "stress",
        "as_notebook",
    )
    tables += ("pool_statistics", "chain_statistics", "spreads", "rebalancing_costs")
    assert {f"{name}.{ending}" for name in tables for ending in ("csv", "parquet")} <= names
    assert {"loop.json", "report.html"} <= names
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Why 19.8 % was never there" in page
    assert "As the notebook had it" in outcome.out
    assert " src=" not in page.partition("<script>")[0]
    costs = pd.read_csv(out / "rebalancing_costs.csv")
    assert costs["share_pct"].iloc[0] == pytest.approx(5.256)
    assert len(pd.read_csv(out / "daily_log.csv")) == N_DAYS - 1


def test_the_same_run_writes_the_same_bytes(cli: Cli, rates: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert run(cli, rates, "--leverage", 2, "--out", tmp_path / name).code == 0
    for path in sorted((tmp_path / "one").glob("*.csv")):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
    pages = [(tmp_path / name / "report.html").read_text() for name in ("one", "two")]
    assert pages[0] == pages[1]


def test_json_is_strict_and_has_the_metrics(cli: Cli, rates: Path) -> None:
    document = run(cli, rates, "--leverage", 2, "--as-notebook", "--json").document
    row = document["markets"]["aave-v3 on Ethereum"]
    assert row["n_days"] == N_DAYS - 1
    assert row["days_looped"] > 0
    assert document["corrections"][0]["correction"] == "As the notebook had it"
    assert document["report"] is None


def test_a_target_beyond_the_market_is_reduced_and_said(cli: Cli, rates: Path) -> None:
    outcome = run(cli, rates, "--ltv", 0.9)
    assert outcome.code == 0
    assert "leverage 3.44 is above the" in outcome.out.replace("\n      ", " ")


def test_the_leverage_can_be_chosen_by_the_loss_under_stress(cli: Cli, rates: Path) -> None:
    found = run(cli, rates, "--max-loss", 0.2, "--assets", "USDC,USDT", "--json").document
    chosen = cli("loop", "stress", "--max-loss", 0.2, "--assets", "USDC,USDT", "--json").document
    size = chosen["max_loss_leverage"]["leverage"]
    row = found["markets"]["aave-v3 on Ethereum"]
    assert 1.5 < size < 1.7
    assert row["max_leverage"] == pytest.approx(size, abs=0.02)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--ltv", 0.9, "--leverage", 2), 2, "ltv and leverage are given together"),
        (("--rounds", 3), 2, "rounds is given without ltv"),
        (("--ltv", 90), 2, "ltv is 90"),
        (("--leverage", 2, "--max-loss", 0.2), 2, "--max-loss is given with another leverage"),
        (("--max-loss", 0.01), 3, "without any leverage"),
        (("--equity", -5), 2, "equity_usd is -5"),
        (("--own-impact", "some"), 2, "'some' is not one of"),
        (("--assets", "FRAX"), 2, "'FRAX' is in no market"),
        (("--chains", "Base"), 2, "'base' is in no market"),
        (("--assets", ","), 2, "names nothing"),
        (("--start", "2024-13-01"), 2, "--start '2024-13-01' is not a day"),
        (("--start", "2030-01-01"), 2, "no market has two days"),
        (("--risk", "nowhere.csv"), 2, "no such file"),
        (("--gas", "gas.csv"), 2, "--gas and --gas-usd are given together"),
        (("--db", "sqlite:///rates.db"), 2, "--rates and --db are given together"),
    ],
)
def test_bad_input_is_one_line_with_its_exit_code(
    cli: Cli, rates: Path, options: tuple[object, ...], code: int, message: str
) -> None:
    outcome = run(cli, rates, *options)
    assert outcome.code == code
    assert message in outcome.first_line
    assert outcome.out == ""


def test_rates_are_needed_and_options_stand_after_the_subcommand(cli: Cli, rates: Path) -> None:
    assert "--rates is missing" in cli("loop").first_line
    assert "--rates is missing" in cli("loop", "stats").first_line
    outcome = cli("loop", "--rates", rates, "stats")
    assert outcome.code == 2
    assert "--rates stands before stats" in outcome.first_line


def test_gas_and_prices_beside_the_rates_are_found(cli: Cli, rates: Path) -> None:
    missing = cli("loop", "--rates", rates, "--leverage", 2)
    assert missing.code == 2
    assert "there are no gas prices" in missing.first_line
    days = make_table()["date"].unique()
    gas = pd.DataFrame({"date": days, "avg_gas_gwei": 20.0, "eth_usd": 2500.0})
    gas.to_parquet(rates.parent / "gas_eth_daily.parquet")
    prices = pd.concat(
        pd.DataFrame({"token": token, "date": days, "close_usd": 1.0}) for token in ("USDC", "USDT")
    )
    prices.to_csv(rates.parent / "prices_daily.csv", index=False)
    outcome = cli("loop", "--rates", rates, "--leverage", 2, "--json")
    assert outcome.code == 0, outcome.err
    assert not any("Par is assumed: without" in text for text in outcome.document["assumptions"])


def test_a_wide_frame_is_read_by_exact_names(cli: Cli, tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=10, freq="D")
    path = tmp_path / "wide.csv"
    frame = pd.DataFrame(
        {
            "timestamp": days,
            "arb_usdc_apyBase": 9.0,
            "arb_usdc_apyBaseBorrow": 12.0,
            "arb_usdt_apyBase": 4.0,
            "arb_usdt_apyBaseBorrow": 5.0,
        }
    )
    frame.to_csv(path, index=False)
    document = run(cli, path, "--leverage", 2, "--as-notebook", "--json").document
    assert list(document["markets"]) == ["aave-v3 on Arbitrum"]
    wrong, exact = document["corrections"][:2]
    assert wrong["net_apr_pct"] == pytest.approx(2 * 12.0 - 5.0)
    assert exact["net_apr_pct"] == pytest.approx(2 * 9.0 - 5.0)


def stored(path: Path, *tables: tuple[str, pd.DataFrame]) -> str:
    """A database with these tables; its URL."""
    url = f"sqlite:///{path}"
    engine = connect(url)
    migrate(engine, at=NOW)
    with writing(engine, TESTER, at=NOW) as batch:
        for name, table in tables:
            write_market_table(batch, name, table)
    engine.dispose()
    return url


def test_a_database_gives_rates_prices_and_gas(cli: Cli, rates: Path, tmp_path: Path) -> None:
    days = make_table()["date"].unique()
    gas = pd.DataFrame({"date": days, "gas_gwei": 20.0, "eth_usd": 2500.0})
    prices = pd.concat(
        pd.DataFrame({"token": token, "date": days, "close_usd": 1.0}) for token in ("USDC", "USDT")
    )
    tables = ("lend_borrow_daily", make_table()), ("gas_daily", gas), ("prices_daily", prices)
    url = stored(tmp_path / "market.db", *tables)
    kept = cli("loop", "--db", url, "--leverage", 2, "--out", tmp_path / "out", "--json")
    assert kept.code == 0, kept.err
    for name, table in (("gas", gas), ("prices", prices)):
        table.to_csv(tmp_path / f"{name}_daily.csv", index=False)
    filed = cli("loop", "--rates", rates, "--leverage", 2, "--json")
    assert kept.document["markets"] == filed.document["markets"]
    assert not any("Par is assumed: without" in text for text in kept.document["assumptions"])
    assert '"rates": "sqlite:///' in (tmp_path / "out" / "loop.json").read_text(encoding="utf-8")
    stats = cli("loop", "stats", "--db", url, "--json")
    assert stats.document["chain_statistics"][0]["n_days"] == 2 * N_DAYS


def test_a_database_without_gas_needs_its_price(cli: Cli, tmp_path: Path) -> None:
    url = stored(tmp_path / "market.db", ("lend_borrow_daily", make_table()))
    assert "there are no gas prices" in cli("loop", "--db", url).first_line
    said = cli("loop", "--db", url, "--gas-usd", 1, "--json").document["assumptions"]
    assert any("Par is assumed: without" in text for text in said)


def test_a_database_that_is_not_there_is_named_and_not_made(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "nowhere.db"
    outcome = cli("loop", "--db", f"sqlite:///{path}")
    assert outcome.code == 2
    assert "no such database file" in outcome.first_line
    assert not path.exists()


def test_a_password_in_the_url_is_never_shown(cli: Cli) -> None:
    outcome = cli("loop", "--db", "mysql://me:s3cret@host/db")
    assert outcome.code == 2
    assert "s3cret" not in outcome.out + outcome.err


def test_a_price_table_with_a_missing_column_is_named_by_its_file(cli: Cli, rates: Path) -> None:
    outcome = run(cli, rates, "--prices", rates)
    assert outcome.code == 2
    assert outcome.first_line.startswith("error: rates.csv: column 'token' is missing")


def test_one_coin_is_supplied_and_said_to_be_no_pair(cli: Cli, rates: Path) -> None:
    notes = run(cli, rates, "--assets", "USDC", "--json").document["notes"]
    assert any("never looped, as a loop takes two coins" in text for text in notes)


def test_a_table_without_borrow_rates_cannot_be_looped(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "supply.csv"
    make_table().assign(borrow_apr_pct=np.nan).to_csv(path, index=False)
    outcome = run(cli, path)
    assert outcome.code == 2
    assert "no market has a supply and a borrow side" in outcome.first_line


def test_stats_prints_and_writes_the_notebooks_tables(
    cli: Cli, rates: Path, tmp_path: Path
) -> None:
    out = tmp_path / "stats"
    outcome = cli("loop", "stats", "--rates", rates, "--out", out)
    assert outcome.code == 0, outcome.err
    assert "5.256" in outcome.out
    assert "Pools, APR in percent" in outcome.out
    assert (out / "spread_statistics.csv").is_file()
    document = cli("loop", "stats", "--rates", rates, "--json").document
    assert document["chain_statistics"][0]["n_days"] == 2 * N_DAYS


def test_stress_prints_loss_and_liquidation_by_leverage(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "stress"
    outcome = cli("loop", "stress", "--leverage", 3.439, "--out", out, "--max-loss", 1.0)
    assert outcome.code == 0, outcome.err
    assert "USDC, March 2023" in outcome.out
    assert "largest leverage within" in outcome.out
    table = pd.read_csv(out / "stress.csv")
    assert table["is_liquidated"].any()


def test_stress_with_a_threshold_out_of_bounds_is_refused(cli: Cli) -> None:
    outcome = cli("loop", "stress", "--threshold", 78)
    assert outcome.code == 2
    assert "threshold" in outcome.first_line
