"""Rules about the tokens of a pool: approved, not blacklisted, large, priced, not iceboxed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stableyield.screening.result import Consequence, Flag, Rule, Verdict

if TYPE_CHECKING:
    from stableyield.config import AllocationParameters
    from stableyield.market.panel import MarketView

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_UNKNOWN = np.array([np.nan])


@dataclass(frozen=True, eq=False)
class PoolTokens:
    """The tokens of all pools as flat lists, one entry per (pool, token).

    Attributes
    ----------
    n_pools : int
    names : list of str, length n_entries
    pool : ndarray of int, shape (n_entries,)
        Column of the pool.
    column : ndarray of int, shape (n_entries,)
        Column of the token in the view's token series; -1 where it has none.
    """

    n_pools: int
    names: list[str]
    pool: NDArray[np.intp]
    column: NDArray[np.intp]

    @classmethod
    def of(cls, view: MarketView) -> PoolTokens:
        """The tokens of the pools of a view."""
        names, pool, column = view.directory.legs
        return cls(n_pools=len(view.pools), names=names, pool=pool, column=column)

    def take(self, values: Floats) -> Floats:
        """Value of each entry's token, from one value a token series column; NaN without one."""
        return np.concatenate((values, _UNKNOWN))[self.column]

    def among(self, names: Collection[str]) -> Bools:
        """Entries whose symbol (case-exact) is one of ``names``; shape (n_entries,)."""
        wanted = frozenset(names)
        if not wanted:
            return np.zeros(len(self.names), dtype=bool)
        return np.array([name in wanted for name in self.names], dtype=bool)

    def verdict(
        self, rule: str, entries: Bools, text: str, consequence: Consequence = Consequence.NONE
    ) -> Verdict:
        """A rule that a pool fails with any of its tokens; the text names them all."""
        which: dict[int, str] = {}
        found = entries.nonzero()[0]
        for entry, pool in zip(found.tolist(), self.pool[found].tolist(), strict=True):
            name = self.names[entry]
            which[pool] = f"{which[pool]}, {name}" if pool in which else name
        return Verdict(rule, self.any_of(entries), text, which, consequence)

    def any_of(self, entries: Bools) -> Bools:
        """Pools with at least one of the entries; shape (n_pools,)."""
        result = np.zeros(self.n_pools, dtype=bool)
        result[self.pool[entries]] = True
        return result


def token_verdicts(
    view: MarketView, tokens: PoolTokens, parameters: AllocationParameters
) -> tuple[tuple[Verdict, ...], tuple[Verdict, ...]]:
    """Verdicts and flags on the tokens of each pool that need no forecast.

    Parameters
    ----------
    view : MarketView
    tokens : PoolTokens
        Of the view.
    parameters : AllocationParameters
    """
    texts = {Rule.TOKEN: "{} is not in", Rule.BLACKLIST: "{} is in"}
    verdicts = [
        tokens.verdict(rule, banned, f"{texts[rule]} {rule}", Consequence.EXIT)
        for rule, banned in banned_tokens(view, tokens, parameters)
    ]
    by_market_cap, flag = _market_cap(view, tokens, parameters)
    by_price = tokens.verdict(
        Rule.PRICE,
        unpriced_tokens(view, tokens),
        "no price today for {}",
        Consequence.FREEZE_UNPRICED,
    )
    return (*verdicts, by_market_cap, by_price), (flag,)


def banned_tokens(
    view: MarketView, tokens: PoolTokens, parameters: AllocationParameters
) -> Iterator[tuple[Rule, Bools]]:
    """Entries whose token may not be owned, by each rule that is in use; shape (n_entries,)."""
    if parameters.approved_tokens:
        yield Rule.TOKEN, ~_on_list(view, tokens, parameters.approved_tokens)
    if parameters.blacklisted_tokens:
        yield Rule.BLACKLIST, _on_list(view, tokens, parameters.blacklisted_tokens)


def unpriced_tokens(view: MarketView, tokens: PoolTokens) -> Bools:
    """Entries whose token has no usable price today; shape (n_entries,)."""
    price_usd = tokens.take(view.token_series.close_usd[-1])
    # a comparison with NaN is false
    result: Bools = ~((price_usd > 0.0) & (price_usd < np.inf))
    return result


def icebox_verdicts(
    tokens: PoolTokens,
    parameters: AllocationParameters,
    iceboxed: Collection[str],
    unjudged: Collection[str],
) -> tuple[Verdict, Verdict]:
    """The icebox rule, and the flag of pools with a token that it could not judge today."""
    leave = parameters.icebox_exit == "exit"
    by_icebox = tokens.verdict(
        Rule.ICEBOX,
        tokens.among(iceboxed),
        "{} is in the icebox",
        Consequence.EXIT if leave else Consequence.WITHDRAW_ONLY,
    )
    text = "the icebox cannot judge {} today: no price, or its peg is unknown"
    return by_icebox, tokens.verdict(Flag.ICEBOX_UNJUDGED, tokens.among(unjudged), text)


def _market_cap(
    view: MarketView, tokens: PoolTokens, parameters: AllocationParameters
) -> tuple[Verdict, Verdict]:
    """Too small; unknown is a failure or a flag, as the parameters say."""
    least_usd = parameters.token_marketcap_limit
    market_cap_usd = tokens.take(view.token_series.market_cap_usd[-1])
    unknown = ~np.isfinite(market_cap_usd) & (least_usd > 0.0)
    failed = market_cap_usd < least_usd
    if parameters.unknown_market_cap == "reject":
        failed |= unknown
        text = f"market cap of {{}} is unknown or below {least_usd:,.0f} USD"
        unknown = np.zeros_like(unknown)
    else:
        text = f"market cap of {{}} is below {least_usd:,.0f} USD"
    return (
        tokens.verdict(Rule.MARKET_CAP, failed, text, Consequence.WITHDRAW_ONLY),
        tokens.verdict(Flag.MARKET_CAP_UNKNOWN, unknown, "market cap of {} is unknown"),
    )


def _on_list(view: MarketView, tokens: PoolTokens, listed: Collection[str]) -> Bools:
    """Entries that a list names, by chain and address or by symbol; shape (n_entries,).

    The symbol is case-exact; chain and address are compared in lower case.
    """
    found = tokens.among(listed)
    keys = frozenset(name.lower() for name in listed if ":" in name)
    if keys:
        found |= np.array([key in keys for key in _keys(view)], dtype=bool)
    return found


def _keys(view: MarketView) -> Iterator[str]:
    """``chain:address`` of each entry in lower case; empty where the address is unknown."""
    for pool in view.pools:
        for address in pool.token_addresses or ("",) * len(pool.tokens):
            yield f"{pool.chain}:{address}".lower() if address else ""
