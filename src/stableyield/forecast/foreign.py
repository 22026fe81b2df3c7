"""A foreign forecaster's output, served as it came."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stableyield.forecast.base import Forecast, checked_horizon, is_cold_start
from stableyield.forecast.stability import instability_groups, next_instability_groups
from stableyield.market.panel import MarketView, PoolSeries

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ForeignForecaster:
    """Serves the forecasts that came with the market, of exec day t only.

    A pool without a forecast of exec day t is unknown (NaN): yesterday's is not carried over, and
    nothing of ours is put in its place. A negative TVL is unknown and flagged. The horizon is
    whatever the foreign forecaster had; the asked one is only recorded. There is no q50, q90 or
    TVL quantile.

    Parameters
    ----------
    name : str
    risk_adjusted : bool
        Serve ``pred_global_apy_risk_adj`` instead of ``pred_global_apy``, and
        ``pred_global_tvl_risk_adj`` instead of ``pred_global_tvl`` where it is known. The risk is
        in the number then, so there is no q10 that would count it again.
    """

    name: str = "foreign"
    risk_adjusted: bool = False

    def forecast(self, view: MarketView, horizon_days: int) -> Forecast:
        """The foreign forecast of every pool of ``view``; NaN where there is none.

        Raises
        ------
        ParameterError
            When ``horizon_days`` is not a whole number from 1 to 365.
        """
        horizon_days = checked_horizon(horizon_days)
        series = view.pool_series
        apy, q10, tvl = (
            np.where(np.isfinite(row), row, np.nan) for row in self._rows_of_today(series)
        )
        is_negative = tvl < 0.0
        unknown = np.full(len(view.pools), np.nan)
        return Forecast(
            exec_day=view.day,
            horizon_days=horizon_days,
            method=self.name,
            pool_ids=view.pool_ids,
            apy_pct=apy,
            apy_q10_pct=q10,
            apy_q50_pct=unknown,
            apy_q90_pct=unknown,
            tvl_usd=np.where(is_negative, np.nan, tvl),
            tvl_q10_usd=unknown,
            cold_start=is_cold_start(series.apy_pct),
            instability_group=instability_groups(series.apy_pct),
            next_instability_group=next_instability_groups(series.apy_pct, apy),
            flags=tuple(
                f"pool {view.pool_ids[i]}: the foreign TVL forecast {tvl[i]:g} USD is negative, "
                "taken as unknown"
                for i in np.flatnonzero(is_negative)
            ),
        )

    def _rows_of_today(self, series: PoolSeries) -> tuple[Floats, Floats, Floats]:
        """APY, its 10 % quantile and TVL as they came."""
        tvl = series.forecast_tvl_usd[-1]
        if not self.risk_adjusted:
            return series.forecast_apy_pct[-1], series.forecast_apy_q10_pct[-1], tvl
        adjusted = series.forecast_tvl_risk_adj_usd[-1]
        return (
            series.forecast_apy_risk_adj_pct[-1],
            np.full(len(tvl), np.nan),
            np.where(np.isfinite(adjusted), adjusted, tvl),
        )
