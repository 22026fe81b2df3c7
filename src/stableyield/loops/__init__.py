"""Leveraged lending loops: the right arithmetic and the risk that goes with it.

Supply a coin, borrow another against it, supply again. Start with `leverage`, `net_apr` and
`health_factor`, read rates with `read_loop_rates`, and run the strategy over their history with
`run_loop_backtest`.
"""

from stableyield.loops.adaptive import AdaptiveCurve
from stableyield.loops.as_notebook import corrections, notebook_days
from stableyield.loops.calibration import Calibration, calibrate, calibrate_daily
from stableyield.loops.formulas import (
    depeg_loss,
    depeg_to_liquidation,
    health_factor,
    leverage,
    leverage_for_health_factor,
    leverage_limit,
    max_leverage,
    net_apr,
    position_ltv,
    rebuild_cost,
    rounds_until,
)
from stableyield.loops.rate_curve import RateCurve, diluted_borrow_apr, diluted_supply_apr
from stableyield.loops.rate_files import rates_from_table, rates_from_wide, read_loop_rates
from stableyield.loops.rate_sources import rates_from_fetched, rates_from_store
from stableyield.loops.rates import LoopRates, choose_markets
from stableyield.loops.result import LoopResult
from stableyield.loops.risk_table import (
    RiskParameters,
    RiskTable,
    read_risk_table,
    risk_on,
    risk_table_of,
)
from stableyield.loops.run import LoopMarket, run_loop_backtest
from stableyield.loops.settings import LoopCosts, LoopSettings, LoopTarget
from stableyield.loops.statistics import (
    chain_table,
    pool_table,
    rebalancing_costs,
    spread_summary,
    spread_table,
)
from stableyield.loops.stress import Shock, leverage_for_max_loss, run_shock, stress_table
from stableyield.loops.wide import LoopPair, best_pair

__all__ = [
    "AdaptiveCurve",
    "Calibration",
    "LoopCosts",
    "LoopMarket",
    "LoopPair",
    "LoopRates",
    "LoopResult",
    "LoopSettings",
    "LoopTarget",
    "RateCurve",
    "RiskParameters",
    "RiskTable",
    "Shock",
    "best_pair",
    "calibrate",
    "calibrate_daily",
    "chain_table",
    "choose_markets",
    "corrections",
    "depeg_loss",
    "depeg_to_liquidation",
    "diluted_borrow_apr",
    "diluted_supply_apr",
    "health_factor",
    "leverage",
    "leverage_for_health_factor",
    "leverage_for_max_loss",
    "leverage_limit",
    "max_leverage",
    "net_apr",
    "notebook_days",
    "pool_table",
    "position_ltv",
    "rates_from_fetched",
    "rates_from_store",
    "rates_from_table",
    "rates_from_wide",
    "read_loop_rates",
    "read_risk_table",
    "rebalancing_costs",
    "rebuild_cost",
    "risk_on",
    "risk_table_of",
    "rounds_until",
    "run_loop_backtest",
    "run_shock",
    "spread_summary",
    "spread_table",
    "stress_table",
]
