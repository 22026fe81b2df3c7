"""Linear expressions of the model, by pool: what a position, a claim or a move consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stableyield.allocation.sparse import ModelBuilder

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Terms:
    """``sum(value * x[column])`` for each pool; a pool may have any number of terms.

    Parameters
    ----------
    pool, column : ndarray of int, shape (n_terms,)
    value : ndarray of float, shape (n_terms,)
    """

    pool: Ints
    column: Ints
    value: Floats

    @classmethod
    def join(cls, parts: Sequence[Terms]) -> Terms:
        """All terms of the parts."""
        return cls(
            np.concatenate([part.pool for part in parts]),
            np.concatenate([part.column for part in parts]),
            np.concatenate([part.value for part in parts]),
        )

    def of(self, pools: Ints) -> Terms:
        """The terms of some pools."""
        keep = np.isin(self.pool, pools)
        return Terms(self.pool[keep], self.column[keep], self.value[keep])

    def into_one_row(self, model: ModelBuilder, row: int) -> None:
        """Add all terms to one row."""
        model.put(row, self.column, self.value)

    def into_rows(self, model: ModelBuilder, row_of_pool: Ints, scale: float = 1.0) -> None:
        """Add each term to its pool's row; ``row_of_pool`` has the row number by pool number."""
        model.put(row_of_pool[self.pool], self.column, scale * self.value)


@dataclass(frozen=True, eq=False)
class Moves:
    """One kind of move: ``amount = minimum * binary + excess``, one for each listed pool or arc.

    Parameters
    ----------
    pool : ndarray of int
        Pool number of each move (arc number for conversions).
    binary, excess : ndarray of int
        Column numbers.
    row : ndarray of int
        Numbers of the rows that bind the excess to the binary.
    minimum, maximum : ndarray of float
        Smallest and largest amount, in model units.
    """

    pool: Ints
    binary: Ints
    excess: Ints
    row: Ints
    minimum: Floats
    maximum: Floats

    @classmethod
    def add(cls, model: ModelBuilder, pool: Ints, minimum: Floats, maximum: Floats) -> Moves:
        """Add the columns of these moves, and the rows that switch each excess off."""
        binary = model.binaries(len(pool))
        excess = model.columns(len(pool), upper=maximum - minimum)
        rows = model.rows("move", len(pool), upper=0.0)
        model.put(rows, excess, 1.0)
        model.put(rows, binary, minimum - maximum)
        return cls(pool, binary, excess, rows, minimum, maximum)

    @property
    def terms(self) -> Terms:
        """The amount of each move, by pool."""
        return Terms(
            np.concatenate([self.pool, self.pool]),
            np.concatenate([self.binary, self.excess]),
            np.concatenate([self.minimum, np.ones(len(self.pool))]),
        )

    @property
    def negative_terms(self) -> Terms:
        """Minus the amount of each move, by pool."""
        terms = self.terms
        return Terms(terms.pool, terms.column, -terms.value)

    def columns_by_pool(self, n_pools: int, columns: Ints) -> Ints:
        """``columns`` by pool number, -1 where the pool has no such move."""
        result = np.full(n_pools, -1, dtype=np.int64)
        result[self.pool] = columns
        return result

    def amounts(self, x: Floats) -> Floats:
        """Amount of each move in a solution ``x``, in model units."""
        result: Floats = self.minimum * x[self.binary] + x[self.excess]
        return result


@dataclass(frozen=True, eq=False)
class Legs:
    """Tokens of pools, flat: leg l is ``share[l]`` of pool ``pool[l]`` in token ``token[l]``."""

    pool: Ints
    token: Ints
    share: Floats

    @classmethod
    def of(cls, by_pool: Mapping[int, Mapping[str, float]], token_index: Mapping[str, int]) -> Legs:
        """Legs from amounts by token by pool number; shares are amounts over the pool's total."""
        rows = [
            (pool, token_index[token], amount / sum(legs.values()))
            for pool, legs in sorted(by_pool.items())
            for token, amount in sorted(legs.items())
        ]
        pool, token, share = zip(*rows, strict=True) if rows else ((), (), ())
        return cls(
            np.array(pool, dtype=np.int64),
            np.array(token, dtype=np.int64),
            np.array(share, dtype=np.float64),
        )

    def smallest_share(self, n_pools: int) -> Floats:
        """Smallest share of each pool's legs; 1 where a pool has none."""
        result = np.ones(n_pools)
        np.minimum.at(result, self.pool, self.share)
        return result

    def count(self, n_pools: int) -> Ints:
        """Number of legs of each pool."""
        return np.bincount(self.pool, minlength=n_pools).astype(np.int64)
