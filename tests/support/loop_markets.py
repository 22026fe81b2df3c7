"""Hand-made lending markets for the tests of loops."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from stableyield.loops import LoopRates, RiskTable, risk_table_of

START = date(2024, 1, 1)
ASSETS = ("DAI", "USDC", "USDT")


def make_rates(n_days: int = 10, **changes: Any) -> LoopRates:
    """A market of DAI, USDC and USDT: supplying USDC at 9 % against USDT at 5 % pays.

    ``changes`` are arrays, or a row for all days, by field of `LoopRates`.
    """
    shape = (n_days, len(ASSETS))

    def each(row: Any) -> np.ndarray[Any, Any]:
        return np.array(np.broadcast_to(np.asarray(row), shape))

    supply, borrow = (
        changes.pop("supply_apr", (0.03, 0.09, 0.04)),
        changes.pop("borrow_apr", (0.06, 0.11, 0.05)),
    )
    values: dict[str, Any] = {
        "supply_apr": supply,
        "borrow_apr": borrow,
        "quoted_supply_apr": supply,
        "quoted_borrow_apr": borrow,
        "supply_reward_apr": 0.0,
        "borrow_reward_apr": 0.0,
        "supplied_usd": 1e9,
        "borrowed_usd": 8e8,
        "available_usd": 2e8,
        "utilisation": 0.8,
        "is_borrowable": True,
        "is_fresh": True,
        **changes,
    }
    return LoopRates(
        chain="Testchain",
        protocol="aave-v3",
        days=np.datetime64(START) + np.arange(n_days),
        assets=ASSETS,
        source="hand-made",
        **{name: each(value) for name, value in values.items()},
    )


def make_risk(*later: dict[str, Any], ltv: float = 0.9, threshold: float = 0.95) -> RiskTable:
    """All three coins at one LTV and threshold; ``later`` rows change that from a day on."""
    base = {
        "chain": "Testchain",
        "protocol": "aave-v3",
        "effective_from": "2020-01-01",
        "ltv": ltv,
        "liquidation_threshold": threshold,
        "liquidation_bonus": 0.01,
        "is_collateral": True,
        "is_borrowable": True,
    }
    rows = [{**base, "asset": asset} for asset in ASSETS]
    return risk_table_of(pd.DataFrame(rows + [{**base, **row} for row in later]))


def make_prices(n_days: int = 10, **closes: Any) -> pd.DataFrame:
    """The ``prices_daily`` table at par, with other closes (and ``low_TOKEN``) where named."""
    days = pd.date_range(START, periods=n_days, freq="D")
    parts = []
    for asset in ASSETS:
        close = np.broadcast_to(np.asarray(closes.get(asset, 1.0), dtype=float), (n_days,))
        low = np.broadcast_to(np.asarray(closes.get(f"low_{asset}", close)), (n_days,))
        parts.append(
            pd.DataFrame({"token": asset, "date": days, "close_usd": close, "low_usd": low})
        )
    return pd.concat(parts, ignore_index=True)
