"""From a solution to transactions: payable one by one, in base units, with nothing lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stableyield.allocation import PoolInput
from stableyield.allocation.desk import Leg, NotPayableError, Sale
from stableyield.allocation.settle import (
    carry_out,
    deposit_legs,
    floor_amount,
    nothing_done,
    withdrawal_legs,
    without_circles,
)
from stableyield.domain.costs import GasCosts
from stableyield.domain.portfolio import Book, TransactionType
from stableyield.errors import IntegrityError
from support.problems import (
    moves,
    pool,
    positions_usd,
    problem,
    random_problem,
    repriced,
    scaled,
    solved,
)

ONE_EACH = GasCosts(1.0, 1.0, 1.0)


def _kinds(steps: list) -> list[str]:
    return [step.type.value for step in steps]


# --- base units ---


@pytest.mark.parametrize(
    ("amount", "price_usd", "cut"),
    [
        (1.23456789, 1.0, 1.234567),
        (0.999999999999, 1.0, 1.0),  # rounding noise, not a base unit less
        (1.0, 1.0, 1.0),
        (0.123456789, 60_000.0, 0.12345678),
    ],
)
def test_amounts_are_cut_to_base_units(amount: float, price_usd: float, cut: float) -> None:
    assert floor_amount(amount, price_usd) == cut


def test_partial_amounts_are_whole_base_units_and_a_full_exit_takes_the_last_one() -> None:
    pools = [pool("best", apy=9.0, tvl_usd=1_000.0), pool("old", apy=1.0), pool("bad", apy=-1.0)]
    held = {("old", "USDC"): 2_000.0, ("bad", "USDC"): 100.123456789}
    task = problem(pools, {}, held, tvl_limit_percentage=0.7123456789, gas=ONE_EACH)
    withdrawn = {
        step.from_location: step.amount for step in moves(solved(task), TransactionType.WITHDRAWAL)
    }
    assert withdrawn["bad"] == 100.123456789
    assert withdrawn["old"] == round(withdrawn["old"], 6)


def test_the_legs_of_a_deposit_come_in_the_pools_shares() -> None:
    task = problem([pool("pair", "DAI", "USDC", token_shares=(0.3, 0.7))], {"USDC": 1.0})
    legs = list(deposit_legs(task, 0, 1_000.0))
    assert [(leg.token, leg.amount) for leg in legs] == [("DAI", 300.0), ("USDC", 700.0)]


def test_the_legs_of_a_withdrawal_take_the_same_share_of_each() -> None:
    held = {("pair", "DAI"): 300.0, ("pair", "USDC"): 500.0}
    task = problem([pool("pair", "DAI", "USDC")], {}, held, gas=ONE_EACH, gas_per_leg=False)
    legs = list(withdrawal_legs(task, 0, task.claim_legs_usd[0], 0.25))
    assert [(leg.token, leg.amount, leg.gas_usd) for leg in legs] == [
        ("DAI", 75.0, 1.0),
        ("USDC", 125.0, 0.0),
    ]


# --- order ---


def test_withdrawals_come_first_then_conversions_then_deposits_then_holds() -> None:
    task = problem(
        [pool("best", apy=9.0, tvl_usd=1_500.0), pool("old", "DAI", apy=1.0), pool("keep")],
        {"USDC": 500.0},
        {("old", "DAI"): 1_000.0, ("keep", "USDC"): 100.0},
        gas=ONE_EACH,
    )
    steps = solved(task).settlement.transactions
    assert _kinds(list(steps)) == ["WITHDRAWAL", "CONVERSION", "ALLOCATION", "HOLD"]
    assert [step.seq for step in steps] == [1, 2, 3, 4]


def test_doing_nothing_holds_everything_and_costs_nothing() -> None:
    task = problem([pool("a")], {"USDC": 5.0}, {("a", "USDC"): 7.0}, gas=ONE_EACH)
    settlement = nothing_done(task)
    assert settlement.after == task.book
    assert settlement.costs_usd == 0.0
    assert _kinds(list(settlement.transactions)) == ["HOLD"]


def test_what_can_pay_its_gas_is_withdrawn_before_what_cannot() -> None:
    """The first exit returns 0.4 USD and needs a dollar: the second one pays for both."""
    held = {("a_small", "USDC"): 0.4, ("b_large", "USDC"): 100.0}
    plan = solved(problem([], {}, held, gas=ONE_EACH))
    assert [step.from_location for step in moves(plan)] == ["b_large", "a_small"]
    assert plan.settlement.after.wallet["USDC"] == pytest.approx(98.4)


def test_gas_is_taken_from_what_would_be_sold_when_nothing_else_is_there() -> None:
    """All DAI becomes USDC for one pool: the sale shrinks by the gas of the steps before it."""
    pools = [pool("best", apy=20.0), pool("old", "DAI", apy=1.0)]
    held = {("old", "DAI"): 1_000.0}
    task = problem(pools, {}, held, gas=GasCosts(1.0, 2.0, 4.0), conversion_rate=0.001)
    first, sale, last = moves(solved(task))
    assert [payment.token for payment in first.gas] == ["DAI"]
    assert sale.amount == pytest.approx(1_000.0 - 2.0 - 4.0 - 1.0, abs=1e-3)
    assert last.amount == pytest.approx(0.999 * 993.0, abs=1e-3)


def test_moves_that_cannot_be_paid_are_refused() -> None:
    task = problem([pool("a")], {"USDC": 0.5, "DAI": 0.2}, {("a", "USDC"): 0.1}, gas=ONE_EACH)
    with pytest.raises(NotPayableError, match="gas cannot be paid at step 1"):
        carry_out(task, [Leg(0, "USDC", 0.1, 1.0)], [], [])


def test_a_solution_that_is_short_of_money_is_refused_not_settled() -> None:
    task = problem([pool("a"), pool("b", "DAI")], {"USDC": 100.0})
    with pytest.raises(IntegrityError, match="short of"):
        carry_out(task, [], [], [Leg(0, "USDC", 101.0, 0.0)])
    with pytest.raises(IntegrityError, match="short of"):
        carry_out(task, [], [Sale("USDC", "DAI", 200.0, 0.0)], [])


def test_a_shortage_of_base_units_comes_out_of_the_largest_deposit() -> None:
    task = problem([pool("a"), pool("b")], {"USDC": 100.0})
    deposits = [Leg(0, "USDC", 60.0, 0.0), Leg(1, "USDC", 40.000002, 0.0)]
    after = carry_out(task, [], [], deposits).after
    assert after.positions["b", "USDC"] == 40.000002
    assert after.positions["a", "USDC"] == pytest.approx(59.999998, abs=2e-6)
    assert sum(after.positions.values()) <= 100.0


def test_a_shortage_without_deposits_comes_out_of_the_largest_sale() -> None:
    task = problem([pool("a"), pool("b", "DAI")], {"USDC": 100.0})
    settlement = carry_out(task, [], [Sale("USDC", "DAI", 100.000002, 0.0)], [])
    assert settlement.after.wallet["DAI"] == pytest.approx(100.0, abs=2e-6)


def test_gas_that_rounding_left_unpaid_is_drawn_from_the_pool() -> None:
    """A withdrawal that only serves to pay a forced exit, cut by a base unit."""
    task = problem(
        [pool("keep", "DAI")],
        {},
        {("keep", "DAI"): 500.0, ("gone", "USDC"): 0.5},
        gas=GasCosts(1.0, 1.0, 1.0),
    )
    gone, keep = task.pool_index["gone"], task.pool_index["keep"]
    legs = [Leg(gone, "USDC", 0.5, 1.0), Leg(keep, "DAI", 1.499999, 1.0)]
    settlement = carry_out(task, legs, [], [])
    assert settlement.gas_usd == pytest.approx(2.0, abs=1e-6)
    assert settlement.after.positions["keep", "DAI"] == pytest.approx(498.5, abs=1e-5)


def test_dust_left_by_a_solver_is_not_a_transaction_of_its_own() -> None:
    task = problem([pool("best", apy=9.0), pool("old")], {"USDC": 1_000.0}, {("old", "USDC"): 1e-9})
    assert sum(positions_usd(solved(task)).values()) == pytest.approx(1_000.0, abs=0.01)


# --- found by fuzzing: books of any size, tokens of any price ---


@pytest.mark.parametrize("aum_usd", [1e8, 1e9, 1e10])
@pytest.mark.parametrize("seed", [2, 6, 7, 25])
def test_large_books_settle_to_the_cent(seed: int, aum_usd: float) -> None:
    rng = np.random.default_rng(1_000_000 + seed)
    task = random_problem(seed, int(rng.integers(5, 41)), int(rng.integers(1, 7)))
    solved(scaled(task, aum_usd / task.aum_usd))


@pytest.mark.parametrize("price", [6e-5, 0.0067, 3_000.0, 60_000.0])
@pytest.mark.parametrize("seed", [1, 2, 3, 5, 51, 138])
def test_tokens_of_any_price_settle_to_the_cent(seed: int, price: float) -> None:
    """A rupiah has more units than a dollar has cents; a millionth of a bitcoin is six cents."""
    task = random_problem(seed, 15, 4)
    rng = np.random.default_rng(seed)
    prices = {token: float(rng.choice([1.0, price])) for token in task.prices_usd}
    solved(repriced(task, prices))


@pytest.mark.parametrize("seed", [30, 63, 81, 98, 131, 141, 165, 167, 237])
def test_positions_of_almost_nothing_do_not_confuse_the_solver(seed: int) -> None:
    """Between a billionth of a dollar and all of it: nothing is lost and nothing infeasible."""
    task = random_problem(seed, 20, 5)
    rng = np.random.default_rng(seed)
    book = Book(
        {token: a * float(10.0 ** rng.uniform(-9.0, 0.0)) for token, a in task.book.wallet.items()},
        {key: a * float(10.0 ** rng.uniform(-9.0, 0.0)) for key, a in task.book.positions.items()},
    )
    solved(replace(task, book=book))


@pytest.mark.parametrize("seed", [11, 13, 34, 42, 44, 68])
def test_pools_of_almost_no_size_do_not_confuse_the_solver(seed: int) -> None:
    task = random_problem(seed, 20, 4)
    rng = np.random.default_rng(seed)

    def shrunk(given: PoolInput) -> PoolInput:
        return replace(given, tvl_usd=given.tvl_usd * float(rng.choice([0.0, 1e-9, 1e-3, 1.0])))

    solved(replace(task, pools=[shrunk(given) for given in task.pools]))


@pytest.mark.parametrize("seed", [72, 3, 8])
def test_gas_that_eats_a_small_book_is_paid_to_the_last_cent(seed: int) -> None:
    task = random_problem(seed, 25, 1)
    solved(replace(task, gas=GasCosts(178.9, 293.3, 464.7)))


def test_gas_is_not_paid_in_crumbs_while_there_is_a_whole_payment() -> None:
    task = random_problem(86, 26, 6)
    plan = solved(replace(task, gas=GasCosts(28.4, 194.5, 0.0)))
    payments = [payment.amount_usd for step in moves(plan) for payment in step.gas]
    assert min(payments) > 0.01


@pytest.mark.parametrize("seed", [86, 87, 92])
def test_gas_may_make_a_sale_smaller_than_the_smallest_transaction(seed: int) -> None:
    """A sale at its smallest size also pays for the withdrawals that come before it."""
    task = random_problem(seed, 26, 6, min_transaction_value=2_000.0, conversion_rate=0.0)
    plain = [replace(given, gas=None) for given in task.pools]
    solved(replace(task, gas=GasCosts(28.4, 194.5, 0.0), pools=plain))


def test_money_that_goes_in_a_circle_stays_where_it_is() -> None:
    sold = {("A", "B"): 70.0, ("B", "C"): 50.0, ("C", "A"): 60.0, ("C", "D"): 5.0, ("D", "E"): 5.0}
    assert without_circles(sold) == {
        ("A", "B"): 20.0,
        ("C", "A"): 10.0,
        ("C", "D"): 5.0,
        ("D", "E"): 5.0,
    }


def test_two_circles_that_share_a_token_are_both_taken_out() -> None:
    sold = {("A", "B"): 3.0, ("B", "A"): 2.0, ("A", "C"): 4.0, ("C", "A"): 4.0, ("X", "A"): 1.0}
    assert without_circles(sold) == {("A", "B"): 1.0, ("X", "A"): 1.0}


def test_conversions_without_circles_are_left_alone() -> None:
    sold = {("A", "B"): 3.0, ("A", "C"): 2.0, ("C", "B"): 1.0}
    assert without_circles(sold) == sold


def test_gas_that_is_due_early_does_not_shrink_a_conversion_below_the_smallest() -> None:
    """Of this problem's equally good patterns one converts more than it needs, to pay gas with."""
    rng = np.random.default_rng(10_098)
    task = random_problem(98, int(rng.integers(5, 41)), int(rng.integers(1, 7)))
    plan = solved(task)
    smallest = task.parameters.min_transaction_value
    sold = [step.amount_usd for step in moves(plan, TransactionType.CONVERSION)]
    assert sold
    assert min(sold) >= smallest - 0.01
    assert plan.status == "optimal"
