"""A book as arrays: the same values as from its mappings, to the last bit."""

from __future__ import annotations

import math
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stableyield.domain.portfolio import Book, Layout
from stableyield.errors import InputError, MissingDataError

TOKENS = ("DAI", "USDC", "USDT", "sDAI")
amounts = st.floats(1e-6, 1e9)
wallets = st.dictionaries(st.sampled_from(TOKENS), amounts)
positions = st.dictionaries(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from(TOKENS)), amounts, max_size=12
)
prices = st.fixed_dictionaries({token: st.floats(0.01, 10.0) for token in TOKENS})


@given(wallet=wallets, held=positions, price=prices)
@settings(max_examples=200, deadline=None)
def test_the_worth_of_a_book_is_the_rounded_sum_of_its_parts(wallet, held, price) -> None:
    book = Book(wallet, held)
    by_pool = {
        pool: math.fsum(held[key] * price[key[1]] for key in sorted(held) if key[0] == pool)
        for pool in sorted({pool for pool, _ in held})
    }
    cash = math.fsum(amount * price[token] for token, amount in wallet.items())
    assert book.positions_usd(price) == by_pool
    assert book.wallet_usd(price) == cash
    assert book.aum_usd(price) == math.fsum([cash, *by_pool.values()])


@given(wallet=wallets, held=positions, price=prices, seed=st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_other_amounts_make_the_book_that_has_them(wallet, held, price, seed) -> None:
    book = Book(wallet, held)
    grown = book.amounts * np.random.default_rng(seed).uniform(0.5, 1.5, len(book.amounts))
    other = book.with_amounts(grown)
    fresh = Book(wallet, dict(zip(book.layout.keys, grown.tolist(), strict=True)))
    assert other == fresh
    assert (other.tokens, other.pool_ids) == (fresh.tokens, fresh.pool_ids)
    assert other.layout is book.layout
    like = book.worth(price)
    assert other.worth(price, like=like).aum_usd == fresh.aum_usd(price)


def test_an_amount_that_becomes_zero_is_no_position_any_more() -> None:
    book = Book({}, {("a", "DAI"): 1.0, ("b", "DAI"): 2.0})
    left = book.with_amounts(np.array([0.0, 3.0]))
    assert left.positions == {("b", "DAI"): 3.0}
    assert left.layout.keys == (("b", "DAI"),)
    price = MappingProxyType({"DAI": 1.0})
    assert left.worth(price, like=book.worth(price)).values_usd.tolist() == [3.0]


@pytest.mark.parametrize("amount", [-1.0, math.nan, math.inf])
def test_amounts_that_are_none_are_refused(amount: float) -> None:
    with pytest.raises(InputError, match="position"):
        Book({}, {("a", "DAI"): 1.0}).with_amounts(np.array([amount]))


def test_a_book_cannot_be_changed() -> None:
    book = Book({"DAI": 1.0}, {("a", "DAI"): 1.0})
    with pytest.raises(AttributeError, match="does not change"):
        book.wallet = {}
    with pytest.raises(ValueError, match="read-only"):
        book.amounts[0] = 5.0
    with pytest.raises(TypeError, match="unhashable"):
        hash(book)


def test_books_are_equal_by_what_they_hold() -> None:
    book = Book({"DAI": 1.0}, {("a", "DAI"): 2.0})
    assert book == Book({"DAI": 1.0}, {("a", "DAI"): 2.0})
    assert book != Book({"DAI": 1.0}, {("a", "DAI"): 2.5})
    assert book != "a book"
    assert repr(book) == "Book(wallet={'DAI': 1.0}, positions={('a', 'DAI'): 2.0})"


def test_worth_is_kept_for_prices_that_cannot_change_only() -> None:
    book = Book({}, {("a", "DAI"): 2.0})
    first, second, third = (MappingProxyType({"DAI": price}) for price in (1.0, 2.0, 3.0))
    kept = book.worth(first)
    assert book.worth(second).aum_usd == 4.0
    assert book.worth(first) is kept
    book.worth(third)
    assert book.worth(third).aum_usd == 6.0
    mutable = {"DAI": 1.0}
    assert book.aum_usd(mutable) == 2.0
    mutable["DAI"] = 5.0
    assert book.aum_usd(mutable) == 10.0


def test_a_missing_price_names_the_first_position_that_needs_it() -> None:
    book = Book({}, {("a", "DAI"): 1.0, ("b", "USDC"): 1.0, ("c", "USDC"): 1.0})
    with pytest.raises(MissingDataError, match="position in pool b"):
        book.aum_usd({"DAI": 1.0})


def test_a_layout_knows_its_pools_and_tokens() -> None:
    layout = Layout((("a", "DAI"), ("a", "USDC"), ("b", "DAI")))
    assert layout.pool_ids == ("a", "b")
    assert layout.pool.tolist() == [0, 0, 1]
    assert layout.starts.tolist() == [0, 2]
    assert [layout.tokens[n] for n in layout.token] == ["DAI", "USDC", "DAI"]
    assert layout.has_pairs
    assert not Layout((("a", "DAI"),)).has_pairs
