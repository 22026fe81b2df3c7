"""Baselines: a point rule, and quantiles from that rule's own past errors.

They are what any model has to beat, what the daily run falls back to, and good enough to run a
treasury on. APY is forecast in percent; TVL by the same rule on ``log(1 + TVL)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import Floats
from stableyield.errors import ParameterError
from stableyield.forecast import rules
from stableyield.forecast.base import Forecast, checked_horizon, is_cold_start
from stableyield.forecast.intervals import (
    SCALE_DAYS,
    PastForecasts,
    error_quantiles,
    movement_scale,
)
from stableyield.forecast.stability import instability_groups, next_instability_groups
from stableyield.forecast.targets import credible_rates
from stableyield.forecast.windows import (
    carried_forward,
    horizon_mean,
    last_known,
    seen_twice,
    trailing_count,
)
from stableyield.market.day_facts import stacked
from stableyield.market.panel import MarketView

Bools = NDArray[np.bool_]

LEVELS = np.array([0.1, 0.5, 0.9])
OWN_ERRORS_HALF = 50.0
"""Independent (not overlapping) errors at which a pool's own quantiles weigh one half."""
MAX_TVL_RATIO = 5.0
MAX_APY_RATIO = 2.0


OPTION_BOUNDS_OF_ALL = {"window_days": (60, 3650), "max_age_days": (0, 30)}
OPTION_BOUNDS = {**OPTION_BOUNDS_OF_ALL, "days": (1, 365), "half_life_days": (0.01, 365)}


def _checked(name: str, value: float) -> float:
    """The value of an option; a number of days is whole, a half-life need not be.

    Raises
    ------
    ParameterError
        When it is out of bounds or not whole.
    """
    low, high = OPTION_BOUNDS[name]
    if not low <= value <= high or (name != "half_life_days" and value != int(value)):
        raise ParameterError(f"{name} is {value}", remedy=f"give days from {low} to {high}")
    return value if name == "half_life_days" else int(value)


@dataclass(frozen=True)
class Window:
    """What of the past a baseline looks at.

    Parameters
    ----------
    window_days : int
        Days of history; at least twice the horizon and 60 days are used.
    max_age_days : int
        A pool whose last row is older than this has no forecast.

    Raises
    ------
    ParameterError
        When a value is out of bounds.
    """

    window_days: int = 180
    max_age_days: int = 3

    def __post_init__(self) -> None:
        for name in OPTION_BOUNDS_OF_ALL:
            _checked(name, getattr(self, name))


