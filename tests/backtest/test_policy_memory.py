"""A policy with a memory can be stopped, written as JSON, and taken up again."""

from __future__ import annotations

import json
from datetime import date, timedelta

import numpy as np
import pytest

from stableyield.backtest.benchmarks import BestSingle, EqualWeight, Hold, all_benchmarks
from stableyield.backtest.policy import Remembering
from stableyield.backtest.threshold import Threshold
from stableyield.backtest.trailing import TopTrailing
from stableyield.domain.portfolio import Book
from support.markets import day, hand_made, lax, pool, prepared

MEMORIES = (BestSingle, EqualWeight, TopTrailing, Hold)


def lively():
    rng = np.random.default_rng(5)
    apy = rng.uniform(1.0, 20.0, (120, 4))
    pools = [pool("a"), pool("b", listed_until=day(50)), pool("c"), pool("d")]
    return hand_made(pools, 120, {"apy_pct": apy, "tvl_usd": 1e9})


def books(policy, panel, first, last, book, *, again=None):
    """The book after each day; ``again`` makes a new policy from the old one's memory each day."""
    found = []
    for t in range(first, last):
        if again is not None:
            memory = json.loads(json.dumps(policy.state()))
            policy = again()
            policy.restore(memory)
        book = policy.decide(*prepared(panel, day(t), book, lax())).settlement.after
        found.append(book)
    return found


@pytest.mark.parametrize("make", MEMORIES, ids=lambda each: each.__name__)
def test_a_policy_that_is_taken_up_again_decides_as_if_nothing_had_happened(make):
    panel, cash = lively(), Book({"USDC": 1e5})
    straight = books(make(), panel, 20, 70, cash)
    assert books(make(), panel, 20, 70, cash, again=make) == straight
    assert len({tuple(book.positions.items()) for book in straight}) > 1


@pytest.mark.parametrize("make", MEMORIES, ids=lambda each: each.__name__)
def test_without_its_memory_it_decides_otherwise(make):
    """So the test above can fail: what is written is needed."""
    panel, cash = lively(), Book({"USDC": 1e5})
    straight = books(make(), panel, 20, 70, cash)
    policy = make()
    forgotten = []
    book = cash
    for t in range(20, 70):
        decision = policy.decide(*prepared(panel, day(t), book, lax()))
        book = decision.settlement.after
        forgotten.append(book)
        policy = make()
    assert forgotten != straight


@pytest.mark.parametrize("make", MEMORIES, ids=lambda each: each.__name__)
def test_a_new_policy_remembers_nothing(make):
    fresh = make()
    assert isinstance(fresh, Remembering)
    other = make()
    other.restore(json.loads(json.dumps(fresh.state())))
    assert other.state() == fresh.state() == make().state()


def test_policies_without_a_memory_say_so():
    names = {policy.name for policy in all_benchmarks() if isinstance(policy, Remembering)}
    assert names == {"best_single", "equal_weight", "top_k", "hold"}
    assert not isinstance(Threshold(), Remembering)


def test_a_day_is_remembered_as_a_day():
    policy = TopTrailing()
    policy.restore({"renewed": "2024-02-10"})
    assert policy.renewed == day(40)
    assert policy.state() == {"renewed": (day(41) - timedelta(days=1)).isoformat()}


def test_hold_keeps_the_memory_of_the_policy_that_enters_for_it() -> None:
    before, after = Hold(entry=EqualWeight()), Hold(entry=EqualWeight())
    assert isinstance(before.entry, EqualWeight)
    before.entry.renewed = date(2024, 3, 1)
    after.restore(before.state())
    assert after.state() == before.state()
    assert after.entry == before.entry
