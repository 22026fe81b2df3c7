"""The loop over history: what is earned, what it costs, what goes wrong, on hand-made markets."""

from __future__ import annotations

import json
import math
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stableyield.errors import (
    ContractError,
    DayOutOfRangeError,
    MissingDataError,
    ParameterError,
)
from stableyield.loops import (
    LoopCosts,
    LoopMarket,
    LoopRates,
    LoopResult,
    LoopSettings,
    LoopTarget,
    net_apr,
    rates_from_table,
    run_loop_backtest,
)
from support.loop_markets import START, make_prices, make_rates, make_risk

FREE = LoopCosts(gas_usd=0.0, swap=0.0, flash_premium=0.0)


def run(
    rates: LoopRates | None = None, market: LoopMarket | None = None, **changes: Any
) -> LoopResult:
    """A run at leverage 3 without costs, decided on each day's own rates, unless said."""
    settings = LoopSettings(
        **{
            "target": LoopTarget(leverage=3.0),
            "costs": FREE,
            "signal_days": 1,
            "own_impact": "none",
            **changes,
        }
    )
    return run_loop_backtest(
        make_rates() if rates is None else rates, settings, market or LoopMarket(risk=make_risk())
    )


def flags(result: LoopResult) -> list[list[str]]:
    return [json.loads(text) for text in result.daily["flags"]]


def changing(column: int, values: list[float], base: tuple[float, ...]) -> np.ndarray[Any, Any]:
    rows = np.tile(np.array(base), (len(values), 1))
    rows[:, column] = values
    return rows


def test_it_opens_the_pair_with_the_largest_net_rate_and_earns_it() -> None:
    result = run()
    row = result.daily.iloc[0]
    assert (row["action"], row["state"]) == ("open", "looped")
    assert (row["supply_asset"], row["borrow_asset"]) == ("USDC", "USDT")
    expected = 3.0 * math.exp(0.09 / 365) - 2.0 * math.exp(0.05 / 365)
    assert row["equity_usd"] / row["equity_start_usd"] == pytest.approx(expected, rel=1e-13)
    rate = 365.0 * (expected - 1.0)
    assert rate == pytest.approx(net_apr(3.0, 0.09, 0.05), rel=1e-3)


def test_what_is_decided_today_earns_the_rates_of_tomorrow() -> None:
    supply = changing(1, [0.09, 0.20, *[0.09] * 8], (0.03, 0.09, 0.04))
    earned = run(make_rates(supply_apr=supply)).daily["supply_apr_pct"]
    assert earned.tolist()[:3] == [20.0, 9.0, 9.0]


def test_a_later_day_does_not_change_an_earlier_decision() -> None:
    whole = run(make_rates(10)).daily
    spoilt = changing(1, [0.09] * 6 + [0.0, 0.5, 0.0, 0.3], (0.03, 0.09, 0.04))
    other = run(make_rates(10, supply_apr=spoilt)).daily
    columns = ["action", "supply_asset", "borrow_asset", "leverage"]
    pd.testing.assert_frame_equal(whole[columns].head(6), other[columns].head(6))


def test_the_parts_of_every_day_add_up_to_its_change() -> None:
    prices = make_prices(USDC=np.linspace(1.0, 0.97, 10))
    market = LoopMarket(prices=prices, risk=make_risk())
    daily = run(market=market, costs=LoopCosts(gas_usd=5.0)).daily
    parts = daily["supply_usd"] - daily["borrow_usd"] + daily["reward_usd"] + daily["price_usd"]
    parts += daily["shortfall_usd"] - daily["liquidation_usd"] - daily["costs_usd"]
    np.testing.assert_allclose(daily["equity_usd"], daily["equity_start_usd"] + parts, rtol=1e-12)
    np.testing.assert_allclose(daily["equity_start_usd"][1:], daily["equity_usd"][:-1], rtol=1e-12)


