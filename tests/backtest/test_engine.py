"""The daily loop: one market whose every dollar is computed by hand, and what must always hold."""

from __future__ import annotations

import json

import numpy as np
import pytest

from stableyield.backtest import BacktestSettings, GasPricing, run_backtest, runner
from stableyield.backtest.benchmarks import BestSingle, EqualWeight, Idle, benchmarks
from stableyield.backtest.policy import Decision, MilpPolicy
from stableyield.domain.costs import GasCosts
from stableyield.domain.portfolio import Book, Settlement
from stableyield.errors import (
    ConservationError,
    DayOutOfRangeError,
    InputError,
    MissingDataError,
)
from stableyield.forecast import baseline
from support.markets import NO_GAS, column, day, hand_made, lax, pool, synthetic_panel

# --- by hand --------------------------------------------------------------------------------------
#
# Pool a takes USDC and pays 10 %, b takes DAI and pays 8 %, c takes both by half and pays 6 %. A
# pool takes 5 % of its size: 500,000, 400,000 and 5,000,000 USD. So of a million, a and b are
# filled and c gets the rest. DAI has to be bought at a fee of 0.1 %. Gas is 40 USD a deposit, 30 a
# withdrawal and 20 a conversion, which makes later adjustments not worth their while.

FEE = 0.001
GAS = GasPricing(fixed=GasCosts(allocation=40.0, withdrawal=30.0, conversion=20.0))
POOLS = (pool("a"), pool("b", "DAI"), pool("c", "DAI", "USDC"))
SIZE = np.array([1e7, 8e6, 1e8])
RETURNS = np.array(  # realised, by day and pool; days 0 and 1 earn nothing for us
    [
        [0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0],
        [3e-4, 2e-4, 1e-4],
        [2e-4, 0.0, 2e-4],
        [-5e-4, 1e-4, 1e-4],
        [3e-4, 2e-4, np.nan],
        [3e-4, 2e-4, 1e-4],
    ]
)
DAI = np.array([1.0, 1.0, 0.998, 0.999, 1.001, 1.0, 1.002])


@pytest.fixture(scope="module")
def by_hand():
    prices = np.column_stack([DAI, np.ones(7)])
    arrays = {
        "apy_pct": np.where(np.isnan(RETURNS), np.nan, [10.0, 8.0, 6.0]),
        "tvl_usd": np.where(np.isnan(RETURNS), np.nan, SIZE),
        "return_1d": RETURNS,
    }
    panel = hand_made(POOLS, 7, arrays, {"close_usd": prices})
    parameters = lax(conversion_rate=FEE, horizon_days=365, risk_aversion=0.0)
    settings = BacktestSettings(
        start=day(1),
        end=day(5),
        parameters=parameters,
        gas=GAS,
        forecaster=baseline("last"),
        with_benchmarks=False,
    )
    return run_backtest(panel, settings)


def first_book() -> dict[tuple[str, str], float]:
    """Positions after the first day's plan: a and b full, half of the rest on each side of c."""
    gas = 4 * 40.0 + 20.0  # a, b, two legs of c; one conversion
    # USDC: 1e6 = 5e5 + x/2 + sold + gas;  DAI: (1 - fee) sold = 4e5 + x/2
    half = ((1e6 - 5e5 - gas) * (1.0 - FEE) - 4e5) / (2.0 - FEE)
    return {("a", "USDC"): 5e5, ("b", "DAI"): 4e5, ("c", "DAI"): half, ("c", "USDC"): half}


def next_book(book, n):
    """Positions at the end of day ``n``, diluted by our own share at the prices of the day before.

    A pool without a return, c on day 5, earns nothing.
    """
    own = {
        name: sum(
            amount * (DAI[n - 1] if token == "DAI" else 1.0)
            for (pool_id, token), amount in book.items()
            if pool_id == name
        )
        for name in "abc"
    }
    grown = {}
    for (name, token), amount in book.items():
        i = "abc".index(name)
        earned = 0.0 if np.isnan(RETURNS[n, i]) else RETURNS[n, i]
        kept = SIZE[i] / (SIZE[i] + own[name]) if earned > 0.0 else 1.0
        grown[name, token] = amount * (1.0 + earned * kept)
    return grown


def worth(book, n):
    return sum(amount * (DAI[n] if token == "DAI" else 1.0) for (_, token), amount in book.items())


def test_every_dollar_of_a_week_is_where_it_was_computed_to_be(by_hand):
    log = by_hand.daily_log
    book = first_book()
    costs = 1e6 - worth(book, 1)
    assert log["aum_start"].iloc[0] == 1e6
    assert log["total_fees_usd"].tolist() == pytest.approx([costs, 0, 0, 0, 0], abs=0.02)
    assert log["gas_usd"].iloc[0] == pytest.approx(180.0)
    for row, n in enumerate(range(2, 7)):
        after = next_book(book, n)
        yields = worth(after, n) - worth(book, n)
        assert log["aum_after"].iloc[row] == pytest.approx(worth(book, n - 1), abs=0.02)
        assert log["yield_usd"].iloc[row] == pytest.approx(yields, abs=0.01)
        moved = worth(book, n) - worth(book, n - 1)
        assert log["price_usd"].iloc[row] == pytest.approx(moved, abs=0.01)
        assert log["aum_end"].iloc[row] == pytest.approx(worth(after, n), abs=0.02)
        book = after


