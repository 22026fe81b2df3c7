"""What a forecast is worth: each week the pools that it ranks first, held for a week.

The choice is made among pools that are listed and that every method has a forecast for, whatever
becomes of them; what became of them is the annualised growth of the week where share prices are
known, the mean APY elsewhere. No costs, limits or dilution: this compares forecasts, not
strategies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from stableyield.domain.rates import Floats
from stableyield.forecast.base import Forecast
from stableyield.forecast.bootstrap import LEVELS, MIN_BLOCKS, drawn_sums
from stableyield.forecast.targets import apy_target
from stableyield.market.panel import MarketPanel, MarketView

HOLD_DAYS = 7
TOP = 5
_PARTS = ("realised_apy_pct", "equal_weight_apy_pct", "clairvoyant_apy_pct")


@dataclass(eq=False)
class DecisionDiary:
    """Choices of every method, a week after the other; it is filled.

    Parameters
    ----------
    outcome : ndarray of shape (n_days, n_pools)
        Realised APY of the 7 days after each day, percent, by column of the panel's last view.
    origins : sequence of date
    """

    outcome: Floats
    column_of: Mapping[str, int]
    origins: Sequence[date]
    weeks: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, panel: MarketPanel, origins: Sequence[date]) -> DecisionDiary:
        """An empty diary that knows what came."""
        truth = panel.as_of(panel.last_day)
        return cls(apy_target(truth, HOLD_DAYS, "realised"), truth.pool_index, origins)

    @property
    def decision_days(self) -> set[date]:
        """The first origin, and the next ones at least a week apart."""
        chosen: list[date] = []
        for day in self.origins:
            if not chosen or (day - chosen[-1]).days >= HOLD_DAYS:
                chosen.append(day)
        return set(chosen)

    def enter(self, view: MarketView, said: Mapping[str, Forecast]) -> None:
        """What every method would have held in the week after ``view.day``."""
        known = np.logical_and.reduce([forecast.is_known for forecast in said.values()])
        eligible = np.flatnonzero(known & view.is_listed)
        columns = np.array([self.column_of[view.pool_ids[i]] for i in eligible], dtype=np.intp)
        outcome = self.outcome[len(view.days) - 1, columns]
        came = outcome[np.isfinite(outcome)]
        if len(came) < TOP:  # everyone would hold the same
            return
        best = np.sort(came)[-TOP:].mean()
        for method, forecast in said.items():
            points = forecast.apy_pct[eligible]
            chosen = np.argsort(-points, kind="stable")[:TOP]
            is_known = np.isfinite(outcome[chosen])
            kept = chosen[is_known]
            self.weeks.append(
                {
                    "exec_date": pd.Timestamp(view.day),
                    "method": method,
                    "n_eligible": len(eligible),
                    "n_unknown": int((~is_known).sum()),
                    "promised_apy_pct": _mean(points[kept]),
                    "realised_apy_pct": _mean(outcome[kept]),
                    "equal_weight_apy_pct": float(came.mean()),
                    "clairvoyant_apy_pct": float(best),
                }
            )

    def frame(self) -> pd.DataFrame:
        """One row a week and method."""
        columns = ("exec_date", "method", "n_eligible", "n_unknown", "promised_apy_pct", *_PARTS)
        return pd.DataFrame(self.weeks, columns=list(columns))


def decision_value(weeks: pd.DataFrame, n_draws: int, seed: int) -> pd.DataFrame:
    """Means over the weeks, one row a method.

    ``captured`` is (realised - equal weight) / (clairvoyant - equal weight), with the 5 % and 95 %
    bounds of a bootstrap over weeks; ``optimism_points`` is promised minus realised.
    """
    rows = []
    known = weeks[weeks["realised_apy_pct"].notna()]
    for method, own in known.groupby("method", sort=False):
        means = own[["promised_apy_pct", *_PARTS]].mean()
        parts = own[list(_PARTS)].to_numpy(dtype=np.float64)
        low, high = _interval(parts, n_draws, seed)
        rows.append(
            {
                "method": method,
                "top": TOP,
                "hold_days": HOLD_DAYS,
                "n_weeks": len(own),
                "n_unknown": int(own["n_unknown"].sum()),
                **{name: float(means[name]) for name in _PARTS},
                "captured": float(_captured(parts.sum(axis=0)[None])[0]),
                "captured_low": low,
                "captured_high": high,
                "promised_apy_pct": float(means["promised_apy_pct"]),
                "optimism_points": float(means["promised_apy_pct"] - means[_PARTS[0]]),
            }
        )
    columns = (
        *("method", "top", "hold_days", "n_weeks", "n_unknown", *_PARTS, "captured"),
        *("captured_low", "captured_high", "promised_apy_pct", "optimism_points"),
    )
    return pd.DataFrame(rows, columns=list(columns))


def _captured(sums: Floats) -> Floats:
    """Share of what perfect foresight adds to equal weight; from sums of `_PARTS`."""
    realised, equal, best = sums.T
    room = best - equal
    result: Floats = (realised - equal) / np.where(room > 0.0, room, np.nan)
    return result


def _interval(parts: Floats, n_draws: int, seed: int) -> tuple[float, float]:
    if len(parts) < MIN_BLOCKS:
        return float("nan"), float("nan")
    shares = _captured(drawn_sums(parts, 1, n_draws, seed))
    if not np.isfinite(shares).any():
        return float("nan"), float("nan")
    low, high = np.nanquantile(shares, LEVELS)
    return float(low), float(high)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
