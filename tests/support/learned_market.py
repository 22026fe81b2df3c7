"""Small markets in which every input of the learned forecaster is known somewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import numpy as np

from stableyield.domain.pool import Pool
from stableyield.market.panel import GasSeries, MarketPanel, MarketView

FIRST_DAY = date(2024, 1, 1)
TOKENS = ("USDC", "USDT")
PROTOCOLS = ("aave-v3", "morpho")


def busy_arrays(n_days: int, n_pools: int, seed: int) -> dict[str, np.ndarray]:
    """Mean-reverting rates with spikes, gaps and late starts, and everything beside them."""
    rng = np.random.default_rng(seed)
    shape = (n_days, n_pools)
    level = rng.uniform(3.0, 12.0, n_pools)
    apy, shock = np.empty(shape), np.zeros(n_pools)
    for row in range(n_days):
        shock = 0.5 * shock + rng.normal(0.0, 0.12, n_pools)
        apy[row] = level * np.exp(shock + 1.2 * (rng.random(n_pools) < 0.02))
    starts = rng.integers(0, max(n_days // 4, 1), n_pools)
    starts[:2] = 0
    known = (np.arange(n_days)[:, None] >= starts) & (rng.random(shape) > 0.03)
    known[-1] = True

    def seen(values: np.ndarray) -> np.ndarray:
        return np.where(known, values, np.nan)

    deposits = np.exp(rng.normal(15.0, 0.5, n_pools) + rng.normal(0.0, 0.05, shape).cumsum(axis=0))
    share = rng.uniform(0.0, 0.4, n_pools)
    return {
        "apy_pct": seen(apy),
        "apy_base_pct": seen(apy * (1.0 - share)),
        "apy_reward_pct": seen(apy * share),
        "tvl_usd": seen(0.3 * deposits),
        "deposits_usd": seen(deposits),
        "available_usd": seen(rng.uniform(0.05, 0.4, shape) * deposits),
        "return_1d": seen(np.expm1(np.log1p(apy / 100.0) / 365.0) + rng.normal(0.0, 1e-6, shape)),
        "gas_gwei": 20.0 * np.exp(rng.normal(0.0, 0.3, n_days)),
        "eth_usd": 2000.0 * np.exp(rng.normal(0.0, 0.03, n_days).cumsum()),
    }


def panel_of(
    arrays: Mapping[str, np.ndarray],
    order: Sequence[int] | np.ndarray | None = None,
    first_day: date = FIRST_DAY,
) -> MarketPanel:
    """A market whose column i is pool ``p<order[i]>``; tokens and protocols alternate."""
    n_days, n_pools = arrays["apy_pct"].shape
    numbers = range(n_pools) if order is None else [int(i) for i in order]
    pools = [
        Pool(
            f"p{i:03d}",
            TOKENS[i % 2],
            "Ethereum",
            PROTOCOLS[(i // 2) % 2],
            (TOKENS[i % 2],),
            listed_from=first_day,
        )
        for i in numbers
    ]
    by_pool = {key: values for key, values in arrays.items() if values.ndim == 2}
    gas = None
    if "gas_gwei" in arrays:
        gas = GasSeries(arrays["gas_gwei"], arrays["eth_usd"])
    days = np.datetime64(first_day) + np.arange(n_days)
    return MarketPanel.build(days, pools, by_pool, [], {}, gas=gas)


def view_of(arrays: Mapping[str, np.ndarray], day: int = -1) -> MarketView:
    """The market as known on row ``day``."""
    n_days = len(arrays["apy_pct"])
    return panel_of(arrays).as_of(FIRST_DAY + timedelta(days=day % n_days))
