"""A foreign forecaster's output, served as it came."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stableyield.errors import MissingDataError
from stableyield.forecast.base import Forecast, checked_horizon, is_cold_start
from stableyield.forecast.stability import instability_groups, next_instability_groups
from stableyield.market.panel import MarketPanel, MarketView, PoolSeries
from stableyield.market.table_contracts import UNUSED_FORECASTS

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

    def require(self, panel: MarketPanel, where: str = "") -> None:
        """Refuse a market without a single forecast to serve: it would hold cash on every day.

        Parameters
        ----------
        panel : MarketPanel
        where : str
            The market directory, for the message.

        Raises
        ------
        MissingDataError
            With the reason: no forecasts, forecasts of other pools or days, or no risk-adjusted
            ones.
        """
        series = panel.as_of(panel.last_day).pool_series
        n_known = int(np.isfinite(series.forecast_apy_pct).sum())
        if not self.risk_adjusted and n_known:
            return
        if self.risk_adjusted and np.isfinite(series.forecast_apy_risk_adj_pct).any():
            return
        reasons = tuple(each for each in panel.provenance.assumptions if UNUSED_FORECASTS in each)
        if n_known:
            raise MissingDataError(
                "there are no risk-adjusted foreign forecasts: pred_global_apy_risk_adj is absent "
                f"or empty where {n_known} rows have pred_global_apy",
                where=where,
                remedy="fill that column of forecasts, or forecast with 'foreign'",
            )
        if reasons:
            raise MissingDataError(
                f"no row of the foreign forecasts can be used: {reasons[0].rstrip('.')}",
                where=where,
                remedy="give forecasts whose pool_id is in pools and whose exec_date is in "
                "pool_daily",
                details=reasons[1:],
            )
        what = "risk-adjusted foreign forecasts" if self.risk_adjusted else "foreign forecasts"
        raise MissingDataError(
            f"there are no {what}",
            where=where,
            remedy="add forecasts.parquet or .csv (docs/formats.md), or choose another forecaster",
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
