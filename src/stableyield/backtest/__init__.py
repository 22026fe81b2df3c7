"""The daily loop and its books."""

from __future__ import annotations

from stableyield.backtest.day import GasPricing
from stableyield.backtest.engine import run_backtest
from stableyield.backtest.result import BacktestResult
from stableyield.backtest.settings import BacktestSettings

__all__ = ["BacktestResult", "BacktestSettings", "GasPricing", "run_backtest"]
