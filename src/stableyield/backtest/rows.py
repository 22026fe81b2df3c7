"""One policy's day as rows of the tables: plain values that a checkpoint can keep."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stableyield.backtest.record import DayRecord
from stableyield.domain.portfolio import WALLET, Book, Position, Transaction, TransactionType

Floats = NDArray[np.float64]

LOG = (
    *("exec_date", "target_date", "status", "aum_start", "aum_after", "aum_end"),
    *("total_fees_usd", "gas_usd", "conversion_usd", "yield_usd", "price_usd"),
    *("daily_actual_pnl", "daily_forecast_pnl", "realised_apy_pct", "n_positions"),
    *("n_token_changes", "turnover_usd", "allocations_by_token", "allocations_by_pool"),
    *("solver_status", "gap_usd", "bound_usd", "flow_usd", "growth_factor", "flags"),
)
TRANSACTIONS = (
    *("exec_date", "seq", "type", "from_location", "to_location", "token", "to_token"),
    *("amount", "amount_usd", "to_amount", "gas_cost_usd", "conversion_cost_usd"),
    "total_cost_usd",
)

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, eq=False, slots=True)
class DayRows:
    """The rows of one policy's day.

    Parameters
    ----------
    policy : str
    exec_date : date
    log : tuple
        The row of the daily log, in the order of `LOG`.
    held : tuple of (pool_id, token), length n_held
        The book after the plan: positions, then the wallet.
    amounts, amounts_usd : ndarray of shape (n_held,)
    risk_groups : ndarray of int8, shape (n_held,)
    transactions : tuple of tuple
        In the order of `TRANSACTIONS`.
    solve_seconds, seconds : float
    """

    policy: str
    exec_date: date
    log: tuple[Any, ...]
    held: tuple[Position, ...]
    amounts: Floats
    amounts_usd: Floats
    risk_groups: NDArray[np.int8]
    transactions: tuple[tuple[Any, ...], ...]
    solve_seconds: float
    seconds: float

    @property
    def positions(self) -> frozenset[Position]:
        """What is held in pools."""
        return frozenset(held for held in self.held if held[0] != WALLET)


def rows_of(record: DayRecord, before: DayRows | None = None) -> DayRows:
    """The rows of a day; ``before`` is the day before, to count what came and went."""
    book, prices = record.money.after, record.money.prices_usd
    day = record.exec_date.isoformat()
    held = (*book.positions, *((WALLET, token) for token in book.wallet))
    if before is not None and held == before.held:
        held, n_changes = before.held, 0
    else:
        n_changes = len(set(book.positions) ^ (before.positions if before else frozenset()))
    amounts = [*book.positions.values(), *book.wallet.values()]
    amounts_usd = [amount * prices[token] for (_, token), amount in zip(held, amounts, strict=True)]
    by_pool = _by_pool(held, amounts_usd)
    groups = record.risk_groups
    return DayRows(
        policy=record.policy,
        exec_date=record.exec_date,
        log=_log_row(record, by_pool, n_changes),
        held=held,
        amounts=np.array(amounts, dtype=np.float64),
        amounts_usd=np.array(amounts_usd, dtype=np.float64),
        risk_groups=np.array([groups.get(pool_id, 0) for pool_id, _ in held], dtype=np.int8),
        transactions=tuple(_transaction_rows(record.transactions, day)),
        solve_seconds=record.solve_seconds,
        seconds=record.seconds,
    )


def _log_row(record: DayRecord, by_pool: Mapping[str, float], n_changes: int) -> tuple[Any, ...]:
    money, result = record.money, record.result
    aum_start_usd, gas_usd, conversion_usd = (
        record.aum_start_usd,
        record.gas_usd,
        record.conversion_usd,
    )
    growth = result.aum_usd / aum_start_usd
    return (
        record.exec_date.isoformat(),
        (record.exec_date + timedelta(days=1)).isoformat(),
        "held" if record.is_held else "done",
        aum_start_usd,
        money.aum_after_usd,
        result.aum_usd,
        gas_usd + conversion_usd,
        gas_usd,
        conversion_usd,
        result.yield_usd,
        result.price_usd,
        result.aum_usd - aum_start_usd,
        record.forecast_yield_usd - (gas_usd + conversion_usd),
        _over_a_year_pct(growth),
        len(by_pool) - 1,
        n_changes,
        record.turnover_usd,
        _encode(_by_token(money.after, money.prices_usd)),
        _encode(by_pool),
        record.status,
        record.gap_usd,
        record.bound_usd,
        record.flow_usd,
        growth,
        _encode(record.flags) if record.flags else "[]",
    )


def _over_a_year_pct(growth: float) -> float:
    """APY of a day's growth; a day that multiplies money is infinite over a year."""
    try:
        return 100.0 * (growth**365 - 1.0)
    except OverflowError:
        return math.inf


def _by_pool(held: Sequence[Position], amounts_usd: Sequence[float]) -> dict[str, float]:
    """USD by pool; the wallet, which is always there, is one of them."""
    parts: dict[str, list[float]] = {WALLET: []}
    for (pool_id, _), usd in zip(held, amounts_usd, strict=True):
        parts.setdefault(pool_id, []).append(usd)
    return {name: usd[0] if len(usd) == 1 else math.fsum(usd) for name, usd in parts.items()}


def _by_token(book: Book, prices: Mapping[str, float]) -> dict[str, float]:
    total: dict[str, float] = {}
    for token, amount in book.wallet.items():
        total[token] = total.get(token, 0.0) + amount * prices[token]
    for (_, token), amount in book.positions.items():
        total[token] = total.get(token, 0.0) + amount * prices[token]
    return total


def _transaction_rows(steps: Iterable[Transaction], day: str) -> Iterable[tuple[Any, ...]]:
    """The steps of a day, without holds; those of a day with two parts are numbered through."""
    offset = last = 0
    for step in steps:
        if step.seq <= last - offset:  # the second part of the day begins
            offset = last
        last = offset + step.seq
        if step.type is TransactionType.HOLD:
            continue
        yield (
            day,
            last,
            step.type.value,
            step.from_location,
            step.to_location,
            step.token,
            step.to_token or "",
            step.amount,
            step.amount_usd,
            step.to_amount,
            step.gas_cost_usd,
            step.conversion_cost_usd,
            step.total_cost_usd,
        )
