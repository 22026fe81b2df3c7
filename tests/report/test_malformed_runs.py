"""A run directory that is not what a backtest wrote: refused with a message, never a traceback."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from stableyield.errors import ContractError, InputError
from stableyield.report import read_run, write_run


@pytest.fixture
def directory(result, tmp_path):
    write_run(result, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("daily_log", "aum_end"),
        ("daily_log", "flags"),
        ("positions", "pool_id"),
        ("transactions", "type"),
        ("benchmarks", "policy"),
        ("timings", "day_seconds"),
    ],
)
def test_a_missing_column_is_named(directory, table, column):
    path = directory / f"{table}.parquet"
    pd.read_parquet(path).drop(columns=column).to_parquet(path)
    with pytest.raises(ContractError, match=rf"{table}\.parquet: column {column} is missing"):
        read_run(directory)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("aum_end", "much", "column aum_end holds str, not numbers"),
        ("yield_usd", True, "column yield_usd holds bool, not numbers"),
        ("exec_date", "yesterday", "exec_date 'yesterday' is no day"),
        ("exec_date", 5, "column exec_date holds numbers"),
    ],
)
def test_a_column_of_another_kind_is_named(directory, column, value, reason):
    path = directory / "daily_log.parquet"
    pd.read_parquet(path).assign(**{column: value}).to_parquet(path)
    with pytest.raises(ContractError, match=reason):
        read_run(directory)


@pytest.mark.parametrize(
    ("name", "part", "value", "reason"),
    [
        ("run.json", "assumptions", "none", "assumptions is str 'none', not a list"),
        ("run.json", "assumptions", [5], "assumptions holds something that is no text"),
        ("run.json", "parameters", [], "not an object"),
        ("run.json", "timings", 5.0, "timings is float '5.0', not an object"),
        ("plan.json", "transactions", {}, "transactions is dict '{}', not a list"),
        (
            "plan.json",
            "transactions",
            [{"type": "HOLD"}],
            r"transactions\[0\] has no from_location",
        ),
        ("plan.json", "positions", ["a"], r"positions\[0\] has no pool_id"),
        ("plan.json", "wallet", {"USDC": 5.0}, "wallet.USDC is no object"),
    ],
)
def test_a_document_with_another_part_is_refused(directory, name, part, value, reason):
    path = directory / name
    path.write_text(json.dumps({**json.loads(path.read_text()), part: value}))
    with pytest.raises(ContractError, match=reason) as found:
        read_run(directory)
    assert isinstance(found.value, InputError)  # exit 2
    assert name in str(found.value)


def test_a_run_without_plans_and_transactions_is_a_run(directory):
    (directory / "plan.json").write_text("{}")
    path = directory / "transactions.parquet"
    pd.read_parquet(path).head(0).to_parquet(path)
    assert read_run(directory).last_plan == {}
