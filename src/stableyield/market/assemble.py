"""From the tables of a market to the arrays of a `MarketPanel`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.domain.pool import Pool, PoolKind
from stableyield.market.contracts import check_frames
from stableyield.market.frames import MarketFrames
from stableyield.market.panel import (
    Days,
    Floats,
    GasSeries,
    MarketPanel,
    Provenance,
)

POOL_COLUMNS = (
    "apy_pct",
    "tvl_usd",
    "apy_base_pct",
    "apy_reward_pct",
    "deposits_usd",
    "available_usd",
    "return_1d",
    "is_filtered_out",
)
FORECAST_COLUMNS = {
    "pred_global_apy": "forecast_apy_pct",
    "pred_global_apy_q10": "forecast_apy_q10_pct",
    "pred_global_tvl": "forecast_tvl_usd",
    "pred_global_apy_risk_adj": "forecast_apy_risk_adj_pct",
    "pred_global_tvl_risk_adj": "forecast_tvl_risk_adj_usd",
}
_TOKEN_COLUMNS = ("close_usd", "open_usd", "high_usd", "low_usd", "market_cap_usd", "peg_usd")


def panel_of(
    frames: MarketFrames,
    *,
    confirm_percent: bool = False,
    hashes: Mapping[str, str] | None = None,
) -> MarketPanel:
    """The panel of frames that were made in memory: checked, then assembled.

    Raises
    ------
    ContractError
        When a table breaks its contract; see `stableyield.market.contracts`.
    """
    return assemble(check_frames(frames, confirm_percent=confirm_percent), hashes=hashes)


def assemble(frames: MarketFrames, *, hashes: Mapping[str, str] | None = None) -> MarketPanel:
    """The panel of frames that keep their contracts.

    The days run from the first to the last day of ``pool_daily`` without a hole; prices, gas and
    forecasts outside are cut off. Nothing is filled forward: what no row says is NaN. Forecasts
    of pools that are not in ``pools`` are left out and a negative forecast of TVL is unknown;
    both are counted in the assumptions.

    Parameters
    ----------
    frames : MarketFrames
        As `check_frames` and `read_frames` return them.
    hashes : mapping of str to str, optional
        sha256 of the inputs, kept in the provenance.
    """
    days = _calendar(frames.pool_daily["date"])
    pools = pools_of(frames.pools)
    pool_ids = [pool.pool_id for pool in pools]
    arrays = _pivot(frames.pool_daily, "pool_id", "date", pool_ids, days, POOL_COLUMNS)
    notices = [*frames.assumptions]
    if frames.forecasts is not None:
        forecasts, found = _usable_forecasts(frames.forecasts, pool_ids)
        notices += found
        columns = tuple(FORECAST_COLUMNS)
        predicted = _pivot(forecasts, "pool_id", "exec_date", pool_ids, days, columns)
        arrays |= {FORECAST_COLUMNS[name]: array for name, array in predicted.items()}
    tokens = tokens_of(frames)
    prices: dict[str, Floats] = {}
    if frames.prices_daily is not None:
        prices = _pivot(frames.prices_daily, "token", "date", tokens, days, _TOKEN_COLUMNS)
    return MarketPanel.build(
        days,
        pools,
        arrays,
        tokens,
        prices,
        gas=_gas(frames.gas_daily, days),
        provenance=Provenance(tuple(dict.fromkeys(notices)), dict(hashes or {})),
    )


def pools_of(table: pd.DataFrame) -> list[Pool]:
    """The pools of a checked ``pools`` table, in its order.

    Raises
    ------
    ContractError
        When the shares of a pool do not fit its tokens.
    """
    return [
        Pool(
            pool_id=row["pool_id"],
            symbol=row["symbol"],
            chain=row["chain"],
            protocol=row["protocol"],
            tokens=row["tokens"],
            token_shares=row.get("token_shares", ()),
            token_addresses=row.get("token_addresses", ()),
            kind=PoolKind(_known(row.get("kind")) or PoolKind.UNKNOWN),
            listed_from=_day(row.get("listed_from")),
            listed_until=_day(row.get("listed_until")),
            is_active=bool(row.get("is_active", True)),
        )
        for row in table.to_dict("records")
    ]


def tokens_of(frames: MarketFrames) -> list[str]:
    """Every token that a pool takes or that has a price, sorted."""
    tokens = {token for tokens in frames.pools["tokens"] for token in tokens}
    if frames.prices_daily is not None:
        tokens |= set(frames.prices_daily["token"].unique())
    return sorted(tokens)


def unpriced_tokens(frames: MarketFrames) -> tuple[str, ...]:
    """Tokens that a pool takes and that no row prices, sorted."""
    held = {token for tokens in frames.pools["tokens"] for token in tokens}
    if frames.prices_daily is None:
        return tuple(sorted(held))
    known = frames.prices_daily["close_usd"].notna()
    return tuple(sorted(held - set(frames.prices_daily.loc[known, "token"].unique())))


def _calendar(moments: pd.Series[Any]) -> Days:
    first = np.datetime64(moments.min(), "D")
    last = np.datetime64(moments.max(), "D")
    return np.arange(first, last + np.timedelta64(1, "D"), dtype="datetime64[D]")


def _rows_of(moments: pd.Series[Any], days: Days) -> NDArray[np.int64]:
    """Row of each moment; outside 0..n_days-1 where the calendar does not have it."""
    offsets = moments.to_numpy().astype("datetime64[D]") - days[0]
    result: NDArray[np.int64] = offsets.astype(np.int64)
    return result


def _pivot(
    table: pd.DataFrame,
    name_column: str,
    day_column: str,
    names: Sequence[str],
    days: Days,
    columns: Sequence[str],
) -> dict[str, Floats]:
    """One array of shape (n_days, n_names) for each of ``columns`` that the table has."""
    rows = _rows_of(table[day_column], days)
    places = pd.Index(names).get_indexer(pd.Index(table[name_column]))
    inside = (rows >= 0) & (rows < len(days)) & (places >= 0)
    result = {}
    for column in columns:
        if column in table:
            array = np.full((len(days), len(names)), np.nan)
            values = table[column].to_numpy(dtype=np.float64)
            array[rows[inside], places[inside]] = values[inside]
            array.setflags(write=False)
            result[column] = array
    return result


def _gas(table: pd.DataFrame | None, days: Days) -> GasSeries | None:
    if table is None:
        return None
    one = table.assign(where="gas")
    arrays = _pivot(one, "where", "date", ["gas"], days, ("gas_gwei", "eth_usd"))
    return GasSeries(arrays["gas_gwei"][:, 0], arrays["eth_usd"][:, 0])


def _usable_forecasts(
    forecasts: pd.DataFrame, pool_ids: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    notices = []
    foreign = ~forecasts["pool_id"].isin(pool_ids)
    if foreign.any():
        n_pools = forecasts.loc[foreign, "pool_id"].nunique()
        notices.append(
            f"{int(foreign.sum())} forecast rows of {n_pools} pools that are not in the market "
            "are not used."
        )
    negative = forecasts["pred_global_tvl"] < 0.0
    if negative.any():
        notices.append(f"{int(negative.sum())} negative TVL forecasts are taken as unknown.")
    tvl = forecasts["pred_global_tvl"].mask(negative)
    return forecasts.assign(pred_global_tvl=tvl)[~foreign], notices


def _known(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _day(value: Any) -> date | None:
    return None if value is None or pd.isna(value) else value.date()
