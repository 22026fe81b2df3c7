"""The tables whose rows may be corrected: keys, values and kinds, as data.

Such a table NAME is kept as NAME_revisions, to which rows are only added: a corrected row is a new
revision, and the old one notes when it was superseded. The view NAME shows the latest revisions
under the names below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Kind = Literal["pool", "text", "json", "number", "integer", "flag", "day", "horizon"]


@dataclass(frozen=True, slots=True)
class RevisedTable:
    """One table with revisions.

    Parameters
    ----------
    name : str
    key : mapping of column to kind
        What identifies a row; never empty. Kind ``pool`` is a pool_id, kept as a number; kind
        ``horizon`` is a whole number of days from 1, and may be unknown: it is kept as 0 then.
    values : mapping of column to kind
        ``day`` is a UTC date, ``flag`` true or false, ``json`` a list or object.
    needed : tuple of str
        Values that are never empty.
    """

    name: str
    key: Mapping[str, Kind]
    values: Mapping[str, Kind]
    needed: tuple[str, ...] = ()

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """Kind of every column, key first."""
        return {**self.key, **self.values}

    @property
    def base(self) -> str:
        """Name of the table that holds the revisions."""
        return f"{self.name}_revisions"


_POOL_DAY: Mapping[str, Kind] = {"pool_id": "pool", "date": "day"}
_LIST: Mapping[str, Kind] = {"is_listed": "flag", "reason": "text"}


def _numbers(names: str) -> dict[str, Kind]:
    return dict.fromkeys(names.split(), "number")


def _texts(names: str) -> dict[str, Kind]:
    return dict.fromkeys(names.split(), "text")


_MARKET = (
    RevisedTable(
        "pools",
        {"pool_id": "pool"},
        {
            **_texts("symbol chain protocol"),
            "underlying_tokens": "json",
            "is_active": "flag",
            "kind": "text",
            "listed_from": "day",
            "listed_until": "day",
            "token_shares": "json",
            "token_addresses": "json",
            "pool_meta": "text",
        },
        needed=("symbol", "chain", "protocol", "underlying_tokens", "is_active"),
    ),
    RevisedTable(
        "pool_daily",
        _POOL_DAY,
        {
            **_numbers("apy_pct tvl_usd apy_base_pct apy_reward_pct deposits_usd available_usd"),
            "return_1d": "number",
            "is_filtered_out": "flag",
        },
    ),
    RevisedTable(
        "token_prices_daily",
        {"token": "text", "date": "day"},
        {
            **_numbers("close_usd open_usd high_usd low_usd market_cap_usd peg_usd volume_usd"),
            "source": "text",
        },
    ),
    RevisedTable(
        "gas_fees_daily", {"date": "day"}, {**_numbers("gas_gwei eth_usd"), "source": "text"}
    ),
    RevisedTable(
        "lend_borrow_daily",
        {"market_id": "text", "date": "day"},
        {
            **_texts("chain protocol symbol"),
            **_numbers("supply_apr_pct borrow_apr_pct supplied_usd borrowed_usd"),
            **_numbers("supply_reward_apr_pct borrow_reward_apr_pct ltv liquidation_threshold"),
            "borrowable": "flag",
        },
        needed=("chain", "protocol", "symbol"),
    ),
    RevisedTable(
        "forecasts",
        {"pool_id": "pool", "exec_date": "day", "method": "text", "horizon_days": "horizon"},
        {
            "target_date": "day",
            **_numbers("pred_global_apy pred_global_tvl pred_global_apy_q10 pred_global_apy_q90"),
            **_numbers("pred_global_apy_risk_adj pred_global_tvl_risk_adj downside_risk"),
            "cold_start_flag": "flag",
            **_texts("instability_group pred_next_day_instability_group"),
        },
        needed=("target_date",),
    ),
)
_JUDGEMENT = (
    RevisedTable(
        "pool_assessments",
        _POOL_DAY,
        {
            **_numbers("forecasted_apy forecasted_tvl"),
            "is_filtered_out": "flag",
            "filter_reason": "text",
            **_numbers("rolling_apy_7d rolling_apy_30d stddev_apy_7d stddev_apy_30d"),
            "apy_delta_today_yesterday": "number",
            "pool_group": "integer",
            "state": "text",
        },
    ),
    RevisedTable(
        "forecast_verdicts",
        {"date": "day", "method": "text", "horizon_days": "integer"},
        {
            "n_days": "integer",
            "n": "integer",
            "mae": "number",
            "baseline": "text",
            **_numbers("mae_baseline coverage_q10 coverage_q90"),
            "needed_days": "integer",
            "is_fallback": "flag",
            **_texts("served_by run_id"),
        },
        needed=("n_days", "n", "needed_days", "is_fallback", "served_by"),
    ),
    RevisedTable("approved_tokens", {"token": "text", "chain": "text"}, _LIST, ("is_listed",)),
    RevisedTable("blacklisted_tokens", {"token": "text", "chain": "text"}, _LIST, ("is_listed",)),
    RevisedTable("approved_protocols", {"protocol": "text"}, _LIST, ("is_listed",)),
    RevisedTable("approved_chains", {"chain": "text"}, _LIST, ("is_listed",)),
    RevisedTable(
        "icebox_tokens",
        {"token": "text", "source": "text", "entered": "day", "rule": "text"},
        {
            "left": "day",
            **_numbers("low_usd close_usd peg_usd"),
            "iceboxed": "flag",
            "reason": "text",
        },
        needed=("iceboxed",),
    ),
    RevisedTable(
        "icebox_overrides",
        {"token": "text", "set_on": "day"},
        {"iceboxed": "flag", "reason": "text", "expires": "day", "is_withdrawn": "flag"},
        needed=("iceboxed", "reason", "expires"),
    ),
    RevisedTable("default_allocation_parameters", {"name": "text"}, {"value": "json"}, ("value",)),
)
_BOOKS = (
    RevisedTable(
        "daily_balances",
        {"date": "day", "basis": "text", "location": "text", "token": "text"},
        {**_numbers("amount price_usd amount_usd"), "run_id": "text"},
        needed=("amount",),
    ),
    RevisedTable(
        "daily_ledger",
        {"date": "day", "token": "text"},
        {
            **_numbers("opening_amount deposits_amount withdrawals_amount conversions_amount"),
            **_numbers("costs_amount yield_amount closing_amount close_usd nav_usd"),
            **_numbers("realised_yield_usd realised_yield_ytd_usd"),
            "run_id": "text",
        },
        needed=("opening_amount", "closing_amount"),
    ),
    RevisedTable(
        "daily_nav",
        {"date": "day"},
        {
            **_numbers("assets_before_usd assets_next_usd deposits_usd withdrawals_usd costs_usd"),
            **_numbers("yield_usd yield_day yield_ytd"),
            "run_id": "text",
        },
        needed=("assets_before_usd",),
    ),
)

REVISED: Mapping[str, RevisedTable] = MappingProxyType(
    {table.name: table for table in (*_MARKET, *_JUDGEMENT, *_BOOKS)}
)

Area = Literal["market", "judgement", "books"]
AREA_OF: Mapping[str, Area] = MappingProxyType(
    {
        **{table.name: "market" for table in _MARKET},
        **{table.name: "judgement" for table in _JUDGEMENT},
        **{table.name: "books" for table in _BOOKS},
    }
)