def test_costs_are_taken_from_equity_at_both_ends() -> None:
    costs = LoopCosts(gas_usd=10.0, swap=0.001, flash_premium=0.0005, flash_gas_multiple=1.0)
    result = run(costs=costs, equity_usd=100_000.0, expected_holding_days=60.0)
    first, last = result.transactions.iloc[0], result.transactions.iloc[-1]
    assert first["turnover_usd"] == pytest.approx(200_000.0)
    assert first["swap_usd"] == pytest.approx(200.0)
    assert first["flash_usd"] == pytest.approx(100.0)
    assert first["gas_usd"] == 20.0
    assert (first["action"], last["action"], last["to_pair"]) == ("open", "close", "wallet USDC")
    assert last["n_transactions"] == 1
    total = result.totals["aave-v3 on Testchain"]
    assert total["costs_usd"] == pytest.approx(first["costs_usd"] + last["costs_usd"])


def test_by_hand_n_rounds_take_three_n_and_one_transactions() -> None:
    costs = LoopCosts(execution="by_hand", gas_usd=1.0, swap=0.0)
    result = run(costs=costs, target=LoopTarget(ltv=0.8, rounds=3), expected_holding_days=60.0)
    assert result.transactions.iloc[0]["n_transactions"] == 10
    assert result.transactions.iloc[0]["leverage_after"] == pytest.approx(2.952)
    assert result.transactions.iloc[-1]["n_transactions"] == 10


def test_leverage_one_is_the_plain_supply_beside_every_run() -> None:
    result = run(target=LoopTarget(leverage=1.0))
    pd.testing.assert_frame_equal(result.daily, result.unlevered)
    assert set(result.daily["borrow_asset"]) == {""}
    grown = result.daily["equity_usd"].iloc[-1] / 1e6
    assert grown == pytest.approx(math.exp(9 * 0.09 / 365), rel=1e-13)


def test_a_spread_that_stays_negative_takes_the_leverage_off() -> None:
    borrow = changing(2, [0.05] * 3 + [0.10] * 7, (0.30, 0.30, 0.05))
    costs = LoopCosts(gas_usd=0.0, swap=0.0, flash_premium=0.0005)
    result = run(make_rates(borrow_apr=borrow), costs=costs)
    actions = result.daily["action"].tolist()
    assert actions[0] == "open"
    assert actions[5] == "unlever"
    assert "spread negative for 3 days" in flags(result)[5]
    assert (result.daily["leverage"][6:] == 1.0).all()
    assert result.totals["aave-v3 on Testchain"]["days_negative_spread"] == 3


def test_a_better_pair_is_taken_only_when_it_earns_its_cost_back() -> None:
    supply = changing(0, [0.03] * 2 + [0.10] * 8, (0.03, 0.09, 0.04))
    rates = make_rates(supply_apr=supply)
    costs = LoopCosts(gas_usd=0.0, swap=0.001, flash_premium=0.0)
    near = run(rates, costs=costs, expected_holding_days=20.0)
    far = run(rates, costs=costs, expected_holding_days=400.0)
    assert set(near.daily["supply_asset"]) == {"USDC"}
    assert far.daily["supply_asset"].iloc[-1] == "DAI"
    assert (far.daily["action"] == "switch").sum() == 1


def test_a_pair_that_may_not_be_borrowed_any_more_is_unwound() -> None:
    closed = [
        {"asset": asset, "effective_from": "2024-01-05", "is_borrowable": False}
        for asset in ("USDT", "DAI")
    ]
    result = run(market=LoopMarket(risk=make_risk(*closed)))
    assert result.daily["borrow_asset"].tolist()[:5] == ["USDT"] * 4 + [""]
    assert result.daily["action"].iloc[4] == "unwind"
    assert "USDT is not borrowable any more" in flags(result)[4]


def test_a_lower_threshold_takes_the_position_back_before_it_is_liquidated() -> None:
    lower = {
        "asset": "USDC",
        "effective_from": "2024-01-05",
        "ltv": 0.5,
        "liquidation_threshold": 0.6,
    }
    result = run(market=LoopMarket(risk=make_risk(lower)))
    assert result.daily["action"].iloc[4] == "deleverage"
    assert result.daily["leverage"].iloc[4] == pytest.approx(2.0)
    assert result.totals["aave-v3 on Testchain"]["n_liquidations"] == 0


