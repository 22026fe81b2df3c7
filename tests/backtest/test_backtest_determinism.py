"""Equal inputs, equal tables: whatever the order of rows, the run, or the hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from stableyield.backtest import BacktestResult, run_backtest
from stableyield.market.assemble import panel_of
from support.markets import day, synthetic_frames, synthetic_panel

TABLES = ("daily_log", "positions", "transactions", "benchmarks")
SPAN = {"start": day(35), "end": day(46)}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def first() -> BacktestResult:
    return run_backtest(synthetic_panel(), **SPAN)


def timeless(plan: dict) -> dict:
    return {name: value for name, value in plan.items() if name != "solve_seconds"}


def assert_same_run(one: BacktestResult, other: BacktestResult) -> None:
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name), check_exact=True)
    assert timeless(one.last_plan) == timeless(other.last_plan)
    assert timeless_run(one) == timeless_run(other)


def timeless_run(result: BacktestResult) -> dict:
    return {name: value for name, value in result.run.items() if name != "timings"}


def test_a_run_is_the_same_the_second_time(first):
    assert not first.transactions.empty
    assert_same_run(first, run_backtest(synthetic_panel(), **SPAN))


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_rows_does_not_matter(first, seed):
    frames = synthetic_frames()
    shuffled = replace(
        frames,
        **{
            name: getattr(frames, name).sample(frac=1.0, random_state=seed).reset_index(drop=True)
            for name in ("pools", "pool_daily", "prices_daily", "gas_daily")
        },
    )
    assert shuffled.pools["pool_id"].tolist() != frames.pools["pool_id"].tolist()
    assert_same_run(first, run_backtest(panel_of(shuffled), **SPAN))


def test_an_earlier_end_gives_the_beginning_of_the_same_run(first):
    short = run_backtest(synthetic_panel(), start=SPAN["start"], end=day(40))
    head = first.daily_log.head(6)
    pd.testing.assert_frame_equal(short.daily_log, head, check_exact=True)


SCRIPT = """
from support.markets import day, hand_made, pool
from stableyield.backtest import run_backtest
import numpy as np
pools = [pool(n, *t) for n, t in (("a", ("USDC",)), ("b", ("DAI",)), ("c", ("USDT", "DAI")),
                                  ("d", ("GHO", "USDC")), ("e", ("USDT",)), ("f", ("GHO",)))]
rng = np.random.default_rng(5)
panel = hand_made(pools, 16, {"apy_pct": rng.lognormal(1.8, 0.5, (16, 6)), "tvl_usd": 1e7},
                  {"close_usd": rng.normal(1.0, 1e-3, (16, 4))})
result = run_backtest(panel, start=day(10))
for name in ("daily_log", "positions", "transactions", "benchmarks"):
    print(getattr(result, name).to_csv(index=False))
print(result.run["data_sha256"], result.run["parameters_sha256"])
"""


def test_the_hash_seed_does_not_matter():
    outputs = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT / "tests")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for seed in ("1", "4242")
    ]
    (one, errors), (other, _) = [process.communicate(timeout=120) for process in outputs]
    assert errors == b""
    assert one == other
    assert one.count(b"\n") > 60
    assert b"ALLOCATION" in one
    assert b"CONVERSION" in one
