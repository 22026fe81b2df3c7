"""The part of a market that the learned forecaster reads, cleaned and in a fixed pool order."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import Floats
from stableyield.forecast.targets import (
    Target,
    annual_pct,
    credible_rates,
    log_growth,
    outcome_pct,
)

if TYPE_CHECKING:
    from stableyield.market.panel import MarketView

POOL_FIELDS = (
    "apy_pct",
    "apy_base_pct",
    "apy_reward_pct",
    "return_1d",
    "tvl_usd",
    "deposits_usd",
    "available_usd",
)
"""The fields of `PoolSeries` that are read."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Rows of a market as the features read them; pools in the order of their ids.

    Parameters
    ----------
    days : ndarray of datetime64[D], shape (n_days,)
    pool_ids : tuple of str, length n_pools
        Sorted: a forecast does not depend on the order in which pools came.
    token_of, protocol_of : ndarray of int, shape (n_pools,)
        Number of the pool's token set and of its protocol.
    apy, base, reward : ndarray of shape (n_days, n_pools)
        Percent; NaN where unknown or not credible.
    log_growth : ndarray of shape (n_days, n_pools)
        Logarithm of what one unit became over the day, from ``return_1d``; NaN where unknown.
    tvl, utilisation : ndarray of shape (n_days, n_pools)
        ``log(1 + USD)``; borrowed share of deposits.
    gas, eth : ndarray of shape (n_days, 1)
        Logarithms of the gas price (gwei) and of ETH (USD).
    """

    days: NDArray[np.datetime64]
    pool_ids: tuple[str, ...]
    token_of: NDArray[np.int64]
    protocol_of: NDArray[np.int64]
    apy: Floats
    base: Floats
    reward: Floats
    log_growth: Floats
    tvl: Floats
    utilisation: Floats
    gas: Floats
    eth: Floats

    def rows(self, start: int, stop: int) -> Inputs:
        """Rows ``start`` .. ``stop`` - 1, without the pools that have no APY in them."""
        known = np.isfinite(self.apy[start:stop]).any(axis=0)
        kept = np.flatnonzero(known)
        values = {
            item.name: getattr(self, item.name)[start:stop][:, kept]
            for item in fields(self)
            if item.name in _BY_POOL
        }
        return replace(
            self,
            days=self.days[start:stop],
            pool_ids=tuple(self.pool_ids[i] for i in kept),
            token_of=self.token_of[kept],
            protocol_of=self.protocol_of[kept],
            gas=self.gas[start:stop],
            eth=self.eth[start:stop],
            **values,
        )

    @property
    def paid(self) -> Floats:
        """What each day really paid, as APY in percent."""
        return annual_pct(self.log_growth)

    def outcome_pct(self, horizon_days: int, target: Target) -> Floats:
        """What is to be forecast on each row, percent: what forecasts are judged by."""
        return outcome_pct(self.apy, self.log_growth, horizon_days, target)


_BY_POOL = ("apy", "base", "reward", "log_growth", "tvl", "utilisation")


def inputs_of(view: MarketView, n_rows: int) -> Inputs:
    """The last ``n_rows`` rows of a view, or all that there are.

    A rate below -100 % or above 1e9 %, an infinite one and a negative TVL are unknown.
    """
    order = np.array(sorted(range(len(view.pools)), key=view.pool_ids.__getitem__), dtype=np.intp)
    series = view.pool_series

    def recent(values: Floats) -> Floats:
        result: Floats = values[-n_rows:][:, order]
        return result

    deposits, cash = recent(series.deposits_usd), recent(series.available_usd)
    with np.errstate(divide="ignore", invalid="ignore"):
        utilisation = np.where(deposits > 0.0, 1.0 - cash / deposits, np.nan)
    return Inputs(
        days=view.days[-n_rows:],
        pool_ids=tuple(view.pool_ids[i] for i in order),
        token_of=_numbered([tuple(sorted(view.pools[i].tokens)) for i in order]),
        protocol_of=_numbered([view.pools[i].protocol for i in order]),
        apy=credible_rates(recent(series.apy_pct)),
        base=credible_rates(recent(series.apy_base_pct)),
        reward=credible_rates(recent(series.apy_reward_pct)),
        log_growth=log_growth(recent(series.return_1d)),
        tvl=_log_amounts(recent(series.tvl_usd)),
        utilisation=np.clip(utilisation, 0.0, 1.5),
        gas=_logs(view.gas.gas_gwei[-n_rows:, None]),
        eth=_logs(view.gas.eth_usd[-n_rows:, None]),
    )


def _numbered(names: Sequence[Hashable]) -> NDArray[np.int64]:
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names], dtype=np.int64)


def _log_amounts(values: Floats) -> Floats:
    is_amount = (values >= 0.0) & np.isfinite(values)
    return np.log1p(np.where(is_amount, values, np.nan))


def _logs(values: Floats) -> Floats:
    return np.log(np.where((values > 0.0) & np.isfinite(values), values, np.nan))
