"""Which pools may be used today: a filter before forecasting and one after it.

::

    pre   = prefilter(view, parameters, held=held)              # what the market says
    final = final_filter(view, parameters, pre, forecasts, iceboxed)   # what we expect of it
    final = screen(view, parameters, held=held, forecasts=..., iceboxed=...)   # both at once

The daily job and the backtest call the same functions. Every rule is judged for every pool, so a
pool carries all the reasons that stand against it, not only the first one. docs/screening.md lists
the rules, and what to do about each.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stableyield.errors import InputError
from stableyield.screening.forecast_rules import (
    PoolForecasts,
    forecast_verdicts,
    is_known,
    last_tvl_usd,
    unchecked_flag,
)
from stableyield.screening.groups import risk_groups
from stableyield.screening.pool_rules import (
    data_verdicts,
    listed_verdict,
    outside_places,
    pair_ratio_verdict,
    place_verdicts,
)
from stableyield.screening.result import Rule, Screening
from stableyield.screening.token_rules import PoolTokens, icebox_verdicts, token_verdicts

if TYPE_CHECKING:
    from stableyield.config import AllocationParameters
    from stableyield.market.panel import MarketView

Bools = NDArray[np.bool_]

__all__ = [
    "PoolForecasts",
    "final_filter",
    "is_known",
    "outside_places",
    "prefilter",
    "screen",
    "screen_book",
]


def screen(
    view: MarketView,
    parameters: AllocationParameters,
    *,
    held: Collection[str] = (),
    forecasts: PoolForecasts | None = None,
    iceboxed: Collection[str] = (),
    unjudged: Collection[str] = (),
) -> Screening:
    """Both filters; only the first one when there are no forecasts yet.

    Parameters
    ----------
    view : MarketView
        The market as it was known at the end of the day.
    parameters : AllocationParameters
    held : collection of str
        Ids of the pools with a position.
    forecasts : PoolForecasts, optional
    iceboxed, unjudged : collections of str
        Tokens in the icebox, and tokens that it could not judge today.
    """
    screening = prefilter(view, parameters, held=held)
    if forecasts is None:
        return screening
    return final_filter(view, parameters, screening, forecasts, iceboxed, unjudged)


def prefilter(
    view: MarketView, parameters: AllocationParameters, *, held: Collection[str] = ()
) -> Screening:
    """What stands against each pool before anything is forecast.

    Parameters
    ----------
    view : MarketView
    parameters : AllocationParameters
    held : collection of str
        Ids of the pools with a position. They are never dropped: see `Consequence`.

    Returns
    -------
    Screening
        Aligned with ``view.pools``; `Screening.needs_forecast` says which to forecast.
    """
    holdings = frozenset(held)
    tokens = PoolTokens.of(view)
    by_token, flags = token_verdicts(view, tokens, parameters)
    return Screening(
        day=view.day,
        pool_ids=view.pool_ids,
        is_held=_held_columns(view, holdings),
        groups=risk_groups(view.pool_series.apy_pct, parameters),
        verdicts=(
            listed_verdict(view),
            *place_verdicts(view, parameters),
            *by_token,
            pair_ratio_verdict(view, parameters),
            *data_verdicts(view, parameters),
        ),
        flags=flags,
        gone=tuple(sorted(holdings.difference(view.pool_index))),
    )


def screen_book(
    view: MarketView, screening: Screening, forecasts: PoolForecasts, held: Collection[str]
) -> Screening:
    """The final screening of another book on the same day.

    What is held decides which states a failed rule leads to, and which pools need a forecast;
    everything else was judged already.

    Parameters
    ----------
    view : MarketView
    screening : Screening
        The final one of a book without positions.
    forecasts : PoolForecasts
        Those that it was made with.
    held : collection of str
        Ids of the pools with a position.
    """
    if not held:
        return screening
    holdings = frozenset(held)
    is_held = _held_columns(view, holdings)
    unknown = is_held & ~is_known(forecasts)
    verdicts = (
        replace(verdict, applies=verdict.applies | unknown)
        if verdict.rule == Rule.FORECAST
        else verdict
        for verdict in screening.verdicts
    )
    return replace(
        screening,
        is_held=is_held,
        verdicts=tuple(verdicts),
        gone=tuple(sorted(holdings.difference(view.pool_index))),
    )


def final_filter(
    view: MarketView,
    parameters: AllocationParameters,
    prefiltered: Screening,
    forecasts: PoolForecasts,
    iceboxed: Collection[str] = (),
    unjudged: Collection[str] = (),
) -> Screening:
    """What stands against each pool once its forecast is known.

    Parameters
    ----------
    view : MarketView
        The one that was prefiltered.
    parameters : AllocationParameters
    prefiltered : Screening
        From `prefilter`.
    forecasts : PoolForecasts
        May be NaN for pools that `Screening.needs_forecast` leaves out.
    iceboxed : collection of str
        Tokens in the icebox today.
    unjudged : collection of str
        Tokens that the icebox could not judge today: their pools are flagged.

    Returns
    -------
    Screening
        The prefiltered one with the final rules added.

    Raises
    ------
    InputError
        When view, screening and forecasts do not belong together, or it was final already.
    """
    _check_belongs(view, prefiltered, forecasts)
    tvl_actual_usd = last_tvl_usd(view)
    needed = prefiltered.needs_forecast
    by_forecast = forecast_verdicts(forecasts, tvl_actual_usd, parameters, needed)
    by_icebox, icebox_flag = icebox_verdicts(PoolTokens.of(view), parameters, iceboxed, unjudged)
    return replace(
        prefiltered,
        verdicts=(*prefiltered.verdicts, *by_forecast, by_icebox),
        flags=(*prefiltered.flags, unchecked_flag(forecasts, tvl_actual_usd), icebox_flag),
        is_final=True,
    )


def _held_columns(view: MarketView, held: Collection[str]) -> Bools:
    """Which of the view's pools are held; shape (n_pools,)."""
    result = np.zeros(len(view.pools), dtype=bool)
    result[[view.pool_index[pool_id] for pool_id in held if pool_id in view.pool_index]] = True
    return result


def _check_belongs(view: MarketView, prefiltered: Screening, forecasts: PoolForecasts) -> None:
    where = f"screening of {view.day}"
    if prefiltered.is_final:
        raise InputError("is final already", where=where, remedy="pass what prefilter returned")
    if prefiltered.day != view.day or prefiltered.pool_ids != view.pool_ids:
        raise InputError(
            f"the prefilter was of {prefiltered.day} and {len(prefiltered.pool_ids)} pools, the "
            f"view has {len(view.pools)}",
            where=where,
            remedy="prefilter the same view",
        )
    for name, array in (("apy_pct", forecasts.apy_pct), ("tvl_usd", forecasts.tvl_usd)):
        if array.shape != (len(view.pools),):
            raise InputError(
                f"forecast {name} has shape {array.shape}, expected ({len(view.pools)},)",
                where=where,
                remedy="align the forecasts with view.pools, NaN where there is none",
            )
