"""What a day offers to every policy: prices, gas, and the problem of a book."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from stableyield.allocation import RateModel
from stableyield.backtest.day import GasPricing, exec_days, prices_of, screen_day
from stableyield.domain.costs import GasCosts
from stableyield.domain.pool import PoolState
from stableyield.domain.portfolio import Book
from stableyield.errors import MissingDataError
from stableyield.forecast import baseline
from stableyield.market.panel import GasSeries
from support.markets import column, day, hand_made, lax, observed, pool, prepared

A, B = pool("a"), pool("b", "DAI")
NAN = float("nan")


def dai_last_priced(days_ago: int):
    """A market of 20 days where DAI (the first token) was last priced ``days_ago`` days ago."""
    close = np.ones((20, 2))
    close[:, 0] = 0.97
    close[20 - days_ago :, 0] = NAN
    return hand_made([A, B], 20, token_arrays={"close_usd": close})


# --- prices ---


def test_an_owned_token_without_a_price_stops_the_day():
    view = dai_last_priced(1).as_of(day(19))
    with pytest.raises(MissingDataError, match="2024-01-20: owned token DAI has no price"):
        prices_of(view, Book({"DAI": 1.0}), lax())


@pytest.mark.parametrize("age", [1, 7])
def test_a_last_price_of_at_most_a_week_is_used_and_flagged_when_allowed(age):
    view = dai_last_priced(age).as_of(day(19))
    prices, flags = prices_of(view, Book({}, {("b", "DAI"): 1.0}), lax(missing_price="last"))
    assert prices == {"DAI": 0.97, "USDC": 1.0}
    assert flags == [f"price of DAI is {age} days old"]


@pytest.mark.parametrize("token", ["DAI", "FRAX"])
def test_an_older_price_or_none_at_all_stops_the_day_anyway(token):
    view = dai_last_priced(8).as_of(day(19))
    with pytest.raises(MissingDataError, match=f"owned token {token} has no price"):
        prices_of(view, Book({token: 1.0}), lax(missing_price="last"))


def test_tokens_that_nobody_owns_need_no_price():
    view = dai_last_priced(8).as_of(day(19))
    assert prices_of(view, Book({"USDC": 1.0}), lax()) == ({"USDC": 1.0}, [])


# --- gas ---


def test_fixed_gas_is_what_was_given():
    costs = GasCosts(1.0, 2.0, 3.0)
    view = hand_made([A], 3, gas=GasSeries(np.full(3, NAN), np.full(3, NAN))).as_of(day(2))
    assert GasPricing(fixed=costs).costs(view, "aave-v3") == costs


def test_market_gas_is_units_by_gas_price_by_eth_of_that_day():
    gas = GasSeries(np.array([1.0, 20.0, 99.0]), np.array([1.0, 2500.0, 1.0]))
    view = hand_made([A], 3, gas=gas).as_of(day(1))
    costs = GasPricing().costs(view, "aave-v3")
    assert costs.allocation == pytest.approx(260_000 * 20.0 * 1e-9 * 2500.0)  # 13 USD
    assert costs.withdrawal == pytest.approx(250_000 * 20.0 * 1e-9 * 2500.0)
    assert costs.conversion == pytest.approx(180_000 * 20.0 * 1e-9 * 2500.0)


@pytest.mark.parametrize("unknown", ["gas_gwei", "eth_usd"])
def test_unknown_gas_names_its_day(unknown):
    known = {"gas_gwei": np.full(4, 10.0), "eth_usd": np.full(4, 3000.0)}
    known[unknown] = np.array([10.0, 10.0, NAN, 10.0])
    panel = hand_made([A], 4, gas=GasSeries(**known))
    with pytest.raises(MissingDataError, match=r"day 2024-01-03: gas price .* is unknown"):
        GasPricing().costs(panel.as_of(day(2)), "aave-v3")
    GasPricing().costs(panel.as_of(day(3)), "aave-v3")


def test_pools_pay_the_gas_of_their_protocol():
    panel = hand_made([A, pool("c", protocol="curve-dex")], 3)
    ready, _ = prepared(panel, day(2), Book({"USDC": 1e6}), lax(), gas=GasPricing())
    by_id = {each.pool_id: each.gas for each in ready.problem.pools}
    assert by_id["a"].allocation == pytest.approx(260_000 * 10.0 * 1e-9 * 3000.0)
    assert by_id["c"].allocation == pytest.approx(350_000 * 10.0 * 1e-9 * 3000.0)
    assert ready.problem.gas.withdrawal == pytest.approx(300_000 * 10.0 * 1e-9 * 3000.0)


# --- the problem of a book ---


def test_a_held_pool_without_a_row_today_is_frozen_and_flagged():
    apy = np.full((5, 2), 5.0)
    apy[4, 0] = NAN
    tvl = np.where(np.isnan(apy), NAN, 1e7)
    panel = hand_made([A, B], 5, {"apy_pct": apy, "tvl_usd": tvl})
    ready, _ = prepared(panel, day(4), Book({}, {("a", "USDC"): 100.0}), lax())
    assert ready.flags == ("frozen: a",)
    assert [(p.pool_id, p.state) for p in ready.problem.pools] == [
        ("a", PoolState.FROZEN),
        ("b", PoolState.OPEN),
    ]


def test_a_pool_that_is_not_held_and_may_not_be_bought_is_no_part_of_the_problem():
    panel = hand_made([A, B], 3, {"apy_pct": np.array([5.0, 0.5])})
    ready, _ = prepared(panel, day(2), Book({"USDC": 1.0}), lax(pool_apy_limit=0.01))
    assert [p.pool_id for p in ready.problem.pools] == ["a"]


def test_a_held_pool_that_the_market_does_not_know_must_be_left():
    panel = hand_made([A], 3)
    ready, _ = prepared(panel, day(2), Book({}, {("elsewhere", "USDC"): 10.0}), lax())
    states = {p.pool_id: p.state for p in ready.problem.pools}
    assert states == {"a": PoolState.OPEN, "elsewhere": PoolState.EXIT}


def test_the_market_of_a_backtest_does_not_contain_our_money():
    ready, _ = prepared(hand_made([A], 3), day(2), Book({"USDC": 1.0}), lax())
    assert ready.problem.tvl_includes_position is False


@pytest.mark.parametrize(
    ("own_impact", "model"), [("pro_rata", RateModel.PRO_RATA), ("none", RateModel.CONSTANT)]
)
def test_the_optimiser_expects_the_dilution_that_the_books_will_have(own_impact, model):
    ready, _ = prepared(hand_made([A], 3), day(2), Book({"USDC": 1.0}), lax(own_impact=own_impact))
    assert ready.problem.pools[0].rate_model is model


def test_the_problem_carries_forecast_price_and_risk_group():
    apy = np.column_stack([np.full(40, 5.0), np.tile([2.0, 20.0], 20)])
    panel = hand_made([A, B], 40, {"apy_pct": apy}, {"close_usd": np.array([0.99, 1.01])})
    ready, inputs = prepared(panel, day(39), Book({"USDC": 1.0}), lax(horizon_days=1))
    calm, wild = ready.problem.pools
    assert (calm.apy_pct, calm.tvl_usd) == pytest.approx((5.0, 1e7))
    assert np.isfinite(wild.apy_q10_pct)
    assert wild.apy_q10_pct == inputs.forecast.apy_q10_pct[1]
    assert (calm.risk_group, wild.risk_group) == (1, 3)
    assert ready.problem.prices_usd == {"DAI": 0.99, "USDC": 1.01}


@pytest.mark.parametrize(("asked", "forecast"), [(0.2, 1), (1.0, 1), (7.4, 7), (30.0, 30)])
def test_the_horizon_is_forecast_in_whole_days_and_at_least_one(asked, forecast):
    inputs = observed(hand_made([A], 3), day(2), lax(horizon_days=asked))
    assert inputs.forecast.horizon_days == forecast


def test_an_icebox_token_is_known_to_the_day():
    panel = hand_made([A, B], 6, token_arrays={"close_usd": np.array([0.95, 1.0])})
    inputs = observed(panel, day(5), lax())
    assert inputs.iceboxed == {"DAI"}
    screening = screen_day(panel.as_of(day(5)), lax(), baseline("last"))
    assert screening.state_of("a") is PoolState.OPEN
    assert screening.state_of("b") is PoolState.EXCLUDED


def test_a_token_that_cannot_be_judged_is_flagged_by_the_screening():
    prices = np.hstack([column(6, 0.999, day_5=NAN), np.ones((6, 1))])
    panel = hand_made([A, B], 6, token_arrays={"close_usd": prices})
    ready, inputs = prepared(panel, day(5), Book({"USDC": 1.0}), lax())
    assert inputs.unjudged == {"DAI"}
    assert "icebox_unjudged" in {flag.rule for flag in ready.screening.flag_reasons[1]}


def test_exec_days_include_both_ends():
    assert exec_days(date(2024, 2, 28), date(2024, 3, 1)) == [
        date(2024, 2, 28),
        date(2024, 2, 29),
        date(2024, 3, 1),
    ]
    assert exec_days(day(1), day(0)) == []
