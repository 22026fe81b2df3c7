"""The clairvoyant knows what will have been returned, and nothing else that others do not."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from stableyield.backtest import run_backtest
from stableyield.backtest.benchmarks import all_benchmarks
from stableyield.backtest.clairvoyant import Clairvoyant
from stableyield.backtest.policy import MilpPolicy
from stableyield.backtest.settings import BacktestSettings
from stableyield.domain.portfolio import Book
from stableyield.errors import LookAheadError
from support.markets import NO_GAS, day, hand_made, lax, pool, prepared, synthetic_panel

CASH = Book({"USDC": 1e6})


def market(apy, **arrays):
    by_pool = {"apy_pct": apy, "tvl_usd": 1e9, **arrays}
    return hand_made([pool("a"), pool("b")], len(apy), by_pool)


def changing(n_days=60, at=30):
    """a pays 10 % up to day ``at`` and 2 % after it; b pays 2 % and then 8 %."""
    apy = np.tile([10.0, 2.0], (n_days, 1))
    apy[at + 1 :] = [2.0, 8.0]
    return apy


def rates(policy, panel, t, **parameters):
    ready, _ = prepared(panel, day(t), CASH, lax(**parameters))
    problem = policy.problem(ready)
    return [each.apy_pct for each in problem.pools], problem.parameters.horizon_days


def test_it_is_labelled_as_not_causal():
    assert Clairvoyant(market(changing())).is_causal is False
    assert not any(getattr(each, "is_causal", True) is False for each in all_benchmarks())


def test_it_goes_where_the_money_will_be_made():
    panel = market(changing())
    ready = prepared(panel, day(30), CASH, lax())
    assert MilpPolicy().decide(*ready).settlement.after.pool_ids == ("a",)
    assert Clairvoyant(panel).decide(*ready).settlement.after.pool_ids == ("b",)


def test_it_knows_the_growth_of_the_holding_period_to_the_day():
    apy = np.full((60, 2), 5.0)
    apy[31:33, 0] = 100.0  # the first two of the three days after day 30
    found, horizon = rates(Clairvoyant(market(apy)), market(apy), 30, horizon_days=3)
    growth = 2.0 ** (2 / 365) * 1.05 ** (1 / 365)
    assert found == pytest.approx([100.0 * (growth ** (365 / 3) - 1.0), 5.0])
    assert horizon == 3.0


def test_what_was_paid_today_is_past():
    apy = np.full((60, 2), 5.0)
    apy[30, 0] = 100.0
    assert rates(Clairvoyant(market(apy)), market(apy), 30)[0] == pytest.approx([5.0, 5.0])


def test_a_holding_period_of_its_own_replaces_the_horizon():
    panel = market(changing())
    one = Clairvoyant(panel, horizon_days=1)
    assert rates(one, panel, 29, horizon_days=30) == (pytest.approx([10.0, 2.0]), 1.0)


def test_the_period_ends_with_the_market():
    panel = market(changing(n_days=40))
    assert rates(Clairvoyant(panel), panel, 34, horizon_days=30)[1] == 5.0


def test_share_prices_count_where_they_are_known():
    returns = np.full((60, 2), np.nan)
    returns[31:, 0] = 0.001
    panel = market(np.full((60, 2), 5.0), return_1d=returns)
    found, _ = rates(Clairvoyant(panel), panel, 30, horizon_days=10)
    assert found == pytest.approx([100.0 * (1.001**365 - 1.0), 5.0])


def test_an_unknown_day_earns_nothing():
    apy = np.full((60, 2), 5.0)
    apy[31:36, 0] = np.nan
    panel = market(apy)
    found, _ = rates(Clairvoyant(panel), panel, 30, horizon_days=10)
    assert found == pytest.approx([100.0 * (1.05**0.5 - 1.0), 5.0])


def test_a_pool_that_will_lose_everything_is_no_error():
    returns = np.full((60, 2), 0.0001)
    returns[35, 0] = -1.0
    panel = market(np.full((60, 2), 5.0), return_1d=returns)
    ready = prepared(panel, day(30), CASH, lax())
    assert Clairvoyant(panel).decide(*ready).settlement.after.pool_ids == ("b",)


def test_sizes_prices_and_states_are_those_known_on_the_day():
    panel = synthetic_panel()
    ready, _ = prepared(panel, day(40), CASH, lax())
    mine, theirs = Clairvoyant(panel).problem(ready), ready.expected_problem
    assert [p.state for p in mine.pools] == [p.state for p in theirs.pools]
    assert mine.tvl_usd.tolist() == theirs.tvl_usd.tolist()
    assert dict(mine.prices_usd) == dict(theirs.prices_usd)
    assert mine.cap_usd.tolist() == theirs.cap_usd.tolist()


def test_pools_that_are_listed_later_do_not_shift_what_is_known_of_others():
    pools = [pool("z"), pool("a", listed_from=day(20))]
    apy = np.tile([3.0, 7.0], (60, 1))
    apy[:20, 1] = np.nan
    panel = hand_made(pools, 60, {"apy_pct": apy, "tvl_usd": np.where(np.isnan(apy), apy, 1e9)})
    ready, _ = prepared(panel, day(10), CASH, lax())
    (only,) = Clairvoyant(panel).problem(ready).pools
    assert (only.pool_id, only.apy_pct) == ("z", pytest.approx(3.0))


def test_a_held_pool_that_has_gone_is_left():
    book = Book({"USDC": 1e5}, {("gone", "USDC"): 1e5})
    panel = market(changing())
    decision = Clairvoyant(panel).decide(*prepared(panel, day(30), book, lax()))
    assert "gone" not in decision.settlement.after.pool_ids


def test_the_future_of_another_market_is_refused():
    other = hand_made([pool("x"), pool("y")], 60)
    ready = prepared(market(changing()), day(30), CASH, lax())
    with pytest.raises(LookAheadError, match="another market"):
        Clairvoyant(other).decide(*ready)


def test_its_plans_meet_the_limits_of_the_strategy():
    panel = synthetic_panel()
    span = {"start": day(35), "end": day(50), "with_benchmarks": False}
    result = run_backtest(panel, policy=Clairvoyant(panel), **span)
    assert set(result.daily_log["solver_status"]) <= {"optimal", "data_quality"}
    assert result.daily_log["n_positions"].max() >= 5


def deterministic(seed: int, n_days: int = 70, n_pools: int = 5):
    """Rates that never change after day 20, at random levels and sizes."""
    rng = np.random.default_rng(seed)
    apy = np.tile(rng.uniform(1.0, 20.0, n_pools), (n_days, 1))
    apy[:20] = rng.uniform(1.0, 20.0, (20, n_pools))
    pools = [pool(f"p{i}", ("USDC", "DAI")[i % 2]) for i in range(n_pools)]
    return hand_made(pools, n_days, {"apy_pct": apy, "tvl_usd": rng.uniform(2e6, 5e7, n_pools)})


@pytest.mark.parametrize("seed", [1, 2])
def test_no_causal_policy_beats_it_where_rates_do_not_change(seed):
    """Same limits, same costs; a cent for the gap to which plans are solved, a day at most."""
    panel = deterministic(seed)
    settings = BacktestSettings(
        start=day(15),
        end=day(39),
        aum_usd=3e5,
        parameters=lax(horizon_days=30, gap_usd=0.01),
        gas=NO_GAS,
        with_benchmarks=False,
    )
    ends = {
        policy.name: run_backtest(panel, settings, policy=policy).daily_log["aum_end"].iloc[-1]
        for policy in (Clairvoyant(panel), MilpPolicy(), *all_benchmarks())
    }
    best = ends.pop("clairvoyant")
    assert max(ends.values()) <= best + 0.05
    assert ends["idle"] < best


def test_the_day_after_the_last_decision_is_all_it_knows_at_the_end():
    panel = market(changing(n_days=40))
    last = panel.last_day - timedelta(days=1)
    assert rates(Clairvoyant(panel), panel, (last - day(0)).days)[1] == 1.0