@dataclass(frozen=True)
class Baseline:
    """A forecaster made of one point rule; get one from `baseline`.

    Parameters
    ----------
    name : str
    rule : PointRule
    window : Window
    options : tuple of (str, float)
        What the rule was made with: part of the model version.
    """

    name: str
    rule: rules.PointRule
    window: Window = field(default_factory=Window)
    options: tuple[tuple[str, float], ...] = ()

    @cached_property
    def model_version(self) -> str:
        """Name and every option, for example ``ewma(half_life_days=7, ...)``."""
        options = (*self.options, *sorted(vars(self.window).items()))
        return f"{self.name}({', '.join(f'{key}={value:g}' for key, value in options)})"

    def forecast(self, view: MarketView, horizon_days: int) -> Forecast:
        """Mean APY and TVL of the days t+1 .. t+H of every pool of ``view``.

        NaN where a pool has no row in the last ``max_age_days``, or fewer than two in the window.
        Quantiles are NaN until 30 past errors of all pools together are known. They contain the
        point forecast, stay above 0 (above the window's lowest value if that is negative) and
        below twice the window's highest value. TVL is at most 5x its last value.

        Raises
        ------
        ParameterError
            When ``horizon_days`` is not a whole number from 1 to 365.
        """
        horizon_days = checked_horizon(horizon_days)
        n_rows = self._n_rows(horizon_days)
        apy = credible_rates(view.pool_series.apy_pct[-n_rows:])
        tvl = _log_tvl(view.pool_series.tvl_usd[-n_rows:])
        point, quantiles = self._predict_apy(apy, horizon_days)
        log_tvl, log_quantiles = self._predict(tvl, np.ones_like(tvl), horizon_days, LEVELS[:1])
        log_tvl = _limited_log_tvl(log_tvl, last_known(tvl))
        log_q10 = np.clip(log_quantiles[0], 0.0, log_tvl)
        return Forecast(
            exec_day=view.day,
            horizon_days=horizon_days,
            method=self.name,
            pool_ids=view.pool_ids,
            apy_pct=point,
            apy_q10_pct=quantiles[0],
            apy_q50_pct=quantiles[1],
            apy_q90_pct=quantiles[2],
            tvl_usd=np.expm1(log_tvl),
            tvl_q10_usd=np.expm1(log_q10),
            cold_start=is_cold_start(view.pool_series.apy_pct),
            instability_group=instability_groups(apy),
            next_instability_group=next_instability_groups(apy, point),
            model_version=self.model_version,
        )

    def expected(self, view: MarketView, horizon_days: int) -> tuple[Floats, Floats]:
        """The ``apy_pct`` and ``tvl_usd`` of `forecast`, bit by bit, without its quantiles.

        Quantiles need the forecasts of every past day; this needs today's alone, which is a
        fraction of the work.

        Raises
        ------
        ParameterError
            When ``horizon_days`` is not a whole number from 1 to 365.
        """
        n_rows = self._n_rows(checked_horizon(horizon_days))
        series = view.pool_series
        apy_pct, tvl_usd = series.apy_pct[-n_rows:], series.tvl_usd[-n_rows:]
        if self.is_poolwise:
            by_day = self.expected_of_days(apy_pct, tvl_usd, 1, horizon_days)
            return by_day[0][0], by_day[1][0]
        apy, tvl = credible_rates(apy_pct), _log_tvl(tvl_usd)
        point, log_tvl = self._point(apy, horizon_days), self._point(tvl, horizon_days)
        return point, np.expm1(_limited_log_tvl(log_tvl, last_known(tvl)))

    @cached_property
    def is_poolwise(self) -> bool:
        """Whether a pool's expectation follows from a few of its own rows, whatever the others."""
        return rules.last_row(self.rule) is not None

    def expected_of_days(
        self, apy_pct: Floats, tvl_usd: Floats, n_days: int, horizon_days: int
    ) -> tuple[Floats, Floats]:
        """`expected` of each of the last ``n_days``, bit by bit; of a poolwise baseline.

        Parameters
        ----------
        apy_pct, tvl_usd : ndarray of shape (n_rows, n_pools)
            Some or all pools; enough rows: ``n_days - 1`` more than `history_days`, or all.
        n_days, horizon_days : int

        Returns
        -------
        (ndarray, ndarray) of shape (n_days, n_pools)
            No day's values depend on a row after it.

        Raises
        ------
        ParameterError
            When the expectation of a pool depends on other pools.
        """
        points, last = self._points_of_days(
            # APY and log TVL side by side, and all days: one pass for everything
            lambda rows: np.hstack([credible_rates(apy_pct[rows]), _log_tvl(tvl_usd[rows])]),
            n_days,
            horizon_days,
        )
        n_pools = apy_pct.shape[1]
        log_tvl = _limited_log_tvl(points[:, n_pools:], last[:, n_pools:])
        return points[:, :n_pools], np.expm1(log_tvl)

    def outlook_of_days(
        self, apy_pct: Floats, tvl_usd: Floats, n_days: int, horizon_days: int
    ) -> tuple[Floats, Bools]:
        """The APY of `expected_of_days`, and where APY and TVL are both expected, without a TVL.

        Parameters and errors are those of `expected_of_days`.
        """
        points, _ = self._points_of_days(
            lambda rows: credible_rates(apy_pct[rows]), n_days, horizon_days
        )
        size = np.where(_is_amount(tvl_usd), tvl_usd, np.nan)
        recent = trailing_count(size, self.window.max_age_days + 1)[-n_days:] > 0
        enough = trailing_count(size, self._n_rows(horizon_days))[-n_days:] >= 2
        return points, np.isfinite(points) & recent & enough

    def _points_of_days(
        self, read: Callable[[slice], Floats], n_days: int, horizon_days: int
    ) -> tuple[Floats, Floats]:
        """Point forecast and last known value on each day; shape (n_days, n_columns).

        ``read`` gives some rows of the series that are forecast.
        """
        short = rules.last_row(self.rule)
        if short is None:
            raise ParameterError(
                f"{self.name} looks at all pools together", remedy="ask for expected()"
            )
        n_recent, n_rows = self.window.max_age_days + 1, self._n_rows(horizon_days)
        n_short = min(max(short.reach_days, n_recent), n_rows)
        series = stacked(read(slice(-(n_days - 1 + n_short), None)), n_days, n_short)
        base = last_known(series[-n_recent:])
        seen = np.isfinite(series).sum(axis=0)
        if np.any((seen < 2) & np.isfinite(base)):
            seen = np.isfinite(stacked(read(slice(None)), n_days, n_rows)).sum(axis=0)
        points = base + short.point(series[-short.reach_days :] - base)
        points = np.where(seen >= 2, points, np.nan)
        return points.reshape(n_days, -1), base.reshape(n_days, -1)

    def history_days(self, horizon_days: int) -> int:
        """Rows that the expectation of a day may look at."""
        return self._n_rows(checked_horizon(horizon_days))

    def apy_q10_pct(self, view: MarketView, horizon_days: int) -> Floats:
        """The ``apy_q10_pct`` of `forecast`, bit by bit, without what is said of TVL.

        Raises
        ------
        ParameterError
            When ``horizon_days`` is not a whole number from 1 to 365.
        """
        n_rows = self._n_rows(checked_horizon(horizon_days))
        apy = credible_rates(view.pool_series.apy_pct[-n_rows:])
        q10: Floats = self._predict_apy(apy, horizon_days)[1][0]
        return q10

    def _predict_apy(self, apy: Floats, horizon_days: int) -> tuple[Floats, Floats]:
        """Today's point forecast (n_pools,) and bounded quantiles (3, n_pools) of the APY."""
        point, quantiles = self._predict(apy, np.abs(apy), horizon_days, LEVELS)
        return point, _bounded(point, quantiles, apy)

    def _point(self, series: Floats, horizon_days: int) -> Floats:
        """Today's point forecast of a series; shape (n_pools,)."""
        history, usable = self._history(series, horizon_days)
        return last_known(series) + np.where(usable[-1], self.rule(history)[-1], np.nan)

    def _history(self, series: Floats, horizon_days: int) -> tuple[rules.History, Bools]:
        """What the rule sees of a series, and where there is enough to forecast from.

        The rule sees differences from each pool's last value: a constant pool is then exactly 0,
        and large levels lose no digits.
        """
        moves = series - last_known(series)
        last = carried_forward(moves, self.window.max_age_days)
        return rules.History(moves, last, horizon_days), np.isfinite(last) & seen_twice(moves)

    def _n_rows(self, horizon_days: int) -> int:
        """Days of history that are looked at: a long horizon needs more to have any error."""
        return max(self.window.window_days, 2 * horizon_days + 2 * SCALE_DAYS)

    def _predict(
        self, series: Floats, unit: Floats, horizon_days: int, levels: Floats
    ) -> tuple[Floats, Floats]:
        """Today's point forecast (n_pools,) and quantiles (n_levels, n_pools) of a series."""
        history, usable = self._history(series, horizon_days)
        moves = history.moves
        points = np.where(usable, self.rule(history), np.nan)
        unit = carried_forward(unit, self.window.max_age_days)
        # the first rows of a cut history lack the days that their own statistics need
        n_scored = self._n_rows(horizon_days) - SCALE_DAYS
        past = PastForecasts(
            points[-n_scored:],
            horizon_mean(moves, horizon_days)[-n_scored:],
            movement_scale(moves, unit)[-n_scored:],
        )
        scored = np.isfinite(past.points) & np.isfinite(past.targets)
        independent = scored.sum(axis=0) / horizon_days
        weight = independent / (independent + OWN_ERRORS_HALF)
        weight = np.where(is_cold_start(series), 0.0, weight)
        point = last_known(series) + points[-1]
        return point, point + error_quantiles(past, levels, weight)


