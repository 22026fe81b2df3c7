"""How likely a Sharpe ratio is more than luck: its error, and the number of trials before it."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from stableyield.domain.rates import DAYS_PER_YEAR, day_return
from stableyield.errors import ParameterError
from stableyield.report.performance import ZERO_VOLATILITY, Floats, Undefined, Value

EULER_MASCHERONI = 0.5772156649015329
FEWEST_DAYS = 10  # below it third and fourth moments say nothing
_NORMAL = NormalDist()


def probabilistic_sharpe(
    sharpe: float, benchmark: float, n_days: int, skewness: float, kurtosis: float
) -> float:
    """Probability that the true Sharpe ratio exceeds ``benchmark``, given what was seen.

    ``Phi((SR - SR*) sqrt(n - 1) / sqrt(1 - g3 SR + (g4 - 1) / 4 SR**2))``: Bailey and Lopez de
    Prado (2012), The Sharpe Ratio Efficient Frontier, Journal of Risk 15(2). Days are taken as
    independent; yields persist, so the probability is rather too high.

    Parameters
    ----------
    sharpe, benchmark : float
        Of one day, not annualised.
    n_days : int
    skewness, kurtosis : float
        Of the daily growth; a normal distribution has 0 and 3.
    """
    spread = _spread(sharpe, skewness, kurtosis)
    return _NORMAL.cdf((sharpe - benchmark) * math.sqrt((n_days - 1) / spread))


def _spread(sharpe: float, skewness: float, kurtosis: float) -> float:
    """Variance of the estimated ratio times (n - 1)."""
    return 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2


def highest_by_luck(n_trials: int, deviation: float) -> float:
    """Highest Sharpe ratio to expect of ``n_trials`` strategies that are all worth nothing.

    ``deviation ((1 - g) Phi^-1(1 - 1/N) + g Phi^-1(1 - 1/(N e)))``, g being the Euler-Mascheroni
    constant: Bailey and Lopez de Prado (2014), The Deflated Sharpe Ratio, Journal of Portfolio
    Management 40(5). One trial was not selected: 0.

    Parameters
    ----------
    n_trials : int
        Independent trials among which the best was picked.
    deviation : float
        Standard deviation of the Sharpe ratios of the trials, of one day.

    Raises
    ------
    ParameterError
        When there is no trial.
    """
    if n_trials < 1:
        raise ParameterError(f"n_trials is {n_trials}", remedy="count the strategy itself: 1")
    if n_trials == 1:
        return 0.0
    first = _NORMAL.inv_cdf(1.0 - 1.0 / n_trials)
    second = _NORMAL.inv_cdf(1.0 - 1.0 / (n_trials * math.e))
    return deviation * ((1.0 - EULER_MASCHERONI) * first + EULER_MASCHERONI * second)


def deflated_sharpe(
    growth: Floats,
    risk_free_apy: float = 0.0,
    *,
    n_trials: int = 1,
    trials_deviation: float | None = None,
) -> Value:
    """Probability that the Sharpe ratio is above what the best of so many trials has by luck.

    Bailey and Lopez de Prado (2014), The Deflated Sharpe Ratio. With one trial it is the
    probability that the true ratio is above 0.

    Parameters
    ----------
    growth : ndarray of shape (n_days,)
        Daily growth factors.
    risk_free_apy : float
        The stated rate, fraction per year.
    n_trials : int
        Strategies or parameter sets that were tried before this one was shown.
    trials_deviation : float, optional
        Standard deviation of their annual Sharpe ratios. Absent: that of strategies without skill
        over as many days, ``sqrt(1 / (n - 1))`` a day.

    Raises
    ------
    ParameterError
        When there is no trial, or the deviation is negative or not finite.
    """
    if trials_deviation is not None and not 0.0 <= trials_deviation < math.inf:
        raise ParameterError(
            f"trials_deviation is {trials_deviation}",
            remedy="give the standard deviation of the trials' Sharpe ratios",
        )
    n_days = len(growth)
    if n_days < FEWEST_DAYS:
        return Undefined(f"fewer than {FEWEST_DAYS} days")
    excess = growth - 1.0 - day_return(risk_free_apy)
    off = excess - excess.mean()
    variance = float(np.mean(np.square(off)))
    if math.sqrt(variance) < ZERO_VOLATILITY:
        return Undefined("no volatility: every day grew alike")
    skewness, kurtosis = (float(np.mean(off**k)) / variance ** (k / 2) for k in (3, 4))
    sharpe = float(excess.mean()) / math.sqrt(variance * n_days / (n_days - 1))
    if _spread(sharpe, skewness, kurtosis) < ZERO_VOLATILITY:
        return Undefined("the days take two values only: the ratio's error cannot be told")
    deviation = (
        1.0 / math.sqrt(n_days - 1)
        if trials_deviation is None
        else trials_deviation / math.sqrt(DAYS_PER_YEAR)
    )
    benchmark = highest_by_luck(n_trials, deviation)
    return probabilistic_sharpe(sharpe, benchmark, n_days, skewness, kurtosis)
