"""One day of the books: what positions earn, what prices do, and that nothing else happens.

One token book; there is no scalar AUM beside it. ``aum_end = aum_after + yield + price effect`` is
asserted every day, to a cent.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.lending import pro_rata_factor
from stableyield.domain.portfolio import CENT_USD, Book, price_of
from stableyield.errors import ConservationError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class DayResult:
    """The book at the end of the next day and how it got there.

    Parameters
    ----------
    book : Book
    aum_usd : float
        At the next day's prices.
    yield_usd : float
        Earned by the positions, at the next day's prices; negative for a loss.
    price_usd : float
        Re-pricing of everything that was owned before the yield.
    missing : tuple of str
        Pools that earned nothing because their return is unknown.
    """

    book: Book
    aum_usd: float
    yield_usd: float
    price_usd: float
    missing: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class PoolDay:
    """What one day did to pools, by pool id.

    Parameters
    ----------
    returns : mapping of str to float
        Growth (fraction) of one unit; a pool that is absent or NaN is unknown and earns nothing.
    others_usd : mapping of str to float, or None
        Everybody else's deposits, to dilute a positive return by our own; None: no dilution.
    tokens : mapping of str to collection of str
        The tokens of each known pool: a position in another token earns nothing.
    """

    returns: Mapping[str, float]
    others_usd: Mapping[str, float] | None
    tokens: Mapping[str, Collection[str]]


def next_day(
    book: Book,
    prices_usd: Mapping[str, float],
    next_prices_usd: Mapping[str, float],
    pools: PoolDay,
) -> DayResult:
    """Carry a book from the end of one day to the end of the next.

    Parameters
    ----------
    book : Book
        After the day's plan.
    prices_usd, next_prices_usd : mapping of token to USD price
    pools : PoolDay
        The next day's realised returns.

    Raises
    ------
    MissingDataError
        When something that is owned has no price on one of the two days.
    ConservationError
        When the books do not add up: a bug.
    """
    held = _Holdings.of(book)
    price, next_price = held.prices(prices_usd), held.prices(next_prices_usd)
    earned = _returns(held, held.amounts * price, pools)
    grown = held.amounts * (1.0 + np.nan_to_num(earned))
    after = Book(book.wallet, dict(zip(held.keys, grown.tolist(), strict=True)))
    held_after = held.grown(after)
    aum_before = held.aum_usd(price, book.wallet_usd(prices_usd))
    repriced = held.aum_usd(next_price, book.wallet_usd(next_prices_usd))
    result = DayResult(
        book=after,
        aum_usd=held_after.aum_usd(
            held_after.prices(next_prices_usd), after.wallet_usd(next_prices_usd)
        ),
        yield_usd=float(np.sum((grown - held.amounts) * next_price)),
        price_usd=repriced - aum_before,
        missing=tuple(sorted({held.keys[n][0] for n in np.isnan(earned).nonzero()[0].tolist()})),
    )
    unaccounted = result.aum_usd - aum_before - result.yield_usd - result.price_usd
    if abs(unaccounted) > CENT_USD:
        raise ConservationError(f"{unaccounted:.6f} USD are unaccounted for after a day")
    return result


@dataclass(frozen=True, eq=False)
class _Holdings:
    """The positions of a book as arrays, in the order of the book, which is sorted.

    Parameters
    ----------
    keys : list of (pool_id, token), length n_positions
    amounts : ndarray of shape (n_positions,)
        Token units.
    pool_starts : ndarray of int, shape (n_pools_held,)
        Where each pool's first position is.
    first_pool : dict of str to str
        Each token that is held, and a pool that holds it.
    token : ndarray of int, shape (n_positions,)
        Place of each position's token in ``first_pool``.
    """

    keys: list[tuple[str, str]]
    amounts: Floats
    pool_starts: Ints
    first_pool: dict[str, str]
    token: Ints

    @classmethod
    def of(cls, book: Book) -> _Holdings:
        keys = list(book.positions)
        pools = [pool for pool, _ in keys]
        starts = [n for n, pool in enumerate(pools) if n == 0 or pool != pools[n - 1]]
        first_pool = {token: pool for pool, token in reversed(keys)}
        place = {token: j for j, token in enumerate(first_pool)}
        return cls(
            keys,
            np.array(list(book.positions.values()), dtype=np.float64),
            np.array(starts, dtype=np.int64),
            first_pool,
            np.array([place[token] for _, token in keys], dtype=np.int64),
        )

    def grown(self, book: Book) -> _Holdings:
        """The positions of a later book, most often the same ones."""
        if list(book.positions) != self.keys:
            return _Holdings.of(book)
        amounts = np.array(list(book.positions.values()), dtype=np.float64)
        return replace(self, amounts=amounts)

    def prices(self, prices_usd: Mapping[str, float]) -> Floats:
        """Price of each position's token; every price is checked."""
        tokens = self.first_pool.items()
        price = [price_of(token, prices_usd, f"pool {pool}") for token, pool in tokens]
        return np.array(price, dtype=np.float64)[self.token]

    def aum_usd(self, price: Floats, wallet_usd: float) -> float:
        """Wallet and positions in USD, as `Book.aum_usd` adds them, bit by bit."""
        if not self.keys:
            return wallet_usd
        values, starts = self.amounts * price, self.pool_starts
        by_pool = np.add.reduceat(values, starts)
        ends = np.append(starts[1:], len(values))
        for n in (ends - starts > 2).nonzero()[0].tolist():  # two legs round in one way only
            by_pool[n] = math.fsum(values[starts[n] : ends[n]].tolist())
        return math.fsum([wallet_usd, *by_pool.tolist()])


def _returns(held: _Holdings, value_usd: Floats, pools: PoolDay) -> Floats:
    """Growth of each position after dilution; 0 for stranded legs, NaN where unknown."""
    returns, tokens = pools.returns, pools.tokens
    earned = np.array([returns.get(pool, np.nan) for pool, _ in held.keys], dtype=np.float64)
    inside = np.array(
        [pool not in tokens or token in tokens[pool] for pool, token in held.keys], dtype=bool
    )
    if pools.others_usd is not None and held.keys:
        starts = held.pool_starts
        n_legs = np.diff(starts, append=len(held.keys))
        own = np.repeat(np.add.reduceat(value_usd * inside, starts), n_legs)
        of_pool = [pools.others_usd.get(held.keys[n][0], np.nan) for n in starts.tolist()]
        others = np.repeat(np.array(of_pool, dtype=np.float64), n_legs)
        # a pool of unknown size is not diluted; a loss is not shared away
        kept = np.where(np.isfinite(others), pro_rata_factor(others, own), 1.0)
        earned = np.where(earned > 0.0, earned * np.nan_to_num(kept), earned)
    return np.where(inside, np.maximum(earned, -1.0), 0.0)