def _log_tvl(tvl_usd: Floats) -> Floats:
    """``log(1 + TVL)``; NaN where unknown or negative."""
    return np.log1p(np.where(_is_amount(tvl_usd), tvl_usd, np.nan))


def _is_amount(tvl_usd: Floats) -> Bools:
    return (tvl_usd >= 0.0) & np.isfinite(tvl_usd)


def _limited_log_tvl(point: Floats, last: Floats) -> Floats:
    """The point forecast of ``log(1 + TVL)``, at most `MAX_TVL_RATIO` times the last TVL."""
    return np.minimum(point, np.log1p(MAX_TVL_RATIO * np.expm1(last)))


def _bounded(point: Floats, quantiles: Floats, history: Floats) -> Floats:
    """Quantiles that contain the point forecast and stay within what the pool can plausibly do."""
    known = np.isfinite(history)
    lowest = np.min(history, axis=0, initial=0.0, where=known)
    highest = MAX_APY_RATIO * np.max(history, axis=0, initial=0.0, where=known)
    low, middle, high = np.sort(np.clip(quantiles, lowest, np.maximum(highest, point)), axis=0)
    return np.stack([np.minimum(low, point), middle, np.maximum(high, point)])


def poolwise(forecaster: object) -> Baseline | None:
    """The forecaster, if it is a baseline that can be asked for many days and some pools at once.

    One that finds its expectations in another way than `Baseline` cannot.
    """
    if not isinstance(forecaster, Baseline) or not forecaster.is_poolwise:
        return None
    kind = type(forecaster)
    own = kind.expected, kind.expected_of_days, kind.outlook_of_days
    usual = Baseline.expected, Baseline.expected_of_days, Baseline.outlook_of_days
    return forecaster if own == usual else None


