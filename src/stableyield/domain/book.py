"""What is owned: liquid tokens and positions, in token units, and what they are worth.

A book is held across days as arrays: its `Layout` says what is held and is one and the same object
from day to day while that does not change; only the amounts do. The mapping of positions is made
when somebody asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import mul
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from stableyield.errors import InputError, MissingDataError

Floats = NDArray[np.float64]
Columns = NDArray[np.intp]

NOTHING: Floats = np.zeros(0)

Position = tuple[str, str]  # (pool_id, token)
K = TypeVar("K", str, Position)


def price_of(token: str, prices_usd: Mapping[str, float], where: str = "") -> float:
    """Price of ``token``; a missing, non-finite or non-positive price is an error, never 1.0.

    Raises
    ------
    MissingDataError
        When the price is absent, NaN, infinite, zero or negative.
    """
    price = prices_usd.get(token, math.nan)
    if not (math.isfinite(price) and price > 0.0):
        raise MissingDataError(
            f"token {token} has no usable USD price (found {price})",
            where=where,
            remedy="add its price for that day; a missing price is never taken as 1.0",
        )
    return price


@dataclass(frozen=True, eq=False)
class Layout:
    """What a book holds in pools, and not how much: equal keys need not be one object.

    Parameters
    ----------
    keys : tuple of (pool_id, token), length n_positions
        Sorted, without repeats.
    """

    keys: tuple[Position, ...]

    @cached_property
    def pool_ids(self) -> tuple[str, ...]:
        """Every pool that holds a position, sorted; length n_pools_held."""
        return tuple(dict.fromkeys(pool_id for pool_id, _ in self.keys))

    @cached_property
    def pool(self) -> Columns:
        """Place in ``pool_ids`` of each position's pool; shape (n_positions,)."""
        place = {pool_id: n for n, pool_id in enumerate(self.pool_ids)}
        return np.array([place[pool_id] for pool_id, _ in self.keys], dtype=np.intp)

    @cached_property
    def starts(self) -> Columns:
        """The first position of each pool; shape (n_pools_held,)."""
        return np.flatnonzero(np.diff(self.pool, prepend=-1))

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """Every token that is held in a pool, in the order of the positions."""
        return tuple(dict.fromkeys(token for _, token in self.keys))

    @cached_property
    def token(self) -> Columns:
        """Place in ``tokens`` of each position's token; shape (n_positions,)."""
        place = {token: n for n, token in enumerate(self.tokens)}
        return np.array([place[token] for _, token in self.keys], dtype=np.intp)

    @cached_property
    def has_pairs(self) -> bool:
        """Whether a pool holds several tokens."""
        return len(self.pool_ids) < len(self.keys)

    @cached_property
    def _crowded(self) -> list[tuple[int, slice]]:
        """Pools with more than two positions, and which those are; two round in one way only."""
        ends = np.append(self.starts[1:], len(self.keys)).tolist()
        spans = map(slice, self.starts.tolist(), ends)
        return [(n, span) for n, span in enumerate(spans) if span.stop - span.start > 2]

    def prices(self, prices_usd: Mapping[str, float]) -> Floats:
        """Price of each position's token, each checked; shape (n_positions,)."""
        if not self.keys:
            return NOTHING
        found = [prices_usd.get(token, math.nan) for token in self.tokens]
        if not _are_usable(found):
            for pool_id, token in self.keys:  # names the first that has none
                price_of(token, prices_usd, f"position in pool {pool_id}")
        return np.array(found, dtype=np.float64)[self.token]

    def by_pool(self, values: Floats) -> list[float]:
        """Sum of the values of each pool's positions, correctly rounded; length n_pools_held."""
        sums = values
        if self.has_pairs:
            sums = np.add.reduceat(values, self.starts)
            for n, span in self._crowded:
                sums[n] = math.fsum(values[span].tolist())
        result: list[float] = sums.tolist()
        return result


@dataclass(frozen=True, eq=False)
class Worth:
    """A book at the prices of one day.

    Parameters
    ----------
    prices : ndarray of shape (n_positions,)
        Price of each position's token, USD.
    values_usd : ndarray of shape (n_positions,)
    wallet_usd, aum_usd : float
    """

    prices: Floats
    values_usd: Floats
    wallet_usd: float
    aum_usd: float


