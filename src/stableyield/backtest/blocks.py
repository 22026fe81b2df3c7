"""Blocks of days in values that JSON keeps, column by column: what a checkpoint logs.

A column of floats is the base64 text of their little-endian float64 bytes: exact to the last bit,
not-a-numbers included, and many times faster than writing digits. Any other column is a list.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import islice, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stableyield.backtest.record import DayTotals
from stableyield.backtest.rows import DayRows
from stableyield.domain.portfolio import Position

Column = str | list[Any]


def rows_block(days: Sequence[DayRows]) -> dict[str, Any]:
    """The rows of one policy's days.

    Parameters
    ----------
    days : sequence of DayRows, at least one
        What is held is written on the first day and where it changes.
    """
    return {
        "policy": days[0].policy,
        "log": [_column(values) for values in zip(*(day.log for day in days), strict=True)],
        "held": list(_changes(days)),
        "amounts": _packed(np.concatenate([day.amounts for day in days])),
        "amounts_usd": _packed(np.concatenate([day.amounts_usd for day in days])),
        "risk_groups": _text(np.concatenate([day.risk_groups for day in days])),
        "transactions": [day.transactions for day in days],
        "solve_seconds": _column([day.solve_seconds for day in days]),
        "seconds": _column([day.seconds for day in days]),
    }


def rows_of_block(block: Mapping[str, Any]) -> Iterator[DayRows]:
    """The rows that `rows_block` wrote."""
    amounts, amounts_usd = (_unpacked(block[name]) for name in ("amounts", "amounts_usd"))
    groups = np.frombuffer(base64.b64decode(block["risk_groups"]), dtype=np.int8)
    each_day = zip(
        zip(*map(_values, block["log"]), strict=True),
        _held(block["held"]),
        block["transactions"],
        _values(block["solve_seconds"]),
        _values(block["seconds"]),
        strict=False,  # what is held lasts
    )
    start = 0
    for log, held, steps, solve_seconds, seconds in each_day:
        part = slice(start, start + len(held))
        start = part.stop
        yield DayRows(
            policy=block["policy"],
            exec_date=date.fromisoformat(log[0]),
            log=log,
            held=held,
            amounts=amounts[part],
            amounts_usd=amounts_usd[part],
            risk_groups=groups[part],
            transactions=tuple(map(tuple, steps)),
            solve_seconds=solve_seconds,
            seconds=seconds,
        )


def totals_block(days: Sequence[DayTotals]) -> list[Any]:
    """The sums of one policy's days: its name, the dates, and a column for each sum."""
    sums = zip(*(day.sums for day in days), strict=True)
    dates = [day.exec_date.isoformat() for day in days]
    return [days[0].policy, dates, *map(_column, sums)]


def totals_of_block(block: Sequence[Any]) -> Iterator[DayTotals]:
    """The sums that `totals_block` wrote."""
    policy, dates, *sums = block
    for on, values in zip(dates, zip(*map(_values, sums), strict=True), strict=True):
        yield DayTotals(policy, date.fromisoformat(on), *values)


def _changes(days: Sequence[DayRows]) -> Iterator[tuple[int, tuple[Position, ...]]]:
    """Number of the day and what is held from then on."""
    before: tuple[Position, ...] | None = None
    for n, day in enumerate(days):
        if day.held is not before:
            before = day.held
            yield n, before


def _held(changes: Sequence[Sequence[Any]]) -> Iterator[tuple[Position, ...]]:
    """What is held on each day; without an end, as the last change lasts."""
    ends = (*(n for n, _ in changes[1:]), None)
    for (start, pairs), end in zip(changes, ends, strict=True):
        held = tuple((pool_id, token) for pool_id, token in pairs)
        yield from repeat(held) if end is None else islice(repeat(held), end - start)


def _column(values: Iterable[Any]) -> Column:
    values = list(values)
    return _packed(np.array(values)) if set(map(type, values)) == {float} else values


def _values(column: Column) -> list[Any]:
    return _unpacked(column).tolist() if isinstance(column, str) else column


def _packed(values: NDArray[np.float64]) -> str:
    return _text(values.astype("<f8", copy=False))


def _unpacked(text: str) -> NDArray[np.float64]:
    return np.frombuffer(base64.b64decode(text), dtype="<f8").astype(np.float64, copy=False)


def _text(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
