"""Statistics of lending rates as the research notebook showed them, on columns that are exact.

Rates are APR in percent; what is pooled are daily values, never averages of averages. Only days on
which a market has a row of its own are counted. The volatility is the standard deviation of the
daily rates (n - 1), in percentage points.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.domain.rates import DAYS_PER_YEAR
from stableyield.loops.rates import LoopRates
from stableyield.loops.settings import check_between

Floats = NDArray[np.float64]

HOURS_PER_YEAR = 24.0 * DAYS_PER_YEAR
REBALANCINGS: Mapping[str, float] = {
    "hourly": HOURS_PER_YEAR,
    "daily": DAYS_PER_YEAR,
    "weekly": DAYS_PER_YEAR / 7.0,
}
_MEASURES = (
    *("n_days", "mean_pct", "median_pct", "volatility_pct", "max_pct", "min_pct"),
    *("p10_pct", "p90_pct"),
)


def describe(values_pct: Floats) -> dict[str, float]:
    """Average, median, volatility, extremes and 10th and 90th percentile of daily values."""
    known = values_pct[np.isfinite(values_pct)]
    if not len(known):
        return dict(zip(_MEASURES, (0, *[np.nan] * (len(_MEASURES) - 1)), strict=True))
    return {
        "n_days": len(known),
        "mean_pct": float(known.mean()),
        "median_pct": float(np.median(known)),
        "volatility_pct": float(known.std(ddof=1)) if len(known) > 1 else np.nan,
        "max_pct": float(known.max()),
        "min_pct": float(known.min()),
        "p10_pct": float(np.quantile(known, 0.10)),
        "p90_pct": float(np.quantile(known, 0.90)),
    }


def pool_table(markets: Sequence[LoopRates]) -> pd.DataFrame:
    """One row a pool and side (``supply``, ``borrow``) with the columns of `describe`."""
    rows = [
        {"chain": m.chain, "protocol": m.protocol, "asset": asset, "side": side}
        | describe(values[:, column])
        for m in markets
        for column, asset in enumerate(m.assets)
        for side, values in _sides(m)
    ]
    return pd.DataFrame(rows)


def chain_table(markets: Sequence[LoopRates]) -> pd.DataFrame:
    """One row a chain and side: the daily values of all its pools together."""
    pooled: dict[tuple[str, str], list[Floats]] = {}
    for market in markets:
        for side, values in _sides(market):
            pooled.setdefault((market.chain, side), []).append(values.ravel())
    rows = [
        {"chain": chain, "side": side, **describe(np.concatenate(parts))}
        for (chain, side), parts in sorted(pooled.items(), key=lambda item: item[0][0])
    ]
    return pd.DataFrame(rows)


def _sides(market: LoopRates) -> Iterator[tuple[str, Floats]]:
    for side, values in (("supply", market.supply_apr), ("borrow", market.borrow_apr)):
        yield side, np.where(market.is_fresh, 100.0 * values, np.nan)


def spread_table(markets: Sequence[LoopRates]) -> pd.DataFrame:
    """The pair with the largest spread of each market and day.

    Both sides are of one market and two different assets, with a row of their own that day;
    rewards are not counted.

    Returns
    -------
    DataFrame
        date, chain, protocol, market, supply_asset, borrow_asset, supply_apr_pct, borrow_apr_pct,
        spread_pct; a day without a pair has no row.
    """
    frames = [_spreads(market) for market in markets]
    return pd.concat(frames, ignore_index=True)


def _spreads(market: LoopRates) -> pd.DataFrame:
    (_, supply), (_, borrow) = _sides(market)
    rows, i, j = best_pairs(supply, borrow)
    names = np.array(market.assets, dtype=object)
    return pd.DataFrame(
        {
            "date": market.days[rows].astype("datetime64[us]"),
            "chain": market.chain,
            "protocol": market.protocol,
            "market": market.name,
            "supply_asset": names[i],
            "borrow_asset": names[j],
            "supply_apr_pct": supply[rows, i],
            "borrow_apr_pct": borrow[rows, j],
            "spread_pct": supply[rows, i] - borrow[rows, j],
        }
    )


def best_pairs(
    supply: Floats, borrow: Floats
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Rows that have a pair of two different assets, and columns of the one with most spread.

    Parameters
    ----------
    supply, borrow : ndarray of shape (n_days, n_assets)
        NaN where unknown.
    """
    n_days, n = supply.shape
    each = supply[:, :, None] - borrow[:, None, :]
    each[:, np.arange(n), np.arange(n)] = np.nan
    flat = np.where(np.isfinite(each), each, -np.inf).reshape(n_days, n * n)
    best = flat.argmax(axis=1)
    rows = np.flatnonzero(np.isfinite(flat[np.arange(n_days), best]))
    i, j = np.divmod(best[rows], n)
    return rows, i, j


def best_of_each_day(spreads: pd.DataFrame, by: Sequence[str] = ("chain",)) -> pd.DataFrame:
    """The market with the largest spread of each day, per chain, or overall with ``by=()``."""
    order = spreads.sort_values(
        ["date", "spread_pct", "market"], ascending=[True, False, True], kind="stable"
    )
    best = order.drop_duplicates(["date", *by])
    return best.sort_values([*by, "date"], kind="stable").reset_index(drop=True)


def spread_summary(spreads: pd.DataFrame) -> pd.DataFrame:
    """One row a chain, and one for all of them, with the days of a negative spread."""
    parts = [*best_of_each_day(spreads).groupby("chain", sort=True)]
    parts.append(("all", best_of_each_day(spreads, ())))
    rows = [
        {
            "chain": str(chain),
            **describe(each["spread_pct"].to_numpy(np.float64)),
            "days_negative": int((each["spread_pct"] < 0.0).sum()),
        }
        for chain, each in parts
    ]
    return pd.DataFrame(rows)


def rebalancing_costs(gas_usd: float, capital_usd: float) -> pd.DataFrame:
    """Gas of one transaction every hour, day or week, as a share of the capital.

    The research notebook's case: 0.06 USD an hour on 10,000 USD are 5.256 % a year.

    Parameters
    ----------
    gas_usd : float
        USD of one transaction.
    capital_usd : float

    Returns
    -------
    DataFrame
        every, transactions_per_year, gas_usd, capital_usd, cost_usd_per_year, share_pct.

    Raises
    ------
    ParameterError
        When a number is out of bounds.
    """
    check_between("gas_usd", gas_usd, 0.0, 1e6)
    check_between("capital_usd", capital_usd, 1.0, 1e12)
    rows = [
        {
            "every": every,
            "transactions_per_year": n,
            "gas_usd": gas_usd,
            "capital_usd": capital_usd,
            "cost_usd_per_year": n * gas_usd,
            "share_pct": 100.0 * n * gas_usd / capital_usd,
        }
        for every, n in REBALANCINGS.items()
    ]
    return pd.DataFrame(rows)
