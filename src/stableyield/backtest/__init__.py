"""The daily loop and its books."""

from __future__ import annotations

from stableyield.backtest.cash_flows import CashFlow
from stableyield.backtest.day import GasPricing
from stableyield.backtest.engine import run_backtest, run_policies
from stableyield.backtest.modes import Mode
from stableyield.backtest.result import BacktestResult
from stableyield.backtest.runner import DayPlan, run_day
from stableyield.backtest.settings import BacktestSettings

__all__ = [
    "BacktestResult",
    "BacktestSettings",
    "CashFlow",
    "DayPlan",
    "GasPricing",
    "Mode",
    "run_backtest",
    "run_day",
    "run_policies",
]
