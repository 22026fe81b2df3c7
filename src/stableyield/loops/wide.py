"""The research notebooks' wide frame of lending rates, read by exact column names.

A column is ``<chain>_<asset>_<measure>``: ``arb_usdc_apyBaseBorrow`` is what borrowers of USDC on
Arbitrum pay. The measure is the text after the last underscore and has to be one of `MEASURES`;
nothing is matched by a part of a name. (The notebook took the columns *like* ``apyBase``, which
are also those named ``apyBaseBorrow``: its best "supply" rate was the highest borrow rate.)
Rates are APR in percent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pandas as pd

from stableyield.errors import ContractError, MissingDataError, ParameterError
from stableyield.market.columns import Origin, to_numbers
from stableyield.market.layouts.symbols import token_named

# What a column measures, by its last part, as our own columns name it.
MEASURES: Mapping[str, str] = MappingProxyType(
    {
        "apyBase": "supply_apr_pct",
        "apyBaseBorrow": "borrow_apr_pct",
        "apyReward": "supply_reward_apr_pct",
        "apyRewardBorrow": "borrow_reward_apr_pct",
        "totalSupplyUsd": "supplied_usd",
        "totalBorrowUsd": "borrowed_usd",
    }
)
_CHAINS: Mapping[str, str] = MappingProxyType(
    {
        "arb": "Arbitrum",
        "ava": "Avalanche",
        "avax": "Avalanche",
        "base": "Base",
        "bsc": "BSC",
        "eth": "Ethereum",
        "gno": "Gnosis",
        "op": "Optimism",
        "opt": "Optimism",
        "pol": "Polygon",
        "poly": "Polygon",
    }
)
_BRIDGED = ("USDC", "USDT", "DAI")


@dataclass(frozen=True, slots=True)
class WideColumn:
    """What the name of a column says.

    Parameters
    ----------
    pool : str
        Chain prefix and asset as the frame writes them: ``arb_usdc``.
    chain : str
        Name of the chain; the prefix itself where it is not known.
    asset : str
        The token's own spelling: ``usdce`` is USDC.e.
    measure : str
        A value of `MEASURES`.
    """

    pool: str
    chain: str
    asset: str
    measure: str


@dataclass(frozen=True, slots=True)
class LoopPair:
    """What to supply and what to borrow on a chain; rates are APR in percent.

    Parameters
    ----------
    chain : str
    supply, borrow : str
        Pools as the frame names them: ``arb_usdc``.
    supply_apr_pct, borrow_apr_pct : float
        What suppliers get and borrowers pay, rewards not counted.
    supply_reward_pct, borrow_reward_pct : float
        What is paid to them on top; 0 where the frame has none.
    """

    chain: str
    supply: str
    borrow: str
    supply_apr_pct: float
    borrow_apr_pct: float
    supply_reward_pct: float = 0.0
    borrow_reward_pct: float = 0.0

    @property
    def spread_pct(self) -> float:
        """Supply minus borrow rate, each with its reward, in percentage points."""
        earned = self.supply_apr_pct + self.supply_reward_pct
        return earned - (self.borrow_apr_pct - self.borrow_reward_pct)


def read_wide_column(name: str) -> WideColumn | None:
    """What a column's name says; nothing when it is not ``<chain>_<asset>_<measure>``."""
    pool, _, measure = name.rpartition("_")
    prefix, _, asset = pool.partition("_")
    if measure not in MEASURES or not prefix or not asset:
        return None
    return WideColumn(pool, _CHAINS.get(prefix.lower(), prefix), _asset(asset), MEASURES[measure])


def wide_columns(frame: pd.DataFrame) -> dict[str, WideColumn]:
    """The columns of ``frame`` that hold rates or sizes of a pool, by name, in the frame's order.

    Raises
    ------
    ContractError
        When a name occurs twice, or there is no supply rate at all.
    """
    names = [str(name) for name in frame.columns]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ContractError(f"column {repeated[0]!r} occurs twice", remedy="keep one of them")
    found = {name: column for name in names if (column := read_wide_column(name)) is not None}
    if not any(column.measure == "supply_apr_pct" for column in found.values()):
        raise ContractError(
            "there is no column <chain>_<asset>_apyBase",
            where="wide frame",
            remedy="name the columns as in arb_usdc_apyBase, arb_usdc_apyBaseBorrow",
            details=(f"found: {', '.join(names)}",),
        )
    return found


