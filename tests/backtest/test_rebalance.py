"""Moving a book towards targets, at the optimiser's costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stableyield.allocation import AllocationProblem, PoolInput
from stableyield.backtest.rebalance import rebalance
from stableyield.config import AllocationParameters
from stableyield.domain.costs import GasCosts
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import Book, TransactionType

GAS = GasCosts(allocation=2.0, withdrawal=3.0, conversion=1.0)
PAR = {"DAI": 1.0, "USDC": 1.0, "USDT": 1.0}


def open_pool(pool_id: str, *tokens: str, **changes) -> PoolInput:
    given = {"apy_pct": 5.0, "tvl_usd": 1e9, **changes}
    return PoolInput(pool_id, pool_id, "Ethereum", "aave-v3", tokens or ("USDC",), **given)


def problem(pools, book, prices=PAR, gas=GAS, **parameters) -> AllocationProblem:
    values = {"conversion_rate": 0.001, **parameters}
    return AllocationProblem(pools, book, prices, gas, AllocationParameters.from_mapping(values))


def moves(settlement) -> list[tuple[str, str, float]]:
    return [
        (step.type.value, step.token, round(step.amount_usd, 2))
        for step in settlement.transactions
        if step.type is not TransactionType.HOLD
    ]


def test_a_deposit_reaches_its_target():
    done = rebalance(problem([open_pool("a")], Book({"USDC": 1000.0})), {"a": 600.0})
    assert moves(done) == [("ALLOCATION", "USDC", 600.0)]
    assert done.after.wallet == pytest.approx({"USDC": 398.0})
    assert done.costs_usd == pytest.approx(2.0)


def test_all_the_money_is_all_of_it_but_gas_and_a_cent():
    done = rebalance(problem([open_pool("a")], Book({"USDC": 1000.0})), {"a": 1000.0})
    assert done.after.positions["a", "USDC"] == pytest.approx(997.99)
    assert done.after.wallet["USDC"] == pytest.approx(0.01)


def test_too_little_money_is_spread_in_proportion():
    pools = [open_pool("a"), open_pool("b")]
    done = rebalance(problem(pools, Book({"USDC": 1000.0})), {"a": 3000.0, "b": 1000.0})
    a, b = (done.after.positions[name, "USDC"] for name in "ab")
    assert a == pytest.approx(3.0 * b, abs=1e-5)
    # kept back are the conversions that filling the targets would have needed, 0.4 % at most
    assert 992.0 < a + b <= 1000.0 - 2 * 2.0 - 0.01 + 1e-9


def test_what_is_lacking_is_bought_with_the_fee_on_top():
    done = rebalance(problem([open_pool("a", "DAI")], Book({"USDC": 1000.0})), {"a": 500.0})
    assert moves(done) == [("CONVERSION", "USDC", 500.5), ("ALLOCATION", "DAI", 500.0)]
    assert done.conversion_usd == pytest.approx(0.5005, abs=1e-4)
    assert done.after.aum_usd(PAR) == pytest.approx(1000.0 - 0.5005 - 3.0, abs=1e-4)


def test_the_largest_spare_balance_is_sold_first():
    book = Book({"USDC": 300.0, "USDT": 900.0})
    done = rebalance(problem([open_pool("a", "DAI")], book), {"a": 1000.0})
    sales = [move for move in moves(done) if move[0] == "CONVERSION"]
    assert [token for _, token, _ in sales] == ["USDT", "USDC"]
    assert sales[0][2] == pytest.approx(900.0, abs=5.0)  # all of it, but for gas


def test_a_pair_is_entered_in_its_shares():
    pair = open_pool("a", "DAI", "USDC", token_shares=(0.3, 0.7))
    done = rebalance(problem([pair], Book({"USDC": 1000.0})), {"a": 500.0})
    assert done.after.positions == pytest.approx({("a", "DAI"): 150.0, ("a", "USDC"): 350.0})
    assert done.gas_usd == pytest.approx(1.0 + 2 * 2.0)  # a conversion and two legs


def test_prices_other_than_one_are_respected():
    prices = {"DAI": 0.8, "USDC": 1.25}
    done = rebalance(problem([open_pool("a", "DAI")], Book({"USDC": 1000.0}), prices), {"a": 800.0})
    assert done.after.positions["a", "DAI"] == pytest.approx(1000.0, abs=1e-4)  # 800 USD


def test_a_dear_token_is_sold_in_smaller_units():
    """A millionth of a bitcoin is six cents: too coarse to settle to the cent."""
    prices = {"USDC": 1.0, "WBTC": 63_217.89}
    book = Book({"WBTC": 0.031234567})
    done = rebalance(problem([open_pool("a")], book, prices), {"a": 1500.0})
    assert done.after.positions["a", "USDC"] == pytest.approx(1500.0, abs=0.01)
    assert done.after.aum_usd(prices) == pytest.approx(book.aum_usd(prices) - done.costs_usd)


def test_a_pool_that_is_not_named_is_left():
    book = Book({"USDC": 10.0}, {("a", "USDC"): 500.0, ("b", "USDC"): 500.0})
    done = rebalance(problem([open_pool("a"), open_pool("b")], book), {"a": 500.0})
    assert moves(done) == [("WITHDRAWAL", "USDC", 500.0)]
    assert done.after == Book({"USDC": 507.0}, {("a", "USDC"): 500.0})


def test_leaving_takes_stranded_tokens_along():
    book = Book({"USDC": 10.0}, {("a", "USDC"): 500.0, ("a", "DAI"): 80.0})
    done = rebalance(problem([open_pool("a")], book), {})
    assert done.after == Book({"USDC": 504.0, "DAI": 80.0})


def test_a_position_above_its_target_is_reduced_pro_rata():
    pair = open_pool("a", "DAI", "USDC")
    book = Book({"USDC": 10.0}, {("a", "DAI"): 600.0, ("a", "USDC"): 400.0})
    done = rebalance(problem([pair], book), {"a": 500.0})
    assert done.after.positions == pytest.approx({("a", "DAI"): 300.0, ("a", "USDC"): 200.0})


@pytest.mark.parametrize("held", [850.0, 1150.0])
def test_a_position_within_the_tolerance_is_left_alone(held):
    book = Book({"USDC": 1000.0}, {("a", "USDC"): held})
    done = rebalance(problem([open_pool("a")], book), {"a": 1000.0}, tolerance=0.2)
    assert moves(done) == []
    assert moves(rebalance(problem([open_pool("a")], book), {"a": 1000.0})) != []


def test_a_deposit_below_the_smallest_transaction_is_dropped():
    pools = [open_pool("a"), open_pool("b")]
    done = rebalance(problem(pools, Book({"USDC": 1000.0})), {"a": 49.0, "b": 500.0})
    assert done.after.pool_ids == ("b",)


def test_every_leg_of_a_deposit_has_the_smallest_size():
    pair = open_pool("a", "DAI", "USDC", token_shares=(0.1, 0.9))
    book = Book({"USDC": 1000.0, "DAI": 1000.0})
    assert rebalance(problem([pair], book), {"a": 499.0}).after == book
    assert rebalance(problem([pair], book), {"a": 501.0}).after.pool_ids == ("a",)


def test_the_smallest_deposit_gives_way_when_there_is_too_little_for_all():
    pools = [open_pool("a"), open_pool("b"), open_pool("c")]
    targets = {"a": 100.0, "b": 90.0, "c": 60.0}  # of 150 USD there would be 36 for c
    done = rebalance(problem(pools, Book({"USDC": 150.0})), targets)
    assert done.after.pool_ids == ("a", "b")
    a, b = (done.after.positions[name, "USDC"] for name in "ab")
    assert a / b == pytest.approx(100 / 90, abs=1e-6)
    assert 144.0 < a + b <= 150.0 - 2 * 2.0 - 0.01 + 1e-9


def test_only_as_many_deposits_are_given_up_as_must_be():
    pools = [open_pool("a"), open_pool("b"), open_pool("c")]
    targets = {"a": 100.0, "b": 60.0, "c": 55.0}  # of 170 USD neither b nor c would get 50
    done = rebalance(problem(pools, Book({"USDC": 170.0})), targets)
    assert done.after.positions == pytest.approx({("a", "USDC"): 100.0, ("b", "USDC"): 60.0})


def test_a_small_excess_is_not_worth_a_withdrawal():
    book = Book({"USDC": 10.0}, {("a", "USDC"): 549.0})
    assert moves(rebalance(problem([open_pool("a")], book), {"a": 500.0})) == []


def test_a_frozen_pool_is_not_touched():
    frozen = open_pool("a", state=PoolState.FROZEN)
    book = Book({"USDC": 1000.0}, {("a", "USDC"): 500.0})
    for targets in ({}, {"a": 100.0}, {"a": 900.0}):
        done = rebalance(problem([frozen], book), targets)
        assert done.after == book


def test_a_pool_to_be_left_is_left_whatever_its_target():
    leaving = open_pool("a", state=PoolState.EXIT)
    book = Book({"USDC": 10.0}, {("a", "USDC"): 500.0})
    assert rebalance(problem([leaving], book), {"a": 500.0}).after == Book({"USDC": 507.0})


def test_a_withdraw_only_pool_may_fall_but_not_grow():
    limited = open_pool("a", state=PoolState.WITHDRAW_ONLY)
    book = Book({"USDC": 1000.0}, {("a", "USDC"): 500.0})
    assert rebalance(problem([limited], book), {"a": 900.0}).after == book
    done = rebalance(problem([limited], book), {"a": 200.0})
    assert done.after.positions == pytest.approx({("a", "USDC"): 200.0})


def test_money_that_is_withdrawn_pays_for_what_is_bought():
    book = Book({}, {("a", "USDC"): 1000.0})
    done = rebalance(problem([open_pool("a"), open_pool("b", "DAI")], book), {"b": 1000.0})
    assert [kind for kind, _, _ in moves(done)] == ["WITHDRAWAL", "CONVERSION", "ALLOCATION"]
    assert done.costs_usd == pytest.approx(3.0 + 1.0 + 2.0 + 0.992, abs=0.01)
    # a second conversion is kept back for, and not needed
    assert done.after.positions["b", "DAI"] == pytest.approx(1000.0 - 6.99 - 1.01, abs=0.01)


def test_a_position_that_cannot_pay_its_gas_waits():
    dust = open_pool("dust", state=PoolState.EXIT)
    book = Book({}, {("dust", "USDC"): 2.0})
    assert rebalance(problem([dust], book), {}).after == book
    richer = Book({"USDC": 1.5}, {("dust", "USDC"): 2.0})
    assert rebalance(problem([dust], richer), {}).after == Book({"USDC": 0.5})


def test_a_withdrawal_that_brings_money_pays_for_one_that_costs_some():
    leaving = [open_pool(name, state=PoolState.EXIT) for name in ("dust", "much")]
    book = Book({}, {("dust", "USDC"): 2.0, ("much", "USDC"): 100.0})
    done = rebalance(problem(leaving, book), {})
    assert done.after == Book({"USDC": 96.0})
    assert [step.from_location for step in done.transactions] == ["much", "dust"]


def test_gas_per_operation_instead_of_per_leg():
    pair = open_pool("a", "DAI", "USDC")
    book = Book({"USDC": 10.0, "DAI": 10.0}, {("a", "DAI"): 100.0, ("a", "USDC"): 100.0})
    done = rebalance(problem([pair], book, gas_per_leg=False), {})
    assert done.gas_usd == pytest.approx(3.0)


def test_the_order_of_pools_does_not_matter():
    pools = [open_pool(name, token) for name, token in (("a", "DAI"), ("b", "USDC"), ("c", "USDT"))]
    book = Book({"USDC": 1000.0}, {("b", "USDC"): 400.0})
    targets = {"a": 500.0, "b": 200.0, "c": 300.0}
    one = rebalance(problem(pools, book), targets)
    other = rebalance(problem(pools[::-1], book), dict(reversed(targets.items())))
    assert one.transactions == other.transactions


def test_a_pool_s_own_gas_is_what_its_moves_pay():
    dear = replace(open_pool("a"), gas=GasCosts(20.0, 30.0, 0.0))
    done = rebalance(problem([dear], Book({"USDC": 1000.0})), {"a": 500.0})
    assert done.gas_usd == pytest.approx(20.0)
