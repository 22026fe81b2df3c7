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

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stableyield.errors import InputError
from stableyield.market.panel import LIST_TIMEOUT_DAYS
from stableyield.screening.groups import risk_groups
from stableyield.screening.quality import impossible_values
from stableyield.screening.result import Consequence, Flag, Rule, Screening, Verdict
from stableyield.screening.token_rules import PoolTokens, icebox_verdicts, token_verdicts

if TYPE_CHECKING:
    from stableyield.config import AllocationParameters
    from stableyield.market.panel import MarketView

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

TVL_BELIEF_FACTOR = 5.0  # a TVL forecast above this multiple of the last actual is not believed
HISTORY_WINDOW_DAYS = 30
_RATIO_TOLERANCE = 1e-9  # 1/3 must pass a limit of 0.5 * 2/3
_PCT_TOLERANCE = 1e-9  # 0.55 % must pass a limit of 0.0055
_PCT_PER_FRACTION = 100.0


@dataclass(frozen=True, eq=False)
class PoolForecasts:
    """What is expected of each pool, aligned with the pools of a view.

    Attributes
    ----------
    apy_pct : ndarray of shape (n_pools,)
        Forecast APY in percent; NaN where there is no forecast.
    tvl_usd : ndarray of shape (n_pools,)
        Forecast TVL in USD; NaN where there is no forecast.
    """

    apy_pct: Floats
    tvl_usd: Floats


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
            _listed(view),
            *_approved_places(view, parameters),
            *by_token,
            _pair_ratio(view, parameters),
            *_data_rules(view, parameters),
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
    tvl_actual_usd = _last_known(view.pool_series.tvl_usd[-LIST_TIMEOUT_DAYS:])
    by_icebox, icebox_flag = icebox_verdicts(PoolTokens.of(view), parameters, iceboxed, unjudged)
    unchecked = np.isfinite(forecasts.tvl_usd) & np.isnan(tvl_actual_usd)
    return replace(
        prefiltered,
        verdicts=(
            *prefiltered.verdicts,
            *_forecast_rules(forecasts, tvl_actual_usd, parameters, prefiltered.needs_forecast),
            by_icebox,
        ),
        flags=(
            *prefiltered.flags,
            Verdict(
                Flag.TVL_UNCHECKED,
                unchecked,
                f"TVL forecast of {{:,.0f}} USD, but no actual TVL in {LIST_TIMEOUT_DAYS} days",
                forecasts.tvl_usd,
            ),
            icebox_flag,
        ),
        is_final=True,
    )


def _held_columns(view: MarketView, held: Collection[str]) -> Bools:
    """Which of the view's pools are held; shape (n_pools,)."""
    result = np.zeros(len(view.pools), dtype=bool)
    result[[view.pool_index[pool_id] for pool_id in held if pool_id in view.pool_index]] = True
    return result


def is_known(forecasts: PoolForecasts) -> Bools:
    """Pools whose APY and TVL are both forecast; shape (n_pools,)."""
    return np.isfinite(forecasts.apy_pct) & np.isfinite(forecasts.tvl_usd)


def _listed(view: MarketView) -> Verdict:
    """Off the live list: dated out, inactive, or without a row for a week."""
    off = ~view.is_listed
    ages = view.row_age_days
    why = {}
    for i in np.flatnonzero(off).tolist():
        pool = view.pools[i]
        if not pool.is_active:
            why[i] = "inactive"
        elif pool.listed_until is not None and view.day > pool.listed_until:
            why[i] = f"delisted after {pool.listed_until}"
        elif pool.listed_from is not None and view.day < pool.listed_from:
            why[i] = "not listed yet"
        else:
            why[i] = f"off the list: no row for {ages[i]} days"
    return Verdict(Rule.LISTED, off, "{}", why, Consequence.EXIT)


def _approved_places(view: MarketView, parameters: AllocationParameters) -> tuple[Verdict, ...]:
    """Chain and protocol are approved; upper and lower case do not matter."""
    verdicts = []
    for rule, outside in outside_places(view, parameters):
        name = "chain" if rule == Rule.CHAIN else "protocol"
        which = {i: getattr(view.pools[i], name) for i in np.flatnonzero(outside).tolist()}
        text = f"{{}} is not in {rule}"
        verdicts.append(Verdict(rule, outside, text, which, Consequence.EXIT))
    return tuple(verdicts)


def outside_places(
    view: MarketView, parameters: AllocationParameters
) -> Iterator[tuple[Rule, Bools]]:
    """Pools whose chain or protocol is not approved, by each rule in use; shape (n_pools,)."""
    if known := frozenset(name.casefold() for name in parameters.approved_chains):
        outside = [pool.chain.casefold() not in known for pool in view.pools]
        yield Rule.CHAIN, np.array(outside, dtype=bool)
    if known := frozenset(name.casefold() for name in parameters.approved_protocols):
        outside = [pool.protocol.casefold() not in known for pool in view.pools]
        yield Rule.PROTOCOL, np.array(outside, dtype=bool)


