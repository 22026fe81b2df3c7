"""From the rows of a table to arrays of days and columns: where each row goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Days = NDArray[np.datetime64]


@dataclass(frozen=True, eq=False)
class Cells:
    """The rows of a table and their places in an array of shape (n_days, n_names).

    Parameters
    ----------
    table : DataFrame
        Only rows that have a place.
    day, column : ndarray of int, shape (n_rows,)
        Place of each row.
    shape : tuple of int
        (n_days, n_names).
    """

    table: pd.DataFrame
    day: Integers
    column: Integers
    shape: tuple[int, int]

    @classmethod
    def of(
        cls, table: pd.DataFrame, name: str, moment: str, names: Sequence[str], days: Days
    ) -> Self:
        """Places by the columns ``name`` and ``moment``; rows of other names or days have none."""
        day = _offsets(table[moment], days)
        codes, found = pd.factorize(table[name])  # never a Python text for each of many rows
        column = pd.Index(names).get_indexer(pd.Index(found))[codes].astype(np.int64, copy=False)
        inside = (day >= 0) & (day < len(days)) & (column >= 0)
        if not inside.all():
            table, day, column = table[inside], day[inside], column[inside]
        return cls(table, day, column, (len(days), len(names)))

    def in_order(self, order: Sequence[int]) -> Self:
        """With the names in another order."""
        rank = np.empty(len(order), dtype=np.int64)
        rank[np.asarray(order, dtype=np.int64)] = np.arange(len(order))
        return replace(self, column=rank[self.column])

    def first_known(self, columns: Sequence[str]) -> Integers:
        """First day with a value in any of ``columns``, by name; n_days without; (n_names,)."""
        n_days, n_names = self.shape
        known = np.zeros(len(self.day), dtype=bool)
        for name in columns:
            known |= np.isfinite(self.table[name].to_numpy(dtype=np.float64))
        first = np.full(n_names, n_days, dtype=np.int64)
        np.minimum.at(first, self.column[known], self.day[known])
        return first

    def arrays(self, columns: Sequence[str]) -> dict[str, Floats]:
        """A read-only array for each of ``columns`` that the table has, NaN where no row is.

        A name's days lie side by side in memory, as a panel keeps them.
        """
        n_days, n_names = self.shape
        place = self.column * n_days + self.day
        result = {}
        for name in columns:
            if name in self.table:
                flat = np.full(n_names * n_days, np.nan)
                flat[place] = self.table[name].to_numpy(dtype=np.float64)
                flat.setflags(write=False)
                result[name] = flat.reshape(n_names, n_days).T
        return result


def _offsets(moments: pd.Series[Any], days: Days) -> Integers:
    """Days since the first of ``days``."""
    offsets: Integers = (moments.to_numpy().astype("datetime64[D]") - days[0]).astype(np.int64)
    return offsets
