"""Rolling statistics of arrays with gaps: days down, pools across, NaN = unknown.

Row ``s`` of every result uses rows ``<= s`` of the input only, except in `horizon_mean`, which
looks ahead on purpose: it is the target. Sums over a window add the window's own values and never
subtract those that left it, so that a spike of 1e6 % leaves no rounding noise behind.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from stableyield.domain.rates import Floats

Counts = NDArray[np.int16]

ROUNDING = 1e-12
"""A variance below this share of the mean square is rounding noise: 0."""
TARGET_COVERAGE = 0.8
"""Share of a horizon's days that must be observed before its mean is a target."""


def trailing_sum(values: Floats, days: int) -> Floats:
    """Sum of the last ``days`` rows, unknown ones as 0; shape as ``values``."""
    return _window_sum(np.where(np.isfinite(values), values, 0.0), days)


def trailing_count(values: Floats, days: int) -> Counts:
    """Number of known values among the last ``days`` rows."""
    known = np.cumsum(np.isfinite(values), axis=0, dtype=np.int16)  # a difference may wrap round
    result = known.copy()
    result[days:] -= known[:-days]
    return result


def trailing_mean(values: Floats, days: int) -> Floats:
    """Mean of the known values among the last ``days`` rows; NaN where there is none."""
    return ratio(trailing_sum(values, days), trailing_count(values, days))


def trailing_std(values: Floats, days: int) -> Floats:
    """Sample standard deviation (n - 1) of the last ``days`` rows; NaN below two values.

    Call it with deviations from a value of the pool, not with levels: the squares then stay small
    and a constant pool has exactly 0.
    """
    filled = np.where(np.isfinite(values), values, 0.0)
    total, square = _window_sum(filled, days), _window_sum(filled * filled, days)
    return _std(total, square, trailing_count(values, days))


def last_std(values: Floats, days: int) -> Floats:
    """The last row of `trailing_std`, bit by bit; shape (n_columns,)."""
    rows = values[-days:]
    known = np.isfinite(rows)
    filled = np.where(known, rows, 0.0)
    return _std(last_sum(filled, days), last_sum(filled * filled, days), known.sum(axis=0))


def _std(total: Floats, square: Floats, count: Floats | Counts) -> Floats:
    """Sample standard deviation from the sum and the sum of squares of ``count`` values."""
    spread = square - total * ratio(total, count)
    spread = np.where(spread > ROUNDING * square, spread, 0.0)
    return np.sqrt(ratio(spread, count - 1))


def _window_sum(filled: Floats, days: int, decay: float | None = None) -> Floats:
    """Sum of the last ``days`` rows, from blocks of 1, 2, 4, ... rows: log2(days) additions.

    With ``decay``, a row counts ``decay`` to the power of its age. The zero rows in front make
    every window complete: the window of row ``s`` starts at padded row ``s``, and ``block[i]`` is
    the sum of the ``size`` rows from padded row ``i`` on, as seen from the last of them.
    """
    n_rows, n_columns = filled.shape
    block = np.concatenate([np.zeros((days - 1, n_columns), filled.dtype), filled])
    total, start, size = np.zeros_like(filled), 0, 1
    while True:
        if days & size:
            part = block[start : start + n_rows]
            start += size
            total += part if decay is None else part * decay ** (days - start)
        if start == days:
            return total
        older = block[:-size]
        block = block[size:] + (older if decay is None else older * decay**size)
        size *= 2


def last_sum(filled: Floats, days: int, decay: float | None = None) -> Floats:
    """The last row of the windows' sums, in the same order of additions; shape (n_columns,)."""
    n_rows, n_columns = filled.shape
    rows = filled[-days:]
    if n_rows < days:
        rows = np.concatenate([np.zeros((days - n_rows, n_columns)), rows])
    total, start = np.zeros(n_columns), 0
    for size in (1 << bit for bit in range(days.bit_length()) if days >> bit & 1):
        part = _paired(rows[start : start + size], decay)
        start += size
        total += part if decay is None else part * decay ** (days - start)
    return total


def _paired(rows: Floats, decay: float | None) -> Floats:
    """Sum of a power of two of rows, by pairs of neighbours, as `_window_sum` makes its blocks."""
    size = 1
    while len(rows) > 1:
        older, newer = rows[0::2], rows[1::2]
        rows = newer + (older if decay is None else older * decay**size)
        size *= 2
    row: Floats = rows[0]
    return row


