"""Whatever the book and the day: money neither appears nor disappears."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stableyield.allocation import AllocationProblem
from stableyield.backtest.ledger import PoolDay, next_day
from stableyield.backtest.rebalance import RESERVE_USD, rebalance
from stableyield.domain.costs import GasCosts
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import Book, Settlement, TransactionType, replay
from support.problems import random_problem

CONSERVED_USD = 1e-3
TOKENS = ("DAI", "USDC", "USDT")
POOLS = ("a", "b", "c", "d")

amounts = st.floats(0.0, 1e9).filter(lambda x: x == 0.0 or x > 1e-6)
prices = st.fixed_dictionaries({token: st.floats(0.01, 10.0) for token in TOKENS})
returns = st.dictionaries(
    st.sampled_from(POOLS), st.floats(-2.0, 2.0) | st.just(math.nan), max_size=4
)
sizes = st.none() | st.dictionaries(
    st.sampled_from(POOLS), st.floats(0.0, 1e10) | st.just(math.nan), max_size=4
)
contents = st.dictionaries(
    st.sampled_from(POOLS), st.sets(st.sampled_from(TOKENS), min_size=1), max_size=4
)
books = st.builds(
    Book,
    st.dictionaries(st.sampled_from(TOKENS), amounts),
    st.dictionaries(st.tuples(st.sampled_from(POOLS), st.sampled_from(TOKENS)), amounts),
)


@given(book=books, before=prices, after=prices, day=st.tuples(returns, sizes, contents))
@settings(max_examples=300, deadline=None)
def test_a_day_of_any_book_adds_up(
    book: Book, before: Mapping[str, float], after: Mapping[str, float], day: tuple[Any, ...]
) -> None:
    result = next_day(book, before, after, PoolDay.of(book, *day))
    scale = max(book.aum_usd(before), book.aum_usd(after), result.aum_usd, 1.0)
    stated = book.aum_usd(before) + result.yield_usd + result.price_usd
    assert abs(result.aum_usd - stated) <= 1e-12 * scale
    assert result.aum_usd == result.book.aum_usd(after)
    assert result.book.wallet == book.wallet
    for key, amount in book.positions.items():
        earned = day[0].get(key[0], math.nan)
        grown = result.book.positions.get(key, 0.0)
        if key[0] in result.missing:
            assert grown == amount or not math.isnan(earned)
        # dilution takes from a gain, and never more than all of it
        if not math.isnan(earned):
            low, high = sorted((amount, amount * max(1.0 + earned, 0.0)))
            assert low * (1 - 1e-12) <= grown <= high * (1 + 1e-12)
        else:
            assert grown == amount


@given(book=books, before=prices, after=prices)
@settings(max_examples=100, deadline=None)
def test_a_day_without_returns_is_only_re_priced(
    book: Book, before: Mapping[str, float], after: Mapping[str, float]
) -> None:
    result = next_day(book, before, after, PoolDay.of(book, {}))
    assert result.book == book
    assert result.yield_usd == 0.0
    assert result.missing == book.pool_ids


def harder(problem: AllocationProblem, seed: int) -> AllocationProblem:
    """The same problem with a small book, an empty wallet or dear gas now and then."""
    rng = np.random.default_rng(seed)
    size, dearer = 10.0 ** rng.uniform(-4.0, 0.0), float(rng.choice([0.0, 1.0, 30.0]))
    cash = float(rng.choice([0.0, 1e-3, 1.0]))
    gas = GasCosts(*(dearer * getattr(problem.gas, name) for name in GasCosts.__slots__))
    wallet = {token: size * cash * amount for token, amount in problem.book.wallet.items()}
    positions = {
        key: size * float(rng.choice([1e-3, 1.0])) * amount
        for key, amount in problem.book.positions.items()
    }
    pools = [
        replace(pool, gas=gas if pool.gas is not None else None)
        for pool in problem.pools
        if pool.tokens
    ]
    if not any(wallet.values()) and not any(positions.values()):
        wallet = {problem.tokens[0]: 1.0}
    return replace(problem, pools=pools, book=Book(wallet, positions), gas=gas)


def random_targets(problem: AllocationProblem, seed: int) -> dict[str, float]:
    """Targets of every kind: all alike, some drawn, what is held, everything in one."""
    rng = np.random.default_rng(seed)
    kind, n = rng.integers(4), len(problem.pools)
    if kind == 0:
        usd = np.full(n, problem.aum_usd / n)
    elif kind == 1:
        usd = rng.exponential(problem.aum_usd / 4.0, n) * (rng.random(n) < 0.6)
    elif kind == 2:
        usd = problem.position_usd.copy()
    else:
        usd = np.where(np.arange(n) == rng.integers(n), problem.aum_usd, 0.0)
    return {pool.pool_id: float(x) for pool, x in zip(problem.pools, usd, strict=True) if x > 0.0}


def check(problem: AllocationProblem, targets: Mapping[str, float], done: Settlement) -> None:
    """What must hold of any rebalancing, whatever was possible."""
    assert abs(done.unaccounted_usd) <= CONSERVED_USD
    reached = replay(problem.book, done.transactions, problem.prices_usd)
    assert reached.positions.keys() == done.after.positions.keys()
    before = problem.book.positions_usd(problem.prices_usd)
    after = done.after.positions_usd(problem.prices_usd)
    least = problem.parameters.min_transaction_value
    for pool in problem.pools:
        had, has = before.get(pool.pool_id, 0.0), after.get(pool.pool_id, 0.0)
        target = 0.0 if pool.state is PoolState.EXIT else targets.get(pool.pool_id, 0.0)
        if pool.state is PoolState.FROZEN:
            assert has == had
        elif pool.state is not PoolState.OPEN:
            assert has <= had
        assert has <= max(had, target) + 0.01
        assert has >= min(had, target) - 0.01
    for step in done.transactions:
        if step.type is TransactionType.ALLOCATION:
            assert step.amount_usd >= least - 0.01


seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds, tolerance=st.sampled_from([0.0, 0.2]), is_harder=st.booleans())
@settings(max_examples=500, deadline=None)
def test_any_rebalancing_is_payable_and_conserves_money(
    seed: int, tolerance: float, is_harder: bool
) -> None:
    problem = random_problem(seed, n_pools=1 + seed % 13, n_tokens=2 + seed % 5)
    problem = harder(problem, seed) if is_harder else problem
    targets = random_targets(problem, seed + 1)
    check(problem, targets, rebalance(problem, targets, tolerance))


@given(seed=seeds)
@settings(max_examples=200, deadline=None)
def test_with_money_enough_every_target_is_reached(seed: int) -> None:
    """Without costs and smallest sizes the book after is the book that was asked for."""
    problem = random_problem(
        seed, n_pools=8, min_transaction_value=0.0, min_position_usd=0.0, conversion_rate=0.0
    )
    free = GasCosts(0.0, 0.0, 0.0)
    pools = [
        replace(pool, gas=None, state=PoolState.OPEN)
        for pool in problem.pools
        if pool.tokens and set(pool.tokens) <= set(problem.prices_usd)
    ]
    assume(pools)
    problem = replace(problem, pools=pools, gas=free)
    weights = np.random.default_rng(seed).dirichlet(np.ones(len(pools))) * 0.99
    targets = {
        pool.pool_id: float(w * problem.aum_usd) for pool, w in zip(pools, weights, strict=True)
    }
    done = rebalance(problem, targets)
    after = done.after.positions_usd(problem.prices_usd)
    for pool_id, usd in targets.items():
        assert abs(after.get(pool_id, 0.0) - usd) <= RESERVE_USD + 1e-4
