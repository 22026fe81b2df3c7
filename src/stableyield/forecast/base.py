"""What a forecast is and what a forecaster has to do."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import Floats
from stableyield.errors import ContractError, ParameterError
from stableyield.forecast.windows import ratio

if TYPE_CHECKING:
    import pandas as pd

    from stableyield.market.panel import MarketView

COLD_START_DAYS = 30
HISTORY_DAYS = 180
MAX_HORIZON_DAYS = 365


@dataclass(frozen=True, eq=False)
class Forecast:
    """APY and TVL of every pool of a view over the days t+1 .. t+H; NaN = unknown.

    Parameters
    ----------
    exec_day : date
        The decision day t: nothing later was used.
    horizon_days : int
        H.
    method : str
        Name of the forecaster.
    pool_ids : tuple of str, length n_pools
        The view's pools, in the view's order.
    apy_pct : ndarray of shape (n_pools,)
        Expected mean APY of the horizon, percent: what a position will earn.
    apy_q10_pct, apy_q50_pct, apy_q90_pct : ndarray of shape (n_pools,)
        Quantiles of that mean, percent; q50 is the forecast with the smallest absolute error.
    tvl_usd, tvl_q10_usd : ndarray of shape (n_pools,)
        TVL over the horizon and its 10 % quantile, USD.
    cold_start : ndarray of bool, shape (n_pools,)
        Pools with fewer than 30 rows of APY in the last 180 days.
    instability_group, next_instability_group : tuple of str, length n_pools, optional
        ``low``, ``medium``, ``high`` or ``insufficient``, today and tomorrow
        (see `stableyield.forecast.stability`). Absent: ``insufficient``.
    model_version : str
        What exactly forecast: method and options.
    flags : tuple of str
        What a reader must know: one sentence each.

    Raises
    ------
    ContractError
        When an array has another length than ``pool_ids``, quantiles cross, or a TVL is negative.
    """

    exec_day: date
    horizon_days: int
    method: str
    pool_ids: tuple[str, ...]
    apy_pct: Floats
    apy_q10_pct: Floats
    apy_q50_pct: Floats
    apy_q90_pct: Floats
    tvl_usd: Floats
    tvl_q10_usd: Floats
    cold_start: NDArray[np.bool_]
    instability_group: tuple[str, ...] = ()
    next_instability_group: tuple[str, ...] = ()
    model_version: str = ""
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n_pools = len(self.pool_ids)
        unknown = ("insufficient",) * n_pools
        for name in ("instability_group", "next_instability_group"):
            object.__setattr__(self, name, getattr(self, name) or unknown)
        for item in fields(self):
            value = getattr(self, item.name)
            is_by_pool = isinstance(value, np.ndarray) or item.name.endswith("instability_group")
            if is_by_pool and np.shape(value) != (n_pools,):
                raise self._error(f"{item.name} has shape {np.shape(value)}, expected ({n_pools},)")
            if isinstance(value, np.ndarray):
                value = value.copy()
                value.setflags(write=False)
                object.__setattr__(self, item.name, value)
        self._check_order()

    def _check_order(self) -> None:
        """Quantiles do not cross and no TVL is negative; a comparison with NaN is never wrong."""
        crossed = (
            (self.apy_q10_pct > self.apy_q50_pct)
            | (self.apy_q50_pct > self.apy_q90_pct)
            | (self.apy_q10_pct > self.apy_q90_pct)
        )
        negative = (self.tvl_usd < 0.0) | (self.tvl_q10_usd < 0.0)
        for wrong, what in ((crossed, "APY quantiles cross"), (negative, "a TVL is negative")):
            if wrong.any():
                raise self._error(what, pool_id=self.pool_ids[int(np.argmax(wrong))])

    def _error(self, what: str, pool_id: str = "") -> ContractError:
        where = f"forecast {self.method!r} of {self.exec_day}"
        return ContractError(
            what,
            where=f"{where}, pool {pool_id}" if pool_id else where,
            remedy="correct the forecaster; what it does not know is NaN",
        )

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """Pools with an APY forecast; shape (n_pools,)."""
        return np.isfinite(self.apy_pct)

    @property
    def q10_unknown(self) -> NDArray[np.bool_]:
        """Pools whose risk-adjusted APY is the plain forecast, for want of a q10."""
        return self.is_known & ~np.isfinite(self.apy_q10_pct)

    @property
    def downside_risk(self) -> Floats:
        """``(mean - q10) / mean``; NaN where the mean is not positive or something is unknown."""
        return ratio(self.apy_pct - self.apy_q10_pct, self.apy_pct)

    def risk_adjusted_apy_pct(self, risk_aversion: float) -> Floats:
        """``(1 - g) mean + g q10``, percent; the mean where q10 is unknown (`q10_unknown`).

        Raises
        ------
        ParameterError
            When ``risk_aversion`` (g) is not in [0, 1].
        """
        return _risk_adjusted(self.apy_pct, self.apy_q10_pct, risk_aversion)

    def risk_adjusted_tvl_usd(self, risk_aversion: float) -> Floats:
        """``(1 - g) TVL + g q10``, USD; the plain forecast where its q10 is unknown."""
        return _risk_adjusted(self.tvl_usd, self.tvl_q10_usd, risk_aversion)

    def to_frame(self, risk_aversion: float = 0.5) -> pd.DataFrame:
        """One row a pool, in the column layout of the forecast file; APY in percent.

        ``target_date`` is the first day that the forecast is about, t+1; it covers
        ``horizon_days`` days from there.
        """
        import pandas as pd  # noqa: PLC0415 - the forecasters themselves need no pandas

        return pd.DataFrame(
            {
                "pool_id": pd.array(list(self.pool_ids), dtype="str"),
                "exec_date": pd.Timestamp(self.exec_day),
                "target_date": pd.Timestamp(self.exec_day + timedelta(days=1)),
                "pred_global_apy": self.apy_pct,
                "pred_global_apy_q10": self.apy_q10_pct,
                "pred_global_apy_q50": self.apy_q50_pct,
                "pred_global_apy_q90": self.apy_q90_pct,
                "pred_global_apy_risk_adj": self.risk_adjusted_apy_pct(risk_aversion),
                "pred_global_tvl": self.tvl_usd,
                "pred_global_tvl_risk_adj": self.risk_adjusted_tvl_usd(risk_aversion),
                "cold_start_flag": self.cold_start,
                "instability_group": pd.array(list(self.instability_group), dtype="str"),
                "pred_next_day_instability_group": pd.array(
                    list(self.next_instability_group), dtype="str"
                ),
                "downside_risk": self.downside_risk,
                "horizon_days": self.horizon_days,
                "model_version": self.model_version or self.method,
            }
        )


class Forecaster(Protocol):
    """Turns what is known at t into APY and TVL of the next H days."""

    @property
    def name(self) -> str:
        """Short name: the method column of scores and stored forecasts."""
        ...

    def forecast(self, view: MarketView, horizon_days: int) -> Forecast:
        """The forecast of every pool of ``view`` for the days t+1 .. t+``horizon_days``."""
        ...


def checked_horizon(horizon_days: int) -> int:
    """The horizon as a plain int.

    Raises
    ------
    ParameterError
        When it is not a whole number of days from 1 to 365.
    """
    if not hasattr(horizon_days, "__index__") or not 1 <= horizon_days <= MAX_HORIZON_DAYS:
        raise ParameterError(
            f"horizon_days is {horizon_days!r}",
            remedy=f"give a whole number of days from 1 to {MAX_HORIZON_DAYS}",
        )
    return int(horizon_days)


def is_cold_start(apy_pct: Floats) -> NDArray[np.bool_]:
    """Pools with fewer than 30 known rows in the last 180 of ``apy_pct`` (n_days, n_pools)."""
    rows = np.isfinite(apy_pct[-HISTORY_DAYS:]).sum(axis=0)
    result: NDArray[np.bool_] = rows < COLD_START_DAYS
    return result


def _risk_adjusted(mean: Floats, q10: Floats, risk_aversion: float) -> Floats:
    if not 0.0 <= risk_aversion <= 1.0:
        raise ParameterError(f"risk_aversion is {risk_aversion}", remedy="give a share from 0 to 1")
    mixed = (1.0 - risk_aversion) * mean + risk_aversion * q10
    result: Floats = np.where(np.isfinite(q10), mixed, mean)
    return result
