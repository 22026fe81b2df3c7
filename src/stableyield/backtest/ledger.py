"""One day of the books: what positions earn, what prices do, and that nothing else happens.

One token book; there is no scalar AUM beside it. ``aum_end = aum_after + yield + price effect`` is
asserted every day, to a cent.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.lending import pro_rata_factor
from stableyield.domain.portfolio import CENT_USD, Book, Layout, Worth
from stableyield.errors import ConservationError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


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
    """What one day did to the pools of a book, position by position.

    Parameters
    ----------
    returns : ndarray of shape (n_positions,)
        Growth (fraction) of one unit; NaN is unknown and earns nothing.
    others_usd : ndarray of shape (n_positions,), or None
        Everybody else's deposits in the position's pool, to dilute a positive return by our own;
        NaN is unknown and does not dilute; None: no dilution.
    stranded : ndarray of bool, shape (n_positions,), or None
        Positions in a token that their pool does not take: they earn nothing. None: there is none.
    paid_back : mapping of str to float
        Pools that leave the market on this day, and the share of its value that each pays back.
        Their unknown return is 0: they pay back at their last value.
    """

    returns: Floats
    others_usd: Floats | None = None
    stranded: Bools | None = None
    paid_back: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        book: Book,
        returns: Mapping[str, float],
        others_usd: Mapping[str, float] | None = None,
        tokens: Mapping[str, Collection[str]] | None = None,
        paid_back: Mapping[str, float] | None = None,
    ) -> Self:
        """The day of a book's positions from what is said of pools, by pool id.

        A pool that is absent from ``returns`` or ``others_usd`` is unknown there; one that is
        absent from ``tokens`` takes every token.
        """
        keys, taken = book.layout.keys, tokens or {}
        nan = math.nan
        return cls(
            np.array([returns.get(pool, nan) for pool, _ in keys], dtype=np.float64),
            None
            if others_usd is None
            else np.array([others_usd.get(pool, nan) for pool, _ in keys], dtype=np.float64),
            np.array([token not in taken.get(pool, (token,)) for pool, token in keys], dtype=bool),
            paid_back or {},
        )


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
        The next day's realised returns, of this book.

    Raises
    ------
    MissingDataError
        When something that is owned has no price on one of the two days.
    ConservationError
        When the books do not add up: a bug.
    """
    before, repriced = book.worth(prices_usd), book.worth(next_prices_usd)
    price_usd = repriced.aum_usd - before.aum_usd
    if not book.layout.keys:
        return DayResult(book, repriced.aum_usd, 0.0, price_usd, ())
    earned = _returns(book.layout, before, pools)
    unknown = np.isnan(earned)
    missing: tuple[str, ...] = ()
    if unknown.any():
        missing = _pools_among(book.layout, unknown)
        earned = np.where(unknown, 0.0, earned)
    grown = book.amounts * (1.0 + earned)
    delisted: dict[str, float] = {}
    if pools.paid_back:
        grown, delisted = _paid_back(book.layout, grown, repriced.prices, pools.paid_back)
    after = book.with_amounts(grown)
    result = DayResult(
        book=after,
        aum_usd=after.worth(next_prices_usd, like=repriced).aum_usd,
        yield_usd=float(((grown - book.amounts) * repriced.prices).sum()),
        price_usd=price_usd,
        missing=missing,
        delisted=delisted,
    )
    unaccounted = result.aum_usd - before.aum_usd - result.yield_usd - result.price_usd
    if abs(unaccounted) > CENT_USD:
        raise ConservationError(f"{unaccounted:.6f} USD are unaccounted for after a day")
    return result


def _pools_among(layout: Layout, positions: Bools) -> tuple[str, ...]:
    """The pools of some positions, sorted."""
    return tuple(layout.pool_ids[n] for n in np.unique(layout.pool[positions]).tolist())


def _paid_back(
    layout: Layout, grown: Floats, next_price: Floats, paid_back: Mapping[str, float]
) -> tuple[Floats, dict[str, float]]:
    """Positions after the delistings of the day, and what was lost by pool, USD."""
    shares = np.array([paid_back.get(pool, 1.0) for pool, _ in layout.keys], dtype=np.float64)
    after = grown * shares
    lost: dict[str, list[float]] = {}
    for (pool, _), usd in zip(layout.keys, ((grown - after) * next_price).tolist(), strict=True):
        if pool in paid_back:
            lost.setdefault(pool, []).append(usd)
    return after, {pool: math.fsum(parts) for pool, parts in lost.items()}


def _returns(layout: Layout, before: Worth, pools: PoolDay) -> Floats:
    """Growth of each position after dilution; 0 for stranded legs, NaN where unknown."""
    earned, stranded = pools.returns, pools.stranded
    if pools.paid_back:
        left = np.array([pool in pools.paid_back for pool, _ in layout.keys], dtype=bool)
        earned = np.where(left & np.isnan(earned), 0.0, earned)
    if pools.others_usd is not None:
        own = before.values_usd if stranded is None else before.values_usd * ~stranded
        if layout.has_pairs:
            own = np.add.reduceat(own, layout.starts)[layout.pool]
        kept = pro_rata_factor(pools.others_usd, own)
        if np.isnan(kept).any():
            # a pool of unknown size is not diluted; one without anybody else pays nothing
            kept = np.where(np.isnan(kept), np.where(np.isfinite(pools.others_usd), 0.0, 1.0), kept)
        earned = np.where(earned > 0.0, earned * kept, earned)  # a loss is not shared away
    earned = np.maximum(earned, -1.0)
    return earned if stranded is None else np.where(stranded, 0.0, earned)
