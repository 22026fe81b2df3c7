"""Where a method was furthest off: the rows to look at first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from stableyield.forecast.collect import Rows
from stableyield.forecast.segments import SEGMENTS
from stableyield.market.panel import MarketView

MOST_MISSES = 10
MISS_COLUMNS = (
    *("horizon_days", "method", "rank", "exec_date", "pool_id", "symbol", "protocol", "chain"),
    *("segment", "last_apy_pct", "forecast_apy_pct", "q10_pct", "q90_pct", "actual_apy_pct"),
    "error_points",
)


def worst_misses(rows: Rows, truth: MarketView, origins: Sequence[date]) -> pd.DataFrame:
    """The largest absolute errors of each method: the worst row of each of 10 pools.

    ``error_points`` is forecast minus outcome, percentage points.
    """
    frames = [
        pd.DataFrame(_misses(rows, i, truth, origins), columns=list(MISS_COLUMNS))
        for i in range(len(rows.methods))
    ]
    return pd.concat(frames, ignore_index=True)


def _misses(
    rows: Rows, method: int, truth: MarketView, origins: Sequence[date]
) -> list[dict[str, Any]]:
    by_size = np.argsort(-np.abs(rows.errors[method]), kind="stable")
    _, first = np.unique(rows.pool[by_size], return_index=True)
    worst = by_size[np.sort(first)[:MOST_MISSES]]
    result = []
    for rank, row in enumerate(worst, start=1):
        pool = truth.pools[rows.pool[row]]
        low, _, high = rows.target[row] - rows.gaps[method, :, row].astype(np.float64)
        result.append(
            {
                "horizon_days": rows.horizon_days,
                "method": rows.methods[method],
                "rank": rank,
                "exec_date": pd.Timestamp(origins[rows.origin[row]]),
                "pool_id": pool.pool_id,
                "symbol": pool.symbol,
                "protocol": pool.protocol,
                "chain": pool.chain,
                "segment": SEGMENTS[rows.kinds.segment[row]],
                "last_apy_pct": rows.last_pct[row],
                "forecast_apy_pct": rows.points[method, row],
                "q10_pct": low,
                "q90_pct": high,
                "actual_apy_pct": rows.target[row],
                "error_points": -rows.errors[method, row],
            }
        )
    return result
