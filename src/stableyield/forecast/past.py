"""An earlier day of a view: what was known then, from what is known now."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.rates import Floats
from stableyield.market.panel import MarketPanel, MarketView


def past_of(view: MarketView) -> MarketPanel:
    """The market up to ``view.day`` as a panel, without copying it.

    Its ``as_of(s)`` is what the whole market's ``as_of(s)`` is, for every day s up to
    ``view.day``: pools and tokens that became known later are not in it, nor is what later days
    say of those that are. The pools of day s are the first ones of ``view``.
    """
    series = view.pool_series
    known = np.isfinite(series.apy_pct)
    known |= np.isfinite(series.tvl_usd)
    known |= np.isfinite(series.forecast_apy_pct)
    pool_known_from = _first_row(known)
    first_day = view.days[0].astype("datetime64[D]").item()
    for i, pool in enumerate(view.pools):
        if pool.listed_from is not None:
            listed = max((pool.listed_from - first_day).days, 0)
            pool_known_from[i] = min(pool_known_from[i], listed)
    return MarketPanel(
        view.days,
        view.pools,
        series,
        pool_known_from,
        view.tokens,
        view.token_series,
        _first_row(np.isfinite(view.token_series.close_usd)),
        view.gas,
    )


def market_identity(view: MarketView) -> Floats:
    """The array that all views of one market are cut from: one market, one object."""
    apy = view.pool_series.apy_pct
    return apy if apy.base is None else apy.base


def _first_row(known: NDArray[np.bool_]) -> NDArray[np.int64]:
    result: NDArray[np.int64] = np.where(known.any(axis=0), known.argmax(axis=0), len(known))
    return result