def best_pair(row_frame: pd.DataFrame | pd.Series[Any], chain: str | None = None) -> LoopPair:
    """The pair with the largest spread on one chain, from one day of a wide frame.

    Both sides are on one chain. The same asset on both sides is taken only where rewards make
    its spread positive. A rate that is missing never wins; a missing reward counts nothing.

    Parameters
    ----------
    row_frame : DataFrame of one row, or Series
        Percent, columns as in the module's text; others are ignored.
    chain : str, optional
        Prefix (``arb``) or name (``Arbitrum``) of the chain; all chains when absent.

    Returns
    -------
    LoopPair
        On equal spreads the first pair in the order of chain, supply and borrow name.

    Raises
    ------
    ParameterError
        When there is not exactly one row or the frame does not know the chain.
    ContractError
        When a column occurs twice, is no number, or there is none of a supply rate.
    MissingDataError
        When no chain has a supply rate and another asset's borrow rate.
    """
    frame = row_frame.to_frame().T if isinstance(row_frame, pd.Series) else row_frame
    if len(frame) != 1:
        raise ParameterError(
            f"best_pair was given {len(frame)} rows", remedy="give one day: frame.iloc[[i]]"
        )
    pools = _pools_of(frame)
    chosen = [pool for pool in pools if chain is None or _is_on(pool, chain)]
    if not chosen:
        known = sorted({pool.column.chain for pool in pools})
        raise ParameterError(
            f"chain {chain!r} is not in the frame", remedy=f"choose one of {', '.join(known)}"
        )
    pairs = sorted(_pairs(chosen), key=lambda p: (-p.spread_pct, p.chain, p.supply, p.borrow))
    if not pairs:
        raise MissingDataError(
            "no pair to loop: no supply rate with another asset's borrow rate on the same chain",
            where=f"{chain or 'all chains'}, row {frame.index[0]}",
            remedy="skip the day; a market without a borrow side pays plain supply only",
        )
    return pairs[0]


@dataclass(frozen=True, slots=True)
class _WidePool:
    column: WideColumn
    values: Mapping[str, float]

    def of(self, measure: str, default: float) -> float:
        value = self.values.get(measure, default)
        return value if math.isfinite(value) else default


def _pools_of(frame: pd.DataFrame) -> list[_WidePool]:
    values: dict[str, dict[str, float]] = {}
    columns: dict[str, WideColumn] = {}
    for name, column in wide_columns(frame).items():
        number = to_numbers(frame[name].infer_objects(), Origin("wide frame")).iloc[0]
        values.setdefault(column.pool, {})[column.measure] = float(number)
        columns[column.pool] = column
    return [_WidePool(columns[pool], values[pool]) for pool in sorted(values)]


def _pairs(pools: list[_WidePool]) -> Iterator[LoopPair]:
    missing = float("nan")
    for supply in pools:
        for borrow in pools:
            pair = LoopPair(
                supply.column.chain,
                supply.column.pool,
                borrow.column.pool,
                supply.of("supply_apr_pct", missing),
                borrow.of("borrow_apr_pct", missing),
                supply.of("supply_reward_apr_pct", 0.0),
                borrow.of("borrow_reward_apr_pct", 0.0),
            )
            if supply.column.chain != borrow.column.chain or math.isnan(pair.spread_pct):
                continue
            if supply.column.asset != borrow.column.asset or _is_paid_by_rewards(pair):
                yield pair


def _is_paid_by_rewards(pair: LoopPair) -> bool:
    has_reward = pair.supply_reward_pct > 0.0 or pair.borrow_reward_pct > 0.0
    return has_reward and pair.spread_pct > 0.0


def _is_on(pool: _WidePool, chain: str) -> bool:
    wanted = chain.lower().rstrip("_")
    prefix = pool.column.pool.partition("_")[0]
    return wanted in {prefix.lower(), pool.column.chain.lower()}


def _asset(text: str) -> str:
    """The token's own spelling of an asset in a column's name."""
    symbol = text.upper()
    if symbol.endswith("E") and symbol[:-1] in _BRIDGED:
        symbol = f"{symbol[:-1]}.E"
    return token_named(symbol)
