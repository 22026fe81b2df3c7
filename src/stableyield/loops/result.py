"""What a loop backtest leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from stableyield.loops.rates import LoopRates
    from stableyield.loops.settings import LoopSettings


@dataclass(frozen=True, eq=False)
class LoopResult:
    """The tables of one run; each market is a book of its own that starts with the same equity.

    Parameters
    ----------
    daily : DataFrame
        One row a market and decision day: date, target_date (the day that the row's end is of),
        chain, protocol, market, state, action, supply_asset, borrow_asset, leverage (after the
        decision), supply_apr_pct, borrow_apr_pct, spread_pct (what was earned and paid from date
        to target_date, rewards included), collateral_usd, debt_usd, equity_start_usd, equity_usd
        (the last three but one and the last at the end), health_factor (lowest of the step; NaN
        without debt), supply_usd, borrow_usd, reward_usd, price_usd, gas_usd, swap_usd, flash_usd,
        costs_usd, liquidation_usd, shortfall_usd, turnover_usd (tokens swapped), n_transactions,
        flags (JSON list). ``equity_usd = equity_start_usd - costs + supply - borrow + reward +
        price - liquidation + shortfall``.
    unlevered : DataFrame
        The same columns of the same machine at leverage 1: the alternative without a loop.
    held : DataFrame
        One row a market, coin (asset) and decision day of that coin supplied throughout: date,
        target_date, market, asset, equity_start_usd, equity_usd, gas_usd, swap_usd, flash_usd,
        turnover_usd.
    transactions : DataFrame
        date, market, action, from_pair, to_pair, leverage_before, leverage_after, n_transactions,
        turnover_usd, gas_usd, swap_usd, flash_usd, costs_usd, loss_usd (of a liquidation).
    totals : dict
        By market: sums and extremes of ``daily``, plain numbers.
    settings : LoopSettings
    rates : tuple of LoopRates
        What was run on: the chosen markets and days.
    assumptions, notes : tuple of str
        What had to be assumed, and what the reader has to know; one sentence each.
    """

    daily: pd.DataFrame
    unlevered: pd.DataFrame
    held: pd.DataFrame
    transactions: pd.DataFrame
    totals: dict[str, dict[str, Any]]
    settings: LoopSettings
    rates: tuple[LoopRates, ...]
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def markets(self) -> tuple[str, ...]:
        """Names of the markets, in the order of the tables."""
        return tuple(self.totals)
