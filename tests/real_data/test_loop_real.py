"""Loops of USDC, USDT and DAI on Aave v2 and v3, Ethereum, December 2020 to June 2024.

The figures are those of docs/loops.md; they hold for the rows that were observed.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stableyield.loops import (
    LoopMarket,
    LoopResult,
    LoopSettings,
    LoopTarget,
    corrections,
    read_loop_rates,
    run_loop_backtest,
)
from stableyield.market.layouts.side_data import read_gas, read_stablecoin_prices
from stableyield.report.loop_metrics import loop_metrics

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
V2, V3 = "aave-v2 on Ethereum", "aave-v3 on Ethereum"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (DATA / "lend_borrow_daily.parquet").is_file(),
        reason=f"no lend_borrow_daily in {DATA}",
    ),
]


@pytest.fixture(scope="module")
def inputs() -> tuple[Any, LoopMarket]:
    rates = read_loop_rates(DATA / "lend_borrow_daily.parquet")
    prices = read_stablecoin_prices(pd.read_parquet(DATA / "stablecoin_daily.parquet"))
    gas = read_gas(pd.read_parquet(DATA / "gas_eth_daily.parquet"))
    return rates, LoopMarket(prices=prices, gas=gas)


@pytest.fixture(scope="module")
def result(inputs: tuple[Any, LoopMarket]) -> LoopResult:
    return run(inputs, target=LoopTarget(ltv=0.9, rounds=3))


def run(inputs: tuple[Any, LoopMarket], **changes: Any) -> LoopResult:
    rates, market = inputs
    settings = LoopSettings(
        **{"protocols": ("aave-v2", "aave-v3"), "assets": ("USDC", "USDT", "DAI"), **changes}
    )
    return run_loop_backtest(rates, settings, market)


def test_the_loop_never_beats_plain_supply(result: LoopResult) -> None:
    metrics = loop_metrics(result)["markets"]
    found = {
        name: (row["loop"]["net_apy_pct"], row["unlevered"]["net_apy_pct"])
        for name, row in metrics.items()
    }
    assert found[V2] == pytest.approx((4.03, 4.03), abs=0.02)
    assert found[V3] == pytest.approx((2.33, 3.09), abs=0.02)


def test_risk_and_days_are_those_of_the_note(result: LoopResult) -> None:
    row = loop_metrics(result)["markets"][V3]
    assert row["n_days"] == 520
    assert (row["days_looped"], row["days_negative_spread"]) == (14, 11)
    assert row["min_health_factor"] == pytest.approx(1.20, abs=0.01)
    assert row["loop"]["max_drawdown_pct"] == pytest.approx(-2.84, abs=0.02)
    assert row["loop"]["volatility_pct"] == pytest.approx(3.05, abs=0.02)
    assert row["sharpe_vs_unlevered"] < 0.0
    assert loop_metrics(result)["markets"][V2]["days_looped"] == 0


def test_one_coin_throughout_beats_the_loop_and_the_machine_without_leverage(
    result: LoopResult,
) -> None:
    metrics = loop_metrics(result)["markets"]
    best = {
        name: (row["best_unlevered"]["asset"], row["best_unlevered"]["net_apy_pct"])
        for name, row in metrics.items()
    }
    assert best[V2] == ("USDT", pytest.approx(4.11, abs=0.02))
    assert best[V3] == ("USDC", pytest.approx(4.84, abs=0.02))
    assert metrics[V3]["sharpe_vs_best_unlevered"] == pytest.approx(-2.16, abs=0.02)


def test_equity_is_conserved_on_every_day(result: LoopResult) -> None:
    for daily in (result.daily, result.unlevered):
        parts = daily["supply_usd"] - daily["borrow_usd"] + daily["reward_usd"]
        parts += daily["price_usd"] + daily["shortfall_usd"]
        parts -= daily["liquidation_usd"] + daily["costs_usd"]
        miss = (daily["equity_start_usd"] + parts) / daily["equity_usd"] - 1.0
        assert miss.abs().max() < 1e-9


def test_the_notebooks_arithmetic_shows_what_was_never_there(result: LoopResult) -> None:
    steps = corrections(result).set_index(["market", "step"])
    wrong = steps.loc[(V2, 0.0)]
    assert wrong["net_apr_pct"] == pytest.approx(18.14, abs=0.01)
    assert wrong["sharpe"] > 10.0
    assert wrong["max_drawdown_pct"] == 0.0
    assert steps.loc[(V2, 1.0), "net_apr_pct"] == pytest.approx(6.38, abs=0.01)
    assert steps.loc[(V2, 3.0), "net_apr_pct"] == pytest.approx(3.06, abs=0.01)
    assert steps.loc[(V2, 3.0), "days_negative_spread"] > 800


def test_a_loop_that_chases_every_lead_loses_to_plain(
    inputs: tuple[Any, LoopMarket],
) -> None:
    restless = run(
        inputs,
        target=LoopTarget(leverage=2.5),
        unlever_after_days=None,
        hysteresis=0.0,
        expected_holding_days=30.0,
        own_impact="none",
    )
    metrics = loop_metrics(restless)["markets"]
    assert all(row["excess_apy_points"] < -1.0 for row in metrics.values())


def test_what_comes_later_changes_no_earlier_decision(inputs: tuple[Any, LoopMarket]) -> None:
    rates, market = inputs
    last = date(2023, 6, 30)
    known = [each for each in rates if each.name == V3]
    columns = ["date", "action", "supply_asset", "borrow_asset", "leverage"]
    short, long = (
        run((each, market), protocols=()).daily[columns]
        for each in ([known[0].until(last)], [known[0].until(date(2023, 9, 30))])
    )
    assert len(short) > 150
    pd.testing.assert_frame_equal(short, long.iloc[: len(short)])
