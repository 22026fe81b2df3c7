"""A pool that leaves the market pays back, or takes a part of the money with it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stableyield.backtest import run_backtest
from stableyield.backtest.benchmarks import BestSingle, EqualWeight
from stableyield.backtest.ledger import PoolDay, next_day
from stableyield.domain.portfolio import Book
from stableyield.domain.rates import day_return
from stableyield.errors import MissingDataError
from support.markets import NO_GAS, day, hand_made, lax, pool, synthetic_panel

GONE = pool("a", listed_until=day(5))
STAYS = pool("b", "DAI")
NAN = float("nan")


def run(panel, **changes):
    names = ("start", "end", "policy", "mode")
    known = {name: changes.pop(name) for name in names if name in changes}
    return run_backtest(
        panel,
        parameters=lax(own_impact="none", conversion_rate=0.0, **changes),
        gas=NO_GAS,
        with_benchmarks=False,
        **{"start": day(3), "policy": BestSingle(), **known},
    )


def market(n_days=10, *, pools=(GONE, STAYS), rows_after=True):
    apy = np.tile([8.0, 4.0], (n_days, 1))
    if not rows_after:
        apy[6:, 0] = NAN
    return hand_made(pools, n_days, {"apy_pct": apy, "tvl_usd": np.where(np.isnan(apy), NAN, 1e9)})


def flags_by_day(result) -> list[list[str]]:
    return [json.loads(text) for text in result.daily_log["flags"]]


def test_a_delisted_pool_pays_back_at_its_last_value():
    result = run(market(rows_after=False))
    log = result.daily_log
    assert flags_by_day(result)[2] == ["delisted: a"]
    assert (
        log["yield_usd"].iloc[2] == 0.0
    )  # of the last listed day: unknown, and no gap in the data
    assert log["n_positions"].tolist() == [1, 1, 1, 0, 0, 0]
    assert log["aum_end"].iloc[-1] == pytest.approx(1e6 * 1.08 ** (2 / 365))


def test_a_delisted_pool_with_a_return_on_its_last_day_pays_that_too():
    log = run(market()).daily_log
    assert log["yield_usd"].iloc[2] == pytest.approx(1e6 * day_return(0.08), rel=1e-3)


@pytest.mark.parametrize("rows_after", [True, False])
def test_the_loss_of_a_delisting_is_a_yield_of_that_day(rows_after):
    log_without = run(market(rows_after=rows_after)).daily_log
    result = run(market(rows_after=rows_after), delisting_loss=0.3)
    log = result.daily_log
    before = log_without["aum_end"].iloc[2]
    assert log["aum_end"].iloc[2] == pytest.approx(0.7 * before)
    assert log["yield_usd"].iloc[2] == pytest.approx(
        log_without["yield_usd"].iloc[2] - 0.3 * before
    )
    np.testing.assert_allclose(
        log["aum_end"], log["aum_after"] + log["yield_usd"] + log["price_usd"], atol=0.01
    )
    (flag,) = flags_by_day(result)[2]
    lost = float(flag.removeprefix("delisted: a, ").removesuffix(" USD lost"))
    assert lost == pytest.approx(0.3 * before, abs=0.02)
    assert log["growth_factor"].iloc[3:].eq(1.0).all()  # it is lost once


def test_a_pool_that_fails_altogether_takes_everything_that_was_in_it():
    result = run(market(), delisting_loss=1.0, policy=EqualWeight())
    log = result.daily_log
    assert log["aum_end"].iloc[2] == pytest.approx(0.5 * log["aum_start"].iloc[2], rel=1e-3)
    assert log["n_positions"].tolist() == [2, 2, 2, 1, 1, 1]


def test_a_pool_whose_rows_stop_is_delisted_when_it_leaves_the_live_list():
    """Frozen for a week, as nobody knows what became of it; then it is gone."""
    panel = market(n_days=18, pools=(pool("a"), STAYS), rows_after=False)
    result = run(panel, delisting_loss=0.25)
    delisted = [any("delisted: a" in flag for flag in flags) for flags in flags_by_day(result)]
    n = delisted.index(True)
    assert sum(delisted) == 1
    assert result.daily_log["exec_date"].iloc[n] == day(11).isoformat()
    assert "frozen: a" in flags_by_day(result)[n]
    aum = result.daily_log["aum_end"]
    assert aum.iloc[n] == pytest.approx(0.75 * aum.iloc[n - 1])
    assert result.daily_log["n_positions"].iloc[n + 1] == 0


def test_a_delisting_is_no_missing_return():
    run(market(rows_after=False), missing_actual="raise")
    last = run(market(rows_after=False), missing_actual="last").daily_log
    assert last["yield_usd"].iloc[2] == 0.0
    with pytest.raises(MissingDataError, match="pool a has no realised return"):
        run(market(pools=(pool("a"), STAYS), rows_after=False), missing_actual="raise")


def test_nobody_knows_of_a_delisting_before_it_happens():
    known = market(pools=(pool("a", listed_until=day(8)), STAYS))
    never = market(pools=(pool("a"), STAYS))
    one, other = (run(panel, end=day(7), delisting_loss=0.5) for panel in (known, never))
    assert one.daily_log.to_csv() == other.daily_log.to_csv()


@pytest.mark.parametrize("mode", ["independent", "compounded"])
def test_a_delisting_hits_in_every_mode(mode):
    log = run(market(), mode=mode, delisting_loss=0.1).daily_log
    assert log["growth_factor"].iloc[2] == pytest.approx(0.9, rel=1e-3)
    assert log["growth_factor"].drop(2).gt(0.999).all()


def test_a_lively_market_conserves_every_cent_with_losses():
    result = run_backtest(
        synthetic_panel(),
        policy=EqualWeight(),
        parameters=lax(delisting_loss=0.5),
        start=day(20),
        with_benchmarks=False,
    )
    log = result.daily_log
    assert sum("delisted: " in text for text in log["flags"]) >= 1
    assert log["yield_usd"].min() < 0.0
    np.testing.assert_allclose(log["aum_start"].iloc[1:], log["aum_end"].iloc[:-1], atol=0.01)
    np.testing.assert_allclose(
        log["aum_end"], log["aum_after"] + log["yield_usd"] + log["price_usd"], atol=0.01
    )


shares = st.floats(0.0, 1.0)


@given(back=shares, earned=st.one_of(st.just(NAN), st.floats(-0.5, 0.5)), price=st.floats(0.5, 2.0))
@settings(max_examples=200, deadline=None)
def test_what_a_delisting_takes_is_accounted_for(back, earned, price):
    book = Book({"USDC": 3.0}, {("a", "USDC"): 100.0, ("a", "DAI"): 7.0, ("b", "USDC"): 50.0})
    pools = PoolDay.of(book, {"a": earned, "b": 0.01}, paid_back={"a": back})
    result = next_day(book, {"USDC": 1.0, "DAI": 1.0}, {"USDC": price, "DAI": 1.0}, pools)
    grown = 1.0 if np.isnan(earned) else 1.0 + earned
    left = result.book.positions.get(("a", "USDC"), 0.0)
    assert left == pytest.approx(100.0 * grown * back)
    assert result.delisted["a"] == pytest.approx((100.0 * price + 7.0) * grown * (1.0 - back))
    before = book.aum_usd({"USDC": 1.0, "DAI": 1.0})
    assert result.aum_usd == pytest.approx(before + result.yield_usd + result.price_usd, abs=1e-9)
    assert result.missing == ()


class Delisting(EqualWeight):
    """Writes into an array of the view, after its decision."""

    def decide(self, prepared, inputs):
        decision = super().decide(prepared, inputs)
        with pytest.raises(ValueError, match="read-only"):
            inputs.view.is_listed[:] = False
        return decision


def test_a_policy_cannot_write_off_the_delistings_of_its_own_book():
    panel = hand_made([pool("a"), pool("b", listed_until=day(12))], 20)
    honest, other = (
        run(panel, start=day(8), end=day(15), policy=policy, delisting_loss=0.5)
        for policy in (EqualWeight(), Delisting())
    )
    assert honest.daily_log["flags"].str.contains("delisted: b").any()
    pd.testing.assert_frame_equal(honest.daily_log, other.daily_log)