def test_the_numbers_of_that_week_are_not_trivial(by_hand):
    log = by_hand.daily_log
    assert log["yield_usd"].tolist() == pytest.approx(
        # a: 142.9, 95.2, -250, 142.9, 142.9;  b: 76, 0, 38, 76, 76;  c: 10, 20, 10, 0, 10
        [229.0, 115.2, -202.0, 219.0, 229.0],
        abs=0.5,
    )
    assert log["price_usd"].tolist() == pytest.approx([-900, 450, 900, -450, 900], rel=0.01)


def test_the_positions_of_that_week_are_those_of_the_plan(by_hand):
    rows = by_hand.positions
    first = rows[rows["exec_date"] == day(1).isoformat()].set_index(["pool_id", "token"])["amount"]
    expected = first_book()
    assert {key: first[key] for key in expected} == pytest.approx(expected, abs=0.02)
    assert sum(first["warm_wallet"]) < 0.02


def test_a_missing_return_is_flagged_on_its_day_and_the_pool_is_frozen_on_the_next(by_hand):
    flags = by_hand.daily_log["flags"].map(json.loads).tolist()
    assert flags == [[], [], [], ["no realised return: c"], ["frozen: c"]]


# --- what must always hold ------------------------------------------------------------------------

SPAN = {"start": day(35), "end": day(55)}


@pytest.fixture(scope="module")
def synthetic_run():
    return run_backtest(synthetic_panel(), **SPAN)


POLICIES = (MilpPolicy, Idle, BestSingle, EqualWeight)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda each: each.__name__)
def test_no_dollar_is_lost_between_the_columns_of_the_log(policy):
    log = run_backtest(synthetic_panel(), policy=policy(), with_benchmarks=False, **SPAN).daily_log
    assert len(log) == 21
    assert log["total_fees_usd"].gt(0).any() == (policy is not Idle)
    for left, right in (
        (log["aum_after"], log["aum_start"] - log["total_fees_usd"]),
        (log["total_fees_usd"], log["gas_usd"] + log["conversion_usd"]),
        (log["aum_end"], log["aum_after"] + log["yield_usd"] + log["price_usd"]),
        (log["daily_actual_pnl"], log["aum_end"] - log["aum_start"]),
        (log["aum_start"].iloc[1:].to_numpy(), log["aum_end"].iloc[:-1].to_numpy()),
    ):
        np.testing.assert_allclose(left, right, rtol=0.0, atol=0.001)


def test_benchmarks_carry_their_books_from_day_to_day(synthetic_run):
    table = synthetic_run.benchmarks
    assert table["policy"].value_counts().to_dict() == dict.fromkeys(
        ("idle", "best_single", "equal_weight", "top_k", "persistence", "clairvoyant"), 21
    )
    for _, rows in table.groupby("policy"):
        assert rows["exec_date"].is_monotonic_increasing
        assert rows["aum_start"].iloc[0] == pytest.approx(1e6)
        np.testing.assert_allclose(
            rows["aum_start"].iloc[1:], rows["aum_end"].iloc[:-1], rtol=0.0, atol=0.001
        )


@pytest.mark.parametrize("name", [policy.name for policy in benchmarks(synthetic_panel())])
def test_a_benchmark_beside_the_strategy_is_what_it_would_be_alone(name, synthetic_run):
    policy = {each.name: each for each in benchmarks(synthetic_panel())}[name]
    alone = run_backtest(synthetic_panel(), policy=policy, with_benchmarks=False, **SPAN)
    beside = synthetic_run.benchmarks
    beside = beside[beside["policy"] == name]
    for sums in ("aum_start", "aum_end", "gas_usd", "conversion_usd", "turnover_usd"):
        assert beside[sums].tolist() == alone.daily_log[sums].tolist()


def test_a_benchmark_as_the_policy_is_not_run_twice():
    span = {"start": day(35), "end": day(38)}
    result = run_backtest(synthetic_panel(), policy=EqualWeight(), quick=True, **span)
    assert len(result.daily_log) == 4
    assert set(result.benchmarks["policy"]) == {"idle", "best_single", "top_k"}
    assert result.run["policy"] == "equal_weight"


def test_cash_only_follows_its_price(synthetic_run):
    idle = synthetic_run.benchmarks.query("policy == 'idle'")
    view = synthetic_panel().as_of(day(56))
    usdc = view.token_series.close_usd[:, view.token_index["USDC"]]
    np.testing.assert_allclose(idle["aum_end"], 1e6 / usdc[35] * usdc[36:57], rtol=1e-12)


