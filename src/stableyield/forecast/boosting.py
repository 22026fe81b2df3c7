"""Gradient boosted trees, set up so that the same rows give the same model, bit by bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import Floats

if TYPE_CHECKING:
    from lightgbm import Booster

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class BoostingSettings:
    """Size and regularisation of the trees.

    The defaults were chosen on validation spans (see docs/forecast.md): many small, strongly
    subsampled trees, for the rows of one day and of one pool are far from independent.
    """

    n_trees: int = 200
    learning_rate: float = 0.05
    num_leaves: int = 15
    min_data_in_leaf: int = 100
    feature_fraction: float = 0.5
    bagging_fraction: float = 0.7
    lambda_l2: float = 5.0
    max_bin: int = 127

    def parameters(self, n_rows: int, seed: int) -> dict[str, Any]:
        """As LightGBM names them; leaves shrink with the number of rows."""
        return {
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": int(min(self.min_data_in_leaf, max(10, n_rows // 50))),
            "feature_fraction": self.feature_fraction,
            "bagging_fraction": self.bagging_fraction,
            "bagging_freq": 1,
            "lambda_l2": self.lambda_l2,
            "max_bin": self.max_bin,
            "data_random_seed": 1,  # of the sample that the bins are made from
            "feature_pre_filter": False,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        }


class Trees:
    """Fits several sets of trees on the same rows; they are binned once.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, n_features)
        NaN is a value of its own: each split learns which side it goes to.
    settings : BoostingSettings
        Its ``max_bin`` holds for all fits on these rows.
    """

    def __init__(self, rows: Matrix, settings: BoostingSettings) -> None:
        import lightgbm  # noqa: PLC0415 - 0.5 s that only a fit must pay

        self._train = lightgbm.train
        self._n_rows = len(rows)
        parameters = settings.parameters(len(rows), seed=0)
        self._data = lightgbm.Dataset(
            rows, np.zeros(len(rows)), params=parameters, free_raw_data=True
        ).construct()

    def fit(
        self,
        target: Floats,
        weight: Floats,
        settings: BoostingSettings,
        *,
        seed: int,
        quantile: float | None = None,
    ) -> Booster:
        """Trees that minimise the weighted absolute error, or the pinball loss of ``quantile``.

        Parameters
        ----------
        target, weight : ndarray of shape (n_rows,)
        settings : BoostingSettings
        seed : int
        quantile : float, optional
            In (0, 1).
        """
        parameters = settings.parameters(self._n_rows, seed)
        if quantile is None:
            parameters["objective"] = "l1"
        else:
            parameters |= {"objective": "quantile", "alpha": quantile}
        self._data.set_label(target)
        self._data.set_weight(weight)
        return self._train(parameters, self._data, settings.n_trees)


def predict(booster: Booster, rows: Matrix) -> Floats:
    """The trees' value of each row; shape (n_rows,)."""
    if len(rows) == 0:
        return np.empty(0)
    return np.asarray(booster.predict(rows, num_threads=1), dtype=np.float64)