@pytest.mark.parametrize(("over_limit", "leverage"), [("reduce", 2.0), ("refuse", 1.0)])
def test_leverage_beyond_the_limit_is_reduced_or_refused_and_flagged(
    over_limit: str, leverage: float
) -> None:
    risk = make_risk(ltv=0.5, threshold=0.6)
    result = run(market=LoopMarket(risk=risk), over_limit=over_limit)
    assert result.daily["leverage"].iloc[0] == pytest.approx(leverage)
    said = " ".join(map(" ".join, flags(result)))
    assert "leverage 3.00 is above the 2.00 of LTV 0.5" in said or result.notes
    assert any("2.00 of LTV 0.5" in note or "never looped" in note for note in result.notes)


def test_an_ltv_above_the_one_of_the_date_draws_no_more_than_allowed() -> None:
    result = run(
        target=LoopTarget(ltv=0.9, rounds=3),
        market=LoopMarket(risk=make_risk(ltv=0.75, threshold=0.78)),
    )
    assert result.daily["leverage"].iloc[0] == pytest.approx((1 - 0.75**4) / 0.25)
    assert "reduced" in result.notes[0]


def test_too_little_cash_to_borrow_is_no_pair() -> None:
    result = run(make_rates(available_usd=(2e8, 2e8, 1e6)))
    assert result.daily["borrow_asset"].iloc[0] == "DAI"
    none = run(make_rates(available_usd=1e6))
    assert set(none.daily["borrow_asset"]) == {""}
    assert "too little cash to borrow" in none.notes[0]


def test_caps_are_kept() -> None:
    cap = {"asset": "USDC", "effective_from": "2023-01-01", "supply_cap": 1.0e9 + 2e6}
    result = run(market=LoopMarket(risk=make_risk(cap)))
    assert result.daily["supply_asset"].iloc[0] == "USDC"
    assert result.daily["borrow_asset"].iloc[0] == ""
    borrow_cap = {"asset": "USDT", "effective_from": "2023-01-01", "borrow_cap": 8e8 + 1e6}
    result = run(market=LoopMarket(risk=make_risk(borrow_cap)))
    assert result.daily["borrow_asset"].iloc[0] == "DAI"


def test_it_cannot_leave_a_market_without_cash_and_says_so() -> None:
    borrow = changing(2, [0.05] * 3 + [0.30] * 9, (0.30, 0.30, 0.05))
    cash = np.full((12, 3), 2e8)
    cash[3:9] = 0.0
    cash[9] = 5e5
    result = run(make_rates(12, borrow_apr=borrow, available_usd=cash))
    states = result.daily["state"].tolist()
    assert states[:3] == ["looped"] * 3
    assert "stuck" in states
    assert "cannot leave: " in flags(result)[6][-1]
    assert result.daily["leverage"].iloc[8] > 2.9
    assert 2.0 < result.daily["leverage"].iloc[9] < 2.6
    assert result.daily["leverage"].iloc[10] == 1.0


def test_what_cannot_be_closed_at_the_end_is_valued_and_noted() -> None:
    cash = np.full((10, 3), 2e8)
    cash[-1] = 0.0
    result = run(make_rates(available_usd=cash))
    assert "could not be closed at the end" in result.notes[-1]
    assert "cannot leave" in flags(result)[-1][-1]


def test_a_depeg_liquidates_by_the_close_factor() -> None:
    usdc = np.ones(10)
    usdc[4:] = 0.69
    risk = make_risk(ltv=0.9, threshold=0.95)
    result = run(market=LoopMarket(prices=make_prices(USDC=usdc), risk=risk))
    hit = result.daily.iloc[3]
    assert hit["health_factor"] < 1.0
    assert hit["liquidation_usd"] > 0.0
    assert "liquidated: " in flags(result)[3][0]
    kinds = result.transactions["action"].tolist()
    assert "liquidation" in kinds


