"""One day of the books: what positions earn, what prices do, and that nothing else happens.

One token book; there is no scalar AUM beside it. ``aum_end = aum_after + yield + price effect`` is
asserted every day, to a cent.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

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
    delisted : mapping of str to float
        Pools that left the market on the day, and what was lost with them, USD, part of the yield.
    """

    book: Book
    aum_usd: float
    yield_usd: float
    price_usd: float
    missing: tuple[str, ...]
    delisted: Mapping[str, float] = field(default_factory=dict)


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
    paid_back : mapping of str to float
        Pools that leave the market on this day, and the share of its value that each pays back.
        Their unknown return is 0: they pay back at their last value.
    """

    returns: Mapping[str, float]
    others_usd: Mapping[str, float] | None
    tokens: Mapping[str, Collection[str]]
    paid_back: Mapping[str, float] = field(default_factory=dict)


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
    if not book.positions:
        before_usd, after_usd = book.aum_usd(prices_usd), book.aum_usd(next_prices_usd)
        return DayResult(book, after_usd, 0.0, after_usd - before_usd, ())
    held = _Holdings.of(book)
    price, next_price = held.prices(prices_usd), held.prices(next_prices_usd)
    earned = _returns(held, held.amounts * price, pools)
    unknown = np.isnan(earned)
    has_unknown = bool(unknown.any())
    grown = held.amounts * (1.0 + (np.where(unknown, 0.0, earned) if has_unknown else earned))
    delisted: dict[str, float] = {}
    if pools.paid_back:
        grown, delisted = _paid_back(held, grown, next_price, pools.paid_back)
    after = Book(book.wallet, dict(zip(held.keys, grown.tolist(), strict=True)))
    held_after = held.grown(after)
    cash_usd, next_cash_usd = book.wallet_usd(prices_usd), book.wallet_usd(next_prices_usd)
    aum_before = held.aum_usd(price, cash_usd)
    repriced = held.aum_usd(next_price, next_cash_usd)
    same = len(held_after.keys) == len(held.keys)
    result = DayResult(
        book=after,
        aum_usd=held_after.aum_usd(
            next_price if same else held_after.prices(next_prices_usd), next_cash_usd
        ),
        yield_usd=float(np.sum((grown - held.amounts) * next_price)),
        price_usd=repriced - aum_before,
        missing=(
            tuple(sorted({held.keys[n][0] for n in unknown.nonzero()[0].tolist()}))
            if has_unknown
            else ()
        ),
        delisted=delisted,
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
    pools : list of str, length n_positions
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
    pools: list[str]
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
            pools,
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
        if len(starts) == len(values):
            return math.fsum([wallet_usd, *values.tolist()])
        by_pool = np.add.reduceat(values, starts)
        ends = np.append(starts[1:], len(values))
        for n in (ends - starts > 2).nonzero()[0].tolist():  # two legs round in one way only
            by_pool[n] = math.fsum(values[starts[n] : ends[n]].tolist())
        return math.fsum([wallet_usd, *by_pool.tolist()])


def _paid_back(
    held: _Holdings, grown: Floats, next_price: Floats, paid_back: Mapping[str, float]
) -> tuple[Floats, dict[str, float]]:
    """Positions after the delistings of the day, and what was lost by pool, USD."""
    shares = np.array([paid_back.get(pool, 1.0) for pool, _ in held.keys], dtype=np.float64)
    after = grown * shares
    lost: dict[str, list[float]] = {}
    for (pool, _), usd in zip(held.keys, ((grown - after) * next_price).tolist(), strict=True):
        if pool in paid_back:
            lost.setdefault(pool, []).append(usd)
    return after, {pool: math.fsum(parts) for pool, parts in lost.items()}


def _returns(held: _Holdings, value_usd: Floats, pools: PoolDay) -> Floats:
    """Growth of each position after dilution; 0 for stranded legs, NaN where unknown."""
    returns, tokens = pools.returns, pools.tokens
    if pools.paid_back:
        unknown = {pool: 0.0 for pool in pools.paid_back if math.isnan(returns.get(pool, math.nan))}
        returns = {**returns, **unknown}
    # an absent one is None, which is NaN in an array
    earned = np.array([*map(returns.get, held.pools)], dtype=np.float64)
    inside = np.array(
        [pool not in tokens or token in tokens[pool] for pool, token in held.keys], dtype=bool
    )
    if pools.others_usd is not None and held.keys:
        starts, own = held.pool_starts, value_usd * inside
        if len(starts) < len(own):
            n_legs = np.diff(starts, append=len(own))
            own = np.repeat(np.add.reduceat(own, starts), n_legs)
        others = np.array([*map(pools.others_usd.get, held.pools)], dtype=np.float64)
        # a pool of unknown size is not diluted; a loss is not shared away
        kept = np.where(np.isfinite(others), pro_rata_factor(others, own), 1.0)
        kept[np.isnan(kept)] = 0.0
        earned = np.where(earned > 0.0, earned * kept, earned)
    return np.where(inside, np.maximum(earned, -1.0), 0.0)
