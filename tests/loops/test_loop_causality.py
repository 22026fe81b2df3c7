"""What comes after a day changes no decision up to it: rates, sizes, cash, prices, gas, rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stableyield.loops import LoopMarket, LoopRates, LoopSettings, LoopTarget, run_loop_backtest
from support.loop_markets import START, make_prices, make_rates, make_risk

N_DAYS, T = 40, 22
DAYS = pd.date_range(START, periods=N_DAYS, freq="D")
RATE_FIELDS = ("supply_apr", "borrow_apr", "supply_reward_apr", "borrow_reward_apr")
SIZE_FIELDS = ("supplied_usd", "borrowed_usd", "available_usd", "utilisation", "is_borrowable")


def market_rates() -> LoopRates:
    """Rates along a kinked curve, so that own size has a model to move them by."""
    rng = np.random.default_rng(11)
    used = rng.uniform(0.4, 0.79, size=(N_DAYS, 3))
    borrow = 0.06 * used / 0.8 * rng.choice([1.0, 1.0, 2.5], size=(1, 3))
    wave = 1.0 + 0.8 * np.sin(np.arange(N_DAYS)[:, None] / 4.0 + np.arange(3))
    return make_rates(
        N_DAYS,
        supply_apr=borrow * used * 0.9 * wave,
        borrow_apr=borrow,
        utilisation=used,
        borrowed_usd=used * 1e9,
        available_usd=(1.0 - used) * 1e9,
    )


def surroundings(**changes: Any) -> LoopMarket:
    gas = pd.DataFrame({"date": DAYS, "gas_gwei": 20.0, "eth_usd": 2000.0})
    rng = np.random.default_rng(5)
    prices = make_prices(N_DAYS, USDC=1.0 + rng.normal(0.0, 1e-3, N_DAYS))
    return replace(LoopMarket(prices=prices, gas=gas, risk=make_risk()), **changes)


def decisions(rates: LoopRates, market: LoopMarket) -> pd.DataFrame:
    """Decisions up to and including day T, with what they cost."""
    settings = LoopSettings(
        target=LoopTarget(leverage=2.5), equity_usd=2e6, expected_holding_days=40.0, signal_days=2
    )
    daily = run_loop_backtest(rates, settings, market).daily
    columns = ["date", "state", "action", "supply_asset", "borrow_asset", "leverage", "costs_usd"]
    return daily[columns].head(T + 1)


def after(values: np.ndarray[Any, Any], n_known: int = T + 1) -> np.ndarray[Any, Any]:
    """A copy with everything behind the first ``n_known`` rows turned upside down."""
    changed = np.array(values)
    changed[n_known:] = ~changed[n_known:] if changed.dtype == bool else changed[n_known:] * 3.7
    return changed


def bumped_rates(names: tuple[str, ...]) -> LoopRates:
    rates = market_rates()
    changes = {name: after(getattr(rates, name)) for name in names}
    for side in ("supply", "borrow"):
        if f"{side}_apr" in changes:
            changes[f"quoted_{side}_apr"] = changes[f"{side}_apr"]
    return replace(rates, **changes)


@pytest.fixture(scope="module")
def before() -> pd.DataFrame:
    return decisions(market_rates(), surroundings())


def test_the_market_of_these_tests_moves_before_and_on_the_day(before: pd.DataFrame) -> None:
    assert before["action"].nunique() >= 3
    assert (before["borrow_asset"] != "").any()


@pytest.mark.parametrize("names", [RATE_FIELDS, SIZE_FIELDS, (*RATE_FIELDS, *SIZE_FIELDS)])
def test_later_rates_sizes_and_cash_change_no_decision(
    before: pd.DataFrame, names: tuple[str, ...]
) -> None:
    pd.testing.assert_frame_equal(decisions(bumped_rates(names), surroundings()), before)


def test_later_prices_change_no_decision(before: pd.DataFrame) -> None:
    prices = surroundings().prices
    assert prices is not None
    late = prices["date"] > DAYS[T]
    changed = prices.assign(
        close_usd=prices["close_usd"].where(~late, 0.93),
        low_usd=prices["low_usd"].where(~late, 0.9),
    )
    pd.testing.assert_frame_equal(decisions(market_rates(), surroundings(prices=changed)), before)


def test_later_gas_changes_no_decision(before: pd.DataFrame) -> None:
    gas = surroundings().gas
    assert gas is not None
    changed = gas.assign(gas_gwei=after(gas["gas_gwei"].to_numpy()))
    pd.testing.assert_frame_equal(decisions(market_rates(), surroundings(gas=changed)), before)


def test_later_rules_change_no_decision(before: pd.DataFrame) -> None:
    first = DAYS[T + 1].date().isoformat()
    rows = [
        {"asset": asset, "effective_from": first, "ltv": 0.1, "liquidation_threshold": 0.2}
        for asset in ("DAI", "USDC", "USDT")
    ]
    changed = surroundings(risk=make_risk(*rows))
    pd.testing.assert_frame_equal(decisions(market_rates(), changed), before)


def test_a_history_that_ends_earlier_gives_the_same_decisions(before: pd.DataFrame) -> None:
    cut = market_rates().until(date.fromisoformat(str(DAYS[T + 1].date())))
    known = decisions(cut, surroundings())
    pd.testing.assert_frame_equal(
        known.drop(columns="costs_usd"), before.drop(columns="costs_usd")
    )  # the last day of a run pays for its closing as well
