"""Asking every forecaster on every origin, and keeping what can be scored, lined up.

Only rows that will be scored are kept: one row is a (pool, origin) whose outcome is known and for
which every method has a forecast. Memory is about ``16 + 28 x methods`` bytes a row and horizon
(gaps are single precision, point forecasts and outcomes double).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import Floats
from stableyield.forecast.base import Forecast, Forecaster
from stableyield.forecast.segments import Kinds
from stableyield.forecast.targets import Target, apy_target, tvl_target
from stableyield.forecast.windows import carried_forward
from stableyield.market.panel import MarketPanel, MarketView

Singles = NDArray[np.float32]
Indices = NDArray[np.int32]
QUANTILES = ("q10", "q50", "q90")
STALE_DAYS = 3
Witness = Callable[[int, MarketView, int, Mapping[str, Forecast]], None]
"""Called with the number of the origin, the view, the horizon and the forecasts by method."""


@dataclass(eq=False)
class Timing:
    """Wall seconds of one method at one horizon; it is filled.

    ``fit_seconds`` is 0 for a forecaster that does not say what it spends on fitting.
    """

    seconds: float = 0.0
    fit_seconds: float = 0.0
    n_forecasts: int = 0
    n_fits: int = 0

    def add(self, seconds: float, fit_seconds: float) -> None:
        """Count one forecast, and a refit when some of its time was fitting."""
        self.seconds += seconds
        self.fit_seconds += fit_seconds
        self.n_forecasts += 1
        self.n_fits += fit_seconds > 0.0

    @property
    def seconds_per_predict(self) -> float:
        """Mean time of a forecast without fitting."""
        return (self.seconds - self.fit_seconds) / max(self.n_forecasts, 1)

    @property
    def seconds_per_refit(self) -> float:
        """Mean time of a refit; NaN where there was none."""
        return self.fit_seconds / self.n_fits if self.n_fits else float("nan")


@dataclass(frozen=True, eq=False)
class Rows:
    """What was forecast for one horizon and what came: one column a scored (pool, origin).

    Parameters
    ----------
    methods : tuple of str
    horizon_days, n_origins : int
    origin, pool : ndarray of int, shape (n_rows,)
        Number of the origin; column of the panel's last view.
    target : ndarray of shape (n_rows,)
        Outcome, percent.
    last_pct : ndarray of shape (n_rows,)
        The last APY known at the origin, percent.
    points : ndarray of shape (n_methods, n_rows)
        Point forecasts, percent.
    gaps : ndarray of shape (n_methods, 3, n_rows)
        Outcome minus q10, q50 and q90; NaN where the method does not state the quantile.
    tvl_target : ndarray of shape (n_rows,)
        Mean TVL of the horizon, USD; NaN where unknown.
    tvl_log_gap, tvl_gap, tvl_q10_gap : ndarray of shape (n_methods, n_rows)
        Outcome minus forecast of the TVL: of ``log(1 + USD)``, in USD, and of its q10 in USD.
    kinds : Kinds of the rows
    """

    methods: tuple[str, ...]
    horizon_days: int
    n_origins: int
    origin: Indices
    pool: Indices
    target: Floats
    last_pct: Floats
    points: Floats
    gaps: Singles
    tvl_target: Floats
    tvl_log_gap: Singles
    tvl_gap: Singles
    tvl_q10_gap: Singles
    kinds: Kinds

    def __len__(self) -> int:
        return len(self.target)

    @cached_property
    def errors(self) -> Floats:
        """Outcome minus point forecast, percentage points; shape (n_methods, n_rows)."""
        return self.target - self.points

    @cached_property
    def quantile_rows(self) -> NDArray[np.bool_]:
        """Where every method that states a quantile at all has it; shape (3, n_rows)."""
        known = np.isfinite(self.gaps)
        states = np.asarray(known.any(axis=2, keepdims=True))
        has_all = np.asarray((known | ~states).all(axis=0))
        result: NDArray[np.bool_] = has_all & states.any(axis=0)
        return result

    def row_of(self, method: str) -> int:
        """Number of a method."""
        return self.methods.index(method)


@dataclass(frozen=True, eq=False)
class Plan:
    """What to ask of whom, and when.

    Parameters
    ----------
    forecasters : tuple of Forecaster
    horizons : tuple of int
    origins : tuple of date
    target : Target
    progress : callable, optional
        Called with the origins done and their number.
    """

    forecasters: tuple[Forecaster, ...]
    horizons: tuple[int, ...]
    origins: tuple[date, ...]
    target: Target
    progress: Callable[[int, int], None] | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the forecasters."""
        return tuple(forecaster.name for forecaster in self.forecasters)


