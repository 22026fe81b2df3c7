"""Hold, top trailing and threshold on markets small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stableyield.backtest import run_backtest
from stableyield.backtest.benchmarks import EqualWeight, Hold, Idle, all_benchmarks
from stableyield.backtest.day import GasPricing
from stableyield.backtest.policy import MilpPolicy
from stableyield.backtest.settings import BacktestSettings
from stableyield.backtest.threshold import Threshold
from stableyield.backtest.trailing import TopTrailing
from stableyield.domain.costs import GasCosts
from stableyield.domain.portfolio import Book
from stableyield.errors import ParameterError
from stableyield.forecast import ForeignForecaster, baseline
from support.markets import NO_GAS, day, hand_made, lax, pool, prepared, synthetic_panel

CASH = Book({"USDC": 1e6})
NAN = float("nan")


def run(panel, policy, **settings):
    values = {
        "parameters": lax(),
        "gas": NO_GAS,
        "forecaster": baseline("last"),
        "with_benchmarks": False,
        **settings,
    }
    return run_backtest(panel, BacktestSettings(**values), policy=policy)


def market(apy, n_days=60, pools="abcd", **arrays):
    by_pool = {"apy_pct": np.asarray(apy, float), "tvl_usd": 1e9, **arrays}
    return hand_made([pool(name) for name in pools], n_days, by_pool)


def traded_days(result) -> list[str]:
    return sorted(set(result.transactions["exec_date"]))


def held_at_the_end(result) -> set[str]:
    rows = result.positions
    last = rows[rows["exec_date"] == rows["exec_date"].iloc[-1]]
    return set(last["pool_id"]) - {"warm_wallet"}


def test_every_benchmark_has_a_name_of_its_own_and_is_new_each_time():
    names = [policy.name for policy in all_benchmarks()]
    assert names == [
        "idle",
        "best_single",
        "equal_weight",
        "top_k",
        "threshold",
        "hold",
        "persistence",
    ]
    assert all_benchmarks()[3] is not all_benchmarks()[3]


# --- hold ---


def test_hold_enters_as_another_policy_would_and_never_trades_again():
    apy = np.tile([4.0, 6.0, 9.0, 1.0], (60, 1))
    apy[35:] = [90.0, 6.0, 0.1, 1.0]
    result = run(market(apy), Hold(EqualWeight()), start=day(30))
    assert traded_days(result) == [day(30).isoformat()]
    assert held_at_the_end(result) == set("abcd")


def test_hold_waits_until_something_can_be_bought():
    result = run(market([4.0, 6.0, 9.0, 1.0]), Hold(), parameters=lax(min_history_days=20))
    assert traded_days(result) == [day(19).isoformat()]


def test_hold_keeps_a_book_that_is_invested_already():
    policy = Hold()
    book = Book({"USDC": 5e5}, {("a", "USDC"): 5e5})
    decision = policy.decide(*prepared(market([4.0, 6.0, 9.0, 1.0]), day(30), book, lax()))
    assert decision.settlement.after == book
    assert policy.entered


def test_hold_leaves_what_must_be_left_and_does_not_enter_again():
    pools = [pool("a"), pool("b", listed_until=day(40))]
    panel = hand_made(pools, 60, {"apy_pct": np.array([4.0, 9.0])})
    result = run(panel, Hold(), start=day(30), aum_usd=1e5)
    steps = result.transactions[["exec_date", "type"]].to_numpy().tolist()
    assert steps == [[day(30).isoformat(), "ALLOCATION"], [day(41).isoformat(), "WITHDRAWAL"]]
    assert held_at_the_end(result) == set()


# --- top trailing ---


def test_top_trailing_takes_the_pools_that_paid_most_lately_in_equal_parts():
    apy = np.tile([4.0, 6.0, 9.0, 5.0], (60, 1))
    apy[:24, 0] = 500.0  # older than a week on day 30
    apy[31:, 0] = 500.0  # the future
    decision = TopTrailing(k=2).decide(*prepared(market(apy), day(30), CASH, lax()))
    assert decision.settlement.after.positions == pytest.approx(
        {("b", "USDC"): 5e5, ("c", "USDC"): 5e5}, abs=0.02
    )


def test_top_trailing_ranks_by_the_mean_of_its_days():
    apy = np.tile([4.0, 6.0, 9.0, 5.0], (60, 1))
    apy[30, 0] = 18.0  # mean of 4 4 18: 8.67, of a week: 6
    three = TopTrailing(k=1, days=3).decide(*prepared(market(apy), day(30), CASH, lax()))
    assert three.settlement.after.pool_ids == ("c",)
    apy[30, 0] = 20.0  # 9.33
    three = TopTrailing(k=1, days=3).decide(*prepared(market(apy), day(30), CASH, lax()))
    assert three.settlement.after.pool_ids == ("a",)
    seven = TopTrailing(k=1, days=7).decide(*prepared(market(apy), day(30), CASH, lax()))
    assert seven.settlement.after.pool_ids == ("c",)


def test_top_trailing_chooses_once_a_week():
    apy = np.tile([4.0, 6.0, 9.0, 5.0], (60, 1))
    apy[31:, 3] = 90.0
    result = run(market(apy), TopTrailing(k=1), start=day(30))
    assert traded_days(result) == [day(30).isoformat(), day(37).isoformat()]
    assert held_at_the_end(result) == {"d"}


def test_top_trailing_respects_the_size_limit_of_each_pool():
    tvl = np.array([1e9, 1e9, 1e6, 1e9])
    panel = market([4.0, 6.0, 9.0, 5.0], tvl_usd=tvl)
    decision = TopTrailing(k=2).decide(*prepared(panel, day(30), CASH, lax()))
    assert decision.settlement.after.positions == pytest.approx(
        {("b", "USDC"): 5e5, ("c", "USDC"): 5e4}, abs=0.02
    )


def test_top_trailing_takes_fewer_pools_where_there_are_fewer():
    decision = TopTrailing(k=9).decide(*prepared(market([4.0] * 4), day(30), CASH, lax()))
    assert len(decision.settlement.after.pool_ids) == 4


def test_a_pool_whose_past_is_unknown_comes_last():
    """With a foreign forecast a pool can be open although its last rates are unknown."""
    apy = np.tile([4.0, 6.0, 9.0, -5.0], (60, 1))
    apy[28:31, 2] = NAN
    foreign = {"forecast_apy_pct": 5.0, "forecast_tvl_usd": 1e9}
    panel = market(apy, **foreign)
    ready = prepared(panel, day(30), CASH, lax(), forecaster=ForeignForecaster())
    for k, taken in ((1, "b"), (3, "abd"), (4, "abcd")):
        decision = TopTrailing(k=k, days=3).decide(*ready)
        assert "".join(decision.settlement.after.pool_ids) == taken


@pytest.mark.parametrize("wrong", [{"k": 0}, {"days": 0}, {"every_days": -1}])
def test_top_trailing_needs_at_least_one_of_everything(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        TopTrailing(**wrong)


# --- threshold ---


def test_threshold_puts_everything_where_the_most_is_promised():
    decision = Threshold().decide(*prepared(market([4.0, 6.0, 9.0, 5.0]), day(30), CASH, lax()))
    assert decision.settlement.after.positions == pytest.approx({("c", "USDC"): 1e6}, abs=0.02)


def test_threshold_stays_where_the_better_pool_is_not_better_enough():
    book = Book({}, {("b", "USDC"): 1e6})
    panel = market([4.0, 6.0, 6.9, 5.0])
    assert Threshold(points=1.0).decide(*prepared(panel, day(30), book, lax())).is_held is False
    stays = Threshold(points=1.0).decide(*prepared(panel, day(30), book, lax()))
    goes = Threshold(points=0.5).decide(*prepared(panel, day(30), book, lax()))
    assert stays.settlement.after == book
    assert goes.settlement.after.pool_ids == ("c",)


def test_threshold_moves_only_when_the_cost_comes_back_in_time():
    """3 points of 10,000 USD are 24.3 USD in 30 days; leaving and entering cost 2 x gas."""
    book = Book({}, {("b", "USDC"): 1e4})
    panel = market([4.0, 6.0, 9.0, 5.0])
    gain = 1e4 * (1.03 ** (30 / 365) - 1.0)
    for gas, moved in ((gain / 2 - 0.1, True), (gain / 2 + 0.1, False)):
        dear = GasPricing(fixed=GasCosts(gas, gas, gas))
        decision = Threshold().decide(*prepared(panel, day(30), book, lax(), gas=dear))
        assert (decision.settlement.after.pool_ids == ("c",)) is moved


def test_threshold_counts_what_a_pool_can_take():
    """50,000 USD at 90 % are 4.5 % of the money: less than 6 % of all of it."""
    panel = market([4.0, 6.0, 90.0, 5.0], tvl_usd=np.array([1e9, 1e9, 1e6, 1e9]))
    decision = Threshold().decide(*prepared(panel, day(30), CASH, lax()))
    assert decision.settlement.after.pool_ids == ("b",)


def test_threshold_stays_in_cash_while_nothing_pays():
    gas = GasPricing(fixed=GasCosts(1e5, 1e5, 1e5))
    result = run(market([4.0, 6.0, 9.0, 5.0]), Threshold(), start=day(30), gas=gas)
    assert result.transactions.empty


def test_threshold_leaves_what_must_be_left_when_nothing_else_is_open():
    pools = [pool("a", listed_until=day(40))]
    panel = hand_made(pools, 60, {"apy_pct": 5.0, "tvl_usd": 1e9})
    result = run(panel, Threshold(), start=day(30))
    assert result.transactions["type"].tolist() == ["ALLOCATION", "WITHDRAWAL"]


# --- the strategy with a forecaster of its own ---


def test_a_strategy_may_have_a_forecaster_of_its_own():
    apy = np.full((60, 2), 5.0)
    apy[30, 0] = 6.0  # the last value; b paid more on average
    apy[20:30, 1] = 5.5
    panel = hand_made([pool("a"), pool("b")], 60, {"apy_pct": apy, "tvl_usd": 1e9})
    ready = prepared(panel, day(30), CASH, lax(), forecaster=baseline("ewma"))
    assert MilpPolicy().decide(*ready).settlement.after.pool_ids == ("b",)
    own = MilpPolicy("persistence", baseline("last"))
    assert own.decide(*ready).settlement.after.pool_ids == ("a",)


def test_idle_is_not_hold():
    panel = market([4.0, 6.0, 9.0, 5.0])
    assert run(panel, Idle(), start=day(30)).transactions.empty
    assert not run(panel, Hold(), start=day(30)).transactions.empty


class Thorough(Threshold):
    """Builds the problem every day."""

    def _may_pay(self, prepared, held):
        return bool(prepared.screening.allowed.any())


@pytest.mark.parametrize("points", [0.1, 1.0])
def test_the_threshold_leaves_out_only_days_without_a_move(points):
    panel = synthetic_panel(seed=11)
    parameters = lax(pool_tvl_limit=1e6, min_history_days=10)
    quick, thorough = (
        run(panel, kind(points=points), parameters=parameters, aum_usd=3e6, start=day(12))
        for kind in (Threshold, Thorough)
    )
    assert len(quick.transactions) > 1
    for table in ("daily_log", "positions", "transactions"):
        assert getattr(quick, table).equals(getattr(thorough, table)), table


def test_a_leg_that_its_pool_does_not_take_promises_nothing():
    """All of the money lies in pool a, half of it in a token that earns nothing there."""
    arrays = {"apy_pct": np.array([5.0, 5.2]), "tvl_usd": 1e10}
    panel = hand_made([pool("a"), pool("b", "DAI")], 20, arrays)
    legs = {("a", "DAI"): 5e5, ("a", "USDC"): 5e5}
    ready, inputs = prepared(panel, day(10), Book({}, legs), lax())
    moved = Threshold(points=1.0, payback_days=365.0).decide(ready, inputs).settlement
    assert moved.transactions  # 2.5 % is held, not 5 %
    whole, inputs = prepared(panel, day(10), Book({}, {("a", "USDC"): 1e6}), lax())
    assert not Threshold(points=1.0).decide(whole, inputs).settlement.transactions
