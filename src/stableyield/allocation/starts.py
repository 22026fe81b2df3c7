"""Where a search starts: patterns of on-off decisions taken from elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.blocks_trade import Arcs
from stableyield.allocation.milp import AllocationModel
from stableyield.allocation.solver import Start

Floats = NDArray[np.float64]

ON = 1e-7  # a move of the relaxation is on from this share of its largest amount


def rounded_up(model: AllocationModel, x: Floats) -> Start:
    """Every move of the relaxation ``x`` switched on, rather a deposit than a withdrawal."""
    is_on = x[model.moves] > ON
    gets = np.zeros(len(model.used), dtype=bool)
    gets[model.deposits.pool[x[model.deposits.binary] > ON]] = True
    both = model.withdrawals.binary[gets[model.withdrawals.pool]]
    is_on &= ~np.isin(model.moves, both)
    on = np.maximum(is_on, model.sparse.lower[model.moves])
    return model.moves.astype(np.int32), on


def pattern_of(x: Floats, old: AllocationModel, model: AllocationModel) -> Start:
    """The on-off decisions of a solution ``x`` of the model ``old``, in another model.

    What stands for pools that are no candidates is not used.
    """
    columns: list[int] = []
    values: list[float] = []

    def say(column: int, value: float) -> None:
        columns.append(int(column))
        values.append(float(np.round(value)))

    for mine, theirs in (
        (model.deposits, old.deposits),
        (model.withdrawals, old.withdrawals),
        (model.rescues, old.rescues),
    ):
        known = dict(zip(theirs.pool.tolist(), x[theirs.binary].tolist(), strict=True))
        for pool, column in zip(mine.pool.tolist(), mine.binary, strict=True):
            say(column, known.get(pool, 0.0))
    arcs_on = dict(zip(_pairs(old.arcs), x[old.arcs.moves.binary].tolist(), strict=True))
    for pair, column in zip(_pairs(model.arcs), model.arcs.moves.binary, strict=True):
        say(column, arcs_on.get(pair, 0.0))
    for column in model.other_counts:
        say(column, 0.0)
    return np.array(columns, dtype=np.int32), np.array(values)


def _pairs(arcs: Arcs) -> list[tuple[int, int]]:
    return list(zip(arcs.sold.tolist(), arcs.bought.tolist(), strict=True))
