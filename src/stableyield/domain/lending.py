"""How our own deposit changes what a pool pays (dilution), and the kinked rate model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def pro_rata_factor(others_usd: Floats, own_usd: Floats) -> Floats:
    """Share of the undiluted rate that is left when a fixed revenue is shared with our deposit.

    Parameters
    ----------
    others_usd : ndarray
        Deposits of everybody else, USD, positive.
    own_usd : ndarray of the same shape
        Our deposit, USD, not negative.

    Returns
    -------
    ndarray
        ``others / (others + own)``, between 0 and 1; NaN where ``others_usd`` is not positive:
        a pool of unknown size has an unknown dilution.
    """
    total = others_usd + own_usd
    return np.divide(others_usd, total, out=np.full_like(total, np.nan), where=others_usd > 0.0)
