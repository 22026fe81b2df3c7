"""What metrics are measured against, and how their uncertainty is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stableyield.errors import ParameterError

_LEAST = {"block_days": 1, "draws": 1, "seed": 0, "n_trials": 1}


@dataclass(frozen=True, slots=True)
class MetricOptions:
    """What the metrics are measured against and how their uncertainty is drawn.

    Parameters
    ----------
    risk_free_apy : float
        Rate of the Sharpe and Sortino ratios, fraction per year.
    block_days, draws, seed : int
        Circular block bootstrap of the net APY.
    n_trials : int
        Strategies or parameter sets that were tried before this one was shown, itself included.
    trials_deviation : float, optional
        Standard deviation of their annual Sharpe ratios; see `luck.deflated_sharpe`.

    Raises
    ------
    ParameterError
        When a number is below the least that makes sense.
    """

    risk_free_apy: float = 0.0
    block_days: int = 14
    draws: int = 2000
    seed: int = 0
    n_trials: int = 1
    trials_deviation: float | None = None

    def __post_init__(self) -> None:
        if not -1.0 < self.risk_free_apy < math.inf:
            raise ParameterError(
                f"risk_free_apy is {self.risk_free_apy}",
                remedy="give a fraction per year above -1 (0.04 is 4 %)",
            )
        for name, least in _LEAST.items():
            if not getattr(self, name) >= least:
                raise ParameterError(
                    f"{name} is {getattr(self, name)}", remedy=f"give {least} or more"
                )