def trailing_median(values: Floats, days: int) -> Floats:
    """Median of the known values among the last ``days`` rows; NaN where there is none."""
    if len(values) == 0:
        return values.copy()
    padded = np.concatenate([np.full((days - 1, values.shape[1]), np.nan), values])
    return median_of_last_axis(sliding_window_view(padded, days, axis=0))


def median_of_last_axis(values: Floats) -> Floats:
    """Median of the known values along the last axis; NaN where there is none."""
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    ordered = np.sort(values, axis=-1)  # NaN comes last
    count = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=-1)
    high = np.take_along_axis(ordered, np.minimum(count // 2, values.shape[-1] - 1), axis=-1)
    # the odd case takes the same element twice; low + (high - low) / 2 keeps it exact
    middle: Floats = np.where(count > 0, low + (high - low) / 2.0, np.nan)[..., 0]
    return middle


def exponential_mean(values: Floats, half_life_days: float) -> Floats:
    """Mean with weights that halve every ``half_life_days`` calendar days.

    A day without a value has no weight; the weights of the others sum to 1. It reaches back ten
    half-lives, 99.9 % of the weight, so that a pool which has come to rest is at rest exactly.
    NaN where there is no value.
    """
    decay, days = 0.5 ** (1.0 / half_life_days), exponential_reach_days(half_life_days)
    known = np.isfinite(values)
    total = _window_sum(np.where(known, values, 0.0), days, decay)
    return ratio(total, _window_sum(known.astype(np.float64), days, decay))


def last_exponential_mean(values: Floats, half_life_days: float) -> Floats:
    """The last row of `exponential_mean`, bit by bit; shape (n_columns,)."""
    decay, days = 0.5 ** (1.0 / half_life_days), exponential_reach_days(half_life_days)
    known = np.isfinite(values[-days:])
    # one pass over both: the weights are a second set of columns
    both = np.concatenate([np.where(known, values[-days:], 0.0), known], axis=1)
    sums, n_columns = last_sum(both, days, decay), values.shape[1]
    return ratio(sums[:n_columns], sums[n_columns:])


def last_mean(values: Floats, days: int) -> Floats:
    """The last row of `trailing_mean`, bit by bit; shape (n_columns,)."""
    rows = values[-days:]
    known = np.isfinite(rows)
    return ratio(last_sum(np.where(known, rows, 0.0), days), known.sum(axis=0))


def exponential_reach_days(half_life_days: float) -> int:
    """Days that an exponential mean looks at."""
    return math.ceil(10.0 * half_life_days)


def carried_forward(values: Floats, max_age_days: int) -> Floats:
    """The last known value, if it is at most ``max_age_days`` rows old; NaN otherwise."""
    result = values.copy()
    for age in range(1, max_age_days + 1):
        later = result[age:]
        np.copyto(later, values[: len(later)], where=np.isnan(later))
    return result


def seen_twice(values: Floats) -> NDArray[np.bool_]:
    """Where a pool has at least two known values up to and including the row."""
    known = np.isfinite(values)
    columns = np.arange(values.shape[1])
    known[known.argmax(axis=0), columns] = False  # the first one
    second = np.where(known.any(axis=0), known.argmax(axis=0), len(values))
    result: NDArray[np.bool_] = np.arange(len(values))[:, None] >= second
    return result


def last_known(values: Floats) -> Floats:
    """Each pool's last known value at whatever age; NaN where there is none; shape (n_pools,)."""
    rows = len(values) - 1 - np.isfinite(values[::-1]).argmax(axis=0)
    result: Floats = values[rows, np.arange(values.shape[1])]
    return result


def horizon_mean(values: Floats, horizon_days: int) -> Floats:
    """The target: mean of rows ``s+1 .. s+H`` on row ``s``; shape as ``values``.

    NaN where the horizon ends after the last row, or where fewer than `TARGET_COVERAGE` of its
    days (rounded up) are known.
    """
    needed = math.ceil(TARGET_COVERAGE * horizon_days)
    count = trailing_count(values, horizon_days)
    mean = ratio(trailing_sum(values, horizon_days), np.where(count >= needed, count, 0))
    result = np.full_like(values, np.nan)
    result[:-horizon_days] = mean[horizon_days:]
    return result


def ratio(numerator: Floats, denominator: Floats | Counts) -> Floats:
    """The quotient; NaN where the denominator is not positive."""
    return numerator / np.where(denominator > 0, denominator, np.nan)
