"""Which pools and tokens are known, and what follows from their names alone.

It changes on few days; all views between two changes share one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.pool import Pool

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Directory:
    """The pools and tokens of a view, in the order of its columns.

    Parameters
    ----------
    pools : tuple of Pool
    tokens : tuple of str
    """

    pools: tuple[Pool, ...]
    tokens: tuple[str, ...]

    @cached_property
    def pool_ids(self) -> tuple[str, ...]:
        """Identities of the pools."""
        return tuple(pool.pool_id for pool in self.pools)

    @cached_property
    def pool_index(self) -> Mapping[str, int]:
        """Column of each pool id."""
        return MappingProxyType({pool_id: i for i, pool_id in enumerate(self.pool_ids)})

    @cached_property
    def token_index(self) -> Mapping[str, int]:
        """Column of each token."""
        return MappingProxyType({token: j for j, token in enumerate(self.tokens)})

    @cached_property
    def n_tokens(self) -> NDArray[np.intp]:
        """Number of tokens of each pool; shape (n_pools,)."""
        return np.array([len(pool.tokens) for pool in self.pools], dtype=np.intp)

    @cached_property
    def smallest_share(self) -> Floats:
        """Smallest token share of each pool; shape (n_pools,)."""
        return np.array([min(pool.token_shares) for pool in self.pools], dtype=np.float64)

    @cached_property
    def legs(self) -> tuple[list[str], NDArray[np.intp], NDArray[np.intp]]:
        """One entry per (pool, token): symbol, pool column, token column (-1: not priced)."""
        names = [token for pool in self.pools for token in pool.tokens]
        columns = [self.token_index.get(name, -1) for name in names]
        pools = np.repeat(np.arange(len(self.pools)), self.n_tokens)
        return names, pools, np.array(columns, dtype=np.intp)

    def listed_on(self, day: date) -> Bools:
        """Pools that are active and inside [listed_from, listed_until]; shape (n_pools,)."""
        first, last, active = self._listing
        today = day.toordinal()
        result: Bools = active & (first <= today) & (today <= last)
        return result

    @cached_property
    def _listing(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Bools]:
        """First and last listed day of each pool (ordinals), and whether it is active."""
        first = [(pool.listed_from or date.min).toordinal() for pool in self.pools]
        last = [(pool.listed_until or date.max).toordinal() for pool in self.pools]
        active = [pool.is_active for pool in self.pools]
        return (
            np.array(first, dtype=np.int64),
            np.array(last, dtype=np.int64),
            np.array(active, dtype=bool),
        )
