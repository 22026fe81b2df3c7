"""The state machine and the books: one decision, one move, one liquidation at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from stableyield.errors import ConservationError
from stableyield.loops import LoopCosts, LoopSettings, LoopTarget, RiskParameters, rebuild_cost
from stableyield.loops.accounting import (
    HeldState,
    LegRates,
    LiquidationTerms,
    LoopBook,
    Prices,
    Target,
    check_conserved,
    liquidate,
    move_cost,
    moved,
)
from stableyield.loops.candidates import DayView, LoopState, Position
from stableyield.loops.machine import LoopAction, close, decide, with_spread

RISK = RiskParameters(0.9, 0.95, 0.01, is_collateral=True, is_borrowable=True)
RATES = {"USDC": (0.08, 0.10), "USDT": (0.03, 0.05)}
LOOPED = Position(LoopBook("USDC", 3e5, "USDT", 2e5, True), LoopState.LOOPED, rounds=3)
FREE = LoopCosts(gas_usd=0.0, swap=0.0, flash_premium=0.0)
SETTINGS = LoopSettings(target=LoopTarget(leverage=3.0), costs=FREE)


def view(**changes: Any) -> DayView:
    def rates(asset: str, debt_asset: str, own: float, owed: float) -> LegRates:
        return LegRates(RATES[asset][0], RATES[debt_asset][1] if debt_asset else 0.0)

    values: dict[str, Any] = {
        "assets": ("USDC", "USDT"),
        "borrowable": frozenset({"USDC", "USDT"}),
        "rates": rates,
        "terms": lambda asset, debt_asset, is_open: RISK,
        "cash_usd": {"USDC": 1e9, "USDT": 1e9},
        "prices": {"": 1.0, "USDC": 1.0, "USDT": 1.0},
        "gas_usd": 1.0,
    }
    return DayView(**{**values, **changes})


def cash(usd: float) -> Position:
    return Position(LoopBook(collateral=usd))


def test_money_in_the_wallet_opens_the_best_pair() -> None:
    decision = decide(view(), cash(1e5), SETTINGS)
    assert decision.action is LoopAction.OPEN
    assert decision.target == Target("USDC", "USDT", 3.0, decision.target.rounds)  # type: ignore[union-attr]


def test_a_small_book_does_not_pay_more_than_it_earns() -> None:
    dear = view(gas_usd=100.0)
    settings = replace(SETTINGS, costs=LoopCosts())
    assert decide(dear, cash(1_000.0), settings).action is LoopAction.NONE


def test_a_good_position_is_held() -> None:
    decision = decide(view(), LOOPED, SETTINGS)
    assert (decision.action, decision.state, decision.target) == (
        LoopAction.HOLD,
        LoopState.LOOPED,
        None,
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"assets": ("USDT",)}, "USDC has no rate or price"),
        ({"borrowable": frozenset({"USDC"})}, "USDT has no borrow rate or price"),
        (
            {"terms": lambda *_: replace(RISK, is_borrowable=False)},
            "USDT is not borrowable any more",
        ),
        ({"terms": lambda *_: replace(RISK, ltv=0.0)}, "USDC is no collateral any more"),
    ],
)
def test_a_pair_that_became_illegal_is_unwound(changes: dict[str, Any], text: str) -> None:
    decision = decide(view(**changes), LOOPED, SETTINGS)
    assert decision.action is LoopAction.UNWIND
    assert decision.flags == (text,)
    assert decision.target is not None
    assert decision.target.debt_asset == ""


def test_a_health_factor_below_the_least_takes_the_leverage_back_to_its_target() -> None:
    high = Position(LoopBook("USDC", 1.6e6, "USDT", 1.5e6, True), LoopState.LOOPED)
    decision = decide(view(), high, SETTINGS)
    assert decision.action is LoopAction.DELEVERAGE
    assert decision.target is not None
    assert decision.target.leverage == 3.0
    assert decision.flags == ("health factor 1.013",)


def test_days_of_negative_spread_are_counted_in_a_row() -> None:
    worse, better = LegRates(0.03, 0.05), LegRates(0.06, 0.05)
    position = with_spread(with_spread(LOOPED, worse), worse)
    assert position.negative_days == 2
    assert with_spread(position, better).negative_days == 0
    assert with_spread(position, None).negative_days == 0


def test_a_spread_negative_for_too_long_unlevers() -> None:
    decision = decide(view(), replace(LOOPED, negative_days=3), SETTINGS)
    assert (decision.action, decision.state) == (LoopAction.UNLEVER, LoopState.UNLEVERED)
    never = replace(SETTINGS, unlever_after_days=None)
    assert decide(view(), replace(LOOPED, negative_days=99), never).action is LoopAction.HOLD


@pytest.mark.parametrize(("usd", "leverage"), [(0.0, None), (5e4, 2.5), (2e5, 1.0)])
def test_leaving_goes_as_far_as_the_cash_does(usd: float, leverage: float | None) -> None:
    wish = replace(LOOPED, negative_days=3)
    decision = decide(view(cash_usd={"USDC": usd, "USDT": 1e9}), wish, SETTINGS)
    is_stuck = leverage != 1.0
    assert (decision.state is LoopState.STUCK) == is_stuck
    assert any("cannot leave" in flag for flag in decision.flags) == is_stuck
    assert (decision.target.leverage if decision.target else None) == leverage


def test_cash_that_is_unknown_does_not_hold_the_position() -> None:
    decision = decide(view(cash_usd={}), replace(LOOPED, negative_days=3), SETTINGS)
    assert decision.state is LoopState.UNLEVERED


def test_closing_brings_everything_into_the_wallet() -> None:
    decision = close(view(), LOOPED, SETTINGS)
    assert decision.target == Target("USDC", is_supplied=False)
    assert close(view(), cash(1e5), SETTINGS).action is LoopAction.NONE


def test_a_position_that_cannot_pay_for_its_exit_stays() -> None:
    dear = replace(SETTINGS, costs=LoopCosts(gas_usd=1.0))
    tiny = Position(LoopBook("USDC", 3.0, "USDT", 2.0, True), LoopState.LOOPED, negative_days=3)
    decision = decide(view(gas_usd=1_000.0), tiny, dear)
    assert decision.state is LoopState.STUCK
    assert "cost exceeds equity" in decision.flags


# --- moves ----------------------------------------------------------------------------------------


def held(book: LoopBook, rounds: int = 0) -> HeldState:
    return HeldState(book, Prices(), rounds)


def test_opening_and_closing_swap_the_debt_once_each() -> None:
    costs = LoopCosts(swap=0.0001, flash_premium=0.0)
    opened = move_cost(held(LoopBook("USDC", 1.0)), Target("USDC", "USDT", 3.439), costs, 0.0)
    position = moved(1.0, Target("USDC", "USDT", 3.439), Prices())
    closed = move_cost(held(position), Target("USDC", is_supplied=False), costs, 0.0)
    assert opened.swap_usd + closed.swap_usd == pytest.approx(rebuild_cost(3.439, 0.0001))
    assert opened.n_transactions + closed.n_transactions == 3


@pytest.mark.parametrize(
    ("target", "by_flash", "by_hand"),
    [
        (Target("USDC", "DAI", 3.0, 3), 2e5, (18, 4e5)),  # only the debt is another
        (Target("DAI", "USDT", 3.0, 3), 3e5, (21, 5e5)),  # only the collateral is another
        (Target("USDC", "USDT", 2.0, 2), 1e5, (9, 1e5)),  # only the leverage is another
        (Target("USDC"), 2e5, (9, 2e5)),
        (Target("DAI"), 3e5, (12, 3e5)),
    ],
)
def test_a_flash_loan_swaps_what_differs_and_hands_swap_twice(
    target: Target, by_flash: float, by_hand: tuple[int, float]
) -> None:
    now = held(LOOPED.book, 3)
    flash = move_cost(now, target, LoopCosts(), 1.0)
    hand = move_cost(now, target, LoopCosts(execution="by_hand"), 1.0)
    assert flash.turnover_usd == pytest.approx(by_flash)
    assert hand.n_transactions == by_hand[0]
    assert hand.turnover_usd == pytest.approx(by_hand[1])
    assert hand.flash_usd == 0.0


# --- liquidation ----------------------------------------------------------------------------------

TERMS = LiquidationTerms(0.80, 0.05)


@pytest.mark.parametrize(
    ("collateral", "debt", "price", "repaid"),
    [
        (1_000_000.0, 790_000.0, 1.0, 0.0),  # health factor 1.013
        (1_000_000.0, 810_000.0, 1.0, 405_000.0),  # 0.988: half
        (1_000_000.0, 850_000.0, 1.0, 850_000.0),  # 0.941: all
        (1_900.0, 1_550.0, 1.0, 1_550.0),  # small: all
    ],
)
def test_the_close_factor_is_half_only_while_nearly_healthy_and_large(
    collateral: float, debt: float, price: float, repaid: float
) -> None:
    call = liquidate(LoopBook("A", collateral, "B", debt, True), Prices(price), TERMS)
    assert call.repaid_usd == pytest.approx(repaid)
    assert call.seized_usd == pytest.approx(1.05 * repaid)
    assert call.loss_usd == pytest.approx(0.05 * repaid)
    assert call.shortfall_usd == pytest.approx(0.0, abs=1e-6)


def test_bad_debt_is_what_no_collateral_covers() -> None:
    call = liquidate(LoopBook("A", 3e6, "B", 2e6, True), Prices(0.3), TERMS)
    assert call.seized_usd == pytest.approx(9e5)
    assert call.repaid_usd == pytest.approx(9e5 / 1.05)
    assert call.shortfall_usd == pytest.approx(2e6 - 9e5 / 1.05)
    assert (call.book.collateral, call.book.debt, call.book.debt_asset) == (0.0, 0.0, "")


def test_money_that_appears_is_an_error() -> None:
    with pytest.raises(ConservationError, match="its parts add up to") as caught:
        check_conserved(100.0, 101.0, {"supply": 0.5}, "here")
    assert caught.value.details == ("supply: 0.5",)


def test_a_wallet_has_neither_leverage_nor_a_health_factor() -> None:
    assert LoopBook("A", 5.0).health_factor(Prices(), 0.8) == math.inf
    assert LoopBook("A", 5.0).leverage(Prices()) == 1.0
    assert math.isnan(LoopBook().leverage(Prices()))
