"""The rows of a loop report's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from stableyield.loops.statistics import chain_table, pool_table, spread_summary, spread_table
from stableyield.loops.stress import SHOCKS
from stableyield.report import text

if TYPE_CHECKING:
    from stableyield.loops.result import LoopResult

Table = dict[str, Any]

MOST_MOVES = 100
# heading, key, form
_MARKET_ROWS = (
    ("Net APY of the loop", ("loop", "net_apy_pct"), "pct"),
    ("Net APY without leverage", ("unlevered", "net_apy_pct"), "pct"),
    ("Difference", ("excess_apy_points",), "points"),
    ("Best without leverage, in hindsight", ("best_unlevered", "net_apy_pct"), "pct"),
    ("Volatility of the loop", ("loop", "volatility_pct"), "pct"),
    ("Volatility without leverage", ("unlevered", "volatility_pct"), "pct"),
    ("Volatility of the best without", ("best_unlevered", "volatility_pct"), "pct"),
    ("Maximum drawdown of the loop", ("loop", "max_drawdown_pct"), "pct"),
    ("Maximum drawdown without leverage", ("unlevered", "max_drawdown_pct"), "pct"),
    ("Maximum drawdown of the best without", ("best_unlevered", "max_drawdown_pct"), "pct"),
    ("Sharpe ratio against no leverage", ("sharpe_vs_unlevered",), "number"),
    ("Sharpe ratio against the best without", ("sharpe_vs_best_unlevered",), "number"),
    ("Lowest health factor", ("min_health_factor",), "number"),
    ("Highest leverage", ("max_leverage",), "number"),
    ("Days", ("n_days",), "days"),
    ("Days looped", ("days_looped",), "days"),
    ("Days looped with a negative spread", ("days_negative_spread",), "days"),
    ("Days that it could not leave", ("days_stuck",), "days"),
    ("Days liquidated", ("n_liquidations",), "days"),
    ("Supply interest", ("supply_usd",), "usd"),
    ("Borrow interest", ("borrow_usd",), "usd"),
    ("Rewards", ("reward_usd",), "usd"),
    ("Effect of prices", ("price_usd",), "usd"),
    ("Gas", ("gas_usd",), "usd"),
    ("Swaps", ("swap_usd",), "usd"),
    ("Flash loans", ("flash_usd",), "usd"),
    ("Lost to liquidators", ("liquidation_usd",), "usd"),
    ("Turnover (tokens swapped)", ("turnover_usd",), "usd"),
)
_DESCRIBED = ("Average", "Median", "Volatility", "Max", "Min", "10th pct.", "90th pct.")
_KEYS = ("mean_pct", "median_pct", "volatility_pct", "max_pct", "min_pct", "p10_pct", "p90_pct")


def make_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], n_texts: int = 1, lead: int | None = None
) -> Table:
    """A table as the page writes it: the first ``n_texts`` columns are texts, others numbers."""
    return {
        "columns": list(columns),
        "numbers": list(range(n_texts, len(columns))),
        "rows": [{"cells": list(cells), "is_lead": n == lead} for n, cells in enumerate(rows)],
    }


def market_table(metrics: Mapping[str, Any]) -> Table:
    """One row a measure, one column a market."""
    markets = metrics["markets"]
    rows = [
        [
            label,
            *(
                text.by_unit(_at(markets[name], path), unit)
                if unit != "points"
                else text.points(_at(markets[name], path))
                for name in markets
            ),
        ]
        for label, path, unit in _MARKET_ROWS
    ]
    return make_table(["", *markets], rows)


def _at(row: Mapping[str, Any], path: Sequence[str]) -> Any:
    for key in path:
        row = row[key]
    return row


def correction_table(steps: pd.DataFrame) -> Table:
    """The notebook's arithmetic and its corrections, with what each is worth."""
    rows = [
        [
            row["correction"],
            text.pct(row["net_apr_pct"]),
            text.points(row["change_points"]),
            text.number(row["leverage"]),
            text.number(row["sharpe"], 1),
            text.pct(row["max_drawdown_pct"]),
            text.number(float(row["days_negative_spread"]), 0),
            row["text"],
        ]
        for row in steps.to_dict("records")
    ]
    columns = (
        "Arithmetic",
        "Net APR",
        "Change",
        "Leverage",
        "Sharpe",
        "Drawdown",
        "Spread below 0",
    )
    table = make_table([*columns, "What it is"], rows, lead=0)
    return {**table, "numbers": table["numbers"][:-1]}