def _pair_ratio(view: MarketView, parameters: AllocationParameters) -> Verdict:
    """The smallest share of a token in a pool of several, scaled by 2/n for n tokens."""
    n_tokens = view.directory.n_tokens
    scaled = view.directory.smallest_share * n_tokens / 2.0
    low = parameters.pool_pair_tvl_ratio_min - _RATIO_TOLERANCE
    high = parameters.pool_pair_tvl_ratio_max + _RATIO_TOLERANCE
    unbalanced = (n_tokens > 1) & ((scaled < low) | (scaled > high))
    return Verdict(
        Rule.PAIR_RATIO,
        unbalanced,
        "smallest token share, scaled to two tokens, is {:.4g}; allowed are "
        f"{parameters.pool_pair_tvl_ratio_min:g} to {parameters.pool_pair_tvl_ratio_max:g}",
        scaled,
        Consequence.WITHDRAW_ONLY,
    )


def _data_rules(view: MarketView, parameters: AllocationParameters) -> tuple[Verdict, ...]:
    """What the pool's own rows must have: no source flag, history, a row today, sane values."""
    series = view.pool_series
    needed = parameters.min_history_days
    # twice the need, so that a pool with gaps is not held to an unbroken history
    window = max(HISTORY_WINDOW_DAYS, 2 * needed)
    n_known = np.isfinite(series.apy_pct[-window:]).sum(axis=0)
    ages = view.row_age_days
    apy_pct, tvl_usd = series.apy_pct[-1], series.tvl_usd[-1]
    impossible = impossible_values(view)
    which = {
        i: f"APY {apy_pct[i]:g} %, TVL {tvl_usd[i]:,.0f} USD"
        for i in np.flatnonzero(impossible).tolist()
    }
    return (
        Verdict(
            Rule.FILTERED_OUT,
            series.is_filtered_out[-1] > 0.0,
            "its source marks it as filtered out",
            series.is_filtered_out[-1],
            Consequence.WITHDRAW_ONLY,
        ),
        Verdict(
            Rule.HISTORY,
            n_known < needed,
            f"{{}} days with an APY in the last {window}; {needed} are needed",
            n_known,
            Consequence.WITHDRAW_ONLY,
        ),
        Verdict(
            Rule.STALE, ages > 0, "no row today; the last is {} days old", ages, Consequence.FREEZE
        ),
        Verdict(Rule.IMPOSSIBLE, impossible, "cannot be true: {}", which, Consequence.FREEZE),
    )


def _forecast_rules(
    forecasts: PoolForecasts,
    tvl_actual_usd: Floats,
    parameters: AllocationParameters,
    needs_forecast: Bools,
) -> tuple[Verdict, ...]:
    """What the forecast must be. Comparisons with NaN are false: the first rule covers it."""
    apy_pct, tvl_usd = forecasts.apy_pct, forecasts.tvl_usd
    missing = needs_forecast & ~is_known(forecasts)
    least_apy_pct = parameters.pool_apy_limit * _PCT_PER_FRACTION
    least_tvl_usd = parameters.pool_tvl_limit
    ratio = np.divide(
        tvl_usd, tvl_actual_usd, out=np.full_like(tvl_usd, np.inf), where=tvl_actual_usd != 0.0
    )
    limited = Consequence.WITHDRAW_ONLY
    return (
        Verdict(
            Rule.FORECAST,
            missing,
            "no forecast of both APY and TVL (APY is {:.4g} %)",
            apy_pct,
            Consequence.FREEZE,
        ),
        Verdict(
            Rule.APY,
            apy_pct < least_apy_pct - _PCT_TOLERANCE,
            f"forecast APY {{:.4g}} % is below {least_apy_pct:g} %",
            apy_pct,
            limited,
        ),
        Verdict(
            Rule.TVL,
            tvl_usd < least_tvl_usd,
            f"forecast TVL {{:,.0f}} USD is below {least_tvl_usd:,.0f} USD",
            tvl_usd,
            limited,
        ),
        Verdict(
            Rule.TVL_SANITY,
            tvl_usd > TVL_BELIEF_FACTOR * tvl_actual_usd,
            f"forecast TVL is {{:.3g}} times the last actual; above {TVL_BELIEF_FACTOR:g} times it "
            "is not believed",
            ratio,
            limited,
        ),
    )


def _last_known(values: Floats) -> Floats:
    """Last finite value of each column; NaN where there is none."""
    known = np.isfinite(values)[::-1]
    found: Floats = np.take_along_axis(values[::-1], known.argmax(axis=0)[None], axis=0)[0]
    return np.where(known.any(axis=0), found, np.nan)


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
