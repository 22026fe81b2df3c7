"""What cannot be in a better plan is taken out of the program before it is searched.

A plan is known, and the linear relaxation, sharpened by flow cuts, bounds all plans. By the duals
of the relaxation a move costs at least so much when it is made, or made with such an amount; where
the bound less that cost is not above the plan in hand, no better plan has the move, or not with
such an amount. Smaller largest amounts make sharper cuts and a sharper relaxation, and so on until
nothing more falls.

The bound of a move is that of its Lagrangian: the rows are priced by their duals, except the one
that binds the amount to the binary, and the rest is ``on + slope * excess`` for each move alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.flow_cuts import Rows, flow_cuts
from stableyield.allocation.flows import Flows
from stableyield.allocation.solver import LinearRelaxation, SolverResult, Start
from stableyield.allocation.sparse import SparseModel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

ROUNDING = 1e-6  # model units
IDLE = 1e-9  # dual of a row that does not bind
MARGIN = 1e-6  # objective units: what duals may be off
REPLACEABLE_ROWS = ("a deposit has a source", "flow cut")


@dataclass(frozen=True, eq=False)
class Program:
    """What is left of a model.

    Parameters
    ----------
    sparse : SparseModel
    flows : Flows
        In the columns and rows of ``sparse``.
    columns : ndarray of int
        Column of the whole model for each column of ``sparse``.
    n_columns : int
        Of the whole model.
    """

    sparse: SparseModel
    flows: Flows
    columns: Ints
    n_columns: int

    @classmethod
    def of(cls, sparse: SparseModel, flows: Flows) -> Program:
        """The whole model."""
        n, lower = len(sparse.cost), sparse.lower.copy()
        lower[flows.binary[flows.is_forced]] = 1.0
        lower[flows.excess[flows.is_forced]] = flows.least[flows.is_forced]
        return cls(replace(sparse, lower=lower), flows, np.arange(n), n)

    def without(self, off: Bools, idle: Bools | None = None) -> Program:
        """The program without some moves, and what then is 0 or says nothing.

        Parameters
        ----------
        off : ndarray of bool, shape (n_moves,)
        idle : ndarray of bool, shape (n_rows,), optional
            Rows to leave out.
        """
        sparse, flows = self.sparse, self.flows
        gone = np.zeros(len(sparse.cost), dtype=bool)
        gone[flows.binary[off]] = True
        gone[flows.excess[off]] = True
        gone = sparse.forced_to_zero(gone)
        off = gone[flows.binary]
        gone[flows.excess] = off
        gone[flows.spare] = False
        rows = np.zeros(len(sparse.row_lower), dtype=bool) if idle is None else idle
        smaller, column, row = sparse.without(gone, rows)
        kept = self.columns[~gone]
        return Program(smaller, flows.of(~off, column, row), kept, self.n_columns)

    def without_moves(self) -> Program:
        """The program in which nothing is moved."""
        return self.without(np.ones(len(self.flows.binary), dtype=bool))

    def fixed_where_decided(self, x: Floats, on: float) -> Program:
        """The program without the moves of which a solution has less than the share ``on``.

        Those of which it has all are kept on.
        """
        share = x[self.flows.binary]
        smaller = self.without((share < on) & ~self.flows.is_forced)
        lower, wholly = smaller.sparse.lower.copy(), np.zeros(self.n_columns)
        wholly[self.columns] = x
        binaries = smaller.flows.binary
        lower[binaries[wholly[smaller.columns[binaries]] > 1.0 - on]] = 1.0
        return replace(smaller, sparse=replace(smaller.sparse, lower=lower))

    def start(self, x: Floats) -> Start:
        """The moves of a solution of the whole model as a start; without those that are gone."""
        binaries = self.flows.binary
        return binaries.astype(np.int32), np.round(x[self.columns[binaries]])

    def in_whole(self, x: Floats) -> Floats:
        """A solution in the columns of the whole model."""
        result = np.zeros(self.n_columns)
        result[self.columns] = x
        return result


def relaxed(
    program: Program, enough: float, n_rounds: int, seconds: float
) -> tuple[Program, SolverResult]:
    """The relaxation with flow cuts, and the program with those of them that bind.

    Ends when the objective is not above ``enough``, after ``n_rounds``, or when no cut is violated.
    """
    linear = LinearRelaxation(program.sparse, seconds)
    result = linear.solve()
    cuts: list[Rows] = []
    for _ in range(n_rounds):
        if result.x is None or result.objective <= enough:
            break
        new = flow_cuts(program.flows, result.x)
        if len(new) == 0:
            break
        linear.add_rows(new.start, new.column, new.value, new.upper)
        cuts.append(new)
        result = linear.solve()
    if result.x is None or not cuts:
        return program, result
    rows = Rows.join(cuts)
    return replace(
        program,
        sparse=program.sparse.with_rows(
            "flow cut", rows.start, rows.column, rows.value, rows.upper
        ),
    ), result


def shaved(program: Program, relaxation: SolverResult, cutoff: float) -> Program:
    """The program without what only plans not above ``cutoff`` have.

    Parameters
    ----------
    program : Program
    relaxation : SolverResult
        Of this program.
    cutoff : float
        Objective of interest, in units of the objective.
    """
    flows = program.flows
    row_dual, column_dual = relaxation.row_dual, relaxation.column_dual
    if row_dual is None or column_dual is None:
        raise AssertionError
    slack = relaxation.objective - cutoff + MARGIN
    bind = row_dual[flows.row]
    slope = column_dual[flows.excess] + bind
    fixed = column_dual[flows.binary] - bind * flows.most
    low = program.sparse.lower[flows.excess]
    share = fixed + np.maximum(slope * low, slope * flows.most)  # in the bound
    share = np.where(flows.is_forced, share, np.maximum(share, 0.0))
    allowed = slack - share + fixed  # at least -slope * excess
    limit = np.divide(-allowed, slope, out=np.zeros_like(slope), where=slope != 0.0)
    most = np.where(slope < 0.0, np.minimum(flows.most, limit), flows.most)
    least = np.where(slope > 0.0, np.maximum(flows.least, limit), flows.least)
    most = np.minimum(most, _supplied(flows))
    off = (most < least - ROUNDING) & ~flows.is_forced
    on = ~off & (share > slack)
    # a little more than needed, so that rounding cuts nothing off
    most = np.clip(most + ROUNDING, flows.least, flows.most)
    least = np.clip(least - ROUNDING, flows.least, flows.most)
    sparse = _tightened(program, most, on)
    flows = replace(flows, least=least, most=most, is_forced=flows.is_forced | on)
    is_replaceable = np.isin(np.array(sparse.row_names), REPLACEABLE_ROWS)
    idle = is_replaceable & (np.abs(row_dual) < IDLE)
    return replace(program, sparse=sparse, flows=flows).without(off, idle)


def _supplied(flows: Flows) -> Floats:
    """The most excess of each move that all others together can cover."""
    largest = flows.minimum + flows.most
    supply = flows.at_hand + np.maximum(flows.brings, 0.0) @ largest
    limit = np.full(flows.brings.shape, np.inf)
    takes = flows.brings < 0.0
    np.divide(-supply[:, None], flows.brings, out=limit, where=takes)
    result: Floats = limit.min(axis=0, initial=np.inf) - flows.minimum
    return result


def _tightened(program: Program, most: Floats, on: Bools) -> SparseModel:
    """Smaller largest amounts, in the bounds and in the rows that bind amounts to binaries."""
    sparse, flows = program.sparse, program.flows
    lower, upper, value = sparse.lower.copy(), sparse.upper.copy(), sparse.value.copy()
    lower[flows.binary[on]] = 1.0
    upper[flows.excess] = most
    less = most < flows.most
    value[sparse.places(flows.row[less], flows.binary[less])] = -most[less]
    return replace(sparse, lower=lower, upper=upper, value=value)
