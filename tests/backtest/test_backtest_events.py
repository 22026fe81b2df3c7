"""What a run does when the market does something: delistings, depegs, missing days."""

from __future__ import annotations

import json

import numpy as np
import pytest

from stableyield.backtest import run_backtest
from stableyield.domain.rates import day_return
from stableyield.errors import MissingDataError
from stableyield.forecast import baseline
from support.markets import NO_GAS, column, day, hand_made, lax, pool

NAN = float("nan")
POOLS = (pool("a"), pool("b", "DAI"))


def run(panel, **changes):
    """A run without costs and benchmarks that trusts the last rate."""
    names = ("start", "end", "aum_usd", "token", "policy", "progress")
    settings = {name: changes.pop(name) for name in names if name in changes}
    parameters = lax(conversion_rate=0.0, own_impact="none", **changes)
    return run_backtest(
        panel,
        parameters=parameters,
        gas=NO_GAS,
        forecaster=baseline("last"),
        with_benchmarks=False,
        **settings,
    )


def held_by_day(result) -> list[set[str]]:
    texts = result.daily_log["allocations_by_pool"]
    return [set(json.loads(text)) - {"warm_wallet"} for text in texts]


def flags_by_day(result) -> list[list[str]]:
    return [json.loads(text) for text in result.daily_log["flags"]]


def rows_missing(on, n_days=10, which=0):
    """Arrays of two pools where one has no row on some days."""
    apy = np.tile([8.0, 4.0], (n_days, 1))
    apy[list(on), which] = NAN
    return {"apy_pct": apy, "tvl_usd": np.where(np.isnan(apy), NAN, 1e9)}


# --- delisting ------------------------------------------------------------------------------------


def test_a_pool_that_is_delisted_is_left_on_the_next_day():
    delisted = (pool("a", listed_until=day(5)), POOLS[1])
    result = run(hand_made(delisted, 10, {"apy_pct": np.array([8.0, 4.0])}), start=day(2))
    assert held_by_day(result) == [{"a", "b"}] * 4 + [{"b"}] * 3
    out = result.transactions[result.transactions["type"] == "WITHDRAWAL"]
    assert out[["exec_date", "from_location"]].to_numpy().tolist() == [[day(6).isoformat(), "a"]]


def test_a_delisting_is_not_known_before_it_happens():
    later = (pool("a", listed_until=day(8)), POOLS[1])
    arrays = {"apy_pct": np.array([8.0, 4.0])}
    one = run(hand_made(later, 10, arrays), start=day(2), end=day(7)).daily_log
    other = run(hand_made(POOLS, 10, arrays), start=day(2), end=day(7)).daily_log
    assert one.drop(columns="flags").equals(other.drop(columns="flags"))


def test_a_pool_whose_rows_stop_is_frozen_for_a_week_and_then_left():
    arrays = rows_missing(range(5, 16), n_days=16)
    result = run(hand_made(POOLS, 16, arrays), start=day(3))
    assert [("frozen: a" in flags) for flags in flags_by_day(result)] == (
        [False] * 2 + [True] * 6 + [False] * 4
    )
    assert [("a" in pools) for pools in held_by_day(result)] == [True] * 8 + [False] * 4


def test_a_new_pool_is_bought_once_it_has_its_history():
    new = (pool("a", listed_from=day(5)), POOLS[1])
    result = run(hand_made(new, 12, rows_missing(range(5), n_days=12)), min_history_days=3)
    assert [("a" in pools) for pools in held_by_day(result)] == [False] * 7 + [True] * 4


# --- depeg ----------------------------------------------------------------------------------------


def dai_below_its_peg(n_days=14):
    """DAI is two cents short from day 5 to day 7; pool b pays better in it."""
    close = np.hstack([column(n_days, 1.0, day_5=0.98, day_6=0.98, day_7=0.98), np.ones((14, 1))])
    arrays = {"apy_pct": np.array([4.0, 9.0]), "tvl_usd": 1e9}
    return hand_made(POOLS, n_days, arrays, {"close_usd": close})


