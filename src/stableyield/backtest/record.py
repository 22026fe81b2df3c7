"""What is kept of a policy's day until the tables are made: plain values, no market, no problem."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from stableyield.backtest.ledger import DayResult
from stableyield.domain.portfolio import Settlement, Transaction


@dataclass(frozen=True)
class DayTotals:
    """What is kept of a benchmark's day: sums, no books."""

    policy: str
    exec_date: date
    aum_start_usd: float
    aum_end_usd: float
    gas_usd: float
    conversion_usd: float
    turnover_usd: float
    flow_usd: float = 0.0

    @property
    def sums(self) -> tuple[float, ...]:
        """The sums, in the order of the fields."""
        return (
            self.aum_start_usd,
            self.aum_end_usd,
            self.gas_usd,
            self.conversion_usd,
            self.turnover_usd,
            self.flow_usd,
        )


@dataclass(frozen=True, eq=False)
class DayRecord:
    """One policy's day, as it goes into the tables; it keeps no market and no problem alive.

    Parameters
    ----------
    policy : str
    exec_date : date
    status : str
    is_held : bool
    money : Settlement
        Of the policy's decision.
    result : DayResult
    forecast_yield_usd : float
    risk_groups : ndarray of int8, shape (n_positions,)
        Of the book after the decision; 0 where the pool is unknown.
    flags : tuple of str
    gap_usd, bound_usd, solve_seconds, seconds : float
    raised : Settlement, optional
        What was sold and withdrawn for the owner's withdrawals, before the decision.
    flow_usd : float
        What the owner brought less what was paid out, before the decision.
    """

    policy: str
    exec_date: date
    status: str
    is_held: bool
    money: Settlement
    result: DayResult
    forecast_yield_usd: float
    risk_groups: NDArray[np.int8]
    flags: tuple[str, ...]
    gap_usd: float
    solve_seconds: float
    seconds: float
    bound_usd: float = float("nan")
    raised: Settlement | None = None
    flow_usd: float = 0.0

    @property
    def gas_usd(self) -> float:
        """Gas of the day."""
        return self.money.gas_usd + (self.raised.gas_usd if self.raised else 0.0)

    @property
    def conversion_usd(self) -> float:
        """Conversion fees of the day."""
        return self.money.conversion_usd + (self.raised.conversion_usd if self.raised else 0.0)

    @property
    def turnover_usd(self) -> float:
        """USD withdrawn and allocated."""
        return self.money.turnover_usd + (self.raised.turnover_usd if self.raised else 0.0)

    @property
    def aum_start_usd(self) -> float:
        """AUM with the owner's money of the day and before all costs of the day."""
        return self.money.aum_before_usd + (self.raised.costs_usd if self.raised else 0.0)

    @property
    def transactions(self) -> tuple[Transaction, ...]:
        """Every transaction of the day, in its order."""
        return (*(self.raised.transactions if self.raised else ()), *self.money.transactions)

    @property
    def totals(self) -> DayTotals:
        """The day's sums."""
        return DayTotals(
            policy=self.policy,
            exec_date=self.exec_date,
            aum_start_usd=self.aum_start_usd,
            aum_end_usd=self.result.aum_usd,
            gas_usd=self.gas_usd,
            conversion_usd=self.conversion_usd,
            turnover_usd=self.turnover_usd,
            flow_usd=self.flow_usd,
        )
