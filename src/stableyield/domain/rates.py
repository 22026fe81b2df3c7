"""Rates: APR, APY and day return, each defined once.

Rates inside the engine are fractions per year. A crypto year has 365 days. Nothing else in the
package turns a rate into growth: no division of a rate by 365, no trading-day year.
"""

from __future__ import annotations

from typing import overload

import numpy as np
from numpy.typing import NDArray

DAYS_PER_YEAR = 365.0

Floats = NDArray[np.float64]


@overload
def growth(apy: float, days: float) -> float: ...
@overload
def growth(apy: Floats, days: float) -> Floats: ...
def growth(apy: float | Floats, days: float) -> float | Floats:
    """Growth of one unit over ``days`` days at the annual percentage yield ``apy``.

    Parameters
    ----------
    apy : float or ndarray
        Fraction per year, at least -1.
    days : float
        Length in days.

    Returns
    -------
    float or ndarray
        ``(1 + apy) ** (days / 365) - 1``, computed without cancellation for small rates.
        NaN in, NaN out.
    """
    with np.errstate(divide="ignore"):  # APY -100 %: log1p gives -inf and expm1 the right -1
        result = np.expm1(np.log1p(apy) * (days / DAYS_PER_YEAR))
    return result if isinstance(apy, np.ndarray) else float(result)


@overload
def day_return(apy: float) -> float: ...
@overload
def day_return(apy: Floats) -> Floats: ...
def day_return(apy: float | Floats) -> float | Floats:
    """Growth of one unit over one day at the annual percentage yield ``apy`` (fraction)."""
    return growth(apy, 1.0)


@overload
def apr_to_apy(apr: float) -> float: ...
@overload
def apr_to_apy(apr: Floats) -> Floats: ...
def apr_to_apy(apr: float | Floats) -> float | Floats:
    """APY of an APR that compounds continuously on chain: ``exp(apr) - 1`` (fractions)."""
    result = np.expm1(apr)
    return result if isinstance(apr, np.ndarray) else float(result)


@overload
def apy_to_apr(apy: float) -> float: ...
@overload
def apy_to_apr(apy: Floats) -> Floats: ...
def apy_to_apr(apy: float | Floats) -> float | Floats:
    """APR that compounds continuously to ``apy`` (fractions); the inverse of `apr_to_apy`."""
    result = np.log1p(apy)
    return result if isinstance(apy, np.ndarray) else float(result)


def annualised(growth_factor: float, days: float) -> float:
    """APY (fraction) of a growth factor over ``days`` days: ``factor ** (365 / days) - 1``."""
    return float(np.expm1(np.log(growth_factor) * (DAYS_PER_YEAR / days)))
