"""stableyield: puts a stablecoin treasury to work in DeFi and proves what it did.

The names below are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stableyield._version import __version__

if TYPE_CHECKING:
    from stableyield.allocation import (
        AllocationProblem,
        Plan,
        PoolInput,
        Verification,
        solve,
        verify,
    )
    from stableyield.allocation.notebook import (
        AllocationOptimizer,
        build_token_universe,
        calculate_aum,
        calculate_gas_fee_usd,
        calculate_transaction_gas_fees,
    )
    from stableyield.backtest import (
        BacktestResult,
        BacktestSettings,
        CashFlow,
        GasPricing,
        Mode,
        run_backtest,
        run_day,
        run_policies,
    )
    from stableyield.config import AllocationParameters
    from stableyield.domain.costs import GasCosts, GasTable
    from stableyield.domain.pool import Pool, PoolState
    from stableyield.domain.portfolio import Book
    from stableyield.errors import StableyieldError
    from stableyield.forecast import Forecast, Forecaster, baseline, evaluate
    from stableyield.loops import (
        LoopMarket,
        LoopResult,
        LoopSettings,
        LoopTarget,
        read_loop_rates,
        run_loop_backtest,
    )
    from stableyield.market.assemble import panel_of
    from stableyield.market.files import read_market, write_market
    from stableyield.market.layouts import import_market
    from stableyield.market.mock import mock_instance
    from stableyield.market.panel import MarketPanel, MarketView
    from stableyield.market.synthetic import SyntheticSettings, simulate_market
    from stableyield.pipeline.notebook import get_db_connection
    from stableyield.report import compute_metrics, read_run, render_report, write_run
    from stableyield.screening import icebox_from_prices_frame, screen
    from stableyield.study.causality import CausalityReport, check_causality

_HOMES = {
    "allocation": ("AllocationProblem", "Plan", "PoolInput", "Verification", "solve", "verify"),
    "allocation.notebook": (
        "AllocationOptimizer",
        "build_token_universe",
        "calculate_aum",
        "calculate_gas_fee_usd",
        "calculate_transaction_gas_fees",
    ),
    "backtest": (
        "BacktestResult",
        "BacktestSettings",
        "CashFlow",
        "GasPricing",
        "Mode",
        "run_backtest",
        "run_day",
        "run_policies",
    ),
    "config": ("AllocationParameters",),
    "domain.costs": ("GasCosts", "GasTable"),
    "domain.pool": ("Pool", "PoolState"),
    "domain.portfolio": ("Book",),
    "errors": ("StableyieldError",),
    "forecast": ("Forecast", "Forecaster", "baseline", "evaluate"),
    "loops": (
        "LoopMarket",
        "LoopResult",
        "LoopSettings",
        "LoopTarget",
        "read_loop_rates",
        "run_loop_backtest",
    ),
    "market.assemble": ("panel_of",),
    "market.files": ("read_market", "write_market"),
    "market.layouts": ("import_market",),
    "market.mock": ("mock_instance",),
    "market.panel": ("MarketPanel", "MarketView"),
    "market.synthetic": ("SyntheticSettings", "simulate_market"),
    "pipeline.notebook": ("get_db_connection",),
    "report": ("compute_metrics", "read_run", "render_report", "write_run"),
    "screening": ("icebox_from_prices_frame", "screen"),
    "study.causality": ("CausalityReport", "check_causality"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AllocationOptimizer",
    "AllocationParameters",
    "AllocationProblem",
    "BacktestResult",
    "BacktestSettings",
    "Book",
    "CashFlow",
    "CausalityReport",
    "Forecast",
    "Forecaster",
    "GasCosts",
    "GasPricing",
    "GasTable",
    "LoopMarket",
    "LoopResult",
    "LoopSettings",
    "LoopTarget",
    "MarketPanel",
    "MarketView",
    "Mode",
    "Plan",
    "Pool",
    "PoolInput",
    "PoolState",
    "StableyieldError",
    "SyntheticSettings",
    "Verification",
    "__version__",
    "baseline",
    "build_token_universe",
    "calculate_aum",
    "calculate_gas_fee_usd",
    "calculate_transaction_gas_fees",
    "check_causality",
    "compute_metrics",
    "evaluate",
    "get_db_connection",
    "icebox_from_prices_frame",
    "import_market",
    "mock_instance",
    "panel_of",
    "read_loop_rates",
    "read_market",
    "read_run",
    "render_report",
    "run_backtest",
    "run_day",
    "run_loop_backtest",
    "run_policies",
    "screen",
    "simulate_market",
    "solve",
    "verify",
    "write_market",
    "write_run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
