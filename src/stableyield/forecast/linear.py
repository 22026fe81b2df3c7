"""A pooled linear model with the absolute error as its loss.

Iteratively reweighted least squares: a row counts by 1 / max(|residual|, epsilon), which turns the
squares into absolute values (Schlossmacher 1973), with a ridge on all but the intercept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import Floats

RIDGE = 500.0
SMALLEST_RESIDUAL = 0.1
N_ITERATIONS = 15
INPUT_LIMIT = 5.0
OUTPUT_LIMIT = 8.0
CHUNK_ROWS = 8192


@dataclass(frozen=True, eq=False)
class LinearModel:
    """Coefficients of clipped inputs; an unknown input counts as 0, that is "no distance"."""

    coefficients: Floats

    def predict(self, rows: NDArray[np.float32]) -> Floats:
        """Value of each row, held to +-8 units; shape (n_rows,)."""
        inputs = design(rows)
        total = np.zeros(len(rows))
        for column, coefficient in zip(inputs.T, self.coefficients, strict=True):
            total += coefficient * column  # one order of additions, however many rows
        result: Floats = np.clip(total, -OUTPUT_LIMIT, OUTPUT_LIMIT)
        return result


def design(rows: NDArray[np.float32]) -> Floats:
    """Intercept and inputs held to +-5; shape (n_rows, 1 + n_inputs)."""
    held = np.clip(rows.astype(np.float64), -INPUT_LIMIT, INPUT_LIMIT)
    held = np.where(np.isfinite(held), held, 0.0)
    return np.concatenate([np.ones((len(rows), 1)), held], axis=1)


def fit_linear(rows: NDArray[np.float32], target: Floats, weight: Floats) -> LinearModel:
    """The coefficients that minimise the weighted absolute error.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, n_inputs)
    target, weight : ndarray of shape (n_rows,)
    """
    inputs = design(rows)
    penalty = RIDGE * np.eye(inputs.shape[1])
    penalty[0, 0] = 1e-6
    coefficients = np.zeros(inputs.shape[1])
    for _ in range(N_ITERATIONS):
        residual = np.abs(target - inputs @ coefficients)
        weighted = inputs * (weight / np.maximum(residual, SMALLEST_RESIDUAL))[:, None]
        solved = np.linalg.solve(weighted.T @ inputs + penalty, weighted.T @ target)
        coefficients = solved.astype(np.float64)
    return LinearModel(coefficients)
