"""What the market itself says against a pool, before anything is forecast of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stableyield.screening.quality import impossible_values
from stableyield.screening.result import Consequence, Rule, Verdict

if TYPE_CHECKING:
    from stableyield.config import AllocationParameters
    from stableyield.market.panel import MarketView

Bools = NDArray[np.bool_]

HISTORY_WINDOW_DAYS = 30
_RATIO_TOLERANCE = 1e-9  # 1/3 must pass a limit of 0.5 * 2/3


def listed_verdict(view: MarketView) -> Verdict:
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


def place_verdicts(view: MarketView, parameters: AllocationParameters) -> tuple[Verdict, ...]:
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


def pair_ratio_verdict(view: MarketView, parameters: AllocationParameters) -> Verdict:
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


def data_verdicts(view: MarketView, parameters: AllocationParameters) -> tuple[Verdict, ...]:
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
