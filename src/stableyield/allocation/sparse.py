"""A sparse mixed-integer program, put together from arrays block by block."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

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

    def with_row(self, name: str, columns: Ints, lower: float) -> SparseModel:
        """The model with one more row: the sum of ``columns`` is at least ``lower``."""
        columns = np.sort(columns)
        at_end_of_column = self.start[columns + 1]
        longer = np.zeros(len(self.start), dtype=np.int64)
        np.add.at(longer, columns + 1, 1)
        return replace(
            self,
            row_lower=np.append(self.row_lower, lower),
            row_upper=np.append(self.row_upper, np.inf),
            row_names=(*self.row_names, name),
            start=self.start + np.cumsum(longer),
            index=np.insert(self.index, at_end_of_column, len(self.row_lower)),
            value=np.insert(self.value, at_end_of_column, 1.0),
        )


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
