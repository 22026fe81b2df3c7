"""Bad input: one clear line first, with place and remedy; exit code 2; nothing half-written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
BINARY = bytes(range(256)) * 40


def snapshot(directory: Path) -> dict[str, bytes | None]:
    """Every file under a directory with its content; directories without."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }


def refused(outcome: Any, *words: str) -> None:
    """The outcome is a refusal of bad input whose first line holds all words."""
    assert outcome.code == 2, outcome.err
    assert outcome.first_line.startswith("error: ")
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
    for word in words:
        assert word in outcome.first_line


def replace_in(path: Path, old: str, new: str, count: int = 1) -> None:
    """Replace a text that must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, count), encoding="utf-8")


def edit_row(path: Path, line: int, column: str, value: str) -> None:
    """Put a value into one line (the header is line 1) of a csv file without quoted fields."""
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = lines[line - 1].split(",")
    cells[lines[0].split(",").index(column)] = value
    lines[line - 1] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


# --- the market directory -----------------------------------------------------------------------


def drop_column(market: Path) -> None:
    replace_in(market / "pool_daily.csv", "tvl_usd", "size")


def repeat_row(market: Path) -> None:
    path = market / "pool_daily.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")


def negative_tvl(market: Path) -> None:
    edit_row(market / "pool_daily.csv", 5, "tvl_usd", "-3")


def fractions(market: Path) -> None:
    path = market / "pool_daily.csv"
    header, *rows = path.read_text().splitlines()
    at = header.split(",").index("apy_pct")
    cells = [row.split(",") for row in rows]
    for row in cells:
        row[at] = str(float(row[at] or "nan") / 100.0).replace("nan", "")
    path.write_text("\n".join([header, *(",".join(row) for row in cells)]) + "\n")


def unknown_pool(market: Path) -> None:
    edit_row(market / "pool_daily.csv", 2, "pool_id", "nobody")


def not_a_number(market: Path) -> None:
    edit_row(market / "pool_daily.csv", 4, "apy_pct", "five")


def infinite(market: Path) -> None:
    edit_row(market / "prices_daily.csv", 4, "close_usd", "inf")


def not_a_date(market: Path) -> None:
    edit_row(market / "pool_daily.csv", 3, "date", "yesterday")


def epoch_seconds(market: Path) -> None:
    edit_row(market / "gas_daily.csv", 2, "date", "1704067200")


def price_zero(market: Path) -> None:
    edit_row(market / "prices_daily.csv", 7, "close_usd", "0")


def no_prices(market: Path) -> None:
    (market / "prices_daily.csv").unlink()


def no_pools(market: Path) -> None:
    (market / "pools.csv").unlink()


def no_gas(market: Path) -> None:
    (market / "gas_daily.csv").unlink()


def empty_csv(market: Path) -> None:
    (market / "pool_daily.csv").write_bytes(b"")


def header_only(market: Path) -> None:
    path = market / "pool_daily.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")


def semicolons(market: Path) -> None:
    path = market / "pool_daily.csv"
    path.write_text(path.read_text().replace(",", ";"))


def ragged(market: Path) -> None:
    path = market / "pool_daily.csv"
    path.write_text(path.read_text() + "a,b,c,d,e,f,g,h,i,j,k,l,m\n")


def junk_csv(market: Path) -> None:
    (market / "prices_daily.csv").write_bytes(BINARY)


def junk_parquet(market: Path) -> None:
    (market / "pool_daily.csv").unlink()
    (market / "pool_daily.parquet").write_bytes(BINARY)


def truncated_parquet(market: Path) -> None:
    import pandas as pd  # noqa: PLC0415

    table = pd.read_csv(market / "gas_daily.csv")
    (market / "gas_daily.csv").unlink()
    table.to_parquet(market / "gas_daily.parquet")
    whole = (market / "gas_daily.parquet").read_bytes()
    (market / "gas_daily.parquet").write_bytes(whole[: len(whole) // 2])


def twice(market: Path) -> None:
    (market / "pools.parquet").write_bytes(BINARY)


def junk_about(market: Path) -> None:
    (market / "market.json").write_bytes(BINARY)


def tokens_not_json(market: Path) -> None:
    import pandas as pd  # noqa: PLC0415

    table = pd.read_csv(market / "pools.csv").assign(tokens="USDC")
    table.to_csv(market / "pools.csv", index=False)


SPOILED_MARKETS = {
    drop_column: ("pool_daily.csv", "column 'tvl_usd' is missing", "add it"),
    repeat_row: ("pool_daily.csv, line", "this key occurs twice", "remove the row"),
    negative_tvl: ("pool_daily.csv, line 5", "'tvl_usd'", "-3", "correct or remove"),
    fractions: ("pool_daily.csv", "looks like fractions", "--confirm-percent"),
    unknown_pool: ("pool_daily.csv", "'nobody' is not in pools", "add the pool"),
    not_a_number: ("pool_daily.csv, line 4", "'apy_pct'", "'five'"),
    infinite: ("prices_daily.csv, line 4", "'close_usd'", "inf"),
    not_a_date: ("pool_daily.csv, line 3", "'date'", "'yesterday'"),
    epoch_seconds: ("gas_daily.csv, line 2", "'date'", "1704067200"),
    price_zero: ("prices_daily.csv, line 7", "'close_usd'", "not above 0"),
    no_prices: ("there is no prices_daily table", "--assume-par"),
    no_pools: ("there is no pools table", "add pools.parquet or pools.csv"),
    no_gas: ("there are no gas prices", "--gas-usd A,W,C"),
    empty_csv: ("pool_daily.csv", "cannot be read as csv", "write it again"),
    header_only: ("pool_daily.csv", "no rows", "fill it"),
    semicolons: ("pool_daily.csv", "separated by ';'", "commas"),
    ragged: ("pool_daily.csv", "cannot be read as csv", "line"),
    junk_csv: ("prices_daily.csv", "cannot be read as csv", "write it again"),
    junk_parquet: ("pool_daily.parquet", "cannot be read as parquet", "write it again"),
    truncated_parquet: ("gas_daily.parquet", "cannot be read as parquet", "write it again"),
    twice: ("pools is there twice", "pools.parquet and pools.csv", "remove one"),
    junk_about: ("market.json", "not JSON", "repair or remove"),
    tokens_not_json: ("pools.csv, line 2", "'tokens'", "USDC"),
}


@pytest.mark.parametrize("spoil", SPOILED_MARKETS, ids=lambda spoil: spoil.__name__)
def test_a_spoiled_market_is_refused_and_nothing_is_written(
    cli: Cli, market: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(market)
    before = snapshot(tmp_path)
    outcome = cli("backtest", "--market", market, "--out", tmp_path / "run")
    refused(outcome, *SPOILED_MARKETS[spoil])
    assert snapshot(tmp_path) == before


def test_the_found_columns_follow_a_missing_one(cli: Cli, market: Path) -> None:
    drop_column(market)
    outcome = cli("screen", "--market", market, "--day", "2024-01-20")
    assert outcome.err.splitlines()[1].startswith("  found: pool_id, date")


def test_low_percent_that_is_confirmed_is_taken(cli: Cli, market: Path) -> None:
    fractions(market)
    arguments = ("screen", "--market", market, "--day", "2024-01-20", "--json")
    assert cli(*arguments).code == 2
    assert cli(*arguments, "--confirm-percent").code == 0


# --- what was typed -----------------------------------------------------------------------------

TYPED = {
    "a market that is not there": (("--market", "nowhere"), ("nowhere", "no such directory")),
    "an unknown token": (("--token", "XYZ"), ("--token 'XYZ'", "not in the market", "USDC")),
    "a token in the wrong case": (("--token", "usdc"), ("did you mean 'USDC'?", "case-exact")),
    "a day before the market": (
        ("--start", "2019-01-01"),
        ("2019-01-01 is outside", "2024-01-01 to"),
    ),
    "a day after the market": (("--end", "2031-01-01"), ("2031-01-01 is outside", "choose a day")),
    "the last day as start": (
        ("--start", "2024-01-24"),
        ("no exec day", "before the market's last"),
    ),
    "not a day": (("--start", "01/02/2024"), ("--start '01/02/2024'", "YYYY-MM-DD")),
    "a day that no month has": (("--end", "2024-02-30"), ("--end '2024-02-30'", "YYYY-MM-DD")),
    "end before start": (
        ("--start", "2024-01-20", "--end", "2024-01-10"),
        ("--end 2024-01-10 is before --start 2024-01-20", "swap"),
    ),
    "a misspelt parameter": (
        ("--set", "min_pool=3"),
        ("unknown parameter 'min_pool'", "did you mean 'min_pools'?", "docs/parameters.md"),
    ),
    "a parameter out of bounds": (
        ("--set", "max_alloc_percentage=25"),
        ("max_alloc_percentage", "less than or equal to 1", "'25'"),
    ),
    "a parameter that is no number": (("--set", "min_pools=few"), ("min_pools", "'few'")),
    "a parameter that is NaN": (("--set", "max_alloc_percentage=nan"), ("max_alloc_percentage",)),
    "parameters that contradict": (
        ("--set", "pool_pair_tvl_ratio_min=0.6"),
        ("pool_pair_tvl_ratio_min must not exceed pool_pair_tvl_ratio_max",),
    ),
    "--set without =": (("--set", "min_pools"), ("'min_pools' is no assignment", "name=value")),
    "--set without a name": (("--set", "=3"), ("'=3' is no assignment", "name=value")),
    "--set twice": (
        ("--set", "min_pools=3", "--set", "min_pools =4"),
        ("'min_pools' twice", "give it once"),
    ),
    "a negative amount": (("--aum", "-5"), ("--aum is -5", "positive")),
    "no money": (("--aum", "0"), ("--aum is 0", "positive")),
    "an endless amount": (("--aum", "inf"), ("--aum is inf", "positive")),
    "an undefined amount": (("--aum", "nan"), ("--aum is nan", "positive")),
    "an amount that is no number": (("--aum", "1,000"), ("--aum", "number")),
    "an unknown forecaster": (
        ("--forecast", "emwa"),
        ("'emwa'", "did you mean 'ewma'?", "choose one of last"),
    ),
    "foreign forecasts that are not there": (
        ("--forecast", "foreign"),
        ("no foreign forecasts", "add forecasts"),
    ),
    "gas that is no number": (("--gas-usd", "a,b,c"), ("--gas-usd", "three numbers", "5,5,8")),
    "gas that is incomplete": (("--gas-usd", "5"), ("--gas-usd", "three numbers", "5,5,8")),
    "negative gas": (("--gas-usd", "5,-1,5"), ("withdrawal is -1", "0 or more")),
    "an unknown option": (("--begin", "2024-01-10"), ("No such option", "--begin")),
    "a stray argument": (("m",), ("unexpected extra argument", "m")),
}


@pytest.mark.parametrize("case", TYPED)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(
    cli: Cli, made_market: Path, tmp_path: Path, case: str
) -> None:
    arguments, words = TYPED[case]
    market = () if "--market" in arguments else ("--market", made_market)
    outcome = cli("backtest", *market, *arguments, "--out", tmp_path / "run")
    refused(outcome, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("market",)),
        (("--day", "2024-01-20"), ("market",)),
        (("--market", "MARKET"), ("day",)),
        (("--market", "MARKET", "--day", ""), ("--day ''", "YYYY-MM-DD")),
        (("--market", "MARKET", "--day", "2023-12-31"), ("2023-12-31", "2024-01-01")),
        (("--market", "MARKET", "--day", "2024-01-25"), ("2024-01-25", "2024-01-24")),
    ],
)
def test_screen_needs_a_market_and_one_of_its_days(
    cli: Cli, made_market: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    given = [made_market if each == "MARKET" else each for each in arguments]
    refused(cli("screen", *given), *words)


# --- where results shall go ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("backtest", "--market", "MARKET"),
        ("demo", "--days", "2", "--pools", "2"),
        ("market", "simulate", "--days", "5", "--pools", "2"),
        ("market", "import", "x.parquet", "--layout", "panel"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_directory_that_cannot_be_made_is_refused_before_the_work(
    cli: Cli, made_market: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    given = [made_market if each == "MARKET" else each for each in command]
    refused(cli(*given, "--out", file), str(file), "--out is a file", "name a directory")
    refused(cli(*given, "--out", file / "in" / "it"), "is a file", "name a directory")
    assert snapshot(tmp_path) == {"file": b"mine"}


def test_a_plan_file_that_cannot_be_written_is_refused_before_the_work(
    cli: Cli, problem_file: Path, tmp_path: Path
) -> None:
    before = snapshot(tmp_path)
    refused(cli("allocate", problem_file, "--out", tmp_path), "is a directory", "name a file")
    missing = tmp_path / "none" / "plan.json"
    refused(cli("allocate", problem_file, "--out", missing), "there is no directory", "make it")
    assert snapshot(tmp_path) == before


def test_a_device_is_never_replaced_by_a_file(cli: Cli, problem_file: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refused(cli("allocate", problem_file, "--out", pipe), "not a plain file", "another")
    assert pipe.is_fifo()


def test_a_place_without_permission_is_refused_before_the_work(
    cli: Cli, problem_file: Path, made_market: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & os.W_OK)  # root may write all
    for command in (
        ("allocate", problem_file, "--out", tmp_path / "plan.json"),
        ("backtest", "--market", made_market, "--out", tmp_path / "run"),
    ):
        refused(cli(*command), f"no permission to write in {tmp_path}", "choose another --out")


def test_an_old_plan_file_survives_a_refusal(cli: Cli, problem_file: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text("old")
    refused(cli("allocate", problem_file, "--set", "min_pools=-1", "--out", plan), "min_pools")
    assert plan.read_text() == "old"


# --- problem files ------------------------------------------------------------------------------


Problem = dict[str, Any]


def with_values(*path_and_value: Any) -> Callable[[Problem], str]:
    """The text of a problem file with another value at a path of keys."""
    *path, last, value = path_and_value

    def text(problem: Problem) -> str:
        place: Any = problem
        for key in path:
            place = place[key]
        place[last] = value
        return json.dumps(problem)

    return text


def with_texts(old: str, new: str) -> Callable[[Problem], str]:
    """The text of a problem file with a piece replaced."""

    def text(problem: Problem) -> str:
        whole = json.dumps(problem)
        assert old in whole
        return whole.replace(old, new)

    return text


def without_tokens(problem: Problem) -> str:
    del problem["pools"][2]["tokens"]
    return json.dumps(problem)


def in_fractions(problem: Problem) -> str:
    for pool in problem["pools"]:
        pool["forecast_apy_pct"] /= 100.0
    return json.dumps(problem)


WRONG_PROBLEMS: dict[str, tuple[Callable[[Problem], str], tuple[str, ...]]] = {
    "a price is NaN": (
        with_values("token_prices_usd", "USDC", float("nan")),
        ("NaN is not a number that JSON knows",),
    ),
    "a number is too large": (with_texts("100000.0", "1e999"), ("wallet: USDC", "finite number")),
    "a number without end": (with_texts("100000.0", "9" * 400), ("wallet: USDC", "beyond")),
    "a rate beyond belief": (
        with_values("pools", 1, "forecast_apy_pct", 1e300),
        ("pools[1] (pool-1): forecast_apy_pct", "beyond 1e+15"),
    ),
    "a price is missing": (with_values("token_prices_usd", {"DAI": 1.0}), ("USDC", "price")),
    "an unknown key": (
        with_values("token_price_usd", {}),
        ("unknown key 'token_price_usd'", "known keys"),
    ),
    "a negative balance": (with_values("wallet", "USDC", -1.0), ("USDC", "-1")),
    "a pool without tokens": (without_tokens, ("pools[2]", "'tokens' is missing")),
    "a pool twice": (with_values("pools", 1, "pool_id", "pool-0"), ("pool-0", "twice")),
    "an unknown parameter": (
        with_values("parameters", {"max_alloc_percentag": 0.5}),
        ("did you mean 'max_alloc_percentage'?",),
    ),
    "fractions": (in_fractions, ("forecast_apy_pct", "is it a fraction?", "--confirm-percent")),
    "negative TVL": (with_values("pools", 3, "forecast_tvl_usd", -1.0), ("pool-3", "-1")),
    "a key twice": (with_texts('"wallet"', '"wallet": {}, "wallet"'), ("'wallet' occurs twice",)),
    "a list": (lambda _: "[]", ("must be a JSON object",)),
    "nothing": (lambda _: "", ("is not JSON",)),
    "half a file": (lambda problem: json.dumps(problem)[:200], ("is not JSON", "line 1")),
    "brackets without end": (lambda _: "[" * 200_000, ("is not JSON",)),
}


@pytest.mark.parametrize("case", WRONG_PROBLEMS)
def test_a_wrong_problem_file_is_refused_and_named(
    cli: Cli, problem: Problem, tmp_path: Path, case: str
) -> None:
    text, words = WRONG_PROBLEMS[case]
    path = tmp_path / "problem.json"
    path.write_text(text(problem), encoding="utf-8")
    outcome = cli("allocate", path, "--out", tmp_path / "plan.json")
    refused(outcome, "problem.json", *words)
    assert [each.name for each in tmp_path.iterdir()] == ["problem.json"]


def test_a_problem_file_that_is_no_text_is_refused(cli: Cli, tmp_path: Path) -> None:
    junk = tmp_path / "junk.json"
    junk.write_bytes(BINARY)
    refused(cli("allocate", junk), str(junk), "is not JSON")
    refused(cli("allocate", tmp_path), str(tmp_path), "directory")
    refused(cli("allocate", tmp_path / "none.json"), "none.json", "No such file", "check the path")


# --- price tables and runs ----------------------------------------------------------------------

WRONG_PRICES = {
    "none.csv": (None, ("none.csv", "no such file", "check the path")),
    "empty.csv": (b"", ("empty.csv", "cannot be read as csv")),
    "header.csv": (b"token,date,close_usd\n", ("header.csv", "no rows")),
    "other.csv": (b"a,b\n1,2\n", ("other.csv", "no column 'token'", "give token, date, close_usd")),
    "no_close.csv": (b"token,date\nDAI,2024-01-01\n", ("no_close.csv", "no column 'close_usd'")),
    "semicolon.csv": (b"token;date;close_usd\nDAI;2024-01-01;1\n", ("semicolon.csv", "';'")),
    "date.csv": (b"token,date,close_usd\nDAI,soon,1\n", ("date.csv", "soon", "line 2")),
    "number.csv": (b"token,date,close_usd\nDAI,2024-01-01,one\n", ("number.csv", "one", "line 2")),
    "no_token.csv": (b"token,date,close_usd\n,2024-01-01,1\n", ("no_token.csv", "token", "line 2")),
    "junk.csv": (BINARY, ("junk.csv", "cannot be read as csv")),
    "junk.parquet": (BINARY, ("junk.parquet", "cannot be read as parquet")),
    "prices.xlsx": (BINARY, ("prices.xlsx", "'.xlsx' are not read", ".parquet or .csv")),
}


@pytest.mark.parametrize("name", WRONG_PRICES)
def test_a_file_without_prices_is_refused_by_the_icebox(
    cli: Cli, tmp_path: Path, name: str
) -> None:
    content, words = WRONG_PRICES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = snapshot(tmp_path)
    outcome = cli("icebox", "--prices", tmp_path / name, "--out", tmp_path / "stays.csv")
    refused(outcome, *words)
    assert snapshot(tmp_path) == before


def test_a_directory_without_a_run_has_no_report(cli: Cli, tmp_path: Path) -> None:
    refused(cli("report", tmp_path / "none"), "none", "no such directory", "--out of a backtest")
    refused(cli("report", tmp_path), str(tmp_path), "missing", "run the backtest again")
    file = tmp_path / "file"
    file.write_text("mine")
    refused(cli("report", file), "file", "no such directory")
    assert snapshot(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize("layout", ["panel", "vaults", "lend-borrow"])
def test_a_file_of_another_layout_is_not_imported(
    cli: Cli, made_market: Path, tmp_path: Path, layout: str
) -> None:
    source = made_market / "gas_daily.csv"
    out = tmp_path / "m"
    refused(cli("market", "import", source, "--layout", layout, "--out", out), "column")
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("x.parquet", "--layout", "panel"), ("x.parquet", "no such file")),
        (("x.parquet", "--layout", "vault"), ("--layout", "'vaults'")),
        (("--layout", "panel"), ("Missing argument", "FILE")),
        (("x.parquet",), ("Missing option", "--layout")),
        (("x.parquet", "--layout", "panel", "--format", "xlsx"), ("--format", "'csv'")),
    ],
)
def test_import_says_what_it_needs(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    refused(cli("market", "import", *arguments, "--out", tmp_path / "m"), *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [("--days", "0"), ("--pools", "0"), ("--seed", "-1"), ("--days", "many")]
)
@pytest.mark.parametrize("command", [("demo",), ("market", "simulate")])
def test_a_market_of_no_size_is_not_simulated(
    cli: Cli, tmp_path: Path, command: tuple[str, ...], arguments: tuple[str, str]
) -> None:
    refused(cli(*command, *arguments, "--out", tmp_path / "m"), arguments[0], "should be")
    assert list(tmp_path.iterdir()) == []
