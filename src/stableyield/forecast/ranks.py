"""Whether a method puts the pools of a day in the right order."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.domain.rates import Floats

MIN_RANKED_POOLS = 5
"""Pools that a day needs to count for the rank correlation."""


def rank_correlations(points: Floats, target: Floats, origin: NDArray[np.int32]) -> Floats:
    """Mean over origins of Spearman's correlation across pools; shape (n_methods,).

    An origin counts with at least 5 pools, not all equal; NaN where no origin does.

    Parameters
    ----------
    points : ndarray of shape (n_methods, n_rows)
    target : ndarray of shape (n_rows,)
    origin : ndarray of int, shape (n_rows,)
        Number of each row's origin.
    """
    n_origins = int(origin.max(initial=-1)) + 1
    size = np.bincount(origin, minlength=n_origins)
    kept = size[origin] >= MIN_RANKED_POOLS
    if not kept.any():
        return np.full(len(points), np.nan)
    origin = origin[kept]
    values = pd.DataFrame(np.vstack([target[kept], points[:, kept]]).T)
    ranks = values.groupby(origin).rank().to_numpy()
    centred = ranks - (size[origin, None] + 1) / 2.0
    square = _by_origin(centred**2, origin, n_origins)
    cross = _by_origin(centred[:, 1:] * centred[:, :1], origin, n_origins)
    norm = np.sqrt(square[:, 1:] * square[:, :1])
    counts = norm > 0.0
    each = np.where(counts, cross / np.where(counts, norm, 1.0), 0.0)
    n_days = counts.sum(axis=0)
    result: Floats = each.sum(axis=0) / np.where(n_days > 0, n_days, np.nan)
    return result


def _by_origin(values: Floats, origin: NDArray[np.int32], n_origins: int) -> Floats:
    return np.column_stack([np.bincount(origin, column, n_origins) for column in values.T])