@dataclass(eq=False)
class _Blocks:
    """Rows of one horizon while they are collected, an entry an origin."""

    apy: Floats
    tvl: Floats
    parts: list[dict[str, NDArray[np.generic]]] = field(default_factory=list)
    kinds: list[Kinds] = field(default_factory=list)


def collect(
    panel: MarketPanel, plan: Plan, witness: Witness
) -> tuple[dict[int, Rows], dict[tuple[int, str], Timing]]:
    """Rows by horizon, and timings by (horizon, method); ``witness`` sees every forecast."""
    truth = panel.as_of(panel.last_day)
    blocks = {
        h: _Blocks(apy_target(truth, h, plan.target), tvl_target(truth, h)) for h in plan.horizons
    }
    timings = {(h, name): Timing() for h in plan.horizons for name in plan.methods}
    column_of = truth.pool_index
    for number, day in enumerate(plan.origins):
        view = panel.as_of(day)
        columns = np.array([column_of[pool_id] for pool_id in view.pool_ids], dtype=np.int32)
        kinds = Kinds.of(view.pool_series)
        for horizon in plan.horizons:
            forecasts = {
                f.name: timed_forecast(f, view, horizon, timings[horizon, f.name])
                for f in plan.forecasters
            }
            witness(number, view, horizon, forecasts)
            place = _Place(number, columns, len(view.days) - 1)
            _keep(blocks[horizon], place, view, list(forecasts.values()), kinds)
        if plan.progress is not None:
            plan.progress(number + 1, len(plan.origins))
    return {h: _joined(blocks[h], h, plan) for h in plan.horizons}, timings


def timed_forecast(
    forecaster: Forecaster, view: MarketView, horizon_days: int, timing: Timing
) -> Forecast:
    """The forecast; its time, and what of it was fitting, goes into ``timing``.

    A forecaster may expose ``fit_seconds``, the seconds it has spent on fitting so far.
    """
    fitted = float(getattr(forecaster, "fit_seconds", 0.0))
    began = perf_counter()
    forecast = forecaster.forecast(view, horizon_days)
    seconds = perf_counter() - began
    timing.add(seconds, float(getattr(forecaster, "fit_seconds", 0.0)) - fitted)
    return forecast


@dataclass(frozen=True, eq=False)
class _Place:
    """Where an origin stands: its number, its pools' columns and its row in the history."""

    number: int
    columns: Indices
    row: int


def _keep(
    blocks: _Blocks, place: _Place, view: MarketView, said: Sequence[Forecast], kinds: Kinds
) -> None:
    """Append the rows of one origin that can be scored."""
    target = blocks.apy[place.row, place.columns]
    rows = np.isfinite(target) & np.logical_and.reduce([forecast.is_known for forecast in said])
    tvl = blocks.tvl[place.row, place.columns[rows]]
    target = target[rows]
    quantiles = np.array([[getattr(f, f"apy_{q}_pct")[rows] for q in QUANTILES] for f in said])
    tvl_said = np.array([forecast.tvl_usd[rows] for forecast in said])
    tvl_low = np.array([forecast.tvl_q10_usd[rows] for forecast in said])
    last = carried_forward(view.pool_series.apy_pct[-STALE_DAYS - 1 :], STALE_DAYS)[-1]
    blocks.parts.append(
        {
            "origin": np.full(int(rows.sum()), place.number, dtype=np.int32),
            "pool": place.columns[rows],
            "target": target,
            "last_pct": last[rows],
            "points": np.array([forecast.apy_pct[rows] for forecast in said]),
            "gaps": (target - quantiles).astype(np.float32),
            "tvl_target": tvl,
            "tvl_log_gap": (np.log1p(tvl) - np.log1p(tvl_said)).astype(np.float32),
            "tvl_gap": (tvl - tvl_said).astype(np.float32),
            "tvl_q10_gap": (tvl - tvl_low).astype(np.float32),
        }
    )
    blocks.kinds.append(kinds.at(rows))


def _joined(blocks: _Blocks, horizon_days: int, plan: Plan) -> Rows:
    """The rows of all origins; the parts are given up as they are joined."""
    names = tuple(blocks.parts[0])
    arrays = {
        name: np.concatenate([part.pop(name) for part in blocks.parts], axis=-1) for name in names
    }
    kinds = Kinds.joined(blocks.kinds)
    return Rows(plan.methods, horizon_days, len(plan.origins), **arrays, kinds=kinds)
