"""What a backtest leaves behind: tables with the columns of docs/formats.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """The tables of one run.

    Parameters
    ----------
    daily_log : DataFrame
        One row a day: exec_date, target_date, status, aum_start, aum_after, aum_end,
        total_fees_usd, gas_usd, conversion_usd, yield_usd, price_usd, daily_actual_pnl,
        daily_forecast_pnl, realised_apy_pct, n_positions, n_token_changes, turnover_usd,
        allocations_by_token, allocations_by_pool (JSON text, USD after the plan; the wallet is the
        key ``warm_wallet`` of the latter), solver_status, gap_usd, bound_usd, flow_usd,
        growth_factor, flags (JSON list). ``aum_start`` is the AUM of the day before plus
        ``flow_usd``, what the owner brought or took; ``growth_factor`` is ``aum_end / aum_start``,
        net of flows: chained it is the time-weighted return.
    positions : DataFrame
        exec_date, pool_id, symbol, chain, protocol, token, amount, amount_usd, risk_group: the
        book after each day's plan; wallet rows have pool_id ``warm_wallet``.
    transactions : DataFrame
        exec_date, seq, type, from_location, to_location, token, to_token, amount, amount_usd,
        to_amount, gas_cost_usd, conversion_cost_usd, total_cost_usd. HOLD rows are left out.
    benchmarks : DataFrame
        policy, exec_date, aum_start, aum_end, gas_usd, conversion_usd, turnover_usd, flow_usd.
    timings : DataFrame
        exec_date, solve_seconds, day_seconds.
    last_plan : dict
        The last day's plan as the plan file has it.
    run : dict
        parameters, start, end, aum_start_usd, token, policy, mode, cash_flows, data_sha256,
        parameters_sha256, code_version, library versions, assumptions, seed, timings.
    """

    daily_log: pd.DataFrame
    positions: pd.DataFrame
    transactions: pd.DataFrame
    benchmarks: pd.DataFrame
    timings: pd.DataFrame
    last_plan: dict[str, Any]
    run: dict[str, Any] = field(default_factory=dict)
