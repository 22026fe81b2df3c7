"""From the tables of a market to the arrays of a `MarketPanel`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from stableyield.domain.pool import Pool, PoolKind
from stableyield.market.cells import Cells
from stableyield.market.contracts import check_frames
from stableyield.market.frames import MarketFrames
from stableyield.market.panel import (
    Days,
    Floats,
    GasSeries,
    MarketPanel,
    Provenance,
)
from stableyield.market.table_contracts import UNUSED_FORECASTS

UNLIKE_OBSERVED = 30.0  # times the usual APY: no forecaster means that
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
    of other pools and of other days are left out and a negative forecast of TVL is unknown: all are
    counted in the assumptions.

    Parameters
    ----------
    frames : MarketFrames
        As `check_frames` and `read_frames` return them.
    hashes : mapping of str to str, optional
        sha256 of the inputs, kept in the provenance.
    """
    days = _calendar(frames.pool_daily["date"])
    pools = pools_of(frames.pools)
    notices = [*frames.assumptions]
    forecasts = None
    if frames.forecasts is not None:
        pool_ids = [pool.pool_id for pool in pools]
        forecasts, found = _usable_forecasts(frames.forecasts, pool_ids, days)
        notices += [*found, *_unlike_observed(forecasts, frames.pool_daily)]
    pools, arrays = _pool_arrays(frames.pool_daily, forecasts, pools, days)
    tokens = tokens_of(frames)
    prices: dict[str, Floats] = {}
    if frames.prices_daily is not None:
        cells = Cells.of(frames.prices_daily, "token", "date", tokens, days)
        prices = cells.arrays(_TOKEN_COLUMNS)
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


def _pool_arrays(
    daily: pd.DataFrame, forecasts: pd.DataFrame | None, pools: Sequence[Pool], days: Days
) -> tuple[list[Pool], dict[str, Floats]]:
    """The pools in a panel's order and their arrays.

    A panel orders its columns by the day on which they became known. Arrays that are made in that
    order need no second copy of each, which would double what a wide market takes.
    """
    pool_ids = [pool.pool_id for pool in pools]
    cells = Cells.of(daily, "pool_id", "date", pool_ids, days)
    known_from = cells.first_known(("apy_pct", "tvl_usd"))
    predicted = None
    if forecasts is not None:
        predicted = Cells.of(forecasts, "pool_id", "exec_date", pool_ids, days)
        known_from = np.minimum(known_from, predicted.first_known(("pred_global_apy",)))
    order = sorted(
        range(len(pools)),
        key=lambda i: (_known_row(pools[i], int(known_from[i]), days), pool_ids[i]),
    )
    cells = cells.in_order(order)
    arrays = cells.arrays(POOL_COLUMNS)
    if predicted is not None:
        by_name = predicted.in_order(order).arrays(tuple(FORECAST_COLUMNS))
        arrays |= {FORECAST_COLUMNS[name]: array for name, array in by_name.items()}
    return [pools[i] for i in order], arrays


def _known_row(pool: Pool, first_row: int, days: Days) -> int:
    """Row of the day on which a pool is first known, by its listing or its first row."""
    if pool.listed_from is None:
        return first_row
    listed = int((np.datetime64(pool.listed_from, "D") - days[0]).astype(np.int64))
    return min(first_row, max(listed, 0))


def _gas(table: pd.DataFrame | None, days: Days) -> GasSeries | None:
    if table is None:
        return None
    cells = Cells.of(table.assign(where="gas"), "where", "date", ["gas"], days)
    arrays = cells.arrays(("gas_gwei", "eth_usd"))
    return GasSeries(arrays["gas_gwei"][:, 0], arrays["eth_usd"][:, 0])


def _usable_forecasts(
    forecasts: pd.DataFrame, pool_ids: Sequence[str], days: Days
) -> tuple[pd.DataFrame, list[str]]:
    """The forecasts of the market's pools and days, and what is said of the others."""
    notices = []
    foreign = ~forecasts["pool_id"].isin(pool_ids)
    if foreign.any():
        n_pools = forecasts.loc[foreign, "pool_id"].nunique()
        notices.append(
            f"{int(foreign.sum())} {UNUSED_FORECASTS} of {n_pools} pools that are not in the "
            "market are not used."
        )
    made = forecasts["exec_date"]
    elsewhen = ~foreign & ~made.between(pd.Timestamp(days[0]), pd.Timestamp(days[-1]))
    if elsewhen.any():
        first, last = made[elsewhen].min(), made[elsewhen].max()
        notices.append(
            f"{int(elsewhen.sum())} {UNUSED_FORECASTS} with an exec_date from {first:%Y-%m-%d} to "
            f"{last:%Y-%m-%d}, outside the market's days ({days[0]} to {days[-1]}), are not used."
        )
    used = ~foreign & ~elsewhen
    if used.any() and forecasts.loc[used, "pred_global_apy"].isna().all():
        notices.append(f"{int(used.sum())} {UNUSED_FORECASTS} are all without pred_global_apy.")
    negative = forecasts["pred_global_tvl"] < 0.0
    if negative.any():
        notices.append(f"{int(negative.sum())} negative TVL forecasts are taken as unknown.")
    tvl = forecasts["pred_global_tvl"].mask(negative)
    return forecasts.assign(pred_global_tvl=tvl)[used], notices


def _unlike_observed(forecasts: pd.DataFrame, daily: pd.DataFrame) -> list[str]:
    """A notice where forecasts are so far above what was observed that the unit may be another."""
    observed = daily.loc[daily["pool_id"].isin(forecasts["pool_id"]), "apy_pct"]
    predicted_pct, usual_pct = (
        float(rates[rates > 0.0].median()) for rates in (forecasts["pred_global_apy"], observed)
    )
    if not predicted_pct > UNLIKE_OBSERVED * usual_pct:
        return []
    return [
        f"Foreign forecasts are {predicted_pct:.4g} % as a rule, observed APYs of the same pools "
        f"{usual_pct:.4g} %: pred_global_apy may not be in percent."
    ]


def _known(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _day(value: Any) -> date | None:
    return None if value is None or pd.isna(value) else value.date()
