"""The icebox of a whole history at once: which tokens are inside on each day, and nothing more.

The rules are those of `stableyield.screening.icebox`, counted over days in the place of a step a
day. Every row depends on the rows up to it alone, and a day is only told of its own. What this
does not have are events, gaps and overrides: for those there is `IceboxTracker`.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stableyield.screening.icebox_machine import PEG_USD
from stableyield.screening.pegs import TOKENS_WITHOUT_USD_PEG

if TYPE_CHECKING:
    from stableyield.config import AllocationParameters
    from stableyield.market.panel import MarketPanel, MarketView

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

TOLERANCE_USD = 1e-12  # a price exactly at the threshold is no breach
NOBODY: frozenset[str] = frozenset()


class IceboxDays:
    """The tokens in the icebox, day by day; for a backtest, which has all days from the start.

    Parameters
    ----------
    panel : MarketPanel
    parameters : AllocationParameters
    """

    def __init__(self, panel: MarketPanel, parameters: AllocationParameters) -> None:
        self._panel, self._parameters = panel, parameters
        self.unjudged: frozenset[str] = NOBODY

    def advance(self, view: MarketView) -> frozenset[str]:
        """The tokens that are inside at the end of ``view.day``; days in any order."""
        inside, judged = self._days
        row, tokens = len(view.days) - 1, view.tokens
        self.unjudged = _named(tokens, ~judged[row, : len(tokens)])
        return _named(tokens, inside[row, : len(tokens)])

    @cached_property
    def _days(self) -> tuple[Bools, Bools]:
        """Which tokens are inside, and which could be judged; shape (n_days, n_tokens) each."""
        p, view = self._parameters, self._panel.as_of(self._panel.last_day)
        series = view.token_series
        seen = np.logical_or.accumulate(np.isfinite(series.close_usd), axis=0)
        low, close, peg = (
            np.where(seen & np.isfinite(prices) & (prices > 0.0), prices, np.nan)
            for prices in (series.low_usd, series.close_usd, series.peg_usd)
        )
        has_low, has_peg = (
            np.logical_or.accumulate(np.isfinite(prices), axis=0) for prices in (low, peg)
        )
        at_par = np.array([token not in TOKENS_WITHOUT_USD_PEG for token in view.tokens])
        peg = np.where(seen & at_par & ~has_peg, PEG_USD, peg)
        low_runs = _runs(low, peg * (1.0 - p.icebox_ohlc_l_threshold_pct))
        close_runs = _runs(close, peg * (1.0 - p.icebox_ohlc_c_threshold_pct))
        enters = (low_runs[0] >= p.icebox_ohlc_l_days_threshold) | (
            close_runs[0] >= p.icebox_ohlc_c_days_threshold
        )
        leaves = ((low_runs[1] >= p.icebox_recovery_l_days_threshold) | ~has_low) & (
            close_runs[1] >= p.icebox_recovery_c_days_threshold
        )
        return _inside(enters, leaves), ~(np.isnan(peg) | np.isnan(close))


def _runs(price_usd: Floats, floor_usd: Floats) -> tuple[Ints, Ints]:
    """Breaches since the last clean day, and clean days since the last breach, on each day.

    A day that is unknown is neither.
    """
    breach = price_usd < floor_usd - TOLERANCE_USD
    clean = price_usd >= floor_usd - TOLERANCE_USD
    return _since(breach, clean), _since(clean, breach)


def _since(counted: Bools, ends: Bools) -> Ints:
    """How many days were counted since the last one that ends the count, by column."""
    total: Ints = np.cumsum(counted, axis=0, dtype=np.int64)
    before: Ints = np.maximum.accumulate(np.where(ends, total, 0), axis=0)
    return total - before


def _inside(enters: Bools, leaves: Bools) -> Bools:
    """The state after each day: that of the last day with a reason to enter or to leave.

    No day has both: a breach ends the clean days of its price, and the other way round.
    """
    number = np.arange(1, len(enters) + 1)[:, None]
    entered = np.maximum.accumulate(np.where(enters, number, 0), axis=0)
    left = np.maximum.accumulate(np.where(leaves, number, 0), axis=0)
    inside: Bools = entered > left
    return inside


def _named(tokens: tuple[str, ...], which: Bools) -> frozenset[str]:
    if not which.any():
        return NOBODY
    return frozenset(tokens[j] for j in which.nonzero()[0].tolist())
