"""What holds for every loop: accrual, costs, the health factor, and leverage 1."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stableyield.loops import LoopCosts, LoopSettings, LoopTarget, health_factor, run_loop_backtest
from stableyield.loops.accounting import (
    HeldState,
    LegRates,
    LiquidationTerms,
    LoopBook,
    Prices,
    Target,
    accrue,
    liquidate,
    move_cost,
    moved,
)
from support.loop_markets import make_prices, make_rates, make_risk

rates = st.floats(0.0, 2.0)
prices = st.floats(0.05, 3.0)
sizes = st.floats(1.01, 20.0)


@given(rates, rates, rates, rates, sizes, prices, prices, prices, prices, st.floats(0.0, 0.1))
def test_accrual_accounts_for_every_dollar(
    s: float, b: float, rs: float, rb: float, size: float,
    p: float, q: float, p2: float, q2: float, years: float,
) -> None:  # fmt: skip
    now, then = Prices(p, q), Prices(p2, q2)
    book = moved(1e6, Target("A", "B", size), now)
    step = accrue(book, LegRates(s, b, rs, rb), years, now, then)
    parts = step.supply_usd - step.borrow_usd + step.reward_usd + step.price_usd
    scale = step.book.collateral_usd(then) + book.collateral_usd(now)
    assert step.book.equity_usd(then) == pytest.approx(1e6 + parts, abs=1e-11 * scale)
    assert step.book.debt == pytest.approx(book.debt * math.exp(b * years), rel=1e-12)
    if rs == rb == 0.0:
        assert step.book.collateral == pytest.approx(book.collateral * math.exp(s * years))


@given(sizes, st.floats(0.3, 0.99), prices, st.floats(1.0001, 2.0))
def test_the_health_factor_rises_with_the_collateral_and_falls_with_leverage(
    size: float, threshold: float, price: float, factor: float
) -> None:
    book = moved(1e6, Target("A", "B", size), Prices())
    low = book.health_factor(Prices(price), threshold)
    assert low == pytest.approx(health_factor(size, threshold, price))
    assert book.health_factor(Prices(price * factor), threshold) > low
    assert book.health_factor(Prices(price, factor), threshold) < low
    more = moved(1e6, Target("A", "B", 1.0 + (size - 1.0) * factor), Prices())
    assert more.health_factor(Prices(price), threshold) < low


@given(sizes, st.floats(0.3, 0.94), prices, st.floats(0.0, 0.05))
def test_a_liquidation_leaves_no_negative_side_and_takes_no_more_than_there_is(
    size: float, threshold: float, price: float, bonus: float
) -> None:
    book = moved(1e6, Target("A", "B", size), Prices())
    call = liquidate(book, Prices(price), LiquidationTerms(threshold, bonus))
    after = call.book
    assert min(after.collateral, after.debt, call.shortfall_usd + 1e-6) >= 0.0
    before = book.equity_usd(Prices(price))
    expected = before - call.loss_usd + call.shortfall_usd
    assert after.equity_usd(Prices(price)) == pytest.approx(expected, abs=1e-6 + 1e-9 * size * 1e6)
    assert call.n_calls == 0 or book.health_factor(Prices(price), threshold) < 1.0
    if after.debt:
        assert after.health_factor(Prices(price), threshold) >= 1.0


books = st.sampled_from(
    [
        LoopBook("", 1e6),
        LoopBook("A", 1e6),
        LoopBook("A", 1e6, is_supplied=True),
        LoopBook("A", 3e6, "B", 2e6, is_supplied=True),
        LoopBook("A", 3e6, "A", 2e6, is_supplied=True),
    ]
)
targets = st.builds(
    Target,
    st.sampled_from(["A", "B", "C"]),
    st.sampled_from(["A", "B", "C"]),
    sizes,
    st.integers(0, 10),
) | st.builds(Target, st.sampled_from(["A", "B", "C"]), is_supplied=st.booleans())


@given(books, targets, st.sampled_from(["flash_loan", "by_hand"]), st.floats(0.0, 100.0))
def test_costs_and_turnover_are_never_negative(
    book: LoopBook, target: Target, execution: str, gas_usd: float
) -> None:
    costs = LoopCosts(execution=execution)  # type: ignore[arg-type]
    cost = move_cost(HeldState(book, Prices(), 3), target, costs, gas_usd)
    values = (cost.gas_usd, cost.swap_usd, cost.flash_usd, cost.turnover_usd, cost.n_transactions)
    assert min(values) >= 0.0
    assert cost.total_usd == pytest.approx(cost.gas_usd + cost.swap_usd + cost.flash_usd)


N_DAYS = 12
FREE = LoopCosts(gas_usd=0.0, swap=0.0, flash_premium=0.0)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1.0, 2.0, 3.0]))
def test_a_run_conserves_money_pays_its_costs_and_never_ends_below_nothing(
    seed: int, leverage: float
) -> None:
    rng = np.random.default_rng(seed)
    borrow = rng.uniform(0.0, 0.4, size=(N_DAYS, 3))
    market = make_rates(
        N_DAYS,
        supply_apr=borrow * rng.uniform(0.3, 1.2, size=(N_DAYS, 3)),
        borrow_apr=borrow,
        available_usd=rng.choice([0.0, 1e5, 1e9], size=(N_DAYS, 3)),
    )
    usdc = np.cumprod(rng.uniform(0.85, 1.1, size=N_DAYS))
    run = run_loop_backtest(
        market,
        LoopSettings(
            target=LoopTarget(leverage=leverage),
            costs=LoopCosts(gas_usd=3.0),
            expected_holding_days=60.0,
            own_impact="none",
        ),
        risk=make_risk(),
        prices=make_prices(N_DAYS, USDC=usdc, low_USDC=usdc * rng.uniform(0.8, 1.0, size=N_DAYS)),
    )
    daily = run.daily  # the engine asserts 1e-9 a day; what a reader adds up must agree
    parts = daily["supply_usd"] - daily["borrow_usd"] + daily["reward_usd"] + daily["price_usd"]
    parts += daily["shortfall_usd"] - daily["liquidation_usd"] - daily["costs_usd"]
    end = daily["equity_start_usd"] + parts
    np.testing.assert_allclose(daily["equity_usd"], end, rtol=1e-9, atol=1e-6)
    assert (daily["costs_usd"] >= 0.0).all()
    assert (daily["equity_usd"] >= -1e-6).all()
    assert run.transactions["costs_usd"].sum() == pytest.approx(daily["costs_usd"].sum())


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000))
def test_leverage_one_is_plain_supply_at_the_rates_that_came(seed: int) -> None:
    rng = np.random.default_rng(seed)
    supply = rng.uniform(0.0, 0.4, size=(N_DAYS, 3))
    run = run_loop_backtest(
        make_rates(N_DAYS, supply_apr=supply),
        LoopSettings(target=LoopTarget(leverage=1.0), costs=FREE, signal_days=1, own_impact="none"),
        risk=make_risk(),
    )
    best = supply[:-1].argmax(axis=1)
    earned = supply[np.arange(1, N_DAYS), best]
    np.testing.assert_allclose(run.daily["supply_apr_pct"], 100.0 * earned, rtol=1e-12)
    grown = math.exp(earned.sum() / 365.0)
    assert run.daily["equity_usd"].iloc[-1] == pytest.approx(1e6 * grown, rel=1e-12)
