"""What is kept of a policy's day until the tables are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from stableyield.backtest.ledger import DayResult
from stableyield.domain.portfolio import Settlement


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


@dataclass(frozen=True, eq=False)
class DayRecord:
    """One policy's day, as it goes into the tables; it keeps no market and no problem alive."""

    policy: str
    exec_date: date
    status: str
    is_held: bool
    money: Settlement
    result: DayResult
    forecast_yield_usd: float
    risk_groups: Mapping[str, int]
    flags: tuple[str, ...]
    gap_usd: float
    solve_seconds: float
    seconds: float

    @property
    def totals(self) -> DayTotals:
        """The day's sums."""
        money = self.money
        return DayTotals(
            policy=self.policy,
            exec_date=self.exec_date,
            aum_start_usd=money.aum_before_usd,
            aum_end_usd=self.result.aum_usd,
            gas_usd=money.gas_usd,
            conversion_usd=money.conversion_usd,
            turnover_usd=money.turnover_usd,
        )
