"""The tables of a loop run from its records."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import date
from typing import Any

import pandas as pd

from stableyield.loops.accounting import LoopBook, MoveCost
from stableyield.loops.daily_run import DayRecord
from stableyield.loops.machine import Decision, LoopAction
from stableyield.loops.rates import LoopRates


def daily_frame(records: dict[str, list[DayRecord]], markets: Sequence[LoopRates]) -> pd.DataFrame:
    """One row a market and decision day, see `LoopResult.daily`."""
    by_name = {found.name: found for found in markets}
    rows = [
        {"market": name, "chain": by_name[name].chain, "protocol": by_name[name].protocol, **row}
        for name, each in records.items()
        for row in map(_row, each)
    ]
    frame = pd.DataFrame(rows)
    frame = _with_days(frame)
    return frame[["date", "target_date", *frame.columns.drop(["date", "target_date"])]]


def _row(record: DayRecord) -> dict[str, Any]:
    cost, closing = record.decision.cost, record.closing.cost if record.closing else MoveCost()
    rates, after = record.rates, record.after
    has_debt = bool(after.debt_asset)
    return {
        "date": record.day,
        "target_date": record.target_day,
        "state": str(record.decision.state),
        "action": str(record.decision.action),
        "supply_asset": after.asset if after.is_supplied else "",
        "borrow_asset": after.debt_asset,
        "leverage": record.leverage_after,
        "supply_apr_pct": 100.0 * rates.supply_apr if after.is_supplied else math.nan,
        "borrow_apr_pct": 100.0 * rates.borrow_apr if has_debt else math.nan,
        "spread_pct": 100.0 * rates.spread_apr if has_debt else math.nan,
        "collateral_usd": record.collateral_usd,
        "debt_usd": record.debt_usd,
        "equity_start_usd": record.equity_start_usd,
        "equity_usd": record.equity_usd,
        "health_factor": record.health_factor if math.isfinite(record.health_factor) else math.nan,
        "supply_usd": record.parts["supply"],
        "borrow_usd": -record.parts["borrow"],
        "reward_usd": record.parts["reward"],
        "price_usd": record.parts["price"],
        "gas_usd": cost.gas_usd + closing.gas_usd,
        "swap_usd": cost.swap_usd + closing.swap_usd,
        "flash_usd": cost.flash_usd + closing.flash_usd,
        "costs_usd": cost.total_usd + closing.total_usd,
        "liquidation_usd": record.liquidation.loss_usd,
        "shortfall_usd": record.liquidation.shortfall_usd,
        "turnover_usd": cost.turnover_usd + closing.turnover_usd,
        "n_transactions": cost.n_transactions + closing.n_transactions,
        "flags": json.dumps(list(record.flags)),
    }


_HELD_COLUMNS = (
    *("date", "target_date", "market", "asset", "equity_start_usd", "equity_usd"),
    *("gas_usd", "swap_usd", "flash_usd", "turnover_usd"),
)


def held_frame(records: dict[str, dict[str, list[DayRecord]]]) -> pd.DataFrame:
    """One row a market, coin and decision day, see `LoopResult.held`."""
    rows = [
        {**_row(record), "market": name, "asset": asset}
        for name, coins in records.items()
        for asset, each in coins.items()
        for record in each
    ]
    frame = pd.DataFrame(rows, columns=list(_HELD_COLUMNS))
    return _with_days(frame)


def _with_days(frame: pd.DataFrame) -> pd.DataFrame:
    days = [name for name in ("date", "target_date") if name in frame]
    return frame.assign(
        **{name: pd.to_datetime(frame[name]).astype("datetime64[us]") for name in days}
    )


_TRANSACTION_COLUMNS = (
    *("date", "market", "action", "from_pair", "to_pair", "leverage_before", "leverage_after"),
    *("n_transactions", "turnover_usd", "gas_usd", "swap_usd", "flash_usd", "costs_usd"),
    "loss_usd",
)


def transactions_frame(records: dict[str, list[DayRecord]]) -> pd.DataFrame:
    """One row a move, a liquidation or a closing, see `LoopResult.transactions`."""
    rows = [
        row for name, each in records.items() for record in each for row in _moves(name, record)
    ]
    return _with_days(pd.DataFrame(rows, columns=list(_TRANSACTION_COLUMNS)))


def _moves(market: str, record: DayRecord) -> list[dict[str, Any]]:
    """What was done on the day: a move, a liquidation at its end, the closing of the run."""
    rows = []
    if record.decision.target is not None:
        sizes = record.leverage_before, record.leverage_after
        books = record.before, record.after
        rows.append(_move(market, record.day, record.decision, books, sizes))
    if call := record.liquidation.n_calls:
        rows.append(
            {
                **_move(
                    market,
                    record.target_day,
                    Decision(LoopAction.HOLD, record.decision.state),
                    (record.after, record.end),
                    (record.leverage_after, math.nan),
                ),
                "action": "liquidation",
                "n_transactions": call,
                "loss_usd": record.liquidation.loss_usd,
            }
        )
    if record.closing is not None and record.closing.target is not None:
        books = record.after, record.end
        sizes = record.leverage_after, record.closing.target.leverage
        rows.append(_move(market, record.target_day, record.closing, books, sizes))
    return rows


def _move(
    market: str,
    day: date,
    decision: Decision,
    books: tuple[LoopBook, LoopBook],
    sizes: tuple[float, float],
) -> dict[str, Any]:
    cost = decision.cost
    return {
        "date": day,
        "market": market,
        "action": str(decision.action),
        "from_pair": _pair(books[0]),
        "to_pair": _pair(books[1]),
        "leverage_before": sizes[0],
        "leverage_after": sizes[1],
        "n_transactions": cost.n_transactions,
        "turnover_usd": cost.turnover_usd,
        "gas_usd": cost.gas_usd,
        "swap_usd": cost.swap_usd,
        "flash_usd": cost.flash_usd,
        "costs_usd": cost.total_usd,
        "loss_usd": 0.0,
    }


def _pair(book: LoopBook) -> str:
    """``USDC/DAI``: supplied over borrowed; a coin alone, or the wallet."""
    if not book.is_supplied:
        return f"wallet {book.asset}".strip()
    return f"{book.asset}/{book.debt_asset}" if book.debt_asset else book.asset


_SUMS = (
    *("supply_usd", "borrow_usd", "reward_usd", "price_usd", "gas_usd", "swap_usd", "flash_usd"),
    *("costs_usd", "liquidation_usd", "shortfall_usd", "turnover_usd", "n_transactions"),
)


def totals_of(rows: pd.DataFrame) -> dict[str, Any]:
    """Sums and extremes of a market's days."""
    looped = rows["borrow_asset"] != ""
    health = rows["health_factor"].min()
    return {
        "start": f"{rows['date'].iloc[0]:%Y-%m-%d}",
        "end": f"{rows['target_date'].iloc[-1]:%Y-%m-%d}",
        "n_days": len(rows),
        "equity_start_usd": float(rows["equity_start_usd"].iloc[0]),
        "equity_end_usd": float(rows["equity_usd"].iloc[-1]),
        **{name: math.fsum(rows[name]) for name in _SUMS},
        "days_looped": int(looped.sum()),
        "days_negative_spread": int((rows["spread_pct"] < 0.0).sum()),
        "days_stuck": int((rows["state"] == "stuck").sum()),
        "days_flagged": int((rows["flags"] != "[]").sum()),
        "n_switches": int(rows["action"].isin(["switch", "relever", "unlever"]).sum()),
        "n_liquidations": int((rows["liquidation_usd"] > 0.0).sum()),
        "min_health_factor": None if math.isnan(health) else float(health),
        "max_leverage": float(rows["leverage"].max()),
        "mean_leverage": float(rows["leverage"].mean()),
    }