class Losing:
    """Goes on with another book than the one it was given."""

    name = "losing"

    def decide(self, prepared, inputs):
        book = Book({"USDC": prepared.problem.aum_usd - 0.02})
        return Decision(Settlement(book, book, prepared.problem.prices_usd))


def test_a_policy_that_loses_money_on_the_way_stops_the_run():
    with pytest.raises(ConservationError, match=r"losing on 2024-01-03: 1000000.0 USD before"):
        run_backtest(hand_made([pool("a")], 6), start=day(2), policy=Losing(), gas=NO_GAS)


# --- settings -------------------------------------------------------------------------------------

CALM = hand_made([pool("a"), pool("b", "DAI")], 10)


def test_absent_days_are_all_but_the_last():
    log = run_backtest(CALM, parameters=lax(), gas=NO_GAS).daily_log
    assert log["exec_date"].tolist() == [day(n).isoformat() for n in range(9)]
    assert log["target_date"].tolist() == [day(n + 1).isoformat() for n in range(9)]


def test_the_last_day_is_no_exec_day():
    assert BacktestSettings(end=day(9)).span(CALM) == (day(0), day(8))
    with pytest.raises(DayOutOfRangeError, match="no exec day from 2024-01-10 to 2024-01-09"):
        BacktestSettings(start=day(9)).span(CALM)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (day(5), day(4), "no exec day from 2024-01-06 to 2024-01-05"),
        (day(-1), None, "start 2023-12-31 is outside"),
        (None, day(10), "end 2024-01-11 is outside"),
        (day(20), None, "start 2024-01-21 is outside"),
    ],
)
def test_a_span_that_the_market_does_not_have(start, end, message):
    with pytest.raises(DayOutOfRangeError, match=message):
        run_backtest(CALM, start=start, end=end)


def test_one_exec_day_is_enough():
    log = run_backtest(CALM, start=day(4), end=day(4), parameters=lax(), gas=NO_GAS).daily_log
    assert log["exec_date"].tolist() == [day(4).isoformat()]


def test_a_market_of_one_day_has_no_exec_day():
    with pytest.raises(DayOutOfRangeError):
        run_backtest(hand_made([pool("a")], 1))


@pytest.mark.parametrize("aum_usd", [0.0, -5.0, float("nan")])
def test_the_start_money_is_a_positive_amount(aum_usd):
    with pytest.raises(InputError, match="aum_usd is"):
        run_backtest(CALM, aum_usd=aum_usd)


def test_the_start_money_is_finite():
    with pytest.raises(InputError, match="has amount inf"):
        run_backtest(CALM, aum_usd=float("inf"))


def test_the_start_token_needs_a_price_on_the_first_day():
    close = np.hstack([column(10, 1.0, day_3=np.nan), np.ones((10, 1))])
    panel = hand_made([pool("a"), pool("b", "DAI")], 10, token_arrays={"close_usd": close})
    with pytest.raises(MissingDataError, match="start token on 2024-01-04: token DAI"):
        run_backtest(panel, start=day(3), token="DAI")
    with pytest.raises(MissingDataError, match="token usdc has no usable"):
        run_backtest(panel, token="usdc")


def test_the_start_money_is_bought_at_the_first_day_s_price():
    panel = hand_made([pool("a")], 10, token_arrays={"close_usd": column(10, 1.0, day_2=0.8)})
    assert BacktestSettings(start=day(2), aum_usd=400.0).first_book(panel) == Book({"USDC": 500.0})


def test_an_unknown_setting_is_refused_by_name():
    with pytest.raises(TypeError, match="amount_usd"):
        run_backtest(CALM, amount_usd=5.0)


def test_a_keyword_replaces_a_setting():
    settings = BacktestSettings(aum_usd=7e5, parameters=lax(), gas=NO_GAS, with_benchmarks=False)
    result = run_backtest(CALM, settings, aum_usd=9e5)
    assert result.run["aum_start_usd"] == 9e5
    assert settings.aum_usd == 7e5


def test_progress_counts_the_days():
    calls = []
    run_backtest(
        CALM, parameters=lax(), gas=NO_GAS, progress=lambda done, n: calls.append((done, n))
    )
    assert calls == [(n, 9) for n in range(1, 10)]


def test_only_the_books_see_tomorrow(monkeypatch):
    """Every view that a decision is made on ends on its own day."""
    seen = []
    prepare = runner.prepare
    monkeypatch.setattr(
        runner, "prepare", lambda inputs, *more: seen.append(inputs.view) or prepare(inputs, *more)
    )
    run_backtest(CALM, parameters=lax(), gas=NO_GAS, with_benchmarks=False)
    assert [view.day for view in seen] == [day(n) for n in range(9)]
    assert [len(view.days) for view in seen] == list(range(1, 10))
