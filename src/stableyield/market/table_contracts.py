"""The columns of each table of a market: kinds, units, bounds and keys (see docs/formats.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

ColumnKind = Literal["text", "moment", "number", "on_flag", "off_flag", "texts", "numbers"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    kind : str
        ``on_flag`` is true, ``off_flag`` false where it says nothing.
    required : bool
    at_least, above, at_most : float, optional
        Bounds of a number.
    is_percent : bool
        Asked about when it looks like fractions.
    percent_like : str
        A percent column of the same table that this one lies near: asked about when it looks like
        fractions beside that one. A risk-adjusted rate may be low; a hundredth it is not.
    """

    kind: ColumnKind
    required: bool = False
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    is_percent: bool = False
    percent_like: str = ""


@dataclass(frozen=True, slots=True)
class TableContract:
    """The columns of a table and the key that may not repeat; a key column is never empty."""

    columns: Mapping[str, Column]
    key: tuple[str, ...]
    last_of_key_wins: bool = False


_KEY = Column("text", required=True)
_TEXT = Column("text")
_DAY = Column("moment", required=True)
_NUMBER = Column("number")
_AMOUNT = Column("number", at_least=0.0)
_PRICE = Column("number", above=0.0)
_RATE = Column("number", at_least=-100.0)
_PERCENT = replace(_RATE, required=True, is_percent=True)
_SHARE = Column("number", at_least=0.0, at_most=1.0)

CONTRACTS: Mapping[str, TableContract] = MappingProxyType(
    {
        "pools": TableContract(
            {
                **dict.fromkeys(("pool_id", "symbol", "chain", "protocol"), _KEY),
                "tokens": Column("texts", required=True),
                "kind": _TEXT,
                "listed_from": Column("moment"),
                "listed_until": Column("moment"),
                "is_active": Column("on_flag"),
                "token_shares": Column("numbers"),
                "token_addresses": Column("texts"),
            },
            key=("pool_id",),
        ),
        "pool_daily": TableContract(
            {
                "pool_id": _KEY,
                "date": _DAY,
                "apy_pct": _PERCENT,
                "tvl_usd": replace(_AMOUNT, required=True),
                **dict.fromkeys(("apy_base_pct", "apy_reward_pct"), _RATE),
                **dict.fromkeys(("deposits_usd", "available_usd"), _AMOUNT),
                "return_1d": Column("number", at_least=-1.0),
                "is_filtered_out": Column("off_flag"),
            },
            key=("pool_id", "date"),
        ),
        "prices_daily": TableContract(
            {
                "token": _KEY,
                "date": _DAY,
                "close_usd": replace(_PRICE, required=True),
                **dict.fromkeys(("open_usd", "high_usd", "low_usd"), _PRICE),
                "market_cap_usd": _AMOUNT,
                "peg_usd": _PRICE,
            },
            key=("token", "date"),
        ),
        "gas_daily": TableContract(
            {
                "date": _DAY,
                "gas_gwei": replace(_AMOUNT, required=True),
                "eth_usd": replace(_PRICE, required=True),
            },
            key=("date",),
        ),
        "forecasts": TableContract(
            {
                "pool_id": _KEY,
                "exec_date": _DAY,
                "target_date": _DAY,
                "pred_global_apy": _PERCENT,
                "pred_global_tvl": replace(_NUMBER, required=True),
                "pred_global_apy_q10": _RATE,
                "pred_global_apy_risk_adj": replace(_RATE, percent_like="pred_global_apy"),
                **dict.fromkeys(("pred_global_tvl_risk_adj", "downside_risk"), _NUMBER),
                "cold_start_flag": Column("off_flag"),
                **dict.fromkeys(("instability_group", "pred_next_day_instability_group"), _TEXT),
            },
            key=("pool_id", "exec_date"),
            last_of_key_wins=True,
        ),
        "lend_borrow_daily": TableContract(
            {
                **dict.fromkeys(("market_id", "chain", "protocol", "symbol"), _KEY),
                "date": _DAY,
                **dict.fromkeys(("supply_apr_pct", "borrow_apr_pct"), _PERCENT),
                **dict.fromkeys(("supplied_usd", "borrowed_usd"), _AMOUNT),
                **dict.fromkeys(("supply_reward_apr_pct", "borrow_reward_apr_pct"), _RATE),
                **dict.fromkeys(("ltv", "liquidation_threshold"), _SHARE),
                "borrowable": Column("on_flag"),
            },
            key=("market_id", "date"),
        ),
    }
)
UNUSED_FORECASTS = "forecast rows"
"""In every assumption about rows of ``forecasts`` that a market has no use for."""
REQUIRED_TABLES = ("pools", "pool_daily")
