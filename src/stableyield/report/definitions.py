"""What each metric of the report means, in one sentence: the table's rows, top to bottom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["pct", "usd", "number", "days", "bps", "times"]


@dataclass(frozen=True, slots=True)
class Definition:
    """A metric of every policy.

    Parameters
    ----------
    key : str
        Name in metrics.json, under ``strategy`` and under each benchmark.
    label : str
    unit : str
        How the number is written.
    text : str
        The definition.
    """

    key: str
    label: str
    unit: Unit
    text: str


DEFINITIONS = (
    Definition(
        "net_apy_pct",
        "Net APY",
        "pct",
        "Compound growth of AUM after all costs and price effects, scaled to 365 days.",
    ),
    Definition(
        "net_apy_low_pct",
        "Net APY, low end",
        "pct",
        "5th percentile of the net APY over circular block bootstrap draws of the days.",
    ),
    Definition(
        "net_apy_high_pct",
        "Net APY, high end",
        "pct",
        "95th percentile of the same draws; both ends make the 90 % confidence interval.",
    ),
    Definition(
        "gross_apy_pct",
        "Gross APY",
        "pct",
        "The same before costs: growth of what was left after each day's gas and fees.",
    ),
    Definition(
        "profit_usd",
        "Profit",
        "usd",
        "What was earned after all costs, without what the owner brought or took.",
    ),
    Definition(
        "aum_end_usd", "AUM at the end", "usd", "Wallet and positions at the last day's prices."
    ),
    Definition(
        "costs_usd", "Costs", "usd", "Gas and conversion fees that left the book, whole run."
    ),
    Definition(
        "costs_bps_per_year",
        "Costs per year",
        "bps",
        "Costs over the average AUM at the start of the day, scaled to 365 days.",
    ),
    Definition(
        "turnover_per_year",
        "Turnover per year",
        "times",
        "USD withdrawn and deposited over the average AUM, scaled to 365 days.",
    ),
    Definition(
        "volatility_pct",
        "Volatility",
        "pct",
        "Standard deviation of the daily growth times the square root of 365.",
    ),
    Definition(
        "max_drawdown_pct",
        "Maximum drawdown",
        "pct",
        "Deepest fall below an earlier high, the AUM before the first plan included.",
    ),
    Definition(
        "days_under_water",
        "Days under water",
        "days",
        "Days that ended below an earlier high, entry costs included.",
    ),
    Definition(
        "longest_under_water_days",
        "Longest time under water",
        "days",
        "Most consecutive days below an earlier high.",
    ),
    Definition(
        "hit_rate_pct", "Winning days", "pct", "Share of days that ended above where they started."
    ),
    Definition(
        "sharpe",
        "Sharpe ratio",
        "number",
        "Mean daily growth above the stated rate over its standard deviation, per year.",
    ),
    Definition(
        "sortino",
        "Sortino ratio",
        "number",
        "The same over the root mean squared shortfall below the stated rate.",
    ),
    Definition(
        "deflated_sharpe_pct",
        "Deflated Sharpe ratio",
        "pct",
        "Probability that the Sharpe ratio is more than luck, given the days and the trials.",
    ),
)