class Book:
    """What is owned: liquid tokens and positions, in token units. It does not change.

    Parameters
    ----------
    wallet : mapping of token to amount
    positions : mapping of (pool_id, token) to amount

    Zero amounts are dropped, keys are sorted, and the mappings are read-only.

    Raises
    ------
    InputError
        When an amount is negative or not finite.
    """

    wallet: Mapping[str, float]
    layout: Layout
    amounts: Floats
    # the last two prices that were asked for, and what was owned then
    _worths: tuple[tuple[Mapping[str, float], Worth], ...] = ()

    def __init__(
        self,
        wallet: Mapping[str, float] = MappingProxyType({}),
        positions: Mapping[Position, float] = MappingProxyType({}),
    ) -> None:
        held = _frozen_amounts(positions, "position")
        amounts = np.array(list(held.values()), dtype=np.float64)
        self._set(_frozen_amounts(wallet, "wallet token"), Layout(tuple(held)), amounts)
        vars(self)["positions"] = held

    def _set(self, wallet: Mapping[str, float], layout: Layout, amounts: Floats) -> None:
        amounts.setflags(write=False)
        vars(self).update(wallet=wallet, layout=layout, amounts=amounts)

    def with_amounts(self, amounts: Floats) -> Book:
        """The same wallet, and the same positions with other amounts; shape (n_positions,).

        Raises
        ------
        InputError
            When an amount is negative or not finite.
        """
        if len(amounts) and not (amounts.min() > 0.0 and amounts.max() < math.inf):
            return Book(self.wallet, dict(zip(self.layout.keys, amounts.tolist(), strict=True)))
        book = object.__new__(Book)
        book._set(self.wallet, self.layout, amounts)
        vars(book).update(tokens=self.tokens, cash=self.cash)
        return book

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a book does not change: {name} cannot be set")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Book):
            return NotImplemented
        return self.wallet == other.wallet and self.positions == other.positions

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Book(wallet={dict(self.wallet)}, positions={dict(self.positions)})"

    @cached_property
    def positions(self) -> Mapping[Position, float]:
        """Amount of each (pool_id, token)."""
        return MappingProxyType(dict(zip(self.layout.keys, self.amounts.tolist(), strict=True)))

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """Every token that is owned, sorted."""
        return tuple(sorted({*self.wallet, *self.layout.tokens}))

    @cached_property
    def cash(self) -> Floats:
        """Amount of each token of the wallet; shape (n_wallet_tokens,)."""
        cash = np.array(list(self.wallet.values()), dtype=np.float64)
        cash.setflags(write=False)
        return cash

    @property
    def pool_ids(self) -> tuple[str, ...]:
        """Every pool that holds a position, sorted."""
        return self.layout.pool_ids

    def wallet_usd(self, prices_usd: Mapping[str, float]) -> float:
        """Value of the wallet in USD."""
        found = [prices_usd.get(token, math.nan) for token in self.wallet]
        if not _are_usable(found):
            for token in self.wallet:  # names the first that has none
                price_of(token, prices_usd, "wallet")
        return math.fsum(map(mul, self.wallet.values(), found))

    def positions_usd(self, prices_usd: Mapping[str, float]) -> dict[str, float]:
        """Value of the positions in USD, by pool."""
        layout = self.layout
        values = self.amounts * layout.prices(prices_usd)
        return dict(zip(layout.pool_ids, layout.by_pool(values), strict=True))

    def worth(self, prices_usd: Mapping[str, float], like: Worth | None = None) -> Worth:
        """What is owned at some prices; kept for the last ones that were asked for.

        Parameters
        ----------
        prices_usd : mapping of token to USD price
        like : Worth, optional
            Of the book that this one was made from by `with_amounts`, at the same prices.

        Raises
        ------
        MissingDataError
            When something that is owned has no usable price.
        """
        for prices, worth in self._worths:
            if prices is prices_usd:
                return worth
        if like is None or len(like.prices) != len(self.amounts):
            like = Worth(self.layout.prices(prices_usd), NOTHING, self.wallet_usd(prices_usd), 0.0)
        values = self.amounts * like.prices
        aum_usd = math.fsum([like.wallet_usd, *self.layout.by_pool(values)])
        found = Worth(like.prices, values, like.wallet_usd, aum_usd)
        if isinstance(prices_usd, MappingProxyType):  # others may change
            vars(self)["_worths"] = ((prices_usd, found), *self._worths[:1])
        return found

    def aum_usd(self, prices_usd: Mapping[str, float]) -> float:
        """Wallet and positions in USD.

        Raises
        ------
        MissingDataError
            When something that is owned has no usable price.
        """
        return self.worth(prices_usd).aum_usd


def _are_usable(prices: list[float]) -> bool:
    """Whether all prices are finite and positive."""
    return all(map(math.isfinite, prices)) and min(prices, default=1.0) > 0.0


def _frozen_amounts(amounts: Mapping[K, float], what: str) -> Mapping[K, float]:
    if _is_in_order(amounts):
        return MappingProxyType(dict(amounts))
    for key, amount in amounts.items():
        if not (math.isfinite(amount) and amount >= 0.0):
            raise InputError(
                f"{what} {key} has amount {amount}", remedy="amounts are finite and not negative"
            )
    return MappingProxyType({key: float(amounts[key]) for key in sorted(amounts) if amounts[key]})


def _is_in_order(amounts: Mapping[K, Any]) -> bool:
    """Whether the amounts are sorted, positive, finite floats already: the usual case."""
    values, keys = amounts.values(), list(amounts)
    return (
        set(map(type, values)) <= {float}
        and all(map(math.isfinite, values))
        and min(values, default=1.0) > 0.0
        and keys == sorted(keys)
    )
