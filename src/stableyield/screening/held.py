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

from stableyield.screening.filters import PoolForecasts, is_known, outside_places
from stableyield.screening.quality import impossible_values
from stableyield.screening.token_rules import PoolTokens, banned_tokens, unpriced_tokens

if TYPE_CHECKING:
    from stableyield.config import AllocationParameters
    from stableyield.market.panel import MarketView

Bools = NDArray[np.bool_]
Columns = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class HeldPools:
    """The pools of a book on one day.

    Parameters
    ----------
    view : MarketView
    parameters : AllocationParameters
    held : collection of str
        Ids of the pools with a position.
    iceboxed : collection of str
        Tokens in the icebox today.
    """

    view: MarketView
    parameters: AllocationParameters
    held: Collection[str]
    iceboxed: Collection[str] = ()

    @cached_property
    def columns(self) -> Columns:
        """Columns of the held pools that the view knows, increasing."""
        index = self.view.pool_index
        known = sorted([index[pool_id] for pool_id in self.held if pool_id in index])
        return np.array(known, dtype=np.intp)

    @cached_property
    def must_leave(self) -> bool:
        """Whether a pool is in state ``exit``; one that the view does not know is."""
        is_gone = len(self.columns) < len(self.held)
        return is_gone or bool((self._may_not_be_owned & ~self._unpriced).any())

    def frozen(self, forecasts: PoolForecasts) -> tuple[str, ...]:
        """Ids of the pools in state ``frozen``, in the order of the view.

        Parameters
        ----------
        forecasts : PoolForecasts
            Those that the screening of the day is made with.
        """
        here = self.columns
        stale = self.view.row_age_days[here] > 0
        unknown = stale | impossible_values(self.view)[here] | ~is_known(forecasts)[here]
        frozen = self._unpriced | (unknown & ~self._may_not_be_owned)
        return tuple(self.view.pool_ids[i] for i in here[frozen].tolist())

    @cached_property
    def _may_not_be_owned(self) -> Bools:
        """Held pools that fail a rule whose consequence is an exit; shape (n_held,)."""
        view, here, parameters = self.view, self.columns, self.parameters
        fails: Bools = ~view.is_listed[here]
        for _, outside in outside_places(view, parameters):
            fails |= outside[here]
        in_icebox = self.iceboxed if parameters.icebox_exit == "exit" else ()
        if in_icebox or parameters.approved_tokens or parameters.blacklisted_tokens:
            tokens = PoolTokens.of(view)
            entries = tokens.among(in_icebox)
            for _, banned in banned_tokens(view, tokens, parameters):
                entries |= banned
            fails |= tokens.any_of(entries)[here]
        return fails

    @cached_property
    def _unpriced(self) -> Bools:
        """Held pools with a token without a price today; shape (n_held,)."""
        tokens = PoolTokens.of(self.view)
        return tokens.any_of(unpriced_tokens(self.view, tokens))[self.columns]
