"""``screen`` and ``icebox``: which pools and tokens may be used, and why not the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Cli = Callable[..., Any]
DAY = ("--day", "2024-01-20")


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    """Two coins of two sources; UST leaves its peg on the third day in one of them."""
    days = pd.date_range("2024-01-01", periods=6).strftime("%Y-%m-%d")
    rows = [
        {"symbol": token, "date": day, "close": 1.0, "source": source}
        for token in ("DAI", "UST")
        for source in ("a", "b")
        for day in days
    ]
    table = pd.DataFrame(rows)
    fell = (table["symbol"] == "UST") & (table["source"] == "b") & (table["date"] >= "2024-01-03")
    table.loc[fell, "close"] = 0.7934567
    dipped = (table["symbol"] == "DAI") & (table["date"] == "2024-01-02")
    table.loc[dipped, "close"] = 0.98
    path = tmp_path / "prices.csv"
    table.to_csv(path, index=False)
    return path


def test_screen_counts_what_is_open_and_what_each_rule_stops(cli: Cli, made_market: Path) -> None:
    outcome = cli("screen", "--market", made_market, *DAY, "--set", "pool_apy_limit=0.04")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("2024-01-20: ")
    assert "of 6 pools may be bought; in risk groups 1, 2, 3: " in outcome.out
    assert "pool_apy_limit" in outcome.out
    assert "data quality 100 of 100" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_reasons_names_every_pool(cli: Cli, made_market: Path) -> None:
    outcome = cli("screen", "--market", made_market, *DAY, "--reasons")
    pools = pd.read_csv(made_market / "pools.csv")["pool_id"]
    assert all(f"{pool_id} on 2024-01-20: " in outcome.out for pool_id in pools)


def test_screen_json_has_every_pool_with_its_reasons(cli: Cli, made_market: Path) -> None:
    outcome = cli("screen", "--market", made_market, *DAY, "--set", "pool_apy_limit=1", "--json")
    pools = outcome.document["pools"]
    assert len(pools) == 6
    assert {pool["state"] for pool in pools} == {"excluded"}
    assert all("pool_apy_limit" in {r["rule"] for r in pool["reasons"]} for pool in pools)
    assert outcome.document["quality"] == {"score": 100.0, "findings": []}


def test_an_early_day_without_enough_history_is_strict_json(cli: Cli, made_market: Path) -> None:
    outcome = cli("screen", "--market", made_market, "--day", "2024-01-01", "--json")
    assert outcome.code == 0
    assert outcome.document["pools"][0]["apy_delta_pp"] is None


def test_a_number_that_overflows_is_null_in_json(cli: Cli, market: Path) -> None:
    rows = pd.read_csv(market / "pool_daily.csv")
    rows.loc[rows["date"] == "2024-01-20", "apy_pct"] = [1e300, *[5.0] * 5]
    rows.to_csv(market / "pool_daily.csv", index=False)
    outcome = cli("screen", "--market", market, *DAY, "--json")
    assert None in [pool["stddev_7d_pp"] for pool in outcome.document["pools"]]


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_day_without_rows_is_a_data_quality_stop(
    cli: Cli, market: Path, form: tuple[str, ...]
) -> None:
    rows = pd.read_csv(market / "pool_daily.csv")
    rows[rows["date"] != "2024-01-20"].to_csv(market / "pool_daily.csv", index=False)
    outcome = cli("screen", "--market", market, *DAY, *form)
    assert outcome.code == 5
    assert outcome.first_line.startswith("error: data of 2024-01-20: freshness: none of 6 pools")
    if form:
        assert outcome.document["quality"]["findings"][0]["severity"] == "critical"
    else:
        assert "0 of 6 pools may be bought" in outcome.out


def test_the_icebox_lists_stays_by_coin_and_source(cli: Cli, prices: Path) -> None:
    outcome = cli("icebox", "--prices", prices)
    assert (outcome.code, outcome.err) == (0, "")
    title, header, _, *rows = outcome.out.splitlines()
    assert title == "3 stays in the icebox, 1 of them not over"
    assert header.split() == ["token", "source", "entered", "left", "breach", "close"]
    assert [row.split() for row in rows[:3]] == [
        ["DAI", "a", "2024-01-02", "2024-01-05", "close", "0.9800"],
        ["DAI", "b", "2024-01-02", "2024-01-05", "close", "0.9800"],
        ["UST", "b", "2024-01-03", "still", "inside", "close", "0.7935"],
    ]
    assert "choose one with --source" in outcome.out


def test_the_icebox_can_be_asked_about_one_coin_of_one_source(cli: Cli, prices: Path) -> None:
    outcome = cli("icebox", "--prices", prices, "--token", "UST", "--source", "b", "--json")
    (stay,) = outcome.document
    assert (stay["token"], stay["entered"], stay["left"]) == ("UST", "2024-01-03", None)
    calm = cli("icebox", "--prices", prices, "--token", "UST", "--source", "a")
    assert calm.out == "0 stays in the icebox, 0 of them not over\n"


def test_the_stays_are_written_as_csv(cli: Cli, prices: Path, tmp_path: Path) -> None:
    out = tmp_path / "stays.csv"
    outcome = cli("icebox", "--prices", prices, "--out", out)
    assert outcome.out.splitlines()[-1] == f"written to {out}"
    stays = pd.read_csv(out)
    assert stays["token"].tolist() == ["DAI", "DAI", "UST"]
    assert stays["left"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--token", "ust"), ("no token 'ust', did you mean 'UST'?", "choose from DAI, UST")),
        (("--token", "DAI", "--token", "XYZ"), ("no token 'XYZ'", "choose from DAI, UST")),
        (("--source", "c"), ("no source 'c'", "choose from a, b")),
    ],
)
def test_an_unknown_coin_or_source_is_refused(
    cli: Cli, prices: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    outcome = cli("icebox", "--prices", prices, *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert all(word in outcome.first_line for word in ("prices.csv", *words))


def test_a_source_cannot_be_chosen_where_there_is_none(cli: Cli, made_market: Path) -> None:
    outcome = cli("icebox", "--prices", made_market / "prices_daily.csv", "--source", "a")
    assert outcome.code == 2
    assert "leave the option out" in outcome.first_line


def test_the_icebox_reads_the_prices_of_a_market(cli: Cli, made_market: Path) -> None:
    path = made_market / "prices_daily.csv"
    strict = ("--set", "icebox_ohlc_c_threshold_pct=0.0001")
    assert cli("icebox", "--prices", path, "--json").code == 0
    stays = cli("icebox", "--prices", path, *strict, "--json").document
    assert stays
    assert "source" not in stays[0]
    assert "--source" not in cli("icebox", "--prices", path, *strict).out
