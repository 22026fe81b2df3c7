"""Days that went through a block of a checkpoint are the same days, to the last bit."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from stableyield.backtest.blocks import rows_block, rows_of_block, totals_block, totals_of_block
from stableyield.backtest.record import DayTotals
from stableyield.backtest.rows import LOG, TRANSACTIONS, DayRows
from stableyield.domain.portfolio import WALLET
from support.markets import day

HELD = ((("a", "USDC"), (WALLET, "DAI")), ((WALLET, "DAI"),), ())


def days_of(*held, seed: int = 4) -> list[DayRows]:
    """A day for each number of what is held, with values that are awkward to write."""
    rng = np.random.default_rng(seed)
    awkward = [float("nan"), float("inf"), -0.0, 5e-324, 0.1 + 0.2]
    days = []
    for n, which in enumerate(held):
        sums = rng.lognormal(0.0, 20.0, len(LOG) - 9).tolist()
        texts = [day(n).isoformat(), day(n + 1).isoformat(), "done", '{"a":1.5}', "[]"]
        n_held = len(HELD[which])
        days.append(
            DayRows(
                policy="mine",
                exec_date=day(n),
                log=(*texts, *sums, n, awkward[n % 5], awkward[-1 - n % 5], n + 1),
                held=HELD[which],
                amounts=rng.lognormal(0.0, 20.0, n_held),
                amounts_usd=rng.lognormal(0.0, 20.0, n_held),
                risk_groups=rng.integers(0, 4, n_held).astype(np.int8),
                transactions=(tuple(map(str, TRANSACTIONS)), (n, 0.1, "")) if n % 2 else (),
                solve_seconds=awkward[n % 5],
                seconds=0.25 * n,
            )
        )
    return days


def bits(value):
    """Something that is equal where every float has the same bits."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tobytes()
    if isinstance(value, tuple):
        return tuple(map(bits, value))
    return (type(value), repr(value))


@pytest.mark.parametrize(
    "held", [(0,), (0, 0, 0), (0, 1, 1, 0, 2), (2, 2, 1), (1, 0), (2,)], ids=str
)
def test_rows_come_back_as_they_were(held):
    days = days_of(*held)
    back = list(rows_of_block(json.loads(json.dumps(rows_block(days)))))
    assert len(back) == len(days)
    for one, other in zip(days, back, strict=True):
        for item in fields(DayRows):
            assert bits(getattr(one, item.name)) == bits(getattr(other, item.name)), item.name


def test_what_is_held_is_written_where_it_changes():
    assert [n for n, _ in rows_block(days_of(0, 0, 1, 1, 0))["held"]] == [0, 2, 4]


def test_sums_come_back_as_they_were():
    first = DayTotals("mine", day(1), 0.1 + 0.2, -0.0, 5e-324, 1e308, 3.0)
    days = [first, replace(first, exec_date=day(2), flow_usd=float("nan"))]
    back = list(totals_of_block(json.loads(json.dumps(totals_block(days)))))
    assert list(map(repr, back)) == list(map(repr, days))
