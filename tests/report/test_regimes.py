from __future__ import annotations

import numpy as np
import pytest

from stableyield.report.performance import PolicyDays, Undefined
from stableyield.report.regimes import WINDOW_DAYS, regime_rows, regimes_of


def book(growth: np.ndarray) -> PolicyDays:
    curve = 1e6 * np.concatenate(([1.0], np.cumprod(growth)))
    zero = np.zeros(len(growth))
    return PolicyDays(curve[:-1], curve[1:], zero, zero, zero)


def halves(n: int = 80) -> np.ndarray:
    """Growth that is low and still at first, then high and restless."""
    low, high = 1.0 + 1e-4 + 1e-7 * np.cos(np.arange(n // 2)), 1.0 + 3e-4 * np.ones(n // 2)
    high += 2e-4 * np.cos(np.arange(n // 2))
    return np.concatenate((low, high))


def test_a_still_half_is_calm_and_low_and_a_restless_one_volatile_and_high() -> None:
    found = regimes_of(book(halves()))
    assert not isinstance(found, Undefined)
    assert found["calm"][13:40].all()
    assert found["low_yield"][13:40].all()
    assert found["volatile"][54:].mean() > 0.8
    assert found["high_yield"][54:].mean() > 0.8


def test_each_day_with_a_window_is_in_one_of_each_pair() -> None:
    found = regimes_of(book(halves()))
    for one, other in (("calm", "volatile"), ("low_yield", "high_yield")):
        assert np.array_equal(found[one] | found[other], np.arange(80) >= WINDOW_DAYS - 1)
        assert not (found[one] & found[other]).any()


def test_what_is_compared_looks_back_only() -> None:
    """A restless day makes the days after it volatile, not those before."""
    growth = 1.0 + 1e-4 + 1e-7 * np.cos(np.arange(60))
    growth[40] += 5e-3
    found = regimes_of(book(growth))
    assert not found["volatile"][26:40].all()
    assert found["volatile"][40:54].all()


def test_one_broken_peg_does_not_make_a_high_yield() -> None:
    growth = halves()
    before = regimes_of(book(growth))["high_yield"]
    growth[20] = 1.02
    after = regimes_of(book(growth))["high_yield"]
    assert (before != after).sum() <= 2


def test_every_policy_is_measured_on_the_days_of_the_market() -> None:
    market, steady = book(halves()), book(np.full(80, 1.05 ** (1 / 365)))
    rows = regime_rows({"strategy": steady, "equal_weight": market}, market)
    assert [row["regime"] for row in rows] == ["calm", "volatile", "low_yield", "high_yield"]
    assert all(row["net_apy_pct"]["strategy"] == pytest.approx(5.0) for row in rows)
    by_name = {row["regime"]: row for row in rows}
    inside = regimes_of(market)["volatile"]
    expected = 100.0 * (np.prod(halves()[inside]) ** (365 / inside.sum()) - 1.0)
    assert by_name["volatile"]["net_apy_pct"]["equal_weight"] == pytest.approx(expected)
    assert by_name["volatile"]["n_days"] == inside.sum()
    assert by_name["calm"]["market_volatility_pct"] < by_name["volatile"]["market_volatility_pct"]


def test_a_policy_without_money_on_those_days_has_no_apy_there() -> None:
    market = book(halves())
    zero, gone = np.zeros(80), np.where(np.arange(80) < 5, 1e6, 0.0)
    rows = regime_rows({"strategy": PolicyDays(gone, gone, zero, zero, zero)}, market)
    assert all(row["net_apy_pct"]["strategy"] is None for row in rows)


@pytest.mark.parametrize(
    ("growth", "reason"),
    [(halves(32), "fewer than 34 days"), (np.ones(80), "never changed")],
)
def test_short_and_dead_markets_have_no_regimes(growth: np.ndarray, reason: str) -> None:
    value = regimes_of(book(growth))
    assert isinstance(value, Undefined)
    assert reason in value.reason


def test_without_equal_weight_or_with_days_without_money_there_are_no_regimes() -> None:
    assert isinstance(regime_rows({}, None), Undefined)
    zero, gone = np.zeros(80), np.where(np.arange(80) < 50, 1e6, 0.0)
    assert isinstance(regimes_of(PolicyDays(gone, gone, zero, zero, zero)), Undefined)
