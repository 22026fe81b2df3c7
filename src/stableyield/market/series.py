"""Daily series as read-only arrays: what a market knows of its pools, its tokens and gas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stableyield.errors import ContractError

Floats = NDArray[np.float64]

UNKNOWN = np.float64(np.nan)


@dataclass(frozen=True, eq=False)
class _Series:
    """Named float64 arrays of one shape (n_days, n_columns); an absent one is unknown (NaN)."""

    @classmethod
    def build(cls, shape: tuple[int, int], arrays: Mapping[str, Floats]) -> Self:
        """Read-only arrays of ``shape`` from those that are given.

        Raises
        ------
        ContractError
            For an unknown name or a wrong shape.
        """
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(arrays) - known):
            raise ContractError(f"{cls.__name__} has no field {unknown[0]!r}")
        values = {}
        for name in known:
            values[name] = read_only(arrays.get(name, np.broadcast_to(UNKNOWN, shape)))
            if values[name].shape != shape:
                raise ContractError(
                    f"{name} has shape {values[name].shape}, expected {shape}", where=cls.__name__
                )
        return cls(**values)

    def head(self, n_days: int, n_columns: int) -> Self:
        """The first ``n_days`` rows and ``n_columns`` columns; no copy."""
        cut = (slice(n_days), slice(n_columns))
        return type(self)(*(array[cut] for array in vars(self).values()))

    def columns(self, order: NDArray[np.intp]) -> Self:
        """The columns in another order, each side by side in memory; a copy only where needed.

        Sums depend in their last bit on how an array lies in memory, so it always lies the same.
        What is unknown throughout stays one number in memory.
        """
        chosen = {}
        for item in fields(self):
            array: Floats = getattr(self, item.name)
            n_columns = array.shape[1]
            is_one_number = array.strides == (0, 0) and len(order) == n_columns
            is_there = array.flags.f_contiguous and np.array_equal(order, np.arange(n_columns))
            if not (is_one_number or is_there):
                array = np.asfortranarray(array[:, order])
                array.setflags(write=False)
            chosen[item.name] = array
        return type(self)(**chosen)


@dataclass(frozen=True, eq=False)
class PoolSeries(_Series):
    """What is known of each pool on each day: arrays of shape (n_days, n_pools).

    Rates are percent per year; ``return_1d`` is the growth (fraction) of one unit held from the
    end of the previous calendar day to the end of the row's day; ``is_filtered_out`` is 0 or 1.
    The ``forecast_*`` arrays are a foreign forecaster's output, by exec date.
    """

    apy_pct: Floats
    tvl_usd: Floats
    apy_base_pct: Floats
    apy_reward_pct: Floats
    deposits_usd: Floats
    available_usd: Floats
    return_1d: Floats
    is_filtered_out: Floats
    forecast_apy_pct: Floats
    forecast_apy_q10_pct: Floats
    forecast_tvl_usd: Floats
    forecast_apy_risk_adj_pct: Floats
    forecast_tvl_risk_adj_usd: Floats


@dataclass(frozen=True, eq=False)
class TokenSeries(_Series):
    """Prices of each token on each day, USD: arrays of shape (n_days, n_tokens)."""

    close_usd: Floats
    open_usd: Floats
    high_usd: Floats
    low_usd: Floats
    market_cap_usd: Floats
    peg_usd: Floats


@dataclass(frozen=True, eq=False)
class GasSeries:
    """Gas price and ETH price of each day: arrays of shape (n_days,); NaN where unknown."""

    gas_gwei: Floats
    eth_usd: Floats

    def head(self, n_days: int) -> GasSeries:
        """The first ``n_days`` days; no copy."""
        return GasSeries(self.gas_gwei[:n_days], self.eth_usd[:n_days])


def read_only(array: Floats) -> Floats:
    """The array, copied if somebody could still write to it."""
    result = np.array(array, dtype=np.float64) if array.flags.writeable else array
    result.setflags(write=False)
    return result
