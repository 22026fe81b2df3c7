"""What kind of days there were, and how every policy did on each kind.

Regimes describe a run after the fact: days are told apart by the median of the run, which nobody
knew during it. What is compared with the median looks back only, and is the market's rather than
the strategy's: the growth, before costs, of equal weight over the screened pools.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import DAYS_PER_YEAR
from stableyield.report import performance
from stableyield.report.performance import Floats, PolicyDays, Undefined

WINDOW_DAYS = 14
SHORT_REGIME_DAYS = 10
CALM, VOLATILE, LOW, HIGH = "calm", "volatile", "low_yield", "high_yield"


def regimes_of(market: PolicyDays) -> dict[str, NDArray[np.bool_]] | Undefined:
    """The days of each regime; arrays of shape (n_days,).

    Over the last 14 days, the day included: ``calm`` and ``volatile`` by the standard deviation of
    the market's daily growth, ``low_yield`` and ``high_yield`` by its median, which one broken peg
    does not move. Each pair is divided at the median of the run; the first 13 days are in none.

    Parameters
    ----------
    market : PolicyDays
        Equal weight.
    """
    n_days = len(market.aum_start)
    if n_days < WINDOW_DAYS + 2 * SHORT_REGIME_DAYS:
        return Undefined(f"fewer than {WINDOW_DAYS + 2 * SHORT_REGIME_DAYS} days")
    if not market.has_money.all():
        return Undefined("equal weight has days without money")
    windows = np.lib.stride_tricks.sliding_window_view(market.gross_growth, WINDOW_DAYS)
    deviation, level = windows.std(axis=1, ddof=1), np.median(windows, axis=1)
    if np.ptp(level) < performance.ZERO_VOLATILITY:
        return Undefined("the market never changed")
    masks = {
        CALM: deviation <= np.median(deviation),
        VOLATILE: deviation > np.median(deviation),
        LOW: level <= np.median(level),
        HIGH: level > np.median(level),
    }
    early = np.zeros(WINDOW_DAYS - 1, dtype=np.bool_)
    return {name: np.concatenate((early, mask)) for name, mask in masks.items()}


def regime_rows(
    books: Mapping[str, PolicyDays], market: PolicyDays | None
) -> list[dict[str, Any]] | Undefined:
    """One row a regime: its days, the market's level, and the net APY of every policy on them."""
    if market is None:
        return Undefined("no benchmark of equal weight to tell regimes by")
    regimes = regimes_of(market)
    if isinstance(regimes, Undefined):
        return regimes
    return [
        {
            "regime": name,
            "n_days": int(inside.sum()),
            "market_volatility_pct": 100.0
            * float(np.std(market.gross_growth[inside], ddof=1) * np.sqrt(DAYS_PER_YEAR)),
            "net_apy_pct": {policy: _apy_pct(book, inside) for policy, book in books.items()},
        }
        for name, inside in regimes.items()
        if inside.sum() >= SHORT_REGIME_DAYS
    ]


def _apy_pct(book: PolicyDays, inside: NDArray[np.bool_]) -> float | None:
    growth: Floats = book.daily_growth[inside & book.has_money]
    if len(growth) < SHORT_REGIME_DAYS:
        return None
    value = performance.apy(growth)
    return None if isinstance(value, Undefined) else 100.0 * value
