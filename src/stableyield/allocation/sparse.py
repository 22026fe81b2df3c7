"""A sparse mixed-integer program, put together from arrays block by block."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import compress

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SMALLEST_ENTRY = 1e-9  # HiGHS drops entries up to this size and calls the model into question


@dataclass(frozen=True, eq=False)
class SparseModel:
    """Maximise ``cost @ x`` with ``row_lower <= A x <= row_upper`` and bounds on x.

    ``A`` is stored by column: ``start`` (n_columns + 1), ``index`` and ``value`` (n_entries), with
    no entry repeated.
    """

    cost: Floats
    lower: Floats
    upper: Floats
    integer: Bools
    row_lower: Floats
    row_upper: Floats
    row_names: tuple[str, ...]
    start: Ints
    index: Ints
    value: Floats

    def with_rows(
        self, name: str, start: Ints, column: Ints, value: Floats, upper: Floats
    ) -> SparseModel:
        """The model with more rows ``sum(value * x[column]) <= upper``.

        Row r has the entries ``start[r]:start[r + 1]``.
        """
        n_rows, n_new = len(self.row_lower), len(upper)
        row = np.concatenate([self.index, np.repeat(np.arange(n_new) + n_rows, np.diff(start))])
        all_columns = np.concatenate([self.column, column])
        order = np.argsort(all_columns, kind="stable")
        return replace(
            self,
            row_lower=np.append(self.row_lower, np.full(n_new, -np.inf)),
            row_upper=np.append(self.row_upper, upper),
            row_names=(*self.row_names, *[name] * n_new),
            start=_starts(all_columns, len(self.cost)),
            index=row[order],
            value=np.concatenate([self.value, value])[order],
        )

    def without(self, columns: Bools, rows: Bools) -> tuple[SparseModel, Ints, Ints]:
        """The model without some columns and rows, and rows that then say nothing.

        A row that is then empty but demands something stays: nothing can meet it. Returns the
        model with the new number of each old column and row; -1: gone.
        """
        column = self.column
        kept = ~columns[column] & ~rows[self.index]
        demands = (self.row_lower > 0.0) | (self.row_upper < 0.0)
        keep_row = ~rows & (demands | (np.bincount(self.index[kept], minlength=len(rows)) > 0))
        new_column = np.where(columns, -1, np.cumsum(~columns) - 1)
        new_row = np.where(keep_row, np.cumsum(keep_row) - 1, -1)
        smaller = SparseModel(
            cost=self.cost[~columns],
            lower=self.lower[~columns],
            upper=self.upper[~columns],
            integer=self.integer[~columns],
            row_lower=self.row_lower[keep_row],
            row_upper=self.row_upper[keep_row],
            row_names=tuple(compress(self.row_names, keep_row.tolist())),
            start=_starts(new_column[column[kept]], int((~columns).sum())),
            index=new_row[self.index[kept]],
            value=self.value[kept],
        )
        return smaller, new_column, new_row

    def forced_to_zero(self, zero: Bools) -> Bools:
        """``zero`` and the columns that must be 0 when those in ``zero`` are.

        A row without negative entries whose upper limit is 0 leaves nothing for its columns.
        """
        column = self.column
        left = ~zero[column]
        spoilt = left & ((self.value < 0.0) | (self.lower[column] != 0.0))
        tight = self.row_upper == 0.0
        tight &= np.bincount(self.index[spoilt], minlength=len(tight)) == 0
        result = zero.copy()
        result[column[left & tight[self.index]]] = True
        return result

    @property
    def column(self) -> Ints:
        """Column of each entry."""
        return np.repeat(np.arange(len(self.cost)), np.diff(self.start))

    def places(self, rows: Ints, columns: Ints) -> Ints:
        """Where the entries of pairs of row and column stand; all of them must be there."""
        n_rows = len(self.row_lower)
        key = self.column * n_rows + self.index
        result: Ints = np.searchsorted(key, columns * n_rows + rows)
        return result


def _starts(columns: Ints, n_columns: int) -> Ints:
    counts = np.bincount(columns, minlength=n_columns)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


@dataclass
class ModelBuilder:
    """Collects columns and rows; `build` merges repeated entries and sorts them by column."""

    _cost: list[Floats] = field(default_factory=list)
    _lower: list[Floats] = field(default_factory=list)
    _upper: list[Floats] = field(default_factory=list)
    _integer: list[Bools] = field(default_factory=list)
    _rows: list[Ints] = field(default_factory=list)
    _columns: list[Ints] = field(default_factory=list)
    _values: list[Floats] = field(default_factory=list)
    _row_lower: list[float] = field(default_factory=list)
    _row_upper: list[float] = field(default_factory=list)
    _row_names: list[str] = field(default_factory=list)
    _late_costs: list[tuple[Ints, Floats]] = field(default_factory=list)
    n_columns: int = 0

    def columns(
        self,
        n: int,
        *,
        cost: ArrayLike = 0.0,
        lower: ArrayLike = 0.0,
        upper: ArrayLike = np.inf,
        integer: bool = False,
    ) -> Ints:
        """Add ``n`` columns and return their numbers; scalars are repeated."""
        for store, value in (
            (self._cost, cost),
            (self._lower, lower),
            (self._upper, upper),
        ):
            store.append(np.broadcast_to(np.asarray(value, dtype=np.float64), (n,)))
        self._integer.append(np.full(n, integer))
        numbers = np.arange(self.n_columns, self.n_columns + n)
        self.n_columns += n
        return numbers

    def binaries(self, n: int, *, cost: ArrayLike = 0.0) -> Ints:
        """Add ``n`` columns that are 0 or 1."""
        return self.columns(n, cost=cost, upper=1.0, integer=True)

    def row(self, name: str, lower: float = -np.inf, upper: float = np.inf) -> int:
        """Add an empty row and return its number."""
        self._row_names.append(name)
        self._row_lower.append(lower)
        self._row_upper.append(upper)
        return len(self._row_names) - 1

    def rows(self, name: str, n: int, lower: float = -np.inf, upper: float = np.inf) -> Ints:
        """Add ``n`` empty rows of one name and return their numbers."""
        first = len(self._row_names)
        self._row_names.extend([name] * n)
        self._row_lower.extend([lower] * n)
        self._row_upper.extend([upper] * n)
        return np.arange(first, first + n)

    def put(self, rows: ArrayLike, columns: ArrayLike, values: ArrayLike) -> None:
        """Add entries; the three are broadcast against each other, repeated ones add up."""
        r = np.asarray(rows, dtype=np.int64)
        c = np.asarray(columns, dtype=np.int64)
        v = np.asarray(values, dtype=np.float64)
        if not r.shape == c.shape == v.shape:  # broadcasting costs more than all the rest
            r, c, v = np.broadcast_arrays(r, c, v)
        self._rows.append(r.ravel())
        self._columns.append(c.ravel())
        self._values.append(v.ravel())

    def add_cost(self, columns: ArrayLike, cost: ArrayLike) -> None:
        """Add ``cost`` per unit of ``columns`` to the objective."""
        c, v = np.broadcast_arrays(
            np.asarray(columns, dtype=np.int64), np.asarray(cost, dtype=np.float64)
        )
        self._late_costs.append((c.ravel(), v.ravel()))

    def build(self) -> SparseModel:
        """The model; entries that cancel or are too small for the solver are left out."""
        n_rows = len(self._row_names)
        rows, columns, values = (
            np.concatenate(part) if part else np.zeros(0, dtype)
            for part, dtype in (
                (self._rows, np.int64),
                (self._columns, np.int64),
                (self._values, np.float64),
            )
        )
        key, where = np.unique(columns * max(n_rows, 1) + rows, return_inverse=True)
        merged = np.zeros(len(key))
        np.add.at(merged, where, values)
        keep = np.abs(merged) > SMALLEST_ENTRY
        key, merged = key[keep], merged[keep]
        counts = np.bincount(key // max(n_rows, 1), minlength=self.n_columns)
        cost = np.concatenate(self._cost)
        for late_columns, late_cost in self._late_costs:
            np.add.at(cost, late_columns, late_cost)
        return SparseModel(
            cost=cost,
            lower=np.concatenate(self._lower),
            upper=np.concatenate(self._upper),
            integer=np.concatenate(self._integer),
            row_lower=np.array(self._row_lower),
            row_upper=np.array(self._row_upper),
            row_names=tuple(self._row_names),
            start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            index=(key % max(n_rows, 1)).astype(np.int64),
            value=merged,
        )
