"""Small markets, made by hand or by a seed, and what backtests of them need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from typing import Any

import numpy as np

from stableyield.backtest.day import DayInputs, GasPricing, Prepared, observe, prepare
from stableyield.config import AllocationParameters
from stableyield.domain.costs import GasCosts
from stableyield.domain.pool import Pool
from stableyield.domain.portfolio import Book
from stableyield.forecast import Forecaster, baseline
from stableyield.market import other_future
from stableyield.market.assemble import panel_of
from stableyield.market.frames import MarketFrames
from stableyield.market.panel import GasSeries, MarketPanel
from stableyield.market.synthetic import SyntheticSettings, UniverseModel, simulate_market
from stableyield.screening import IceboxTracker

FIRST_DAY = date(2024, 1, 1)
NO_GAS = GasPricing(fixed=GasCosts(0.0, 0.0, 0.0))


def day(n: int) -> date:
    """Day number ``n`` of every market here."""
    return FIRST_DAY + timedelta(days=n)


def lax(**changes: Any) -> AllocationParameters:
    """Parameters that let every pool of a hand-made market in, unless told otherwise."""
    values = {
        "min_pools": 0,
        "min_history_days": 2,
        "pool_apy_limit": -1.0,
        "pool_tvl_limit": 0.0,
        "profit_optimization": True,
        "group1_max_pct": 1.0,
        "group2_max_pct": 1.0,
        "group3_max_pct": 1.0,
    }
    return AllocationParameters.from_mapping({**values, **changes})


def pool(pool_id: str, *tokens: str, **changes: Any) -> Pool:
    """A pool of those tokens (USDC when none is named)."""
    names = tokens or ("USDC",)
    known = {"symbol": "-".join(names), "chain": "Ethereum", "protocol": "aave-v3"}
    return Pool(pool_id, tokens=names, **{**known, **changes})


def hand_made(
    pools: Sequence[Pool],
    n_days: int,
    pool_arrays: Mapping[str, Any] | None = None,
    token_arrays: Mapping[str, Any] | None = None,
    gas: GasSeries | None = None,
) -> MarketPanel:
    """A calm market: pools at 5 % and 1e7 USD, tokens at 1 USD, gas at 10 gwei, or as told.

    An array is a scalar, a column (one value a day), a row (one value a pool, or a token in
    alphabetical order), or whole.
    """
    tokens = sorted({token for each in pools for token in each.tokens})
    by_pool = {"apy_pct": 5.0, "tvl_usd": 1e7, **(pool_arrays or {})}
    by_token = {"close_usd": 1.0, "market_cap_usd": 1e10, **(token_arrays or {})}
    return MarketPanel.build(
        np.datetime64(FIRST_DAY) + np.arange(n_days),
        pools,
        {name: _filled(value, (n_days, len(pools))) for name, value in by_pool.items()},
        tokens,
        {name: _filled(value, (n_days, len(tokens))) for name, value in by_token.items()},
        gas=gas or GasSeries(np.full(n_days, 10.0), np.full(n_days, 3000.0)),
    )


def column(n_days: int, usual: float, **other: float) -> np.ndarray:
    """One value a day, shape (n_days, 1): ``usual``, and another on ``day_3=...``."""
    values = np.full((n_days, 1), usual)
    for name, value in other.items():
        values[int(name.removeprefix("day_"))] = value
    return values


@cache
def synthetic_frames(seed: int = 7, n_days: int = 70, n_pools: int = 14) -> MarketFrames:
    """A lively synthetic market: listings, delistings and missing rows within weeks."""
    universe = UniverseModel(
        late_share=0.3,
        listing_window_days=n_days - 10,
        delisting_hazard=0.02,
        missing_day_share=0.03,
    )
    return simulate_market(
        SyntheticSettings(
            seed=seed, n_days=n_days, n_pools=n_pools, first_day=FIRST_DAY, universe=universe
        )
    )


@cache
def synthetic_panel(seed: int = 7, n_days: int = 70, n_pools: int = 14) -> MarketPanel:
    """The panel of `synthetic_frames`."""
    return panel_of(synthetic_frames(seed, n_days, n_pools))


def observed(
    panel: MarketPanel,
    on: date,
    parameters: AllocationParameters,
    *,
    gas: GasPricing = NO_GAS,
    forecaster: Forecaster | None = None,
) -> DayInputs:
    """What every policy sees on a day."""
    forecaster = forecaster or baseline("last")
    return observe(panel.as_of(on), parameters, forecaster, IceboxTracker(parameters), gas)


def prepared(
    panel: MarketPanel, on: date, book: Book, parameters: AllocationParameters, **more: Any
) -> tuple[Prepared, DayInputs]:
    """The problem of a book on a day, and what was observed."""
    inputs = observed(panel, on, parameters, **more)
    return prepare(inputs, book, parameters), inputs


def with_another_future(panel: MarketPanel, t: int, seed: int = 0) -> MarketPanel:
    """The same market up to day number ``t``, and another one after it, in everything."""
    return other_future.with_another_future(panel, day(t), seed)


def _filled(value: Any, shape: tuple[int, int]) -> np.ndarray:
    return np.array(np.broadcast_to(np.asarray(value, dtype=np.float64), shape))
