"""Expected rates and risk groups of the pools that are asked for, made for several days at once.

A run asks day after day for much the same pools. What is made ahead depends, for each day, on rows
up to that day alone (`stacked`), and a day is only given its own row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stableyield.backtest.places import Atlas
from stableyield.config import AllocationParameters
from stableyield.domain.rates import day_return
from stableyield.forecast import Forecaster
from stableyield.forecast.baselines import Baseline, poolwise
from stableyield.market.day_facts import stacked
from stableyield.market.panel import MarketPanel, MarketView
from stableyield.market.series import PoolSeries
from stableyield.screening import PoolForecasts, risk_groups
from stableyield.screening.groups import LONG_WINDOW_DAYS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Columns = NDArray[np.intp]
Make = Callable[[PoolSeries, int, Columns], NDArray[Any]]

POOL_DAYS = 512  # made at once: what their windows need stays in the processor's cache
MOST_DAYS = 64


@dataclass(frozen=True, eq=False, slots=True)
class Outlook:
    """What is expected of some pools on a day: arrays of shape (n_columns,).

    Parameters
    ----------
    apy_pct : ndarray
        Expected APY; NaN where unknown.
    returns : ndarray
        Growth (fraction) of one unit in a day at that APY.
    is_known : ndarray of bool
        Where both APY and TVL are expected.
    """

    apy_pct: Floats
    returns: Floats
    is_known: Bools

    @classmethod
    def of(cls, forecasts: PoolForecasts, columns: Columns) -> Outlook:
        """That of some of the pools that are forecast."""
        apy_pct, tvl_usd = forecasts.apy_pct[columns], forecasts.tvl_usd[columns]
        is_known = np.isfinite(apy_pct) & np.isfinite(tvl_usd)
        return cls(apy_pct, day_return(apy_pct / 100.0), is_known)


class Almanac:
    """Expected rates and risk groups by day and pool.

    Parameters
    ----------
    parameters : AllocationParameters
    forecaster : Forecaster
    panel : MarketPanel, optional
        Where the days after the one that is asked for come from; without it each day is made alone.
    last_day : date, optional
        The last one that will be asked for; absent: the panel's.
    """

    def __init__(
        self,
        parameters: AllocationParameters,
        forecaster: Forecaster,
        panel: MarketPanel | None = None,
        last_day: date | None = None,
    ) -> None:
        self.parameters, self.forecaster = parameters, forecaster
        self.atlas = Atlas()
        self._panel = panel
        self._last_day = last_day or (panel.last_day if panel else None)
        self._poolwise = poolwise(forecaster)
        self._horizon_days = max(1, round(parameters.horizon_days))
        self._expected, self._outlook = _Pages(2, np.float64), _Pages(3, np.float64)
        self._groups = _Pages(1, np.int64)

    @property
    def knows_expected(self) -> bool:
        """Whether `expected` can be asked: the forecaster looks at each pool by itself."""
        return self._poolwise is not None

    def expected(self, view: MarketView) -> PoolForecasts:
        """Expected APY and TVL of every pool on a view's day; shape (n_pools,) each."""
        return PoolForecasts(*self._read(self._expected, view, None, self._expect))

    def outlook(self, view: MarketView, columns: Columns) -> Outlook:
        """What is expected of some pools on a view's day; shape (n_columns,) each."""
        apy_pct, returns, is_known = self._read(self._outlook, view, columns, self._look_out)
        return Outlook(apy_pct, returns, is_known > 0.0)

    def risk_groups(self, view: MarketView, columns: Columns | None = None) -> Ints:
        """Risk group, 1 to 3, of some pools, or all, on a view's day; shape (n_columns,)."""
        groups: Ints = self._read(self._groups, view, columns, self._group)[0]
        return groups

    def _read(
        self, pages: _Pages, view: MarketView, columns: Columns | None, make: Make
    ) -> NDArray[Any]:
        """The values of some pools on a view's day; those that are missing are made."""
        row, last = len(view.days) - 1, pages.last
        if columns is not None and last[0] == row and last[1] is columns:
            return last[2]
        which = np.arange(len(view.pools)) if columns is None else columns
        if len(missing := pages.missing(row, which, len(view.pools))):
            most = pages.lasting(row, missing) if columns is None else MOST_DAYS
            n_days = max(min(POOL_DAYS // len(missing), most, self._days_left(view)), 1)
            end = view
            if n_days > 1 and self._panel is not None:
                end = self._panel.as_of(view.day + timedelta(days=n_days - 1))
            pages.write(row, missing, make(end.pool_series, n_days, missing))
        found = pages.values[:, row % MOST_DAYS, which]
        found.setflags(write=False)
        pages.last = row, columns, found
        return found

    def _days_left(self, view: MarketView) -> int:
        """Days that may be asked for yet, today's included."""
        return 1 if self._last_day is None else max((self._last_day - view.day).days + 1, 1)

    def _expect(self, series: PoolSeries, n_days: int, columns: Columns) -> Floats:
        """Expected APY and TVL on the last days; shape (2, n_days, n_columns)."""
        return np.stack(self._rule.expected_of_days(*self._rows(series, n_days, columns)))

    def _look_out(self, series: PoolSeries, n_days: int, columns: Columns) -> Floats:
        """Expected APY, growth in a day and 1 where both are known; (3, n_days, n_columns)."""
        apy_pct, is_known = self._rule.outlook_of_days(*self._rows(series, n_days, columns))
        return np.stack([apy_pct, day_return(apy_pct / 100.0), is_known])

    def _rows(
        self, series: PoolSeries, n_days: int, columns: Columns
    ) -> tuple[Floats, Floats, int, int]:
        """What the expectation of some days is made of."""
        rows = slice(-(n_days - 1 + self._rule.history_days(self._horizon_days)), None)
        apy_pct, tvl_usd = series.apy_pct[rows, columns], series.tvl_usd[rows, columns]
        return apy_pct, tvl_usd, n_days, self._horizon_days

    @property
    def _rule(self) -> Baseline:
        assert self._poolwise is not None, "ask knows_expected first"
        return self._poolwise

    def _group(self, series: PoolSeries, n_days: int, columns: Columns) -> Ints:
        """Risk groups on the last days; shape (1, n_days, n_columns)."""
        rows = slice(-(n_days - 1 + LONG_WINDOW_DAYS), None)
        past = stacked(series.apy_pct[rows, columns], n_days, LONG_WINDOW_DAYS)
        return risk_groups(past, self.parameters).group.reshape(1, n_days, len(columns))


class _Pages:
    """Values by day and pool, of today and of days to come; earlier days are overwritten.

    What is held is asked for every day, and is made for as many days as `POOL_DAYS` allows. All
    pools are asked for now and then: only when they are asked for on two days after each other are
    more days made than one.
    """

    def __init__(self, n_values: int, dtype: Any) -> None:
        self.values: NDArray[Any] = np.zeros((n_values, MOST_DAYS, 0), dtype)
        self.last: tuple[int, Columns | None, NDArray[Any]] = (-1, None, self.values)
        self._until: Ints = np.zeros(0, dtype=np.int64)  # first row that is not there

    def missing(self, row: int, columns: Columns, n_pools: int) -> Columns:
        """Which of some pools are not there yet on a day."""
        if n_pools > len(self._until):
            new = n_pools - len(self._until)
            self.values = np.pad(self.values, ((0, 0), (0, 0), (0, new)))
            self._until = np.pad(self._until, (0, new))
        until = self._until[columns]
        if not len(columns) or until.min() > row:
            return columns[:0]
        return columns[until <= row]

    def lasting(self, row: int, missing: Columns) -> int:
        """Days to make of pools that are missing: one, unless they were there until yesterday."""
        return MOST_DAYS if (self._until[missing] == row).all() else 1

    def write(self, row: int, columns: Columns, values: NDArray[Any]) -> None:
        """Keep the values of some pools, shape (n_values, n_days, n_columns), from a day on."""
        n_days = values.shape[1]
        rows = np.arange(row, row + n_days) % MOST_DAYS
        self.values[:, rows[:, None], columns] = values
        self._until[columns] = row + n_days
