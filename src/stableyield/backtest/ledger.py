"""One day of the books: what positions earn, what prices do, and that nothing else happens.

One token book; there is no scalar AUM beside it. ``aum_end = aum_after + yield + price effect`` is
asserted every day, to a cent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stableyield.domain.lending import pro_rata_factor
from stableyield.domain.portfolio import CENT_USD, Book, price_of
from stableyield.errors import ConservationError

Floats = NDArray[np.float64]


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
    keys = list(book.positions)
    amounts = np.array(list(book.positions.values()), dtype=np.float64)
    price = np.array([price_of(t, prices_usd, f"pool {p}") for p, t in keys], dtype=np.float64)
    next_price = np.array(
        [price_of(t, next_prices_usd, f"pool {p}") for p, t in keys], dtype=np.float64
    )
    earned = _returns(keys, amounts * price, pools)
    missing = sorted({pool for (pool, _), r in zip(keys, earned, strict=True) if np.isnan(r)})
    grown = amounts * (1.0 + np.nan_to_num(earned))
    after = Book(book.wallet, dict(zip(keys, grown.tolist(), strict=True)))
    result = DayResult(
        book=after,
        aum_usd=after.aum_usd(next_prices_usd),
        yield_usd=float(np.sum((grown - amounts) * next_price)),
        price_usd=book.aum_usd(next_prices_usd) - book.aum_usd(prices_usd),
        missing=tuple(missing),
    )
    aum_before = book.aum_usd(prices_usd)
    unaccounted = result.aum_usd - aum_before - result.yield_usd - result.price_usd
    if abs(unaccounted) > CENT_USD:
        raise ConservationError(f"{unaccounted:.6f} USD are unaccounted for after a day")
    return result


def _returns(keys: list[tuple[str, str]], value_usd: Floats, pools: PoolDay) -> Floats:
    """Growth of each position after dilution; 0 for stranded legs, NaN where unknown."""
    earned = np.array([pools.returns.get(pool, np.nan) for pool, _ in keys], dtype=np.float64)
    inside = np.array(
        [pool not in pools.tokens or token in pools.tokens[pool] for pool, token in keys],
        dtype=bool,
    )
    if pools.others_usd is not None and len(keys):
        names, place = np.unique([pool for pool, _ in keys], return_inverse=True)
        own = np.bincount(place, weights=value_usd * inside).astype(np.float64)[place]
        others = np.array([pools.others_usd.get(str(name), np.nan) for name in names])[place]
        # a pool of unknown size is not diluted; a loss is not shared away
        kept = np.where(np.isfinite(others), pro_rata_factor(others, own), 1.0)
        earned = np.where(earned > 0.0, earned * np.nan_to_num(kept), earned)
    return np.where(inside, np.maximum(earned, -1.0), 0.0)
