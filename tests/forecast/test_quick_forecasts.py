"""Parts of a baseline's forecast that are had sooner are bit by bit those of the whole."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stableyield.errors import ParameterError
from stableyield.forecast import BASELINES, baseline
from stableyield.forecast.baselines import Baseline, poolwise
from stableyield.forecast.windows import (
    exponential_mean,
    last_exponential_mean,
    last_mean,
    last_std,
    last_sum,
    trailing_count,
    trailing_mean,
    trailing_std,
    trailing_sum,
)
from stableyield.market.panel import MarketPanel
from support.markets import day, hand_made, pool

N_DAYS, N_POOLS = 260, 9


@cache
def gappy_market() -> MarketPanel:
    """Gaps, pools that start late or end, rates and sizes that cannot be true."""
    rng = np.random.default_rng(5)
    apy = np.abs(
        rng.uniform(1.0, 12.0, N_POOLS) + rng.normal(0.0, 0.5, (N_DAYS, N_POOLS)).cumsum(0)
    )
    tvl = 1e7 * np.exp(rng.normal(0.0, 0.2, (N_DAYS, N_POOLS)).cumsum(0))
    for values in (apy, tvl):
        values[rng.random(values.shape) < 0.15] = np.nan
        values[:120, 1] = np.nan
        values[200:, 2] = np.nan
        values[1:257, 3] = np.nan  # two rows that are far apart
    apy[:, 4] = 5.0
    apy[::7, 5], apy[3::50, 6], tvl[2::9, 7] = -150.0, 1e12, -1.0
    pools = [pool(f"p{i}") for i in range(N_POOLS)]
    return hand_made(pools, N_DAYS, {"apy_pct": apy, "tvl_usd": tvl})


METHODS = {
    **{name: baseline(name) for name in BASELINES},
    "ewma, half a year": baseline("ewma", half_life_days=180.0),
    "ewma, short window": baseline("ewma", window_days=60, half_life_days=9.0),
    "median of a year": baseline("median", days=365),
    "last, today only": baseline("last", max_age_days=0),
    "mean7, old rows": Baseline(
        "mean7", baseline("mean7").rule, baseline("last", max_age_days=30).window
    ),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("horizon_days", [1, 7, 100])
def test_what_is_had_sooner_is_what_the_whole_forecast_says(name, horizon_days):
    method = METHODS[name]
    n_known = 0
    for n in (0, 1, 2, 8, 61, 199, 205, 258, 259):
        view = gappy_market().as_of(day(n))
        whole = method.forecast(view, horizon_days)
        apy_pct, tvl_usd = method.expected(view, horizon_days)
        assert apy_pct.tobytes() == whole.apy_pct.tobytes(), n
        assert tvl_usd.tobytes() == whole.tvl_usd.tobytes(), n
        assert method.apy_q10_pct(view, horizon_days).tobytes() == whole.apy_q10_pct.tobytes(), n
        n_known += int(np.isfinite(apy_pct).sum())
    assert n_known > 10


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].is_poolwise])
@pytest.mark.parametrize(("n_days", "last"), [(1, 0), (3, 2), (40, 61), (7, 199), (20, 259)])
def test_what_is_expected_on_many_days_at_once_is_what_each_day_expects(name, n_days, last):
    method, end = METHODS[name], gappy_market().as_of(day(last))
    pools = np.array([7, 0, 3, 4, 1])
    series = end.pool_series
    rows = slice(-(n_days - 1 + method.history_days(30)), None)
    some = series.apy_pct[rows, pools], series.tvl_usd[rows, pools], n_days, 30
    by_day, outlook = method.expected_of_days(*some), method.outlook_of_days(*some)
    for d in range(n_days):
        alone = method.expected(gappy_market().as_of(day(last - n_days + 1 + d)), 30)
        for found, expected in zip(by_day, alone, strict=True):
            assert found[d].tobytes() == expected[pools].tobytes(), d
        known = np.isfinite(alone[0][pools]) & np.isfinite(alone[1][pools])
        assert outlook[0][d].tobytes() == alone[0][pools].tobytes(), d
        assert outlook[1][d].tolist() == known.tolist(), d


def test_a_rule_that_looks_at_all_pools_cannot_be_asked_for_some():
    method, series = METHODS["reversion"], gappy_market().as_of(day(99)).pool_series
    assert not method.is_poolwise
    with pytest.raises(ParameterError, match="all pools together"):
        method.expected_of_days(series.apy_pct, series.tvl_usd, 1, 30)


def test_only_what_is_expected_in_the_usual_way_is_asked_for_many_days():
    class Another(Baseline):
        def expected(self, view, horizon_days):
            return super().expected(view, horizon_days)

    usual = baseline("ewma")
    assert poolwise(usual) is usual
    assert poolwise(baseline("reversion")) is None
    assert poolwise(Another("ewma", usual.rule)) is None
    assert poolwise(object()) is None


@pytest.mark.parametrize("horizon_days", [0, 366, 1.5])
def test_a_horizon_out_of_bounds_is_refused_there_too(horizon_days):
    view = gappy_market().as_of(day(30))
    for part in (baseline("ewma").expected, baseline("ewma").apy_q10_pct):
        with pytest.raises(ParameterError, match="horizon_days"):
            part(view, horizon_days)


@given(st.integers(0, 2**31), st.integers(1, 90), st.integers(1, 120), st.floats(0.0, 0.9))
@settings(max_examples=60, deadline=None)
def test_the_last_row_alone_is_bit_by_bit_the_last_row(seed, n_rows, days, missing):
    rng = np.random.default_rng(seed)
    values = rng.normal(0.0, 10.0, (n_rows, 4))
    values[rng.random(values.shape) < missing] = np.nan
    filled = np.where(np.isfinite(values), values, 0.0)
    half_life_days = days / 10.0
    for found, whole in (
        (last_sum(filled, days), trailing_sum(values, days)),
        (last_mean(values, days), trailing_mean(values, days)),
        (last_std(values, days), trailing_std(values, days)),
        (
            last_exponential_mean(values, half_life_days),
            exponential_mean(values, half_life_days),
        ),
    ):
        np.testing.assert_array_equal(found, whole[-1])


@given(st.integers(0, 2**31), st.integers(1, 60), st.integers(1, 70))
@settings(max_examples=40, deadline=None)
def test_known_values_are_counted_one_by_one(seed, n_rows, days):
    rng = np.random.default_rng(seed)
    values = np.where(rng.random((n_rows, 3)) < 0.5, 1.0, np.nan)
    counted = [np.isfinite(values[max(0, s - days + 1) : s + 1]).sum(axis=0) for s in range(n_rows)]
    np.testing.assert_array_equal(trailing_count(values, days), counted)
