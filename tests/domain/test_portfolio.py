"""Books, transactions and settlements cannot be built unbalanced."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from stableyield.domain.portfolio import (
    WALLET,
    Book,
    GasPayment,
    Settlement,
    Transaction,
    TransactionType,
    price_of,
    replay,
)
from stableyield.errors import ConservationError, InputError, MissingDataError

PRICES = {"DAI": 0.5, "USDC": 1.0}
BEFORE = Book({"DAI": 200.0, "USDC": 10.0}, {("old", "USDC"): 50.0})
# withdraw 50 USDC, sell 100 DAI (50 USD) for 49 USDC after a fee of 1 USD, deposit 95 USDC
STEPS = (
    Transaction(
        1,
        TransactionType.WITHDRAWAL,
        "old",
        WALLET,
        "USDC",
        50.0,
        50.0,
        gas=(GasPayment("USDC", 2.0, 2.0),),
    ),
    Transaction(
        2,
        TransactionType.CONVERSION,
        WALLET,
        WALLET,
        "DAI",
        100.0,
        50.0,
        to_token="USDC",
        to_amount=49.0,
        conversion_cost_usd=1.0,
        gas=(GasPayment("DAI", 2.0, 1.0), GasPayment("USDC", 1.0, 1.0)),
    ),
    Transaction(3, TransactionType.ALLOCATION, WALLET, "new", "USDC", 95.0, 95.0),
)
AFTER = Book({"DAI": 98.0, "USDC": 11.0}, {("new", "USDC"): 95.0})


# --- books ---


def test_a_book_is_sorted_and_frozen_and_drops_zeros() -> None:
    book = Book({"USDC": 1.0, "DAI": 2.0, "USDT": 0.0}, {("b", "DAI"): 1, ("a", "USDC"): 3.0})
    assert list(book.wallet) == ["DAI", "USDC"]
    assert list(book.positions) == [("a", "USDC"), ("b", "DAI")]
    assert book.tokens == ("DAI", "USDC")
    assert book.pool_ids == ("a", "b")
    with pytest.raises(TypeError):
        book.wallet["DAI"] = 5.0  # type: ignore[index]


def test_a_book_does_not_change_with_what_it_was_made_of() -> None:
    wallet = {"DAI": 1.0}
    book = Book(wallet)
    wallet["DAI"] = 1e9
    assert book.wallet == {"DAI": 1.0}


@pytest.mark.parametrize("amount", [-1e-12, math.nan, math.inf])
def test_a_book_refuses_amounts_that_are_no_amounts(amount: float) -> None:
    with pytest.raises(InputError, match="wallet token DAI"):
        Book({"DAI": amount})
    with pytest.raises(InputError, match="position"):
        Book({}, {("a", "DAI"): amount})


def test_aum_is_wallet_and_positions_at_their_prices() -> None:
    assert BEFORE.wallet_usd(PRICES) == 110.0
    assert BEFORE.positions_usd(PRICES) == {"old": 50.0}
    assert BEFORE.aum_usd(PRICES) == 160.0


@pytest.mark.parametrize("price", [None, math.nan, 0.0, -1.0, math.inf])
def test_what_is_owned_without_a_price_is_an_error_never_one_dollar(price: float | None) -> None:
    prices = {"USDC": 1.0} | ({} if price is None else {"DAI": price})
    with pytest.raises(MissingDataError, match="DAI has no usable USD price"):
        BEFORE.aum_usd(prices)
    with pytest.raises(MissingDataError, match="pool x"):
        Book({}, {("x", "DAI"): 1.0}).positions_usd(prices)


def test_a_price_error_names_its_place() -> None:
    with pytest.raises(MissingDataError, match="wallet: token DAI"):
        price_of("DAI", {}, "wallet")


# --- transactions ---


def test_replaying_the_steps_leads_to_the_book_after() -> None:
    assert replay(BEFORE, STEPS, PRICES) == AFTER


def test_a_settlement_states_its_costs_and_loses_nothing() -> None:
    settlement = Settlement(BEFORE, AFTER, PRICES, STEPS)
    assert settlement.gas_usd == pytest.approx(4.0)
    assert settlement.conversion_usd == 1.0
    assert settlement.costs_usd == pytest.approx(5.0)
    assert settlement.aum_before_usd - settlement.aum_after_usd == pytest.approx(5.0)
    assert settlement.unaccounted_usd == pytest.approx(0.0, abs=1e-12)
    assert settlement.turnover_usd == 145.0


def test_a_hold_moves_nothing() -> None:
    hold = Transaction(1, TransactionType.HOLD, "old", "old", "USDC", 50.0, 50.0)
    assert replay(BEFORE, [hold], PRICES) == BEFORE


def _with(place: int, **changes: object) -> tuple[Transaction, ...]:
    steps = list(STEPS)
    steps[place] = replace(steps[place], **changes)
    return tuple(steps)


TAMPERED = {
    "a withdrawn amount": _with(0, amount=51.0, amount_usd=51.0),
    "an amount that is not worth what is stated": _with(0, amount_usd=49.0),
    "a negative amount": _with(2, amount=-95.0, amount_usd=-95.0),
    "a conversion at a better price": _with(1, to_amount=49.5),
    "a conversion with a hidden fee": _with(1, conversion_cost_usd=2.0),
    "a conversion into the same token": _with(1, to_token="DAI", to_amount=98.0),
    "a conversion into nothing": _with(1, to_token=None),
    "gas at a wrong price": _with(0, gas=(GasPayment("DAI", 2.0, 2.0),)),
    "gas that is not there": _with(0, gas=(GasPayment("DAI", 500.0, 250.0),)),
    "a deposit of more than there is": _with(2, amount=150.0, amount_usd=150.0),
    "a deposit before its money": (STEPS[2], *STEPS[:2]),
    "a missing withdrawal": STEPS[1:],
    "a missing deposit": STEPS[:2],
    "a deposit twice": (*STEPS, STEPS[2]),
    "a deposit elsewhere": _with(2, to_location="other"),
    "gas that is not charged": _with(0, gas=()),
}


@pytest.mark.parametrize("steps", TAMPERED.values(), ids=TAMPERED.keys())
def test_a_tampered_settlement_cannot_be_built(steps: tuple[Transaction, ...]) -> None:
    with pytest.raises(ConservationError):
        Settlement(BEFORE, AFTER, PRICES, steps)


@pytest.mark.parametrize(
    "after",
    [
        Book({"DAI": 98.0, "USDC": 11.1}, {("new", "USDC"): 95.0}),
        Book({"DAI": 98.0}, {("new", "USDC"): 95.0}),
        Book({"DAI": 98.0, "USDC": 11.0}, {("new", "USDC"): 95.0, ("gift", "DAI"): 1e-5}),
    ],
)
def test_a_book_after_that_the_steps_do_not_reach_is_refused(after: Book) -> None:
    with pytest.raises(ConservationError, match="the book says"):
        Settlement(BEFORE, after, PRICES, STEPS)


def test_a_base_unit_of_an_expensive_token_is_money() -> None:
    # the tolerance of amounts allows it, the cent does not
    prices = {"GOLD": 1e6}
    with pytest.raises(ConservationError, match="unaccounted"):
        Settlement(Book({"GOLD": 1.0}), Book({"GOLD": 1.0 - 9e-7}), prices)


def test_a_large_book_may_round_as_floats_do() -> None:
    # the ulp of three billion is 5e-7: this difference is one rounding, not missing money
    amount = 3e9
    third = amount / 3.0 + 4e-7
    steps = [
        Transaction(n, TransactionType.ALLOCATION, WALLET, f"p{n}", "USDC", third, third)
        for n in (1, 2, 3)
    ]
    after = replay(Book({"USDC": amount}), steps, PRICES)
    assert after.wallet == {}


def test_a_transaction_is_written_as_the_plan_file_has_it() -> None:
    row = STEPS[1].to_dict()
    assert row["from_token"] == "DAI"
    assert row["to_token"] == "USDC"
    assert row["total_cost_usd"] == pytest.approx(3.0)
    assert [payment["token"] for payment in row["gas_paid"]] == ["DAI", "USDC"]
    assert "token" not in row
    assert STEPS[0].to_dict()["token"] == "USDC"
