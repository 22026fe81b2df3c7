"""What has to be known every day of the pools that are held, without a screening of all pools.

A policy that only holds asks on most days for no more than this: is there a pool that has to be
left, and is there one that cannot be traded? The answers are those of `screen`, from the same
rules; what `screen` adds are the pools that could be bought, and reasons.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stableyield.screening.filters import outside_places
from stableyield.screening.quality import impossible_values
from stableyield.screening.token_rules import PoolTokens, banned_tokens, unpriced_tokens

if TYPE_CHECKING:
    from stableyield.config import AllocationParameters
    from stableyield.market.panel import MarketView

Bools = NDArray[np.bool_]
Columns = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class HeldPlaces:
    """What does not change from day to day of the pools of a book, while the market's pools last.

    Parameters
    ----------
    columns : ndarray of shape (n_held,)
        Columns of the held pools that the view knows, in the order in which they were named.
    n_unknown : int
        Held pools that the view does not know.
    is_banned : ndarray of bool, shape (n_held,)
        Pools whose chain, protocol or token may not be owned.
    tokens : PoolTokens
        Of these pools alone.
    """

    columns: Columns
    n_unknown: int
    is_banned: Bools
    tokens: PoolTokens

    @classmethod
    def of(
        cls, view: MarketView, parameters: AllocationParameters, held: Collection[str]
    ) -> HeldPlaces:
        """The places of the pools ``held`` in a view."""
        index = view.pool_index
        known = [index[pool_id] for pool_id in held if pool_id in index]
        columns = np.array(known, dtype=np.intp)
        all_tokens, is_banned = PoolTokens.of(view), np.zeros(len(view.pools), dtype=bool)
        for _, outside in outside_places(view, parameters):
            is_banned |= outside
        for _, banned in banned_tokens(view, all_tokens, parameters):
            is_banned |= all_tokens.any_of(banned)
        legs = [(n, token) for n, i in enumerate(known) for token in view.pools[i].tokens]
        prices = [view.token_index.get(token, -1) for _, token in legs]
        tokens = PoolTokens(
            n_pools=len(known),
            names=[token for _, token in legs],
            pool=np.array([n for n, _ in legs], dtype=np.intp),
            column=np.array(prices, dtype=np.intp),
        )
        return cls(columns, len(held) - len(known), is_banned[columns], tokens)


@dataclass(frozen=True, eq=False)
class HeldPools:
    """The pools of a book on one day.

    Parameters
    ----------
    view : MarketView
    parameters : AllocationParameters
    places : HeldPlaces
        Of this view and these parameters, or of another day with the very same pools.
    iceboxed : collection of str
        Tokens in the icebox today.
    """

    view: MarketView
    parameters: AllocationParameters
    places: HeldPlaces
    iceboxed: Collection[str] = ()

    @cached_property
    def must_leave(self) -> bool:
        """Whether a pool is in state ``exit``; one that the view does not know is."""
        return self.places.n_unknown > 0 or bool((self._may_not_be_owned & ~self._unpriced).any())

    def frozen(self, is_known: Bools) -> tuple[str, ...]:
        """Ids of the pools in state ``frozen``, in the order of the view.

        Parameters
        ----------
        is_known : ndarray of bool, shape (n_held,)
            Whether the APY and the TVL of each pool of ``places`` are forecast.
        """
        view, here = self.view, self.places.columns
        unknown = (view.row_age_days[here] > 0) | impossible_values(view)[here] | ~is_known
        frozen = self._unpriced | (unknown & ~self._may_not_be_owned)
        if not frozen.any():
            return ()
        return tuple(view.pool_ids[i] for i in sorted(here[frozen].tolist()))

    @cached_property
    def _may_not_be_owned(self) -> Bools:
        """Held pools that fail a rule whose consequence is an exit; shape (n_held,)."""
        fails: Bools = self.places.is_banned | ~self.view.is_listed[self.places.columns]
        if self.iceboxed and self.parameters.icebox_exit == "exit":
            tokens = self.places.tokens
            fails |= tokens.any_of(tokens.among(self.iceboxed))
        return fails

    @cached_property
    def _unpriced(self) -> Bools:
        """Held pools with a token without a price today; shape (n_held,)."""
        tokens = self.places.tokens
        return tokens.any_of(unpriced_tokens(self.view, tokens))
