"""What a pool's forecast says against it, and whether it can be believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stableyield.market.panel import LIST_TIMEOUT_DAYS
from stableyield.screening.result import Consequence, Flag, Rule, Verdict

if TYPE_CHECKING:
    from stableyield.config import AllocationParameters
    from stableyield.market.panel import MarketView

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

TVL_BELIEF_FACTOR = 5.0  # a TVL forecast above this multiple of the last actual is not believed
_PCT_TOLERANCE = 1e-9  # 0.55 % must pass a limit of 0.0055
_PCT_PER_FRACTION = 100.0


@dataclass(frozen=True, eq=False)
class PoolForecasts:
    """What is expected of each pool, aligned with the pools of a view.

    Attributes
    ----------
    apy_pct : ndarray of shape (n_pools,)
        Forecast APY in percent; NaN where there is no forecast.
    tvl_usd : ndarray of shape (n_pools,)
        Forecast TVL in USD; NaN where there is no forecast.
    """

    apy_pct: Floats
    tvl_usd: Floats


def is_known(forecasts: PoolForecasts) -> Bools:
    """Pools whose APY and TVL are both forecast; shape (n_pools,)."""
    return np.isfinite(forecasts.apy_pct) & np.isfinite(forecasts.tvl_usd)


def forecast_verdicts(
    forecasts: PoolForecasts,
    tvl_actual_usd: Floats,
    parameters: AllocationParameters,
    needs_forecast: Bools,
) -> tuple[Verdict, ...]:
    """What the forecast must be. Comparisons with NaN are false: the first rule covers it.

    Parameters
    ----------
    forecasts : PoolForecasts
    tvl_actual_usd : ndarray of shape (n_pools,)
        From `last_tvl_usd`.
    parameters : AllocationParameters
    needs_forecast : ndarray of bool, shape (n_pools,)
        Pools that may not be without one.
    """
    apy_pct, tvl_usd = forecasts.apy_pct, forecasts.tvl_usd
    missing = needs_forecast & ~is_known(forecasts)
    least_apy_pct = parameters.pool_apy_limit * _PCT_PER_FRACTION
    least_tvl_usd = parameters.pool_tvl_limit
    ratio = np.divide(
        tvl_usd, tvl_actual_usd, out=np.full_like(tvl_usd, np.inf), where=tvl_actual_usd != 0.0
    )
    limited = Consequence.WITHDRAW_ONLY
    return (
        Verdict(
            Rule.FORECAST,
            missing,
            "no forecast of both APY and TVL (APY is {:.4g} %)",
            apy_pct,
            Consequence.FREEZE,
        ),
        Verdict(
            Rule.APY,
            apy_pct < least_apy_pct - _PCT_TOLERANCE,
            f"forecast APY {{:.4g}} % is below {least_apy_pct:g} %",
            apy_pct,
            limited,
        ),
        Verdict(
            Rule.TVL,
            tvl_usd < least_tvl_usd,
            f"forecast TVL {{:,.0f}} USD is below {least_tvl_usd:,.0f} USD",
            tvl_usd,
            limited,
        ),
        Verdict(
            Rule.TVL_SANITY,
            tvl_usd > TVL_BELIEF_FACTOR * tvl_actual_usd,
            f"forecast TVL is {{:.3g}} times the last actual; above {TVL_BELIEF_FACTOR:g} times it "
            "is not believed",
            ratio,
            limited,
        ),
    )


def unchecked_flag(forecasts: PoolForecasts, tvl_actual_usd: Floats) -> Verdict:
    """Pools whose TVL forecast cannot be compared with an actual one."""
    return Verdict(
        Flag.TVL_UNCHECKED,
        np.isfinite(forecasts.tvl_usd) & np.isnan(tvl_actual_usd),
        f"TVL forecast of {{:,.0f}} USD, but no actual TVL in {LIST_TIMEOUT_DAYS} days",
        forecasts.tvl_usd,
    )


def last_tvl_usd(view: MarketView) -> Floats:
    """Last known TVL of each pool within the list's timeout, NaN without; shape (n_pools,)."""
    values = view.pool_series.tvl_usd[-LIST_TIMEOUT_DAYS:]
    known = np.isfinite(values)[::-1]
    found: Floats = np.take_along_axis(values[::-1], known.argmax(axis=0)[None], axis=0)[0]
    return np.where(known.any(axis=0), found, np.nan)
