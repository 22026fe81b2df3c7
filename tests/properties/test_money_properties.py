"""Rates and books for any numbers: inverses, composition, conservation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stableyield.domain.costs import GasCosts, gas_fee_usd
from stableyield.domain.lending import pro_rata_factor
from stableyield.domain.portfolio import (
    WALLET,
    Book,
    GasPayment,
    Settlement,
    Transaction,
    TransactionType,
    replay,
)
from stableyield.domain.rates import annualised, apr_to_apy, apy_to_apr, day_return, growth
from stableyield.errors import ConservationError, InputError

rates = st.floats(-0.99, 50.0)
days = st.floats(0.01, 3_650.0)

# --- rates ---


@given(apr=st.floats(-5.0, 5.0))
def test_apr_and_apy_are_inverse(apr: float) -> None:
    assert apy_to_apr(apr_to_apy(apr)) == pytest.approx(apr, rel=1e-9, abs=1e-12)


@given(apy=rates, first=st.floats(0.0, 400.0), second=st.floats(0.0, 400.0))
def test_growth_composes_over_time(apy: float, first: float, second: float) -> None:
    whole = 1.0 + growth(apy, first + second)
    parts = (1.0 + growth(apy, first)) * (1.0 + growth(apy, second))
    assert parts == pytest.approx(whole, rel=1e-9, abs=1e-12)


@given(apy=rates, n=st.integers(1, 400))
def test_days_compound_to_their_period(apy: float, n: int) -> None:
    assert (1.0 + day_return(apy)) ** n == pytest.approx(1.0 + growth(apy, float(n)), rel=1e-9)


@given(apy=st.floats(-0.9, 10.0), length=st.floats(1.0, 1_000.0))
def test_annualising_undoes_growth(apy: float, length: float) -> None:
    assert annualised(1.0 + growth(apy, length), length) == pytest.approx(apy, rel=1e-6, abs=1e-9)


@given(low=rates, more=st.floats(1e-6, 1.0), length=days)
def test_a_higher_rate_grows_more(low: float, more: float, length: float) -> None:
    less, grown = growth(low, length), growth(low + more, length)
    assert grown >= less
    assert grown > less or less < -0.999  # beside -1 floats are too coarse to tell


@given(apy=st.floats(0.0, 5.0), length=st.floats(0.01, 364.9))
def test_within_a_year_growth_is_between_nothing_and_the_apy(apy: float, length: float) -> None:
    assert 0.0 <= growth(apy, length) <= apy


@given(values=st.lists(st.floats(-0.99, 5.0) | st.just(math.nan), min_size=1, max_size=6))
def test_unknown_rates_stay_unknown_and_do_not_touch_others(values: list[float]) -> None:
    array = np.array(values)
    for function in (day_return, apr_to_apy, apy_to_apr):
        result = function(array)
        assert np.array_equal(np.isnan(result), np.isnan(array))
        for value, got in zip(values, result, strict=True):
            if not math.isnan(value):
                assert got == function(value)


# --- costs and dilution ---


@given(units=st.floats(0, 1e6), gwei=st.floats(0, 1e3), eth=st.floats(0, 1e5))
def test_gas_is_linear_in_its_price(units: float, gwei: float, eth: float) -> None:
    assert gas_fee_usd(units, 2.0 * gwei, eth) == pytest.approx(2.0 * gas_fee_usd(units, gwei, eth))


@given(value=st.floats(max_value=-1e-300, allow_infinity=True))
def test_negative_gas_is_refused(value: float) -> None:
    with pytest.raises(InputError):
        GasCosts(value, 1.0, 1.0)


@given(others=st.floats(1e-3, 1e12), own=st.floats(0.0, 1e12))
def test_dilution_keeps_a_share(others: float, own: float) -> None:
    kept = float(pro_rata_factor(np.array([others]), np.array([own]))[0])
    assert 0.0 < kept <= 1.0
    assert kept * (others + own) == pytest.approx(others)


# --- books ---

TOKENS = ("DAI", "USDC", "USDT")
amounts = st.floats(0.0, 1e9)
prices = st.fixed_dictionaries({token: st.floats(0.01, 100.0) for token in TOKENS})
books = st.builds(
    Book,
    st.dictionaries(st.sampled_from(TOKENS), amounts),
    st.dictionaries(
        st.tuples(st.sampled_from(("p1", "p2", "p3")), st.sampled_from(TOKENS)), amounts
    ),
)


@given(book=books, price=prices)
def test_aum_is_the_sum_of_its_parts(book: Book, price: dict[str, float]) -> None:
    parts = [book.wallet_usd(price), *book.positions_usd(price).values()]
    assert book.aum_usd(price) == pytest.approx(math.fsum(parts), rel=1e-12)


@given(book=books)
def test_a_book_made_of_a_book_is_the_same_book(book: Book) -> None:
    assert Book(dict(book.wallet), dict(book.positions)) == book
    assert all(book.wallet.values())
    assert list(book.positions) == sorted(book.positions)


@st.composite
def _plans(draw: st.DrawFn) -> tuple[Book, dict[str, float], tuple[Transaction, ...]]:
    """A book, prices and up to eight steps, each of which spends what is there."""
    price = draw(prices)
    wallet = {token: draw(st.floats(10.0, 1e6)) for token in TOKENS}
    book = Book(wallet, {("p1", "DAI"): draw(st.floats(10.0, 1e6))})
    steps: list[Transaction] = []
    for _ in range(draw(st.integers(1, 8))):
        now = replay(book, steps, price)
        step = _step(draw, now, price, len(steps) + 1)
        if step is not None:
            steps.append(step)
    return book, price, tuple(steps)


def _step(draw: st.DrawFn, now: Book, price: dict[str, float], seq: int) -> Transaction | None:
    kind = draw(st.sampled_from(TransactionType))
    share = draw(st.floats(0.01, 0.9))
    token = draw(st.sampled_from(TOKENS))
    pool = draw(st.sampled_from(("p1", "p2")))
    in_pool = now.positions.get((pool, token), 0.0)
    in_wallet = now.wallet.get(token, 0.0)
    if kind in {TransactionType.HOLD, TransactionType.WITHDRAWAL}:
        amount = in_pool if kind is TransactionType.HOLD else share * in_pool
        to = pool if kind is TransactionType.HOLD else WALLET
        return Transaction(seq, kind, pool, to, token, amount, amount * price[token])
    amount = share * in_wallet
    usd = amount * price[token]
    if kind is TransactionType.ALLOCATION:
        gas = GasPayment(token, 0.01 * in_wallet, 0.01 * in_wallet * price[token])
        return Transaction(seq, kind, WALLET, pool, token, amount, usd, gas=(gas,))
    bought = draw(st.sampled_from(TOKENS))
    if bought == token:
        return None
    fee = 0.001 * usd
    return Transaction(
        seq,
        kind,
        WALLET,
        WALLET,
        token,
        amount,
        usd,
        to_token=bought,
        to_amount=(usd - fee) / price[bought],
        conversion_cost_usd=fee,
    )


@settings(deadline=None)
@given(plan=_plans())
def test_any_payable_steps_settle_without_losing_a_cent(plan) -> None:
    book, price, steps = plan
    settlement = Settlement(book, replay(book, steps, price), price, steps)
    assert abs(settlement.unaccounted_usd) < 0.01
    assert settlement.aum_after_usd == pytest.approx(
        settlement.aum_before_usd - settlement.costs_usd, rel=1e-12
    )


@settings(deadline=None)
@given(plan=_plans(), data=st.data())
def test_no_step_can_be_changed_by_a_cent(plan, data: st.DataObject) -> None:
    """More moved than stated in USD, in any step, is found out."""
    book, price, steps = plan
    assume(steps)
    after = replay(book, steps, price)
    n = data.draw(st.integers(0, len(steps) - 1))
    wrong = replace(steps[n], amount_usd=steps[n].amount_usd + 0.01)
    assume(wrong.amount_usd < 1e6)  # a cent is above the rounding of floats
    with pytest.raises(ConservationError):
        Settlement(book, after, price, (*steps[:n], wrong, *steps[n + 1 :]))


@settings(deadline=None)
@given(plan=_plans(), data=st.data())
def test_no_step_that_moves_money_can_be_left_out(plan, data: st.DataObject) -> None:
    book, price, steps = plan
    moving = [s for s in steps if s.type is not TransactionType.HOLD and s.amount_usd > 0.1]
    assume(moving)
    gone = data.draw(st.sampled_from(moving))
    with pytest.raises(ConservationError):
        Settlement(
            book,
            replay(book, steps, price),
            price,
            tuple(step for step in steps if step is not gone),
        )
