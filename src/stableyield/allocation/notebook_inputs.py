"""The research notebooks' dicts, read into the values of an allocation problem; notes on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, SupportsFloat

import numpy as np

from stableyield.allocation.problem import AllocationProblem
from stableyield.config import AllocationParameters
from stableyield.domain.costs import GasCosts
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import Book
from stableyield.errors import ContractError

PROVENANCE = ("run_id", "timestamp")  # of alloc_params: whose decision it is, no parameter

_GAS_NEEDED = ("allocation", "withdrawal", "conversion")
_GAS_IGNORED = ("transfer", "deposit")
_LOW_MEDIAN_PCT = 0.5


def read_book(
    warm_wallet: Mapping[str, float], current_allocations: Mapping[tuple[str, str], float]
) -> Book:
    """What is owned.

    Raises
    ------
    InputError
        When an amount is negative or not finite; a ContractError when it is no number, or a key
        of ``current_allocations`` is not (pool_id, token).
    """
    return Book(
        {token: _amount(held, f"warm_wallet[{token!r}]") for token, held in warm_wallet.items()},
        {
            position_key(key): _amount(held, f"current_allocations[{key!r}]")
            for key, held in current_allocations.items()
        },
    )


def position_key(key: object) -> tuple[str, str]:
    """A key of ``current_allocations``, checked.

    Raises
    ------
    ContractError
        When it is not a pair of texts.
    """
    match key:
        case (str(pool_id), str(token)):
            return pool_id, token
    raise ContractError(
        f"key {key!r} is not (pool_id, token)",
        where="current_allocations",
        remedy='write {("pool_001", "USDC"): 1000.0}',
    )


def _amount(value: SupportsFloat, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ContractError(f"is {value!r}, not a number", where=where) from error


def read_prices(token_prices: Mapping[str, float | None]) -> dict[str, float]:
    """Prices as floats; None is unknown, and an error where that price is needed."""
    return {
        token: math.nan if price is None else _amount(price, f"token_prices[{token!r}]")
        for token, price in token_prices.items()
    }


def read_gas(gas_fees: Mapping[str, float]) -> GasCosts:
    """Gas in USD per transaction.

    Raises
    ------
    ContractError
        When allocation, withdrawal or conversion is missing, or a key is unknown.
    """
    known = (*_GAS_NEEDED, *_GAS_IGNORED)
    for name in gas_fees:
        if name not in known:
            raise ContractError(
                f"unknown key {name!r}", where="gas_fees", remedy=f"known keys: {', '.join(known)}"
            )
    for name in _GAS_NEEDED:
        if name not in gas_fees:
            raise ContractError(
                f"key {name!r} is missing",
                where="gas_fees",
                remedy="calculate_transaction_gas_fees gives all that is needed",
            )
    return GasCosts(*(_amount(gas_fees[name], f"gas_fees[{name!r}]") for name in _GAS_NEEDED))


def read_parameters(alloc_params: Mapping[str, Any]) -> AllocationParameters:
    """Parameters, without what is provenance.

    A frame says nothing of how a pool's yield answers to our deposit, so it stays as it is
    (``own_impact`` none) unless the parameter is named.

    Raises
    ------
    ParameterError
        For an unknown name, a wrong type or a value out of bounds.
    """
    values: dict[str, object] = {"own_impact": "none"}
    for name, value in alloc_params.items():
        if name not in PROVENANCE:
            values[name] = value.item() if isinstance(value, np.generic) else value
    return AllocationParameters.from_mapping(values)


def notes_on(problem: AllocationProblem) -> tuple[str, ...]:
    """What a reader of the plan should know of its input."""
    notes = []
    p = problem.parameters
    for state, meaning in (
        (PoolState.EXIT, "held, but inactive or not in pools_df: left completely"),
        (PoolState.WITHDRAW_ONLY, "held, but filtered out: kept or reduced"),
        (PoolState.FROZEN, "held, filtered out and without a forecast: not touched"),
    ):
        if names := [pool.pool_id for pool in problem.pools if pool.state is state]:
            notes.append(f"{meaning}: {', '.join(names)}")
    open_pools = [pool for pool in problem.pools if pool.state is PoolState.OPEN]
    low_apy = sum(pool.apy_pct < 100.0 * p.pool_apy_limit for pool in open_pools)
    low_tvl = sum(pool.tvl_usd < p.pool_tvl_limit for pool in open_pools)
    for n_pools, name in ((low_apy, "pool_apy_limit"), (low_tvl, "pool_tvl_limit")):
        if n_pools:
            notes.append(
                f"{n_pools} open pools are below {name}; is_filtered_out decides, not the limit"
            )
    rates_pct = [abs(pool.apy_pct) for pool in open_pools if pool.apy_pct != 0.0]
    if len(rates_pct) >= 3 and (median := float(np.median(rates_pct))) < _LOW_MEDIAN_PCT:
        notes.append(f"forecasted_apy has a median of {median:.4f} %: is it a fraction?")
    return tuple(notes)