def test_nothing_more_is_put_into_a_token_that_has_left_its_peg():
    sizes = {"max_alloc_percentage": 0.3, "profit_optimization": False}
    panel = dai_below_its_peg()
    result = run(panel, start=day(5), position_max_pct_total_assets=0.3, **sizes)
    bought = result.transactions[result.transactions["token"] == "DAI"]
    # inside from day 5; outside again after three closes at par, days 8 to 10
    assert bought["exec_date"].unique().tolist() == [day(10).isoformat()]
    assert held_by_day(result) == [{"a"}] * 5 + [{"a", "b"}] * 3


@pytest.mark.parametrize(("icebox_exit", "left"), [("hold", False), ("exit", True)])
def test_what_is_held_in_it_is_kept_or_left_as_told(icebox_exit, left):
    result = run(dai_below_its_peg(), start=day(3), icebox_exit=icebox_exit)
    held = held_by_day(result)
    assert all("b" in pools for pools in held[:2])
    assert ("b" not in held[2]) is left
    assert result.daily_log["price_usd"].iloc[1] == pytest.approx(-0.02 * 1e6, rel=0.01)


# --- missing data ---------------------------------------------------------------------------------


def test_a_day_without_a_row_freezes_the_pool_and_earns_nothing():
    result = run(hand_made(POOLS, 10, rows_missing([5])), start=day(2), end=day(7))
    assert flags_by_day(result) == [[], [], ["no realised return: a"], ["frozen: a"], [], []]
    in_a = json.loads(result.daily_log["allocations_by_pool"].iloc[2])["a"]
    assert in_a == pytest.approx(1e6 * 1.08 ** (2 / 365))
    yields = result.daily_log["yield_usd"]
    assert yields.iloc[2] == 0.0
    assert yields.iloc[[1, 3]].tolist() == pytest.approx([1e6 * day_return(0.08)] * 2, rel=2e-3)
    assert result.transactions["exec_date"].unique().tolist() == [day(2).isoformat()]


def test_the_last_return_stands_in_for_a_missing_one_when_asked():
    panel = hand_made(POOLS, 10, rows_missing([5]))
    result = run(panel, start=day(2), end=day(7), missing_actual="last")
    assert result.daily_log["yield_usd"].tolist() == pytest.approx(
        [1e6 * day_return(0.08)] * 6, rel=2e-3
    )
    assert flags_by_day(result)[2] == []


def test_a_missing_return_stops_the_run_when_asked():
    panel = hand_made(POOLS, 10, rows_missing([5]))
    with pytest.raises(MissingDataError, match="day 2024-01-06: pool a has no realised return"):
        run(panel, start=day(2), missing_actual="raise")
    run(panel, start=day(6), missing_actual="raise")


def test_a_pool_that_is_not_held_may_miss_its_rows():
    panel = hand_made(POOLS, 10, rows_missing(range(4, 8), which=1))
    run(panel, start=day(2), missing_actual="raise")


def dai_unpriced_on(n):
    close = np.hstack([column(10, 1.0, **{f"day_{n}": NAN}), np.ones((10, 1))])
    arrays = {"apy_pct": np.array([4.0, 9.0]), "tvl_usd": 1e9}
    return hand_made(POOLS, 10, arrays, {"close_usd": close})


def test_an_owned_token_without_a_price_stops_the_run_and_names_the_day():
    with pytest.raises(MissingDataError, match="day 2024-01-06: owned token DAI has no price"):
        run(dai_unpriced_on(5), start=day(2))


def test_the_last_price_stands_in_for_a_missing_one_when_asked():
    result = run(dai_unpriced_on(5), start=day(2), end=day(6), missing_price="last")
    flags = flags_by_day(result)
    assert flags[2] == ["price of DAI is 1 days old"]  # re-priced at the end of day 5
    assert flags[3] == ["price of DAI is 1 days old", "frozen: b"]
    assert flags[0] == flags[4] == []
    assert result.daily_log["price_usd"].abs().max() < 1e-6


