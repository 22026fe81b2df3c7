"""Rows scattered over arrays of days by names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.market.panel import Days, Floats


def scattered(
    blocks: Iterable[NDArray[np.float64]],
    names: Sequence[str],
    days: Days,
    places: NDArray[np.intp],
) -> dict[str, Floats]:
    """One array of shape (n_days, n_pools) a name, NaN where no row says anything.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (n_rows, 2 + n_names)
        Day number, pool number and values; no (day, pool) occurs twice.
    names : sequence of str
        Of the values.
    days : ndarray of datetime64[D], shape (n_days,)
        Consecutive.
    places : ndarray of int
        Column of each pool number; -1 for pools that are left out.
    """
    n_pools = int(places.max(initial=-1)) + 1
    first = int(days[0].astype(np.int64))
    grids = {name: np.full((len(days), n_pools), np.nan) for name in names}
    for block in blocks:
        rows = block[:, 0].astype(np.intp) - first
        columns = places[block[:, 1].astype(np.intp)]
        inside = columns >= 0
        flat = rows[inside] * n_pools + columns[inside]
        for position, grid in enumerate(grids.values(), start=2):
            grid.ravel()[flat] = block[inside, position]
    for grid in grids.values():
        grid.setflags(write=False)
    return grids


def grids_of(
    table: pd.DataFrame, name_column: str, names: Sequence[str], days: Days, columns: Sequence[str]
) -> dict[str, Floats]:
    """The same from a small table with a column ``date``, one row a name and day."""
    numbers: dict[Any, int] = {name: position for position, name in enumerate(names)}
    block = np.column_stack(
        [
            table["date"].to_numpy().astype("datetime64[D]").astype(np.float64),
            table[name_column].map(numbers).to_numpy(dtype=np.float64),
            *(table[column].to_numpy(dtype=np.float64) for column in columns),
        ]
    )
    return scattered([block], columns, days, np.arange(len(names)))