def test_bad_debt_is_named_and_equity_ends_at_nothing() -> None:
    usdc = np.ones(10)
    usdc[4:] = 0.30
    result = run(market=LoopMarket(prices=make_prices(USDC=usdc), risk=make_risk()))
    last = result.daily.iloc[-1]
    assert last["equity_usd"] == 0.0
    assert last["shortfall_usd"] > 1e6
    assert len(result.daily) == 4, "a market without equity ends"
    assert any("bad debt" in flag for flag in flags(result)[-1])
    assert any("the equity was gone" in note for note in result.notes)


def test_a_low_within_the_day_liquidates_though_the_close_is_at_par() -> None:
    low = np.ones(10)
    low[4] = 0.65
    prices = make_prices(low_USDC=low)
    result = run(market=LoopMarket(prices=prices, risk=make_risk()))
    assert result.daily["liquidation_usd"].iloc[3] > 0.0
    assert result.totals["aave-v3 on Testchain"]["min_health_factor"] < 0.95
    assert result.daily["price_usd"].iloc[3] < 0.0, "what was sold at the low is gone"


def test_without_prices_par_is_said_to_be_assumed() -> None:
    assert any(text.startswith("Par is assumed") for text in run().assumptions)


def test_a_coin_that_is_no_plain_dollar_needs_a_price() -> None:
    rates = make_rates()
    savings = LoopRates(**{**vars(rates), "assets": ("USDC", "USDT", "sDAI")})
    with pytest.raises(MissingDataError, match="sDAI has no price and may not be taken at par"):
        run(savings)


def test_rewards_count_after_their_haircut() -> None:
    rates = make_rates(borrow_reward_apr=(0.0, 0.0, 0.02))
    half = run(rates, rewards_haircut=0.5).daily["spread_pct"].iloc[0]
    assert half == pytest.approx(9.0 - 5.0 + 1.0)
    assert run(rates).daily["reward_usd"].iloc[0] == pytest.approx(
        2e6 * math.expm1(0.02 / 365), rel=1e-12
    )


def test_the_same_asset_on_both_sides_is_taken_only_for_rewards() -> None:
    only = {"supply_apr": (0.03, 0.09, 0.04), "borrow_apr": (0.5, 0.10, 0.5)}
    assert set(run(make_rates(**only)).daily["borrow_asset"]) == {""}
    paid = run(make_rates(**only, supply_reward_apr=(0.0, 0.05, 0.0)))
    assert paid.daily["borrow_asset"].iloc[0] == "USDC"
    assert paid.transactions["turnover_usd"].iloc[0] == 0.0


def test_a_long_gap_takes_the_position_out() -> None:
    supply, borrow = make_rates().supply_apr.copy(), make_rates().borrow_apr.copy()
    fresh = np.ones((10, 3), dtype=bool)
    supply[5:8, 1] = np.nan
    fresh[3:8, 1] = False
    result = run(make_rates(supply_apr=supply, borrow_apr=borrow, is_fresh=fresh))
    daily = result.daily
    assert daily["action"].iloc[5] == "unwind"
    assert "USDC has no rate or price" in flags(result)[5]
    assert "USDC: no rate that day, the last one is used" in flags(result)[2]
    assert daily["supply_asset"].iloc[8] == "USDC"


def test_a_market_that_nobody_can_borrow_from_is_refused() -> None:
    with pytest.raises(MissingDataError, match="no market has a supply and a borrow side"):
        run(make_rates(borrow_apr=np.nan))


def test_an_asset_without_a_borrow_side_is_supplied_at_most() -> None:
    result = run(make_rates(borrow_apr=(np.nan, 0.11, np.nan)))
    assert set(result.daily["borrow_asset"]) <= {"", "USDC"}


def test_an_asset_that_the_risk_table_does_not_know_is_never_looped() -> None:
    result = run_loop_backtest(make_rates(), LoopSettings(costs=FREE, own_impact="none"))
    assert set(result.daily["borrow_asset"]) == {""}
    assert any("no risk parameters of DAI, USDC, USDT" in text for text in result.assumptions)


