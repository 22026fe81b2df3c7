"""What the policies of a day share is made once, when one needs it, and is the same for all."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from stableyield.backtest import run_backtest
from stableyield.backtest.benchmarks import EqualWeight, Idle
from stableyield.backtest.day import QuickForecaster, prepare
from stableyield.backtest.policy import Decision, Untouched
from stableyield.backtest.rebalance import rebalance
from stableyield.domain.portfolio import Book, Transaction, TransactionType
from stableyield.errors import ConservationError, InputError, MissingDataError
from stableyield.forecast import Forecast, ForeignForecaster, baseline
from stableyield.market.panel import GasSeries, MarketView
from stableyield.screening import screen, screen_book
from support.markets import NO_GAS, day, hand_made, lax, observed, pool, prepared, synthetic_panel


@dataclass
class Counting:
    """A forecaster that notes what it was asked for."""

    asked: list[str] = field(default_factory=list)
    name: str = "counting"

    def forecast(self, view: MarketView, horizon_days: int) -> Forecast:
        self.asked.append("forecast")
        return baseline("ewma").forecast(view, horizon_days)

    def expected(self, view: MarketView, horizon_days: int):
        self.asked.append("expected")
        return baseline("ewma").expected(view, horizon_days)

    def apy_q10_pct(self, view: MarketView, horizon_days: int):
        self.asked.append("q10")
        return baseline("ewma").apy_q10_pct(view, horizon_days)


@dataclass
class Slow:
    """The same forecasts, from a forecaster that has no parts of them sooner."""

    name: str = "ewma"

    def forecast(self, view: MarketView, horizon_days: int) -> Forecast:
        return baseline("ewma").forecast(view, horizon_days)


def run(policy=None, **changes):
    known = {"start": day(35), "end": day(44), "aum_usd": 2e5}
    return run_backtest(synthetic_panel(), policy=policy, **{**known, **changes})


def test_cash_that_stays_cash_needs_no_forecast():
    forecaster = Counting()
    run(Idle(), forecaster=forecaster, with_benchmarks=False)
    assert forecaster.asked == []


def test_policies_without_a_solver_need_no_quantiles():
    forecaster = Counting()
    run(EqualWeight(), forecaster=forecaster, with_benchmarks=False)
    assert set(forecaster.asked) == {"expected"}
    assert len(forecaster.asked) == 10  # once a day


def test_the_strategy_and_its_benchmarks_share_one_forecast_a_day():
    forecaster = Counting()
    run(forecaster=forecaster)
    assert forecaster.asked.count("expected") == 10
    assert forecaster.asked.count("q10") == 10
    assert "forecast" not in forecaster.asked


def test_a_quantile_without_weight_is_not_made():
    forecaster = Counting()
    parameters = lax(risk_aversion=0.0)
    ready, _ = prepared(
        synthetic_panel(), day(40), Book({"USDC": 1e5}), parameters, forecaster=forecaster
    )
    assert all(np.isnan(each.apy_q10_pct) for each in ready.problem.pools)
    assert "q10" not in forecaster.asked


def test_a_forecaster_without_short_ways_leads_to_the_same_run():
    assert not isinstance(Slow(), QuickForecaster)
    assert not isinstance(ForeignForecaster(), QuickForecaster)
    quick, slow = run(forecaster=baseline("ewma")), run(forecaster=Slow())
    for table in ("daily_log", "positions", "transactions", "benchmarks"):
        assert getattr(quick, table).equals(getattr(slow, table)), table


def test_a_whole_forecast_that_is_there_is_not_made_in_parts_again():
    forecaster = Counting()
    inputs = observed(synthetic_panel(), day(40), lax(), forecaster=forecaster)
    whole = inputs.forecast
    assert inputs.expected.apy_pct is whole.apy_pct
    assert inputs.apy_q10_pct is whole.apy_q10_pct
    assert forecaster.asked == ["forecast"]


@pytest.mark.parametrize("n", [30, 45, 60])
def test_one_screening_serves_every_book_of_the_day(n):
    panel, parameters = synthetic_panel(), lax(pool_tvl_limit=1e6, min_history_days=20)
    inputs = observed(panel, day(n), parameters)
    view, rng = inputs.view, np.random.default_rng(n)
    for _ in range(8):
        held = [*rng.choice(view.pool_ids, size=5, replace=False).tolist(), "elsewhere"]
        shared = inputs.screening(held)
        own = screen(
            view,
            parameters,
            held=held,
            forecasts=inputs.expected,
            iceboxed=inputs.iceboxed,
            unjudged=inputs.unjudged,
        )
        assert shared.states == own.states
        assert shared.reasons == own.reasons
        assert shared.flag_reasons == own.flag_reasons
        assert (shared.gone, shared.is_final) == (own.gone, True)
    nobody = inputs.screening(())
    assert screen_book(view, nobody, inputs.expected, ()) is nobody


def test_other_parameters_are_screened_for_anew():
    panel = hand_made([pool("a")], 12)
    inputs = observed(panel, day(10), lax())
    assert inputs.screening(()).allowed.all()
    stricter = replace(inputs, parameters=lax(pool_tvl_limit=1e9))
    assert not stricter.screening(()).allowed.any()


def test_prepare_takes_the_parameters_that_it_is_given():
    inputs = observed(hand_made([pool("a")], 12), day(10), lax())
    ready = prepare(inputs, Book({"USDC": 1e5}), lax(pool_tvl_limit=1e9))
    assert not ready.screening.allowed.any()


# --- a book that is left alone ---


def test_a_book_left_alone_is_what_doing_nothing_comes_to():
    panel = hand_made([pool("a"), pool("b", "DAI")], 12)
    book = Book({"DAI": 5.0}, {("a", "USDC"): 100.0})
    ready, _ = prepared(panel, day(10), book, lax())
    kept, held = Decision.keep(ready).settlement, Decision.hold(ready.problem, "done").settlement
    assert (kept.before, kept.after) == (held.before, held.after)
    for name in ("aum_before_usd", "aum_after_usd", "costs_usd", "turnover_usd", "unaccounted_usd"):
        assert getattr(kept, name) == getattr(held, name), name
    assert kept.transactions == ()


def test_equal_weight_leaves_alone_what_rebalancing_would_leave_alone():
    panel = hand_made([pool("a"), pool("b")], 12)
    book = Book({"USDC": 5.0}, {("a", "USDC"): 100.0, ("b", "USDC"): 40.0})
    ready, inputs = prepared(panel, day(10), book, lax())
    policy = EqualWeight()
    policy.renewed = inputs.view.day
    moved = rebalance(ready.expected_problem, {"a": 100.0, "b": 40.0})
    assert policy.decide(ready, inputs).settlement.after == moved.after == book


def test_a_book_left_alone_cannot_hide_a_change():
    book, other = Book({"USDC": 5.0}), Book({"USDC": 6.0})
    step = Transaction(1, TransactionType.HOLD, "a", "a", "USDC", 1.0, 1.0)
    for after, steps in ((other, ()), (book, (step,))):
        with pytest.raises(ConservationError, match="left alone"):
            Untouched(book, after, {"USDC": 1.0}, steps, aum_usd=5.0)


def test_a_day_needs_its_gas_price_even_if_nothing_is_done():
    gas = GasSeries(np.full(5, np.nan), np.full(5, 3000.0))
    with pytest.raises(MissingDataError, match="gas price"):
        run_backtest(hand_made([pool("a")], 5, gas=gas), policy=Idle(), with_benchmarks=False)


def test_nothing_left_is_an_error():
    inputs = observed(hand_made([pool("a")], 5), day(3), lax(), gas=NO_GAS)
    with pytest.raises(InputError, match="empty"):
        prepare(inputs, Book(), inputs.parameters)
