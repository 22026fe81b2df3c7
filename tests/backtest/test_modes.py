"""What carries over from day to day, and that the other rules are the same in every mode."""

from __future__ import annotations

import json

import numpy as np
import pytest

from stableyield.backtest import BacktestSettings, CashFlow, GasPricing, Mode, run_backtest, run_day
from stableyield.backtest.benchmarks import BestSingle, EqualWeight
from stableyield.domain.costs import GasCosts
from stableyield.domain.portfolio import Book
from stableyield.errors import InfeasibleError, InputError, MissingDataError
from stableyield.report import compute_metrics
from support.markets import NO_GAS, column, day, hand_made, lax, observed, pool, synthetic_panel

POOLS = (pool("a"), pool("b", "DAI"))
MODES = list(Mode)
GAS = GasPricing(fixed=GasCosts(allocation=4.0, withdrawal=3.0, conversion=2.0))


def run(panel=None, mode="portfolio", *, policy=None, **changes):
    names = ("start", "end", "gas", "token", "aum_usd")
    known = {name: changes.pop(name) for name in names if name in changes}
    return run_backtest(
        panel or hand_made(POOLS, 10, {"apy_pct": np.array([8.0, 4.0])}),
        mode=mode,
        policy=policy,
        parameters=lax(**changes),
        **{"start": day(3), "gas": GAS, **known},
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("policy", [None, EqualWeight])
def test_every_mode_conserves_every_cent(mode, policy):
    result = run_backtest(
        synthetic_panel(),
        start=day(35),
        end=day(44),
        aum_usd=2e5,
        mode=mode,
        policy=policy and policy(),
        quick=True,
    )
    log = result.daily_log
    starts = {
        "portfolio": log["aum_end"].shift().iloc[1:],
        "compounded": log["aum_end"].shift().iloc[1:],
        "independent": np.full(9, 2e5),
    }
    for left, right in (
        (log["aum_start"].iloc[1:], starts[mode]),
        (log["aum_after"], log["aum_start"] - log["total_fees_usd"]),
        (log["aum_end"], log["aum_after"] + log["yield_usd"] + log["price_usd"]),
    ):
        np.testing.assert_allclose(left, right, rtol=0.0, atol=0.01)
    assert log["turnover_usd"].gt(0.0).sum() >= (1 if mode == "portfolio" else 10)


def test_independent_days_know_nothing_of_each_other():
    panel = synthetic_panel()
    known = {"aum_usd": 2e5, "with_benchmarks": False}
    together = run_backtest(panel, start=day(38), end=day(42), mode="independent", **known)
    for n in range(5):
        alone = run_backtest(panel, start=day(38 + n), end=day(38 + n), **known)
        columns = together.daily_log.columns.drop("n_token_changes")
        assert together.daily_log.loc[n, columns].equals(alone.daily_log.loc[0, columns])


def test_compounded_pays_for_entering_on_every_day():
    log = run(mode="compounded").daily_log
    assert log["gas_usd"].eq(log["gas_usd"].iloc[0]).all()
    assert log["gas_usd"].iloc[0] >= 4.0
    assert run().daily_log["gas_usd"].iloc[1:].eq(0.0).all()


def test_compounded_carries_the_aum_through_a_price_that_moves():
    close = np.hstack([np.ones((10, 1)), column(10, 1.0, day_5=0.999, day_6=1.001)])
    panel = hand_made(POOLS, 10, {"apy_pct": np.array([4.0, 8.0])}, {"close_usd": close})
    log = run(panel, "compounded").daily_log
    np.testing.assert_allclose(log["aum_start"].iloc[1:], log["aum_end"].iloc[:-1], atol=1e-6)


@pytest.mark.parametrize("mode", ["independent", "compounded"])
@pytest.mark.parametrize("policy", [BestSingle, EqualWeight])
def test_a_policy_whose_positions_are_gone_starts_without_a_memory(mode, policy):
    log = run(mode=mode, policy=policy()).daily_log
    assert log["n_positions"].gt(0).all()


@pytest.mark.parametrize("mode", ["independent", "compounded"])
def test_the_mode_is_said_wherever_the_result_goes(mode):
    result = run(mode=mode)
    assert result.run["mode"] == mode
    assert any(text.startswith(f"mode {mode}: ") for text in result.run["assumptions"])
    assert not any(text.startswith("mode ") for text in run().run["assumptions"])
    assert compute_metrics(result)["carries_over"] is (mode == "compounded")


def test_an_unknown_mode_is_refused():
    with pytest.raises(InputError, match="no mode is called 'portfolo'"):
        BacktestSettings(mode="portfolo")


def test_a_start_token_without_a_price_stops_a_day_that_starts_in_it():
    close = np.hstack([np.ones((10, 1)), column(10, 1.0, day_5=np.nan)])
    panel = hand_made([pool("a", "DAI"), pool("u")], 10, {"apy_pct": 5.0}, {"close_usd": close})
    with pytest.raises(MissingDataError):
        run(panel, "independent", token="USDC", missing_price="last")


# --- the policies for what goes wrong ---


def rows_missing():
    apy = np.tile([8.0, 4.0], (10, 1))
    apy[5, 0] = np.nan
    return hand_made(POOLS, 10, {"apy_pct": apy, "tvl_usd": np.where(np.isnan(apy), np.nan, 1e9)})


@pytest.mark.parametrize("mode", MODES)
def test_a_missing_return_is_dealt_with_as_told_in_every_mode(mode):
    zero = run(rows_missing(), mode, own_impact="none").daily_log
    assert json.loads(zero["flags"].iloc[1]) == ["no realised return: a"]
    assert zero["yield_usd"].iloc[1] < 1.0
    last = run(rows_missing(), mode, own_impact="none", missing_actual="last").daily_log
    assert last["yield_usd"].iloc[1] == pytest.approx(last["yield_usd"].iloc[0], rel=0.01)
    with pytest.raises(MissingDataError, match="pool a has no realised return"):
        run(rows_missing(), mode, missing_actual="raise")


IMPOSSIBLE = {"min_pools": 5, "min_pool_share": 0.01, "profit_optimization": False}


@pytest.mark.parametrize("mode", MODES)
def test_a_day_without_a_plan_is_dealt_with_as_told_in_every_mode(mode):
    held = run(mode=mode, **IMPOSSIBLE).daily_log
    assert set(held["status"]) == {"held"}
    assert set(held["solver_status"]) == {"infeasible"}
    assert held["aum_after"].equals(held["aum_start"])
    with pytest.raises(InfeasibleError):
        run(mode=mode, on_failure="raise", **IMPOSSIBLE)
    eased = run(mode=mode, on_failure="relax", **IMPOSSIBLE)
    log = eased.daily_log
    assert set(log["status"]) == {"done"}
    assert all("relaxed: " in text and "min_pools" in text for text in log["flags"])
    assert log["bound_usd"].ge(0.0).all()
    assert eased.timings["day_seconds"].gt(0.0).all()


# --- one day ---


def test_one_day_is_the_first_day_of_a_backtest():
    panel = synthetic_panel()
    settings = BacktestSettings(start=day(40), end=day(40), aum_usd=2e5, with_benchmarks=False)
    backtest = run_backtest(panel, settings)
    plan = run_day(panel.as_of(day(40)), settings.first_book(panel), settings)
    document = plan.decision.plan.to_document()
    for each in (document, backtest.last_plan):
        each.pop("solve_seconds")
    assert document == backtest.last_plan
    # the backtest's day also knows what became of it
    assert set(plan.flags) <= set(json.loads(backtest.daily_log["flags"].iloc[0]))


def test_one_day_takes_a_policy_and_the_owner_s_flows():
    panel = hand_made(POOLS, 10)
    settings = BacktestSettings(parameters=lax(), gas=NO_GAS)
    flows = [CashFlow(day(6), "USDC", -400.0)]
    day_plan = run_day(
        panel.as_of(day(6)), Book({"USDC": 1e3}), settings, policy=BestSingle(), flows=flows
    )
    assert day_plan.prepared.aum_usd == pytest.approx(600.0)
    assert day_plan.served.flow_usd == pytest.approx(-400.0)
    assert day_plan.decision.settlement.turnover_usd == pytest.approx(600.0, abs=1.0)


def test_one_day_whose_data_cannot_be_trusted_does_nothing():
    apy = np.tile([5.0, 4.0, 3.0], (8, 1))
    apy[6, 1:] = np.nan
    arrays = {"apy_pct": apy, "tvl_usd": np.where(np.isnan(apy), np.nan, 1e9)}
    panel = hand_made([pool("a"), pool("b"), pool("c")], 8, arrays)
    settings = BacktestSettings(parameters=lax(), gas=NO_GAS)
    plan = run_day(panel.as_of(day(6)), Book({"USDC": 1e3}), settings)
    assert plan.decision.is_held
    assert plan.flags[0].startswith("data quality: critical universe")
    assert observed(panel, day(6), lax()).critical == plan.inputs.critical
