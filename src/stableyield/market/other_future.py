"""A copy of a market with the same past and another future: what causality is checked with."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.pool import Pool
from stableyield.errors import DayOutOfRangeError
from stableyield.market.panel import MarketPanel, Provenance
from stableyield.market.series import GasSeries

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Floats = NDArray[np.float64]

_UNKNOWN_SHARE = 0.2  # of later values that become unknown
_ENDLESS_SHARE = 0.3  # of later delistings that never happen
_MOST_DAYS = 10  # until a later delisting
_ALWAYS_KNOWN = frozenset({"gas_gwei", "eth_usd", "close_usd"})  # every book keeps its worth


def with_another_future(panel: MarketPanel, day: date, seed: int = 0) -> MarketPanel:
    """The same market up to the end of ``day``, and another one after it, in everything.

    Rates, sizes, returns, flags, foreign forecasts, prices, market caps, gas and ETH of later days
    are other numbers; what is unknown becomes known and the other way round (but for closing
    prices and gas, which are always known, so that every book has a worth); listings and
    delistings that are still to come move, activity is drawn anew; a pool and its token appear
    that never were.

    Parameters
    ----------
    panel : MarketPanel
    day : date
        The last day that stays as it is; before the market's last.
    seed : int
        Of the other future.

    Raises
    ------
    DayOutOfRangeError
        When no day of the market comes after ``day``.
    """
    if not panel.first_day <= day < panel.last_day:
        raise DayOutOfRangeError(
            f"no future after {day}",
            remedy=f"choose a day from {panel.first_day} to the day before {panel.last_day}",
        )
    rng = np.random.default_rng(seed)
    view = panel.as_of(panel.last_day)
    t = (day - panel.first_day).days
    pools = [_with_other_dates(pool, day, rng) for pool in view.pools]
    by_pool = _changed_after(view.pool_series, t, rng)
    by_token = _changed_after(view.token_series, t, rng)
    gas = _changed_after(view.gas, t, rng)
    token = _unused("NEW", view.tokens)
    newcomer = Pool(
        _unused("newcomer", view.pool_ids),
        *(token, "Ethereum", "aave-v3", (token,)),
        listed_from=day + timedelta(days=1),
    )
    return MarketPanel.build(
        view.days,
        [*pools, newcomer],
        {name: _with_newcomer(values, t, rng) for name, values in by_pool.items()},
        [*view.tokens, token],
        {name: _with_newcomer(values, t, rng) for name, values in by_token.items()},
        gas=GasSeries(gas["gas_gwei"], gas["eth_usd"]),
        provenance=Provenance((f"another future after {day}, seed {seed}",)),
    )


def _changed_after(
    series: DataclassInstance, t: int, rng: np.random.Generator
) -> dict[str, Floats]:
    """Every array of a series with other values after row ``t``, unknown ones included."""
    changed = {}
    for item in fields(series):
        values: Floats = getattr(series, item.name).copy()
        values[t + 1 :] = _other_values(item.name, values, values[t + 1 :].shape, rng)
        changed[item.name] = values
    return changed


def _other_values(
    name: str, values: Floats, shape: tuple[int, ...], rng: np.random.Generator
) -> Floats:
    known = values[np.isfinite(values)]
    typical = float(np.median(np.abs(known))) if len(known) else 1.0
    other: Floats = (typical + 1e-3) * rng.lognormal(0.0, 1.0, shape)
    if name == "is_filtered_out":
        other = np.round(rng.random(shape))
    elif name == "close_usd":
        other = rng.uniform(0.9, 1.1, shape)
    if name not in _ALWAYS_KNOWN and name != "is_filtered_out":
        other[rng.random(shape) < _UNKNOWN_SHARE] = np.nan
    return other


def _with_newcomer(values: Floats, t: int, rng: np.random.Generator) -> Floats:
    late = np.where(np.arange(len(values)) > t, rng.uniform(1.0, 1.05, len(values)), np.nan)
    return np.column_stack([values, late])


def _with_other_dates(pool: Pool, day: date, rng: np.random.Generator) -> Pool:
    """The pool with another activity, and other dates where they are not known at ``day``."""
    if pool.listed_from is not None and pool.listed_from > day:
        pool = replace(pool, listed_from=pool.listed_from + timedelta(days=2))
    if pool.listed_until is None or pool.listed_until >= day:
        later = day + timedelta(days=int(rng.integers(0, _MOST_DAYS)))
        pool = replace(pool, listed_until=None if rng.random() < _ENDLESS_SHARE else later)
    return replace(pool, is_active=bool(rng.random() < 0.5))


def _unused(name: str, taken: tuple[str, ...]) -> str:
    """The name, with as many marks as make it new."""
    while name in taken:
        name += "_"
    return name
