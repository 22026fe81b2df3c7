"""Intervals for skill: a paired circular block bootstrap over origins.

Forecasts of neighbouring origins share most of their outcome, and all pools of a day share its
events: only whole blocks of days are drawn, at least as long as the horizon, and the same ones
for both methods (Politis and Romano 1992; paired as in Diebold and Mariano 1995).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import Floats

LEVELS = (0.05, 0.95)
MIN_BLOCK_DAYS = 7
MIN_BLOCKS = 3
"""Blocks below which there is no interval: so few say nothing of the next one."""


def block_length(horizon_days: int, step_days: int) -> int:
    """Origins in a block that covers the horizon, and at least a week."""
    return math.ceil(max(horizon_days, MIN_BLOCK_DAYS) / step_days)


def drawn_sums(sums: Floats, length: int, n_draws: int, seed: int) -> Floats:
    """Sums over resampled origins; shape (n_draws, n_columns).

    Parameters
    ----------
    sums : ndarray of shape (n_origins, n_columns)
        What each origin adds.
    length : int
        Origins in a block.
    n_draws, seed : int
    """
    n_origins = len(sums)
    around = np.concatenate([sums, sums[: length - 1]])
    total = np.concatenate([np.zeros((1, sums.shape[1])), np.cumsum(around, axis=0)])
    blocks = total[length : length + n_origins] - total[:n_origins]
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, n_origins, (n_draws, math.ceil(n_origins / length)))
    result: Floats = blocks[starts].sum(axis=1)
    return result


def ratio_interval(sums: Floats, reference: Floats, length: int, draws: tuple[int, int]) -> Floats:
    """5 % and 95 % bounds of ``1 - sum / reference``; shape (2, n_columns).

    NaN with fewer than three blocks of origins that have rows, or where the reference is 0.

    Parameters
    ----------
    sums : ndarray of shape (n_origins, n_columns)
        Sum of absolute errors of each origin and method.
    reference : ndarray of shape (n_origins,)
        The same of the method that they are compared with, on the same rows.
    length : int
        Origins in a block.
    draws : (int, int)
        Number of draws, and the seed.
    """
    unknown = np.full((2, sums.shape[1]), np.nan)
    if np.count_nonzero(reference) < MIN_BLOCKS * length or len(reference) < MIN_BLOCKS * length:
        return unknown
    drawn = drawn_sums(np.column_stack([reference, sums]), length, *draws)
    drawn = drawn[drawn[:, 0] > 0.0]
    if len(drawn) == 0:
        return unknown
    result: Floats = np.quantile(1.0 - drawn[:, 1:] / drawn[:, :1], LEVELS, axis=0)
    return result


def sums_by_origin(values: Floats, origin: NDArray[np.int32], n_origins: int) -> Floats:
    """Sum of each origin's rows; shape (n_origins, n_methods) from (n_methods, n_rows)."""
    return np.column_stack([np.bincount(origin, row, n_origins) for row in values])