def test_gas_that_is_unknown_is_an_error_with_a_remedy() -> None:
    with pytest.raises(MissingDataError, match="no gas prices") as caught:
        run(costs=LoopCosts())
    assert "gas_usd" in caught.value.remedy


def test_gas_of_the_day_is_paid_and_carried_at_most_a_week() -> None:
    gas = pd.DataFrame({"date": ["2024-01-01"], "gas_gwei": [20.0], "eth_usd": [2500.0]})
    market = LoopMarket(gas=gas, risk=make_risk())
    short = run(make_rates(5), market, costs=LoopCosts(swap=0.0, flash_premium=0.0))
    one = 270_000 * 20e-9 * 2500.0
    assert short.daily["gas_usd"].iloc[0] == pytest.approx(one * (1 + 3))
    assert any("dear for a rollup" in text for text in short.assumptions)
    with pytest.raises(MissingDataError, match="2024-01-09: there is no gas price"):
        run(make_rates(12), market, costs=LoopCosts())


def test_start_and_end_choose_the_days_and_nothing_inside_is_an_error() -> None:
    result = run(start=date(2024, 1, 3), end=date(2024, 1, 5))
    assert result.daily["date"].dt.day.tolist() == [3, 4, 5]
    with pytest.raises(DayOutOfRangeError, match="no market has two days") as caught:
        run(start=date(2025, 1, 1))
    assert "2024-01-01 to 2024-01-10" in caught.value.remedy


def test_a_market_outside_of_the_days_is_left_out_with_a_note() -> None:
    late = make_rates(4)
    late = LoopRates(**{**vars(late), "chain": "Other", "days": late.days + 100})
    result = run_loop_backtest(
        [make_rates(), late],
        LoopSettings(costs=FREE, end=date(2024, 2, 1), own_impact="none"),
        risk=make_risk(),
    )
    assert result.markets == ("aave-v3 on Testchain",)
    assert "aave-v3 on Other has no two days" in result.notes[0]


def test_own_size_lowers_what_is_earned_and_raises_what_is_paid() -> None:
    rng = np.random.default_rng(3)
    use = rng.uniform(0.5, 0.79, size=(30, 3))
    borrow = 0.05 * use / 0.8 * np.array([1.0, 2.4, 1.0])
    supply = borrow * use * 0.9
    supply[:, 1] = 0.0
    curve = {"utilisation": use, "supplied_usd": 1e9, "borrowed_usd": use * 1e9}
    supply = borrow * use * 0.9
    rates = make_rates(30, supply_apr=supply, borrow_apr=borrow, **curve)
    big, small = (
        run(rates, own_impact="kinked", equity_usd=usd).daily.iloc[-2] for usd in (5e7, 1.0)
    )
    assert big["supply_apr_pct"] < small["supply_apr_pct"]
    assert any(
        "own size moves both rates" in text for text in run(rates, own_impact="kinked").assumptions
    )


def test_two_readings_of_one_moment_are_an_error() -> None:
    row = {
        "market_id": "m",
        "chain": "Ethereum",
        "protocol": "aave-v3",
        "symbol": "USDC",
        "date": "2024-01-01",
        "supply_apr_pct": 4.0,
        "borrow_apr_pct": 6.0,
    }
    with pytest.raises(ContractError):
        rates_from_table(pd.DataFrame([row, row]))


def test_rates_that_look_like_fractions_are_refused() -> None:
    days = pd.date_range(START, periods=20)
    frame = pd.DataFrame(
        {
            "market_id": "m",
            "chain": "Ethereum",
            "protocol": "aave-v3",
            "symbol": "USDC",
            "date": days,
            "supply_apr_pct": 0.04,
            "borrow_apr_pct": 0.06,
        }
    )
    with pytest.raises(ContractError, match="fraction"):
        rates_from_table(frame)


def test_the_run_is_the_same_twice() -> None:
    first, second = run(), run()
    pd.testing.assert_frame_equal(first.daily, second.daily)
    assert first.totals == second.totals


def test_an_unknown_asset_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ParameterError, match="'FRAX' is in no market"):
        run(assets=("FRAX",))
