"""From settings to the tables of a market."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.domain.pool import PoolKind
from stableyield.market.frames import MarketFrames
from stableyield.market.synthetic.prices import GasPaths, PricePaths, simulate_gas, simulate_prices
from stableyield.market.synthetic.rates import RatePaths, simulate_rates
from stableyield.market.synthetic.settings import SyntheticSettings
from stableyield.market.synthetic.universe import Listing, draw_universe

Days = NDArray[np.datetime64]


def simulate_market(settings: SyntheticSettings) -> MarketFrames:
    """Simulate a market.

    The same settings give identical frames. Rows of earlier days do not depend on ``n_days``, and
    rows of a pool do not depend on ``n_pools``.

    Returns
    -------
    MarketFrames
        ``pools``, ``pool_daily``, ``prices_daily`` and ``gas_daily`` with the columns of
        docs/formats.md. The pools table knows what was known on the last day: neither a later
        listing nor a later delisting.
    """
    root = np.random.default_rng(settings.seed)
    universe, market, pools, tokens, gas = root.spawn(5)
    listings = draw_universe(settings, universe.spawn(settings.n_pools))
    kinds = [listing.pool.kind for listing in listings]
    paths = simulate_rates(
        settings,
        market,
        pools.spawn(settings.n_pools),
        (
            np.array([kind is PoolKind.LENDING for kind in kinds]),
            np.array([kind is PoolKind.VAULT for kind in kinds]),
        ),
    )
    days = np.datetime64(settings.first_day, "us") + np.arange(settings.n_days).astype(
        "timedelta64[D]"
    )
    return MarketFrames(
        pools=_pools_frame(listings, days),
        pool_daily=_pool_daily_frame(listings, paths, days),
        prices_daily=_prices_frame(
            settings.tokens, simulate_prices(settings, tokens.spawn(len(settings.tokens))), days
        ),
        gas_daily=_gas_frame(simulate_gas(settings, gas), days),
        assumptions=(
            f"synthetic market, seed {settings.seed}, {settings.n_days} days from "
            f"{settings.first_day}, {settings.n_pools} pools",
        ),
    )


def _pools_frame(listings: Sequence[Listing], days: Days) -> pd.DataFrame:
    """What was known on the last day; a delisting is known from the day after the last row on."""
    known = [listing for listing in listings if listing.first < len(days)]
    last = np.array([listing.last for listing in known], dtype=np.int64)
    is_delisted = last < len(days) - 1
    return pd.DataFrame(
        {
            "pool_id": [listing.pool.pool_id for listing in known],
            "symbol": [listing.pool.symbol for listing in known],
            "chain": [listing.pool.chain for listing in known],
            "protocol": [listing.pool.protocol for listing in known],
            "tokens": [json.dumps(listing.pool.tokens) for listing in known],
            "token_shares": [json.dumps(listing.pool.token_shares) for listing in known],
            "kind": [listing.pool.kind.value for listing in known],
            "listed_from": days[[listing.first for listing in known]],
            "listed_until": np.where(
                is_delisted, days[np.minimum(last, len(days) - 1)], np.datetime64("NaT")
            ),
            "is_active": ~is_delisted,
        }
    )


def _pool_daily_frame(listings: Sequence[Listing], paths: RatePaths, days: Days) -> pd.DataFrame:
    """One row per day and listed pool, sorted by pool and day."""
    t = np.arange(len(days))[:, None]
    first = np.array([listing.first for listing in listings])
    last = np.array([listing.last for listing in listings])
    has_row = (first <= t) & (t <= last) & ~(paths.is_missing & (t > first))
    pool, day = np.nonzero(has_row.T)
    ids = pd.Series([listing.pool.pool_id for listing in listings])
    base, reward = paths.base_pct[day, pool], paths.reward_pct[day, pool]
    return pd.DataFrame(
        {
            "pool_id": ids.take(pool).reset_index(drop=True),
            "date": days[day],
            "apy_pct": base + reward,
            "tvl_usd": paths.tvl_usd[day, pool],
            "apy_base_pct": base,
            "apy_reward_pct": reward,
            "deposits_usd": paths.deposits_usd[day, pool],
            "available_usd": paths.tvl_usd[day, pool],
            "return_1d": paths.return_1d[day, pool],
        }
    )


def _prices_frame(tokens: Sequence[str], paths: PricePaths, days: Days) -> pd.DataFrame:
    """One row per token and day."""
    columns = {name: array.T.ravel() for name, array in asdict(paths).items()}
    return pd.DataFrame(
        {
            "token": [token for token in tokens for _ in range(len(days))],
            "date": np.tile(days, len(tokens)),
            **columns,
            "peg_usd": 1.0,
        }
    )


def _gas_frame(paths: GasPaths, days: Days) -> pd.DataFrame:
    return pd.DataFrame({"date": days, "gas_gwei": paths.gas_gwei, "eth_usd": paths.eth_usd})
