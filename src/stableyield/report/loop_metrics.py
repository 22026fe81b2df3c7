"""`loop_metrics`: what a loop earned, beside the same money without leverage, as plain JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import DAYS_PER_YEAR
from stableyield.report import performance
from stableyield.report.metrics import core_metrics
from stableyield.report.performance import PolicyDays, Undefined, Value

if TYPE_CHECKING:
    import pandas as pd

    from stableyield.loops.result import LoopResult

Floats = NDArray[np.float64]

_HIGH_SHARPE = 10.0
_SHORT_RUN_DAYS = 60
_KEPT = (
    *("net_apy_pct", "net_apy_low_pct", "net_apy_high_pct", "gross_apy_pct", "profit_usd"),
    *("volatility_pct", "max_drawdown_pct", "days_under_water", "longest_under_water_days"),
    *("costs_usd", "turnover_usd", "turnover_per_year", "sharpe"),
)


def loop_metrics(result: LoopResult) -> dict[str, Any]:
    """Metrics of every market of a run; a metric without a value is None, ``undefined`` says why.

    Returns
    -------
    dict
        ``markets[name]``: ``loop`` and ``unlevered`` (net_apy_pct over calendar days / 365,
        volatility_pct x sqrt(365), max_drawdown_pct with the starting value, costs, ...),
        ``excess_apy_points``, ``sharpe_vs_unlevered``, ``best_unlevered`` (the same metrics of the
        best that there was without leverage, and which coin that is), ``sharpe_vs_best_unlevered``
        and the totals of the run; ``warnings``, ``assumptions``, ``notes``, ``undefined``.
    """
    undefined: dict[str, str] = {}
    markets = {name: _market(result, name, undefined) for name in result.markets}
    return {
        "markets": markets,
        "warnings": [text for name, row in markets.items() for text in _warnings(name, row)],
        "assumptions": list(result.assumptions),
        "notes": [*result.notes, *(t for n, row in markets.items() for t in _hindsight(n, row))],
        "undefined": undefined,
    }


def policy_days(daily: pd.DataFrame, market: str) -> PolicyDays:
    """A market's days as the report's performance functions read them."""
    rows = daily[daily["market"] == market]

    def column(name: str) -> Floats:
        values: Floats = rows[name].to_numpy(dtype=np.float64)
        return values

    return PolicyDays(
        aum_start=column("equity_start_usd"),
        aum_end=np.maximum(column("equity_usd"), 0.0),
        gas_usd=column("gas_usd"),
        conversion_usd=column("swap_usd") + column("flash_usd"),
        turnover_usd=column("turnover_usd"),
    )


def sharpe_against(own: PolicyDays, other: PolicyDays) -> Value:
    """Mean daily growth beyond an alternative's, over its standard deviation, x sqrt(365).

    Days after the shorter of the two ended (a loop whose equity is gone) do not count.
    """
    n = min(len(own.growth), len(other.growth))
    if n < 2:
        return Undefined("one day has no volatility")
    excess = own.growth[:n] - other.growth[:n]
    deviation = float(np.std(excess, ddof=1))
    if deviation < performance.ZERO_VOLATILITY:
        return Undefined("the loop did what plain supply did on every day")
    return float(excess.mean()) / deviation * math.sqrt(DAYS_PER_YEAR)


def _market(result: LoopResult, name: str, undefined: dict[str, str]) -> dict[str, Any]:
    own, other = policy_days(result.daily, name), policy_days(result.unlevered, name)

    def plain(path: str, values: Mapping[str, Value]) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for key, value in values.items():
            is_missing = isinstance(value, Undefined)
            if isinstance(value, Undefined):
                undefined[f"{name}.{path}{key}"] = value.reason
            found[key] = None if is_missing else value  # type: ignore[assignment]
        return found

    loop, unlevered = (
        plain(f"{path}.", {key: core_metrics(book)[key] for key in _KEPT})
        for path, book in (("loop", own), ("unlevered", other))
    )
    apys = loop["net_apy_pct"], unlevered["net_apy_pct"]
    lead = apys[0] - apys[1] if apys[0] is not None and apys[1] is not None else None
    coin, best = best_unlevered(result, name)
    sharpes = {
        "sharpe_vs_unlevered": sharpe_against(own, other),
        "sharpe_vs_best_unlevered": sharpe_against(own, best),
    }
    return {
        "loop": loop,
        "unlevered": unlevered,
        "best_unlevered": {
            "asset": coin,
            **plain("best_unlevered.", {key: core_metrics(best)[key] for key in _KEPT}),
        },
        "excess_apy_points": lead,
        **plain("", sharpes),
        **result.totals[name],
    }


def best_unlevered(result: LoopResult, market: str) -> tuple[str, PolicyDays]:
    """What paid most without leverage: a coin that was kept throughout, or the same machine.

    Returns
    -------
    str
        The coin, known in hindsight only; empty: the machine at leverage 1.
    PolicyDays
    """
    found = {"": policy_days(result.unlevered, market)}
    rows = result.held[result.held["market"] == market]
    found |= {str(a): policy_days(each, market) for a, each in rows.groupby("asset", sort=True)}
    coin = max(found, key=lambda name: found[name].aum_end[-1])
    return coin, found[coin]


def _hindsight(name: str, row: Mapping[str, Any]) -> list[str]:
    """What the best coin would have brought, where it beats the machine that chases rates."""
    best = row["best_unlevered"]
    if not best["asset"] or best["net_apy_pct"] is None:
        return []
    return [
        f"{name}: {best['asset']} supplied throughout, without leverage or a move, would have "
        f"brought {best['net_apy_pct']:.2f} % a year (chosen in hindsight)."
    ]


def _warnings(name: str, row: Mapping[str, Any]) -> list[str]:
    """What a reader must know before believing the numbers."""
    loop, found = row["loop"], []
    if row["n_days"] < _SHORT_RUN_DAYS:
        found.append(
            f"{name}: only {row['n_days']} days; annual figures from fewer than {_SHORT_RUN_DAYS} "
            "days say little about a year."
        )
    for label, value in (
        ("Sharpe ratio", loop["sharpe"]),
        ("Sharpe ratio against plain supply", row["sharpe_vs_unlevered"]),
    ):
        if value is not None and value > _HIGH_SHARPE:
            found.append(
                f"{name}: a {label} of {value:.1f} is not a measure of safety: carry does not "
                "price jumps, and no peg broke in these days."
            )
    if loop["max_drawdown_pct"] == 0.0:
        found.append(
            f"{name}: a drawdown of exactly 0 says that prices or costs are missing, or that the "
            "run is too short to hold a loss."
        )
    if row["shortfall_usd"] > 0.0:
        found.append(
            f"{name}: {row['shortfall_usd']:,.0f} USD of debt were not covered by any collateral; "
            "equity is shown as 0, the lenders bear the rest."
        )
    if row["n_liquidations"]:
        found.append(
            f"{name}: liquidated on {row['n_liquidations']} days, {row['liquidation_usd']:,.0f} "
            "USD lost to liquidators."
        )
    if row["days_stuck"]:
        found.append(
            f"{name}: could not leave on {row['days_stuck']} days, for want of cash in the market."
        )
    return found
