"""What really happened to what is held."""

from __future__ import annotations

import numpy as np
import pytest

from stableyield.backtest.realised import forecast_yield_usd, realised
from stableyield.domain.portfolio import Book
from stableyield.domain.rates import day_return
from stableyield.errors import MissingDataError
from support.markets import column, day, hand_made, lax, observed, pool

NAN = float("nan")
BOOK = Book({}, {("a", "USDC"): 100.0})


def market(n_days=20, **arrays):
    return hand_made([pool("a"), pool("b", "DAI")], n_days, arrays)


def test_a_share_price_return_goes_before_the_quoted_rate():
    view = market(apy_pct=5.0, return_1d=np.array([0.003, NAN])).as_of(day(9))
    found = realised(view, Book({}, {("a", "USDC"): 1.0, ("b", "DAI"): 1.0}), lax())
    assert found.returns.tolist() == [0.003, day_return(0.05)]
    assert found.stranded is None


def test_a_position_in_a_token_that_its_pool_does_not_take_is_stranded():
    positions = {("a", "DAI"): 1.0, ("a", "USDC"): 1.0, ("gone", "DAI"): 1.0}
    found = realised(market().as_of(day(9)), Book({}, positions), lax())
    assert found.stranded.tolist() == [True, False, False]


def test_others_are_the_pool_s_size_on_the_day_itself():
    tvl = column(20, 1e7, day_9=2e7)
    found = realised(market(tvl_usd=tvl).as_of(day(9)), BOOK, lax())
    assert found.others_usd.tolist() == [2e7]
    assert realised(market().as_of(day(9)), BOOK, lax(own_impact="none")).others_usd is None


def unknown_since(n):
    """Returns known up to day 9 only; the return of day 9 is 0.004."""
    apy = np.full((20, 2), NAN)
    returns = np.full((20, 2), NAN)
    apy[:9] = 5.0
    returns[9] = 0.004
    return market(apy_pct=apy, return_1d=returns).as_of(day(9 + n))


def test_an_unknown_return_is_unknown_by_default():
    assert np.isnan(realised(unknown_since(1), BOOK, lax()).returns).all()


@pytest.mark.parametrize(("age", "known"), [(1, True), (6, True), (7, False)])
def test_the_last_return_of_a_week_stands_in_when_asked(age, known):
    found = realised(unknown_since(age), BOOK, lax(missing_actual="last")).returns[0]
    assert found == 0.004 if known else np.isnan(found)


def test_an_unknown_return_stops_the_run_when_asked():
    with pytest.raises(MissingDataError, match="day 2024-01-11: pool a has no realised return"):
        realised(unknown_since(1), BOOK, lax(missing_actual="raise"))


def test_a_known_return_does_not_stop_the_run():
    realised(unknown_since(0), BOOK, lax(missing_actual="raise"))


def test_a_pool_outside_the_market_has_no_return():
    book = Book({}, {("gone", "USDC"): 1.0})
    view = market().as_of(day(9))
    for policy in ("zero", "last"):
        assert np.isnan(realised(view, book, lax(missing_actual=policy)).returns).all()
    with pytest.raises(MissingDataError, match="pool gone has no realised return"):
        realised(view, book, lax(missing_actual="raise"))


def test_forecasts_promise_a_day_s_return_before_dilution():
    panel = market(apy_pct=np.array([5.0, 8.0]))
    inputs = observed(panel, day(9), lax())
    book = Book({"USDC": 5.0}, {("a", "USDC"): 100.0, ("b", "DAI"): 50.0})
    expected = 100.0 * day_return(0.05) + 2.0 * 50.0 * day_return(0.08)
    assert forecast_yield_usd(inputs, book, {"USDC": 1.0, "DAI": 2.0}) == pytest.approx(expected)


def test_nothing_is_promised_without_a_forecast():
    apy = np.full((20, 2), 5.0)
    apy[5:, 1] = NAN  # older than a baseline believes
    inputs = observed(market(apy_pct=apy), day(15), lax())
    stranded = {("a", "DAI"): 7.0, ("b", "DAI"): 50.0, ("gone", "USDC"): 3.0}
    assert forecast_yield_usd(inputs, Book({}, stranded), {"USDC": 1.0, "DAI": 1.0}) == 0.0
