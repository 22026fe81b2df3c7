"""What one backtest came to: the few numbers that runs are compared by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stableyield.domain.portfolio import WALLET
from stableyield.domain.rates import annualised

if TYPE_CHECKING:
    from stableyield.backtest.result import BacktestResult

PCT = 100.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The sums of one run.

    Parameters
    ----------
    policy : str
    n_days : int
    aum_start_usd : float
    growth : float
        Net growth factor of the run, the days chained.
    gross_growth : float
        The same before costs: each day's growth of what was left after them.
    yield_usd, price_usd, gas_usd, conversion_usd, turnover_usd : float
        Sums over the days; profit is yield + price - gas - conversion.
    invested_share : float
        Share of AUM in pools after the day's plan, averaged over the days.
    """

    policy: str
    n_days: int
    aum_start_usd: float
    growth: float
    gross_growth: float
    yield_usd: float
    price_usd: float
    gas_usd: float
    conversion_usd: float
    turnover_usd: float
    invested_share: float

    @classmethod
    def of(cls, result: BacktestResult) -> Outcome:
        """The sums of a run's daily log."""
        log = result.daily_log
        start, after, end = (
            log[name].to_numpy(np.float64) for name in ("aum_start", "aum_after", "aum_end")
        )
        rows = result.positions
        invested = rows.loc[rows["pool_id"] != WALLET].groupby("exec_date")["amount_usd"].sum()
        by_day = invested.reindex(log["exec_date"], fill_value=0.0).to_numpy(np.float64)
        sums = {
            name: math.fsum(log[name])
            for name in ("yield_usd", "price_usd", "gas_usd", "conversion_usd", "turnover_usd")
        }
        return cls(
            policy=str(result.run["policy"]),
            n_days=len(log),
            aum_start_usd=float(start[0]),
            growth=float(np.prod(end / start)),
            gross_growth=float(np.prod(end / after)),
            invested_share=float(np.mean(by_day / after)),
            **sums,
        )

    @property
    def net_apy_pct(self) -> float:
        """Net growth as percent a year; -100 when everything was lost."""
        return _apy_pct(self.growth, self.n_days)

    @property
    def gross_apy_pct(self) -> float:
        """Growth before costs as percent a year."""
        return _apy_pct(self.gross_growth, self.n_days)

    @property
    def costs_usd(self) -> float:
        """Gas and conversion fees."""
        return self.gas_usd + self.conversion_usd

    @property
    def profit_usd(self) -> float:
        """Yield and price effect, less costs."""
        return self.yield_usd + self.price_usd - self.costs_usd


def _apy_pct(growth: float, n_days: int) -> float:
    return PCT * annualised(growth, n_days) if growth > 0.0 else -PCT
