"""One policy's day as rows of the tables: plain values that a checkpoint can keep."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stableyield.backtest.record import DayRecord
from stableyield.domain.portfolio import WALLET, Position, Transaction, TransactionType

Floats = NDArray[np.float64]

LOG = (
    *("exec_date", "target_date", "status", "aum_start", "aum_after", "aum_end"),
    *("total_fees_usd", "gas_usd", "conversion_usd", "yield_usd", "price_usd"),
    *("daily_actual_pnl", "daily_forecast_pnl", "realised_apy_pct", "n_positions"),
    *("n_token_changes", "turnover_usd", "allocations_by_token", "allocations_by_pool"),
    *("solver_status", "gap_usd", "bound_usd", "flow_usd", "growth_factor", "flags"),
)
ALLOCATIONS = ("allocations_by_token", "allocations_by_pool")
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
        The row of the daily log, in the order of `LOG`, without the `ALLOCATIONS`: these follow
        from what is held.
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
    held = (*book.layout.keys, *((WALLET, token) for token in book.wallet))
    if before is not None and held == before.held:
        held, n_changes = before.held, 0
    else:
        n_changes = len(set(book.layout.keys) ^ (before.positions if before else frozenset()))
    cash_usd = book.cash * np.array([prices[token] for token in book.wallet], dtype=np.float64)
    steps = record.transactions
    return DayRows(
        policy=record.policy,
        exec_date=record.exec_date,
        log=_log_row(record, n_changes),
        held=held,
        amounts=np.concatenate([book.amounts, book.cash]),
        amounts_usd=np.concatenate([book.worth(prices).values_usd, cash_usd]),
        risk_groups=np.concatenate([record.risk_groups, np.zeros(len(cash_usd), dtype=np.int8)]),
        transactions=tuple(_transaction_rows(steps, record.exec_date.isoformat())) if steps else (),
        solve_seconds=record.solve_seconds,
        seconds=record.seconds,
    )


def _log_row(record: DayRecord, n_changes: int) -> tuple[Any, ...]:
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
        len(money.after.pool_ids),
        n_changes,
        record.turnover_usd,
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


def log_columns(days: Sequence[DayRows]) -> dict[str, list[Any]]:
    """The daily log of one policy's days, column by column, in the order of `LOG`."""
    names = [name for name in LOG if name not in ALLOCATIONS]
    columns = dict(zip(names, map(list, zip(*(day.log for day in days), strict=True)), strict=True))
    texts = zip(*_allocations(days), strict=True)
    columns |= dict(zip(ALLOCATIONS, map(list, texts), strict=True))
    return {name: columns[name] for name in LOG}


def _allocations(days: Iterable[DayRows]) -> Iterator[tuple[str, str]]:
    """USD by token and by pool of each day, as JSON text."""
    shares = None
    for day in days:
        if shares is None or day.held is not shares.held:
            shares = _Shares(day.held)
        yield _encode(shares.by_token(day.amounts_usd)), _encode(shares.by_pool(day.amounts_usd))


class _Shares:
    """How what is held adds up by token and by pool, for as long as it stays the same."""

    def __init__(self, held: tuple[Position, ...]) -> None:
        self.held = held
        wallet = [n for n, (place, _) in enumerate(held) if place == WALLET]
        # a token's wallet balance comes first, then its positions in their order
        in_order = [*wallet, *(n for n, (place, _) in enumerate(held) if place != WALLET)]
        tokens = {held[n][1]: None for n in in_order}
        self._tokens = {token: n for n, token in enumerate(tokens)}
        self._in_order = np.array(in_order, dtype=np.intp)
        self._token = np.array([self._tokens[held[n][1]] for n in in_order], dtype=np.intp)
        pools: dict[str, list[int]] = {WALLET: []}  # which is always there
        for n, (place, _) in enumerate(held):
            pools.setdefault(place, []).append(n)
        self._pools = pools

    def by_token(self, amounts_usd: Floats) -> dict[str, float]:
        """USD by token."""
        sums = np.bincount(self._token, amounts_usd[self._in_order], len(self._tokens))
        return dict(zip(self._tokens, sums.tolist(), strict=True))

    def by_pool(self, amounts_usd: Floats) -> dict[str, float]:
        """USD by pool, the wallet among them."""
        usd = amounts_usd.tolist()
        return {
            pool: usd[parts[0]] if len(parts) == 1 else math.fsum([usd[n] for n in parts])
            for pool, parts in self._pools.items()
        }


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
