from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from stableyield.domain.pool import Pool
from stableyield.market.panel import GasSeries, MarketPanel, MarketView

FIRST_DAY = date(2024, 1, 1)

Market = Callable[..., MarketPanel]


def _pool(pool_id: str, **changes: Any) -> Pool:
    fields = {"symbol": "USDC", "chain": "Ethereum", "protocol": "aave-v3", "tokens": ("USDC",)}
    return Pool(pool_id, **{**fields, **changes})


def _market(
    pools: Sequence[Pool | str] = ("p",),
    *,
    n_days: int = 40,
    pool_arrays: Mapping[str, Any] | None = None,
    tokens: Sequence[str] | None = None,
    token_arrays: Mapping[str, Any] | None = None,
    gas: GasSeries | None = None,
) -> MarketPanel:
    """A calm market: every pool at 5 % and 1e7 USD, every token at 1 USD, unless told otherwise.

    An array may be a scalar, one value a day (a column), one value a pool or token, or all.
    """
    made = [_pool(pool) if isinstance(pool, str) else pool for pool in pools]
    names = sorted({t for pool in made for t in pool.tokens}) if tokens is None else list(tokens)
    by_pool = {"apy_pct": 5.0, "tvl_usd": 1e7, **(pool_arrays or {})}
    by_token = {"close_usd": 1.0, "low_usd": 0.999, **(token_arrays or {})}
    return MarketPanel.build(
        np.datetime64(FIRST_DAY) + np.arange(n_days),
        made,
        {k: _filled(v, (n_days, len(made))) for k, v in by_pool.items()},
        names,
        {k: _filled(v, (n_days, len(names))) for k, v in by_token.items()},
        gas=gas or GasSeries(np.full(n_days, 10.0), np.full(n_days, 3000.0)),
    )


def _filled(value: Any, shape: tuple[int, int]) -> np.ndarray:
    return np.array(np.broadcast_to(np.asarray(value, dtype=np.float64), shape))


def _last_view(panel: MarketPanel) -> MarketView:
    return panel.as_of(panel.last_day)


@pytest.fixture(scope="session")
def pool() -> Callable[..., Pool]:
    return _pool


@pytest.fixture(scope="session")
def market() -> Market:
    return _market


@pytest.fixture(scope="session")
def today() -> Callable[[MarketPanel], MarketView]:
    return _last_view


@pytest.fixture(scope="session")
def day() -> Callable[[int], date]:
    return lambda n: FIRST_DAY + timedelta(days=n)
