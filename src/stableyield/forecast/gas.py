"""Gas price of the next days: between the last value and the week's median, on a log scale.

Weekends are cheap: each day of the week has its usual distance from the level of its week, the
median of the past year, which is taken off the prices and put back for the days forecast.

How far towards the median lies halfway between a prior and the share, of eleven, that had the
smallest mean absolute log error over the past year. Log errors weigh a calm day at 2 gwei like a
storm at 300; the quantiles are those of the same past errors. Only days up to the last one given
are used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from stableyield.domain.rates import Floats
from stableyield.forecast.base import checked_horizon
from stableyield.forecast.windows import (
    carried_forward,
    horizon_mean,
    trailing_mean,
    trailing_median,
)
from stableyield.market.panel import GasSeries

MEDIAN_DAYS = 7
MAX_AGE_DAYS = 3
LEARNING_DAYS = 365
MIN_ERRORS = 30
WEEK_DAYS = 7
USUAL_WEEKS_HALF = 8.0
"""Weeks of history at which the usual distance of a day of the week is half believed."""
MIN_WEEKS = 4
SHARES = np.linspace(0.0, 1.0, 11)
PRIOR_SHARE, PRIOR_SHARE_A_DAY, LARGEST_PRIOR_SHARE = 0.3, 0.05, 0.6
"""Best shares of 2018-2020: for the next day, for each further day, and at most."""


@dataclass(frozen=True)
class GasForecast:
    """Mean gas price of the days t+1 .. t+H, gwei; NaN = unknown.

    Parameters
    ----------
    horizon_days : int
        H.
    gas_gwei : float
        The median expectation.
    q10_gwei, q90_gwei : float
        Its quantiles; NaN with fewer than 30 past errors.
    median_share : float
        How far from the last value to the week's median the forecast lies, in [0, 1].
    """

    horizon_days: int
    gas_gwei: float
    q10_gwei: float
    q90_gwei: float
    median_share: float


def forecast_gas(gas: GasSeries, horizon_days: int) -> GasForecast:
    """The gas price of the next H days from the prices up to today, the last row of ``gas``.

    A price that is not positive is unknown. NaN when the last known price is more than 3 days
    old.

    Raises
    ------
    ParameterError
        When ``horizon_days`` is not a whole number from 1 to 365.
    """
    horizon_days = checked_horizon(horizon_days)
    reach = LEARNING_DAYS + horizon_days + MEDIAN_DAYS
    price = gas.gas_gwei[-reach:, None]
    price = np.where((price > 0.0) & np.isfinite(price), price, np.nan)
    if not np.isfinite(price).any():
        return GasForecast(horizon_days, np.nan, np.nan, np.nan, np.nan)
    usual = _usual_distance(np.log(price[:, 0]), horizon_days)
    level = np.log(price) - usual[: len(price), None]
    last = carried_forward(level, MAX_AGE_DAYS)[:, 0]
    middle = trailing_median(level, MEDIAN_DAYS)[:, 0]
    # of the days forecast: rows s+1 .. s+H on row s
    season = np.log(sliding_window_view(np.exp(usual), horizon_days)[1:].mean(axis=1))
    outcome = np.log(horizon_mean(price, horizon_days)[:, 0]) - season
    known = np.isfinite(outcome) & np.isfinite(last)
    share = _share(last[known], middle[known], outcome[known], horizon_days)
    errors = outcome[known] - (last + share * (middle - last))[known]
    point = last[-1] + share * (middle[-1] - last[-1]) + season[-1]
    low, high = np.nan, np.nan
    if len(errors) >= MIN_ERRORS:
        low, high = point + np.quantile(errors, [0.1, 0.9])
    return GasForecast(
        horizon_days,
        gas_gwei=float(np.exp(point)),
        q10_gwei=float(np.exp(min(low, point))),
        q90_gwei=float(np.exp(max(high, point))),
        median_share=share,
    )


def _usual_distance(log_price: Floats, horizon_days: int) -> Floats:
    """Usual distance of each row's day of the week from the mean of the seven days up to it.

    Shape (n_days + horizon_days,): the next days' too. Days are told apart by their place in
    the history; the seven distances add up to 0, and are 0 with
    fewer than four weeks.
    """
    n_days = len(log_price)
    distance = log_price - trailing_mean(log_price[:, None], WEEK_DAYS)[:, 0]
    distance[: WEEK_DAYS - 1] = np.nan  # no whole week before them
    usual = np.zeros(WEEK_DAYS)
    for k in range(WEEK_DAYS):
        known = distance[k::WEEK_DAYS]
        known = known[np.isfinite(known)]
        if len(known) >= MIN_WEEKS:
            usual[k] = np.median(known) * len(known) / (len(known) + USUAL_WEEKS_HALF)
    return np.resize(usual - usual.mean(), n_days + horizon_days)


def _share(last: Floats, middle: Floats, outcome: Floats, horizon_days: int) -> float:
    """Halfway between the prior and the best share of the past; the prior with few errors."""
    prior = min(PRIOR_SHARE + PRIOR_SHARE_A_DAY * (horizon_days - 1), LARGEST_PRIOR_SHARE)
    if len(outcome) < MIN_ERRORS:
        return prior
    errors = np.abs(outcome - last - SHARES[:, None] * (middle - last)).mean(axis=1)
    return 0.5 * (prior + float(SHARES[int(np.argmin(errors))]))
