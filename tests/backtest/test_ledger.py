"""One day of the books, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stableyield.backtest.ledger import PoolDay, next_day
from stableyield.domain.portfolio import Book
from stableyield.errors import ConservationError, MissingDataError

PAR = {"USDC": 1.0, "DAI": 1.0}
BOOK = Book({"USDC": 100.0}, {("a", "USDC"): 1000.0})


def lived(book, before, after, returns, others=None):
    """A day of a book; pool a takes USDC, pool b takes both tokens."""
    tokens = {"a": ("USDC",), "b": ("DAI", "USDC")}
    return next_day(book, before, after, PoolDay.of(book, returns, others, tokens))


def test_a_position_earns_its_pool_s_return_and_the_wallet_nothing():
    day = lived(BOOK, PAR, PAR, {"a": 0.01})
    assert day.book.positions == {("a", "USDC"): 1010.0}
    assert day.book.wallet == {"USDC": 100.0}
    assert day.yield_usd == pytest.approx(10.0)
    assert day.price_usd == 0.0
    assert day.aum_usd == pytest.approx(1110.0)


def test_prices_move_wallet_and_positions():
    day = lived(BOOK, PAR, {"USDC": 0.99}, {"a": 0.0})
    assert day.price_usd == pytest.approx(-11.0)
    assert day.yield_usd == 0.0
    assert day.book == BOOK


def test_yield_is_worth_what_its_token_costs_on_the_next_day():
    day = lived(BOOK, {"USDC": 1.0}, {"USDC": 1.1}, {"a": 0.02})
    assert day.price_usd == pytest.approx(110.0)  # 1,100 tokens by 0.10
    assert day.yield_usd == pytest.approx(22.0)  # 20 tokens at 1.10
    assert day.aum_usd == pytest.approx(1232.0)


def test_both_legs_of_a_pair_grow_alike():
    book = Book({}, {("b", "DAI"): 300.0, ("b", "USDC"): 700.0})
    day = lived(book, PAR, PAR, {"b": 0.01})
    assert day.book.positions == pytest.approx({("b", "DAI"): 303.0, ("b", "USDC"): 707.0})


def test_a_leg_in_a_token_that_the_pool_does_not_hold_earns_nothing():
    book = Book({}, {("a", "DAI"): 500.0, ("a", "USDC"): 500.0})
    day = lived(book, PAR, PAR, {"a": 0.01}, {"a": 500.0})
    # nor does it dilute: 500 of ours beside 500 of others
    assert day.book.positions == pytest.approx({("a", "DAI"): 500.0, ("a", "USDC"): 502.5})
    assert day.missing == ()


def test_our_own_share_dilutes_what_a_pool_pays():
    day = lived(BOOK, PAR, PAR, {"a": 0.01}, {"a": 3000.0})
    assert day.yield_usd == pytest.approx(1000.0 * 0.01 * 3000.0 / 4000.0)


def test_the_legs_of_a_pair_dilute_it_together():
    book = Book({}, {("b", "DAI"): 400.0, ("b", "USDC"): 600.0})
    day = lived(book, PAR, PAR, {"b": 0.01}, {"b": 1000.0})
    assert day.yield_usd == pytest.approx(1000.0 * 0.01 / 2.0)


def test_dilution_counts_our_money_at_the_prices_before_the_day():
    book = Book({}, {("a", "USDC"): 1000.0})
    day = lived(book, {"USDC": 0.5}, {"USDC": 1.0}, {"a": 0.01}, {"a": 500.0})
    assert day.yield_usd == pytest.approx(1000.0 * 0.01 * 500.0 / (500.0 + 500.0))


def test_a_loss_is_not_shared_away():
    day = lived(BOOK, PAR, PAR, {"a": -0.1}, {"a": 3000.0})
    assert day.yield_usd == pytest.approx(-100.0)


def test_a_pool_of_unknown_size_is_not_diluted():
    for others in ({"a": float("nan")}, {}):
        assert lived(BOOK, PAR, PAR, {"a": 0.01}, others).yield_usd == pytest.approx(10.0)


def test_a_pool_without_anybody_else_pays_nothing():
    assert lived(BOOK, PAR, PAR, {"a": 0.01}, {"a": 0.0}).yield_usd == 0.0


def test_nobody_loses_more_than_everything():
    day = lived(BOOK, PAR, PAR, {"a": -1.7})
    assert day.book == Book({"USDC": 100.0})
    assert day.yield_usd == pytest.approx(-1000.0)
    assert day.aum_usd == pytest.approx(100.0)


def test_an_unknown_return_earns_nothing_and_is_listed_once():
    book = Book({}, {("b", "DAI"): 1.0, ("b", "USDC"): 1.0, ("a", "USDC"): 1.0})
    for returns in ({"a": 0.5, "b": float("nan")}, {"a": 0.5}):
        day = lived(book, PAR, PAR, returns)
        assert day.missing == ("b",)
        assert day.yield_usd == pytest.approx(0.5)


def test_a_pool_that_the_market_does_not_know_is_listed_as_missing():
    day = lived(Book({}, {("gone", "USDC"): 5.0}), PAR, PAR, {}, {})
    assert day.missing == ("gone",)
    assert day.aum_usd == 5.0


@pytest.mark.parametrize("missing", ["today", "tomorrow"])
@pytest.mark.parametrize("where", ["wallet", "position"])
def test_no_price_is_invented(missing, where):
    book = Book({"DAI": 1.0}) if where == "wallet" else Book({}, {("b", "DAI"): 1.0})
    prices = {"today": PAR, "tomorrow": PAR, missing: {"USDC": 1.0}}
    with pytest.raises(MissingDataError, match="DAI has no usable USD price"):
        lived(book, prices["today"], prices["tomorrow"], {"b": 0.0})


def test_a_book_of_cash_only_has_a_day_too():
    day = lived(Book({"USDC": 7.0}), PAR, PAR, {}, {})
    assert (day.aum_usd, day.yield_usd, day.missing) == (7.0, 0.0, ())


def test_money_out_of_nowhere_stops_the_day(monkeypatch):
    honest = Book.with_amounts
    monkeypatch.setattr(Book, "with_amounts", lambda book, amounts: honest(book, amounts + 0.02))
    with pytest.raises(ConservationError, match=r"0\.020000 USD are unaccounted for"):
        lived(BOOK, PAR, PAR, {"a": 0.01})


def test_the_value_of_a_book_is_to_the_last_bit_what_the_book_says():
    rng = np.random.default_rng(2)
    tokens = [f"T{j}" for j in range(6)]
    for _ in range(50):
        prices, later = (dict(zip(tokens, rng.uniform(0.9, 1.1, 6), strict=True)) for _ in "ab")
        positions = {
            (f"p{i:02d}", token): float(rng.uniform(1.0, 1e6))
            for i in range(20)
            for token in rng.choice(tokens, size=rng.integers(1, 6), replace=False).tolist()
        }
        book = Book({"T0": float(rng.uniform(0.0, 1e5))}, positions)
        returns = {f"p{i:02d}": float(rng.normal(0.0, 0.01)) for i in range(20)} | {"p07": -1.0}
        day = next_day(book, prices, later, PoolDay.of(book, returns))
        assert day.aum_usd == day.book.aum_usd(later)
        assert day.price_usd == book.aum_usd(later) - book.aum_usd(prices)
        assert not any(pool == "p07" for pool, _ in day.book.positions)
