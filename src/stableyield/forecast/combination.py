"""Several models of one thing, and one answer."""

from __future__ import annotations

import numpy as np

from stableyield.domain.rates import Floats

SHORT_HORIZON_DAYS = 4
LINEAR_SHARE = 0.35
"""Share of the linear model for horizons above 4 days: it ranks pools better than trees do."""
PRIOR_CARRY_WEIGHT = 0.7
CARRY_WEIGHTS = np.linspace(0.0, 1.0, 11)
BLOCKS_HALF = 3.0
"""Independent outcomes, one after the other, at which what was learned weighs one half."""


def combined(by_trees: Floats, linear: Floats, horizon_days: int) -> Floats:
    """One forecast from those of the trees and of the linear model; shape (n_rows,).

    Up to 4 days ahead the median of all: where one model goes astray the median does not follow.
    Beyond, the median of the trees and the linear model in fixed shares.

    Parameters
    ----------
    by_trees : ndarray of shape (n_models, n_rows)
    linear : ndarray of shape (n_rows,)
    horizon_days : int
    """
    if horizon_days <= SHORT_HORIZON_DAYS:
        middle: Floats = np.median(np.vstack([by_trees, linear]), axis=0)
        return middle
    shared: Floats = (1.0 - LINEAR_SHARE) * np.median(by_trees, axis=0) + LINEAR_SHARE * linear
    return shared


def carry_weight(
    own_pct: Floats, carried_pct: Floats, outcome_pct: Floats, n_blocks: float
) -> float:
    """Weight of the carried forecast: the best one on past origins, drawn towards 0.7.

    What is forecast for 7 days, carried on, is the better forecast of a month when rates wander;
    the model of the month itself is when they revert. A holdout of 45 days holds one or two
    independent months, so it moves the weight by its share of `BLOCKS_HALF` such blocks.

    Parameters
    ----------
    own_pct, carried_pct, outcome_pct : ndarray of shape (n_rows,)
        On origins that neither model learned from.
    n_blocks : float
        Independent outcomes, one after the other, among them.
    """
    errors = [
        np.abs(own_pct + share * (carried_pct - own_pct) - outcome_pct).mean()
        for share in CARRY_WEIGHTS
    ]
    best = float(CARRY_WEIGHTS[int(np.argmin(errors))])
    trust = n_blocks / (n_blocks + BLOCKS_HALF)
    return PRIOR_CARRY_WEIGHT + trust * (best - PRIOR_CARRY_WEIGHT)
