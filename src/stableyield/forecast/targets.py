"""What came: the outcomes that forecasts are judged by. They look ahead on purpose."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from stableyield.domain.rates import DAYS_PER_YEAR, Floats, day_return
from stableyield.errors import ParameterError
from stableyield.forecast.windows import horizon_mean
from stableyield.market.panel import MarketView

Target = Literal["quoted", "realised"]
CREDIBLE_RATE_PCT = 1e9
"""A quoted rate above this, or below -100 %, is not one."""
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

    ``quoted``: the mean of the APY of days t+1 .. t+H. ``realised``: what holders got
    (`outcome_pct`). NaN where fewer than 80 % of the days are known, or the horizon is not over.

    Raises
    ------
    ParameterError
        For another ``target``.
    """
    series = truth.pool_series
    rates = credible_rates(series.apy_pct)
    return outcome_pct(rates, log_growth(series.return_1d), horizon_days, target)


def outcome_pct(
    rates_pct: Floats, log_growth_1d: Floats, horizon_days: int, target: Target
) -> Floats:
    """What is forecast and what forecasts are judged by, in one; shape (n_days, n_pools).

    ``realised``: ``exp(365 mean(log(1 + return))) - 1`` for a pool with share prices, the mean of
    the APY for one without any.

    Parameters
    ----------
    rates_pct : ndarray of shape (n_days, n_pools)
        From `credible_rates`.
    log_growth_1d : ndarray of shape (n_days, n_pools)
        From `log_growth`.
    horizon_days : int
    target : Target

    Raises
    ------
    ParameterError
        For another ``target``.
    """
    quoted = horizon_mean(rates_pct, horizon_days)
    if checked_target(target) == "quoted":
        return quoted
    has_prices = np.isfinite(log_growth_1d).any(axis=0)
    return np.where(has_prices, annual_pct(horizon_mean(log_growth_1d, horizon_days)), quoted)


def annual_pct(log_growth_1d: Floats) -> Floats:
    """APY in percent of a mean daily logarithm of growth."""
    result: Floats = 100.0 * np.expm1(DAYS_PER_YEAR * log_growth_1d)
    return result


def credible_rates(apy_pct: Floats) -> Floats:
    """The rates, NaN where they are unknown, below -100 % or above 1e9 %."""
    believed = (apy_pct >= -100.0) & (apy_pct <= CREDIBLE_RATE_PCT)
    return np.where(believed, apy_pct, np.nan)


def log_growth(return_1d: Floats) -> Floats:
    """Logarithm of what one unit became over the day; NaN where it is not known.

    A day that pays more than 10,000 % a year, or loses more than everything, is a glitch of the
    share price, and unknown; all other losses count, that of everything too.
    """
    known = (return_1d >= -1.0) & (return_1d <= day_return(CREDIBLE_PAID_PCT / 100.0))
    survived = np.maximum(return_1d, -1.0 + 1e-12)  # all is lost: -100 %, not an error
    return np.log1p(np.where(known, survived, np.nan))


def tvl_target(truth: MarketView, horizon_days: int) -> Floats:
    """Mean TVL of days t+1 .. t+H, USD; shape (n_days, n_pools); NaN as in `apy_target`."""
    tvl = truth.pool_series.tvl_usd
    return horizon_mean(np.where(tvl >= 0.0, tvl, np.nan), horizon_days)