def test_a_day_without_gas_prices_stops_the_run_unless_gas_is_fixed():
    panel = hand_made(POOLS, 6)
    known = panel.as_of(day(5)).gas
    gas = type(known)(np.where(np.arange(6) == 4, NAN, known.gas_gwei), known.eth_usd.copy())
    panel = hand_made(POOLS, 6, gas=gas)
    with pytest.raises(MissingDataError, match="day 2024-01-05: gas price"):
        run_backtest(panel, parameters=lax())
    run(panel)


def test_a_pool_that_fails_takes_what_was_in_it_and_no_more():
    returns = np.full((8, 2), 1e-4)
    returns[5, 0] = -1.0
    arrays = {"apy_pct": np.array([8.0, 4.0]), "tvl_usd": 1e7, "return_1d": returns}
    result = run(hand_made(POOLS, 8, arrays), start=day(3))
    log = result.daily_log
    in_a = json.loads(log["allocations_by_pool"].iloc[1])["a"]
    assert in_a == pytest.approx(5e5, rel=1e-3)
    assert log["yield_usd"].iloc[1] == pytest.approx(-in_a, rel=1e-3)
    assert log["aum_end"].iloc[1] == pytest.approx(1e6 - in_a, rel=1e-3)


def half_a_feed(on, n_days=10):
    """Three pools, of which only the first has a row on day ``on``."""
    apy = np.tile([4.0, 8.0, 6.0], (n_days, 1))
    apy[on, 1:] = NAN
    arrays = {"apy_pct": apy, "tvl_usd": np.where(np.isnan(apy), NAN, 1e7)}
    return hand_made([*POOLS, pool("c")], n_days, arrays)


def test_nobody_trades_on_a_day_whose_data_cannot_be_trusted():
    result = run_backtest(half_a_feed(5), start=day(5), parameters=lax(), gas=NO_GAS)
    log = result.daily_log
    assert log["status"].tolist() == ["held", "done", "done", "done"]
    assert log["solver_status"].tolist() == ["data_quality", "optimal", "optimal", "optimal"]
    first, *others = flags_by_day(result)
    assert first[0].startswith("data quality: critical universe: 1 pools have a row today")
    assert others == [[], [], []]
    assert result.transactions["exec_date"].min() == day(6).isoformat()
    turnover = result.benchmarks.set_index(["policy", "exec_date"])["turnover_usd"]
    for name in ("best_single", "equal_weight"):
        assert turnover[name].gt(0.0).tolist() == [False, True, False, False]


def test_a_book_is_kept_and_earns_on_a_day_whose_data_cannot_be_trusted():
    result = run(half_a_feed(5), start=day(3))
    log = result.daily_log
    assert log["status"].tolist() == ["done", "done", "held", "done", "done", "done"]
    assert log["aum_after"].iloc[2] == log["aum_start"].iloc[2] == log["aum_end"].iloc[1]
    assert log["yield_usd"].iloc[2] > 0.0
    assert log["n_positions"].nunique() == 1


# --- start ----------------------------------------------------------------------------------------


def test_money_that_starts_in_another_token_is_converted():
    arrays = {"apy_pct": np.array([8.0, 0.0]), "tvl_usd": 1e9}
    result = run(hand_made(POOLS, 6, arrays), start=day(2), token="DAI")
    first = result.transactions.iloc[0]
    assert (first["type"], first["token"], first["to_token"]) == ("CONVERSION", "DAI", "USDC")
    assert held_by_day(result) == [{"a"}] * 3


def test_cash_stays_cash_until_pools_have_their_history():
    result = run(hand_made(POOLS, 8), min_history_days=5)
    assert result.daily_log["n_positions"].gt(0).tolist() == [False] * 4 + [True] * 3
    assert set(result.daily_log["status"]) == {"done"}
