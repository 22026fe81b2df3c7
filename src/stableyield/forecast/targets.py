"""What came: the outcomes that forecasts are judged by. They look ahead on purpose."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from stableyield.domain.rates import DAYS_PER_YEAR, Floats, day_return
from stableyield.errors import ParameterError
from stableyield.forecast.windows import horizon_mean
from stableyield.market.panel import MarketView

Target = Literal["quoted", "realised"]
CREDIBLE_PAID_PCT = 1e4
"""A day's return that would be more than this a year is a glitch or a one-off, not a rate."""
TARGETS: tuple[Target, ...] = get_args(Target)


def checked_target(name: str) -> Target:
    """The target of that name.

    Raises
    ------
    ParameterError
        When there is none.
    """
    for target in TARGETS:
        if name == target:
            return target
    raise ParameterError(f"target is {name!r}", remedy=f"choose one of {', '.join(TARGETS)}")


def apy_target(truth: MarketView, horizon_days: int, target: Target) -> Floats:
    """Outcome of each origin in percent; shape (n_days, n_pools).

    ``quoted``: the mean of the APY of days t+1 .. t+H. ``realised``: `realised_pct`. NaN where
    fewer than 80 % of the days are known, or the horizon is not over.

    Raises
    ------
    ParameterError
        For another ``target``.
    """
    series = truth.pool_series
    if checked_target(target) == "quoted":
        return horizon_mean(series.apy_pct, horizon_days)
    return realised_pct(series.apy_pct, series.return_1d, horizon_days)


def realised_pct(apy_pct: Floats, return_1d: Floats, horizon_days: int) -> Floats:
    """What holders of days t+1 .. t+H got, percent a year; shape (n_days, n_pools).

    ``exp(365 mean(log(1 + return))) - 1`` for a pool with share prices, the mean of the APY for
    one without any. A day that pays more than 10,000 % a year is a glitch of the share price, and
    unknown; losses are all counted.
    """
    credible = np.where(return_1d <= day_return(CREDIBLE_PAID_PCT / 100.0), return_1d, np.nan)
    survived = np.maximum(credible, -1.0 + 1e-12)  # all is lost: -100 %, not an error
    grown = np.expm1(DAYS_PER_YEAR * horizon_mean(np.log1p(survived), horizon_days))
    has_prices = np.isfinite(return_1d).any(axis=0)
    result: Floats = np.where(has_prices, 100.0 * grown, horizon_mean(apy_pct, horizon_days))
    return result


def tvl_target(truth: MarketView, horizon_days: int) -> Floats:
    """Mean TVL of days t+1 .. t+H, USD; shape (n_days, n_pools); NaN as in `apy_target`."""
    tvl = truth.pool_series.tvl_usd
    return horizon_mean(np.where(tvl >= 0.0, tvl, np.nan), horizon_days)
