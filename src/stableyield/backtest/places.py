"""Where the positions of a book are in a market: columns instead of names.

It follows from what is held and which pools are known, so it is the same on most days.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stableyield.config import AllocationParameters
from stableyield.domain.portfolio import Layout
from stableyield.market.directory import Directory
from stableyield.market.panel import MarketView
from stableyield.screening import HeldPlaces

Bools = NDArray[np.bool_]
Columns = NDArray[np.intp]
N = TypeVar("N", np.float64, np.int64)

MOST_LAYOUTS = 16  # kept: of the policies of a run, today and tomorrow


@dataclass(frozen=True, eq=False)
class Places:
    """The positions of a layout among the pools of a directory.

    Parameters
    ----------
    layout : Layout
    directory : Directory
        Of the view.
    """

    layout: Layout
    directory: Directory

    @cached_property
    def column_of_pool(self) -> Columns:
        """Column of each held pool, -1 of one that the market does not know; (n_pools_held,)."""
        index = self.directory.pool_index
        return np.array([index.get(pool_id, -1) for pool_id in self.layout.pool_ids], np.intp)

    @cached_property
    def column(self) -> Columns:
        """Column of each position's pool, or -1; shape (n_positions,)."""
        return self.column_of_pool[self.layout.pool]

    @cached_property
    def is_known(self) -> Bools:
        """Positions in a pool that the market knows; shape (n_positions,)."""
        known: Bools = self.column >= 0
        return known

    @cached_property
    def all_known(self) -> bool:
        """Whether the market knows every pool that is held."""
        return bool(self.is_known.all())

    @cached_property
    def stranded(self) -> Bools | None:
        """Positions in a token that their pool, a known one, does not take; None: there is none.

        Shape (n_positions,).
        """
        pools, columns = self.directory.pools, self.column.tolist()
        found = [
            i >= 0 and token not in pools[i].tokens
            for i, (_, token) in zip(columns, self.layout.keys, strict=True)
        ]
        return np.array(found, dtype=bool) if any(found) else None

    def of_positions(self, by_known_pool: NDArray[N], unknown: float) -> NDArray[N]:
        """The value of each position's pool, from those of the known pools; (n_positions,)."""
        if self.all_known:
            return by_known_pool[self.layout.pool]
        by_pool = np.full(len(self.column_of_pool), unknown, dtype=by_known_pool.dtype)
        by_pool[self.column_of_pool >= 0] = by_known_pool
        return by_pool[self.layout.pool]

    @cached_property
    def _screened(self) -> dict[int, tuple[AllocationParameters, HeldPlaces]]:
        return {}

    def held(self, view: MarketView, parameters: AllocationParameters) -> HeldPlaces:
        """The held pools as the screening sees them; ``view`` is one of the directory."""
        known = self._screened.get(id(parameters))
        if known is None:
            known = parameters, HeldPlaces.of(view, parameters, self.layout.pool_ids)
            self._screened[id(parameters)] = known
        return known[1]


class Atlas:
    """The places of the last layouts, each made once as long as the directory stays the same."""

    def __init__(self) -> None:
        self._places: dict[Layout, Places] = {}

    def find(self, layout: Layout, directory: Directory) -> Places:
        """Where the positions of ``layout`` are among the pools of ``directory``."""
        places = self._places.get(layout)
        if places is None or places.directory is not directory:
            if len(self._places) >= MOST_LAYOUTS:  # policies that trade every day
                self._places.clear()
            places = self._places[layout] = Places(layout, directory)
        return places
