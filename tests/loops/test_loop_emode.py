"""A position keeps the e-mode in which it was opened, and gets none that it could not enter."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stableyield.loops import (
    LoopCosts,
    LoopResult,
    LoopSettings,
    LoopTarget,
    RiskTable,
    risk_table_of,
    run_loop_backtest,
)
from support.loop_markets import ASSETS, make_prices, make_rates

EMPTIED = "2024-01-05"
BASE = {"ltv": 0.75, "liquidation_threshold": 0.78, "liquidation_bonus": 0.05}
EMODE = {"ltv": 0.93, "liquidation_threshold": 0.95, "liquidation_bonus": 0.01, "emode": "Stable"}


def emptied_emode() -> RiskTable:
    """All coins in an e-mode from which nothing can be borrowed any more since `EMPTIED`."""
    common = {"chain": "Testchain", "protocol": "aave-v3", "is_collateral": True}
    kinds: tuple[dict[str, Any], ...] = (
        {**BASE, "effective_from": "2020-01-01", "is_borrowable": True, "emode": ""},
        {**EMODE, "effective_from": "2020-01-01", "is_borrowable": True},
        {**EMODE, "effective_from": EMPTIED, "is_borrowable": False},
    )
    return risk_table_of(
        pd.DataFrame([{**common, **kind, "asset": asset} for asset in ASSETS for kind in kinds])
    )


def run(**changes: Any) -> LoopResult:
    settings = LoopSettings(
        **{
            "target": LoopTarget(ltv=0.9, rounds=3),
            "costs": LoopCosts(gas_usd=0.0, swap=0.0, flash_premium=0.0),
            "signal_days": 1,
            "own_impact": "none",
            **changes,
        }
    )
    prices = changes.pop("prices", None)
    return run_loop_backtest(make_rates(), settings, risk=emptied_emode(), prices=prices)


def test_a_loop_opened_after_the_emode_was_emptied_is_held_to_the_base_threshold() -> None:
    daily = run(start=date(2024, 1, 6)).daily
    size = (1.0 - 0.75**4) / 0.25
    assert daily["leverage"].iloc[0] == pytest.approx(size)
    at_base = 0.78 * size / (size - 1.0)
    assert daily["health_factor"].iloc[0] == pytest.approx(at_base, rel=1e-3)


def test_it_is_not_taken_for_an_illegal_one_on_the_next_day() -> None:
    actions = run(start=date(2024, 1, 6)).daily["action"].tolist()
    assert actions[0] == "open"
    assert set(actions[1:]) == {"hold"}


def test_it_is_liquidated_where_the_base_threshold_says_so() -> None:
    usdc = np.where(np.arange(10) < 7, 1.0, 0.80)
    settings = LoopSettings(
        target=LoopTarget(ltv=0.9, rounds=3),
        costs=LoopCosts(gas_usd=0.0),
        start=date(2024, 1, 6),
        own_impact="none",
        expected_holding_days=60.0,
    )
    result = run_loop_backtest(
        make_rates(), settings, risk=emptied_emode(), prices=make_prices(USDC=usdc)
    )
    assert result.totals["aave-v3 on Testchain"]["n_liquidations"] == 1


def test_a_loop_from_before_keeps_the_emode_until_it_is_unwound() -> None:
    daily = run().daily
    size = (1.0 - 0.9**4) / 0.1
    assert daily["leverage"].iloc[0] == pytest.approx(size)
    in_emode = daily["health_factor"].iloc[:4]
    assert in_emode.to_numpy() == pytest.approx(0.95 * size / (size - 1.0), rel=1e-3)
    assert daily["action"].iloc[4] == "unwind"
    base = (1.0 - 0.75**4) / 0.25
    reopened = daily["health_factor"].iloc[5:].dropna().to_numpy()
    assert reopened == pytest.approx(0.78 * base / (base - 1.0), rel=1e-3)
