"""Statistics of a day's cross-section of pools, within groups and without the pool itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import Floats

Groups = NDArray[np.int64]


def group_medians_without_own(values: Floats, group_of: Groups) -> Floats:
    """Median of the other known values of each pool's group on that day; NaN without any.

    Leave-one-out: a pool is not its own neighbour, so the statistic carries no copy of its value.

    Parameters
    ----------
    values : ndarray of shape (n_days, n_pools)
    group_of : ndarray of int, shape (n_pools,)
    """
    result = np.full_like(values, np.nan)
    for columns in _columns_by_group(group_of):
        if len(columns) > 1:
            result[:, columns] = _medians_without_own(values[:, columns])
    return result


def ranks_within(values: Floats, group_of: Groups) -> Floats:
    """Share of the group's other known pools that have a smaller value, ties half; in [0, 1]."""
    result = np.full_like(values, np.nan)
    for columns in _columns_by_group(group_of):
        if len(columns) > 1:
            result[:, columns] = _shares_below(values[:, columns])
    return result


def _columns_by_group(group_of: Groups) -> list[NDArray[np.intp]]:
    order = np.argsort(group_of, kind="stable")
    borders = np.flatnonzero(np.diff(group_of[order])) + 1
    return np.split(order, borders)


def _medians_without_own(values: Floats) -> Floats:
    """From the sorted row: taking one value out moves the middle by at most one place."""
    order = np.argsort(values, axis=1, kind="stable")  # NaN comes last
    ordered = np.take_along_axis(values, order, axis=1)
    place = np.argsort(order, axis=1, kind="stable")
    others = np.isfinite(values).sum(axis=1, keepdims=True) - np.isfinite(values)

    def without_own(k: NDArray[np.intp]) -> Floats:
        at = np.where(k < place, k, k + 1)
        return np.take_along_axis(ordered, np.clip(at, 0, values.shape[1] - 1), axis=1)

    low = without_own(np.maximum(others - 1, 0) // 2)
    high = without_own(others // 2)
    middle: Floats = np.where(others > 0, low + (high - low) / 2.0, np.nan)
    return middle


def _shares_below(values: Floats) -> Floats:
    ordered = np.sort(values, axis=1)
    known = np.isfinite(values)
    others = known.sum(axis=1, keepdims=True) - 1
    below = np.empty_like(values)
    for row, (sorted_row, row_values) in enumerate(zip(ordered, values, strict=True)):
        left = np.searchsorted(sorted_row, row_values, side="left")
        right = np.searchsorted(sorted_row, row_values, side="right")
        below[row] = (left + right - 1) / 2.0
    share: Floats = np.where(known & (others > 0), below / np.maximum(others, 1), np.nan)
    return share