BASELINES: Mapping[str, tuple[Callable[..., Floats], Mapping[str, float]]] = MappingProxyType(
    {
        "last": (rules.last_value, {}),
        "mean7": (partial(rules.mean_of_days, days=7), {}),
        "mean30": (partial(rules.mean_of_days, days=30), {}),
        "ewma": (rules.weighted_mean, {"half_life_days": 7.0}),
        "median": (rules.median_of_days, {"days": 7}),
        "reversion": (rules.reversion, {"days": 7}),
    }
)
"""Rule of each baseline, and its own options with their defaults."""


def baseline(name: str, **options: float) -> Baseline:
    """The baseline of that name.

    Parameters
    ----------
    name : str
        ``last``, ``mean7``, ``mean30``, ``ewma``, ``median`` or ``reversion``.
    **options : float
        ``window_days`` and ``max_age_days`` (all); ``days`` (median, reversion);
        ``half_life_days`` (ewma).

    Raises
    ------
    ParameterError
        For an unknown name or option, or a value out of bounds.
    """
    if name not in BASELINES:
        raise ParameterError(
            f"unknown baseline {name!r}", remedy=f"choose one of {', '.join(BASELINES)}"
        )
    rule, defaults = BASELINES[name]
    allowed = (*defaults, *OPTION_BOUNDS_OF_ALL)
    if unknown := sorted(set(options) - set(allowed)):
        raise ParameterError(
            f"baseline {name!r} has no option {unknown[0]!r}",
            remedy=f"its options are {', '.join(allowed)}",
        )
    values = {key: _checked(key, value) for key, value in {**defaults, **options}.items()}
    own = {key: values[key] for key in defaults}
    window = Window(**{key: int(values[key]) for key in values if key not in defaults})
    return Baseline(name, partial(rule, **own), window, tuple(sorted(own.items())))
