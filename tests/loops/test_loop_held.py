"""The alternative that needs no machine: one coin supplied throughout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from stableyield.loops import LoopCosts, LoopResult, LoopSettings, LoopTarget, run_loop_backtest
from stableyield.report.loop_metrics import best_unlevered, loop_metrics
from support.loop_markets import make_prices, make_rates, make_risk

MARKET = "aave-v3 on Testchain"
ONE = LoopCosts(gas_usd=1.0)


def run(rates: Any = None, **changes: Any) -> LoopResult:
    prices = changes.pop("prices", None)
    settings = LoopSettings(
        target=LoopTarget(leverage=2.0), costs=ONE, signal_days=1, own_impact="none", **changes
    )
    return run_loop_backtest(
        make_rates() if rates is None else rates, settings, risk=make_risk(), prices=prices
    )


def test_a_coin_throughout_earns_its_rate_and_pays_two_transactions() -> None:
    held = run().held
    dai = held[held["asset"] == "DAI"]
    assert len(dai) == 9
    grown = (1e6 - 1.0) * math.exp(9 * 0.03 / 365) - 1.0
    assert dai["equity_usd"].iloc[-1] == pytest.approx(grown, rel=1e-12)
    assert dai["gas_usd"].sum() == 2.0
    assert dai["turnover_usd"].sum() == 0.0


def test_every_coin_with_a_rate_is_there_and_no_other() -> None:
    supply = np.tile([0.03, 0.09, np.nan], (10, 1))
    assert set(run(make_rates(supply_apr=supply)).held["asset"]) == {"DAI", "USDC"}


def test_it_bears_the_price_of_its_coin() -> None:
    prices = make_prices(DAI=np.linspace(1.0, 0.9, 10))
    held = run(prices=prices).held
    end = held[held["asset"] == "DAI"]["equity_usd"].iloc[-1]
    assert end == pytest.approx(0.9e6, rel=2e-3)


def test_the_best_without_leverage_is_a_coin_where_chasing_rates_costs_more() -> None:
    wave = np.where(np.arange(60) % 2 == 0, 0.30, 0.02)[:, None]
    supply = np.hstack([wave, 0.32 - wave, np.full((60, 1), 0.16)])
    result = run(make_rates(60, supply_apr=supply, borrow_apr=9.0), hysteresis=0.0)
    coin, book = best_unlevered(result, MARKET)
    assert coin != ""
    row = loop_metrics(result)["markets"][MARKET]
    assert row["best_unlevered"]["asset"] == coin
    assert row["best_unlevered"]["net_apy_pct"] > row["unlevered"]["net_apy_pct"] + 1.0
    assert row["sharpe_vs_best_unlevered"] < 0.0
    assert book.aum_end[-1] > result.unlevered["equity_usd"].iloc[-1]
    assert any("chosen in hindsight" in text for text in loop_metrics(result)["notes"])


def test_the_machine_is_the_best_where_it_did_not_need_to_move() -> None:
    result = run(expected_holding_days=365.0)
    coin, _ = best_unlevered(result, MARKET)
    assert coin == ""
    assert not any("hindsight" in text for text in loop_metrics(result)["notes"])