def statistic_tables(result: LoopResult) -> dict[str, Table]:
    """The notebook's tables: by pool, by chain, and the spread; APR in percent."""
    pools, chains = pool_table(result.rates), chain_table(result.rates)
    spreads = spread_summary(spread_table(result.rates))
    return {
        "pools": make_table(
            ("Pool", "Side", "Days", *_DESCRIBED),
            [
                [f"{r['asset']}, {r['protocol']} on {r['chain']}", r["side"], *_described(r)]
                for r in pools.to_dict("records")
            ],
            2,
        ),
        "chains": make_table(
            ("Chain", "Side", "Pool-days", *_DESCRIBED),
            [[r["chain"], r["side"], *_described(r)] for r in chains.to_dict("records")],
            2,
        ),
        "spreads": make_table(
            ("Best spread", "Days", *_DESCRIBED, "Days below 0"),
            [
                [
                    "all chains" if r["chain"] == "all" else r["chain"],
                    *_described(r),
                    text.number(float(r["days_negative"]), 0),
                ]
                for r in spreads.to_dict("records")
            ],
        ),
    }


def _described(row: Mapping[Any, Any]) -> list[str]:
    return [text.number(float(row["n_days"]), 0), *(text.number(row[key]) for key in _KEYS)]


def rebalancing_table(frame: pd.DataFrame) -> Table:
    """Gas of rebalancing as a share of the capital."""
    rows = [
        [
            f"{row['every']}, {text.usd(row['gas_usd'], 2)} each on {text.usd(row['capital_usd'])}",
            text.number(row["transactions_per_year"], 0),
            text.usd(row["cost_usd_per_year"], 2),
            text.pct(row["share_pct"], 3),
        ]
        for row in frame.to_dict("records")
    ]
    return make_table(("Rebalanced", "Transactions a year", "Gas a year", "Share of capital"), rows)


def stress_tables(frame: pd.DataFrame) -> list[Table]:
    """One table a liquidation threshold: shocks down, leverages across."""
    tables = []
    for threshold, part in frame.groupby("liquidation_threshold", sort=True):
        leverages = sorted(set(part["leverage"]))
        by_place = {(row["shock"], row["leverage"]): row for row in part.to_dict("records")}
        rows = [
            [
                shock.replace("-", "\N{MINUS SIGN}", shock.startswith("-")),
                *(_stress_cell(by_place[shock, size]) for size in leverages),
            ]
            for shock in dict.fromkeys(part["shock"])
        ]
        table = make_table(["Shock", *(f"{size:g}×" for size in leverages)], rows)
        tables.append({**table, "threshold": text.number(float(str(threshold)))})
    return tables


def _stress_cell(row: Mapping[Any, Any]) -> str:
    """Change at the lowest point and at the end, percent; L: liquidated, S: stuck."""
    marks = f"{' L' if row['is_liquidated'] else ''}{' S' if row['is_stuck'] else ''}"
    ends = text.number(-row["end_loss_pct"], 1, plus=True)
    return f"{text.number(-row['loss_pct'], 1)} / {ends}{marks}"


def shock_texts() -> list[tuple[str, str]]:
    """What each shock is after."""
    return [(shock.name, shock.text) for shock in SHOCKS]


def move_table(result: LoopResult) -> tuple[Table, int]:
    """The first moves, and how many more there are."""
    columns = ("Day", "Market", "What", "From", "To")
    more = ("Leverage", "Swapped", "Gas", "Swap and flash loan", "Liquidation")
    rows = [
        [
            text.day(row["date"].date()),
            row["market"],
            row["action"],
            row["from_pair"],
            row["to_pair"],
            f"{text.number(row['leverage_before'])} → {text.number(row['leverage_after'])}",
            text.usd(row["turnover_usd"]),
            text.usd(row["gas_usd"], 2),
            text.usd(row["swap_usd"] + row["flash_usd"], 2),
            text.usd(row["loss_usd"], 2) if row["loss_usd"] else "",
        ]
        for row in result.transactions.head(MOST_MOVES).to_dict("records")
    ]
    left_out = max(0, len(result.transactions) - MOST_MOVES)
    return make_table((*columns, *more), rows, len(columns)), left_out
