"""``market import`` and ``market simulate``: market directories that the other commands read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Cli = Callable[..., Any]


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """An aggregator's chart of one USDC lending pool, in percent."""
    days = pd.date_range("2025-01-01", periods=20)
    table = pd.DataFrame(
        {
            "series": "aave-v3-usdc",
            "pool_id": "aave-v3-usdc",
            "chain": "Ethereum",
            "project": "aave-v3",
            "symbol": "USDC",
            "date": days,
            "apy": 5.0,
            "apy_base": 5.0,
            "apy_reward": 0.0,
            "tvl_usd": 5e7,
        }
    )
    path = tmp_path / "chart.parquet"
    table.to_parquet(path)
    return path


def test_an_imported_market_can_be_screened(cli: Cli, chart: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    outcome = cli("market", "import", "--layout", "panel", chart, "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    first = "1 pools, 20 rows, 2025-01-01 to 2025-01-20, written to "
    assert outcome.out.startswith(f"{first}{out}\n")
    assert "assumed: Par is assumed" in outcome.out
    assert "warning: no gas prices: give --gas FILE now, or --gas-usd" in outcome.out
    assert cli("screen", "--market", out, "--day", "2025-01-20").out.startswith("2025-01-20: 1 of")


def test_import_tells_programs_the_same(cli: Cli, chart: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    command = ("market", "import", "--layout", "panel", chart, "--out", out, "--format", "csv")
    document = cli(*command, "--json").document
    assert document["n_pools"] == 1
    assert document["has_gas"] is False
    assert document["has_prices"] is True
    assert (out / "pool_daily.csv").is_file()


def test_par_can_be_forbidden(cli: Cli, chart: Path, tmp_path: Path) -> None:
    command = ("market", "import", "--layout", "panel", chart, "--out", tmp_path / "m")
    outcome = cli(*command, "--no-assume-par")
    assert outcome.code == 2
    assert "prices" in outcome.first_line
    assert not (tmp_path / "m").exists()


def test_an_import_that_fails_leaves_an_older_market(cli: Cli, chart: Path, market: Path) -> None:
    before = {path.name: path.read_bytes() for path in market.iterdir()}
    pd.read_parquet(chart).assign(apy=0.05, apy_base=0.05).to_parquet(chart)
    outcome = cli("market", "import", "--layout", "panel", chart, "--out", market)
    assert outcome.code == 2
    assert "looks like fractions" in outcome.first_line
    assert {path.name: path.read_bytes() for path in market.iterdir()} == before


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_the_same_seed_makes_the_same_market(cli: Cli, tmp_path: Path, file_format: str) -> None:
    size = ("--days", "20", "--pools", "4", "--seed", "5", "--format", file_format)
    for name in ("one", "two"):
        outcome = cli("market", "simulate", *size, "--out", tmp_path / name)
        assert (outcome.code, outcome.err) == (0, "")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_pools_that_start_too_late_are_counted(cli: Cli, tmp_path: Path) -> None:
    size = ("--days", "10", "--pools", "30", "--out", tmp_path / "m")
    document = cli("market", "simulate", *size, "--json").document
    missing = 30 - document["n_pools"]
    assert missing > 0
    said = f"note: {missing} of 30 pools start after these days and are left out"
    assert said in cli("market", "simulate", *size).out
