from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stableyield.domain.pool import Pool
from stableyield.errors import ParameterError
from stableyield.forecast import BASELINES, Forecast, baseline
from stableyield.market.panel import MarketPanel, MarketView

NAN = np.nan
NAMES = tuple(BASELINES)
FIRST_DAY = np.datetime64("2024-01-01")


def panel_of(apy_pct: np.ndarray, tvl_usd: np.ndarray | None = None) -> MarketPanel:
    """A market whose pools p000, p001, ... have the given columns."""
    n_days, n_pools = apy_pct.shape
    pools = [
        Pool(f"p{i:03d}", "USDC", "Ethereum", "test", ("USDC",), listed_from=date(2024, 1, 1))
        for i in range(n_pools)
    ]
    arrays: Mapping[str, np.ndarray] = {
        "apy_pct": apy_pct,
        "tvl_usd": np.full(apy_pct.shape, 1e6) if tvl_usd is None else tvl_usd,
    }
    return MarketPanel.build(FIRST_DAY + np.arange(n_days), pools, arrays, [], {})


def view_of(apy_pct: np.ndarray, tvl_usd: np.ndarray | None = None) -> MarketView:
    panel = panel_of(apy_pct, tvl_usd)
    return panel.as_of(panel.last_day)


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def random_apy(n_days: int, n_pools: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    level = rng.uniform(2.0, 12.0, n_pools)
    moves = np.cumsum(rng.normal(0.0, 0.4, (n_days, n_pools)), axis=0)
    apy = np.abs(level + moves)
    apy[rng.random(apy.shape) < 0.03] = NAN
    return apy


def assert_equal_up_to_rounding(found: Forecast, expected: Forecast) -> None:
    for name in ("apy_pct", "apy_q10_pct", "apy_q50_pct", "apy_q90_pct", "tvl_usd", "tvl_q10_usd"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-9
        )


def test_last_repeats_the_last_value() -> None:
    assert baseline("last").forecast(view_of(column(3.0, 9.0, 6.0)), 7).apy_pct[0] == 6.0


def test_mean7_is_the_mean_of_the_last_seven_days() -> None:
    view = view_of(column(100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0))
    assert baseline("mean7").forecast(view, 1).apy_pct[0] == pytest.approx(4.0)


def test_mean30_is_the_mean_of_the_last_thirty_days() -> None:
    view = view_of(column(1000.0, *range(1, 31)))
    assert baseline("mean30").forecast(view, 1).apy_pct[0] == pytest.approx(15.5)


def test_the_median_ignores_a_spike() -> None:
    view = view_of(column(3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 900.0))
    assert baseline("median").forecast(view, 1).apy_pct[0] == 4.5


def test_ewma_weighs_by_half_life() -> None:
    view = view_of(column(2.0, 6.0))
    found = baseline("ewma", half_life_days=1).forecast(view, 1).apy_pct[0]
    assert found == pytest.approx((0.5 * 2.0 + 6.0) / 1.5)


def test_reversion_without_past_origins_goes_half_of_the_way_to_the_mean() -> None:
    view = view_of(column(2.0, 8.0))  # mean 5, last 8, phi = its prior 0.5
    assert baseline("reversion").forecast(view, 7).apy_pct[0] == pytest.approx(6.5)


def test_reversion_learns_how_much_of_a_deviation_remains() -> None:
    rng = np.random.default_rng(0)
    noise = 5.0 + rng.normal(0.0, 1.0, (170, 20))  # no memory at all
    walk = 50.0 + np.cumsum(rng.normal(0.0, 1.0, (170, 20)), axis=0)  # nothing but memory
    remains = []
    for apy in (noise, walk):
        mean = apy[-7:].mean(axis=0)
        found = baseline("reversion").forecast(view_of(apy), 1).apy_pct
        remains.append(np.median((found - mean) / (apy[-1] - mean)))
    assert remains[0] < 0.1
    assert remains[1] > 0.8


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_pool_is_forecast_exactly_and_without_spread(name: str) -> None:
    levels = np.array([0.0, 4.7, 1 / 3, 12.0])
    apy = np.column_stack([np.tile(levels, (120, 1)), random_apy(120, 6)])
    forecast = baseline(name).forecast(view_of(apy), 7)
    for quantity in ("apy_pct", "apy_q10_pct", "apy_q50_pct", "apy_q90_pct"):
        np.testing.assert_array_equal(getattr(forecast, quantity)[:4], levels)
    assert (forecast.apy_q10_pct[4:] < forecast.apy_q90_pct[4:]).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_pools_does_not_matter(name: str) -> None:
    apy, tvl = random_apy(90, 9), np.exp(random_apy(90, 9, seed=2))
    order = np.random.default_rng(3).permutation(9)
    straight = baseline(name).forecast(view_of(apy, tvl), 7)
    shuffled = baseline(name).forecast(view_of(apy[:, order], tvl[:, order]), 7)
    for quantity in ("apy_pct", "apy_q10_pct", "apy_q90_pct", "tvl_usd", "tvl_q10_usd"):
        np.testing.assert_allclose(
            getattr(shuffled, quantity), getattr(straight, quantity)[order], rtol=1e-9
        )


@pytest.mark.parametrize("name", NAMES)
def test_scaled_rates_give_scaled_forecasts(name: str) -> None:
    apy = random_apy(90, 9)
    plain = baseline(name).forecast(view_of(apy), 7)
    scaled = baseline(name).forecast(view_of(3.0 * apy), 7)
    for quantity in ("apy_pct", "apy_q10_pct", "apy_q50_pct", "apy_q90_pct"):
        np.testing.assert_allclose(
            getattr(scaled, quantity), 3.0 * getattr(plain, quantity), rtol=1e-9
        )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("horizon_days", [1, 7, 30, 365])
def test_quantiles_contain_the_point_forecast_and_stay_plausible(
    name: str, horizon_days: int
) -> None:
    apy = random_apy(500, 8)
    forecast = baseline(name).forecast(view_of(apy), horizon_days)
    assert np.isfinite(forecast.apy_q90_pct).all()
    assert (forecast.apy_q10_pct >= 0.0).all()
    assert (forecast.apy_q10_pct <= forecast.apy_pct).all()
    assert (forecast.apy_pct <= forecast.apy_q90_pct).all()
    assert (forecast.apy_q90_pct <= 2.0 * np.nanmax(apy, axis=0)).all()
    assert (forecast.tvl_q10_usd <= forecast.tvl_usd).all()


def test_quantiles_are_those_of_the_past_errors_in_units_of_movement() -> None:
    # one pool that jumps between 4 and 6: "last" is wrong by -2, 0 or 2 a day ahead
    rng = np.random.default_rng(5)
    apy = column(*(4.0 + 2.0 * rng.integers(0, 2, 150)))
    forecast = baseline("last").forecast(view_of(apy), 1)
    assert forecast.apy_q10_pct[0] == pytest.approx(apy[-1, 0] - 2.0, abs=0.2)
    assert forecast.apy_q50_pct[0] == pytest.approx(apy[-1, 0], abs=1e-9)
    assert forecast.apy_q90_pct[0] == pytest.approx(apy[-1, 0] + 2.0, abs=0.2)


def test_quantiles_are_unknown_until_thirty_errors_are_known() -> None:
    apy = random_apy(40, 1)
    apy = np.where(np.isnan(apy), 5.0, apy)
    early = baseline("last").forecast(view_of(apy[:31]), 1)  # 29 errors: a forecast needs two rows
    late = baseline("last").forecast(view_of(apy), 1)
    assert np.isnan(early.apy_q10_pct).all()
    assert np.isfinite(early.apy_pct).all()
    assert early.q10_unknown.all()
    assert np.isfinite(late.apy_q10_pct).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_wild_neighbour_does_not_break_quiet_pools(name: str) -> None:
    apy = random_apy(150, 12)
    wild = apy.copy()
    wild[::9, 0] = 1e6
    quiet = baseline(name).forecast(view_of(apy), 7)
    beside_wild = baseline(name).forecast(view_of(wild), 7)
    np.testing.assert_allclose(beside_wild.apy_pct[1:], quiet.apy_pct[1:], atol=0.15)
    np.testing.assert_allclose(beside_wild.apy_q10_pct[1:], quiet.apy_q10_pct[1:], atol=0.3)
    assert np.isfinite(beside_wild.apy_q90_pct).all()


def test_a_new_pool_borrows_the_movement_of_the_established_ones() -> None:
    apy = np.where(np.isnan(random_apy(120, 10)), 6.0, random_apy(120, 10))
    apy[:-2, 9] = NAN
    apy[-2:, 9] = 5.0
    forecast = baseline("last").forecast(view_of(apy), 7)
    assert forecast.cold_start.tolist() == [False] * 9 + [True]
    assert forecast.apy_q10_pct[9] < 5.0 < forecast.apy_q90_pct[9]


def test_negative_rates_are_allowed_down_to_what_was_seen() -> None:
    apy = random_apy(120, 3) - 4.0
    apy[:, 2] = np.abs(apy[:, 2])
    forecast = baseline("mean7").forecast(view_of(apy), 1)
    lowest = np.nanmin(apy, axis=0)
    assert (forecast.apy_q10_pct >= np.minimum(lowest, 0.0)).all()
    assert forecast.apy_q10_pct[2] >= 0.0


BAD_HISTORIES = {
    "no row": (column(NAN, NAN, NAN), NAN),
    "one row": (column(NAN, NAN, 5.0), NAN),
    "two rows": (column(NAN, 5.0, 5.0), 5.0),
    "one day": (column(5.0), NAN),
    "a gap of three days": (column(5.0, 5.0, NAN, NAN, NAN), 5.0),
    "a gap of four days": (column(5.0, 5.0, NAN, NAN, NAN, NAN), NAN),
    "infinite": (column(5.0, 5.0, math.inf), 5.0),
    "below -100 %": (column(5.0, 5.0, -101.0), 5.0),
    "beyond belief": (column(5.0, 5.0, 1e12), 5.0),
    "a total loss": (column(-100.0, -100.0), -100.0),
    "all zero": (column(0.0, 0.0, 0.0), 0.0),
    "constant at 1e6 %": (column(1e6, 1e6, 1e6), 1e6),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", BAD_HISTORIES)
def test_bad_histories_have_a_stated_answer(name: str, case: str) -> None:
    apy, expected = BAD_HISTORIES[case]
    forecast = baseline(name).forecast(view_of(apy), 7)
    np.testing.assert_array_equal(forecast.apy_pct, [expected])
    assert np.isnan(forecast.apy_q10_pct).all()
    assert forecast.cold_start.all()


@pytest.mark.parametrize("name", NAMES)
def test_a_market_without_pools_has_an_empty_forecast(name: str) -> None:
    forecast = baseline(name).forecast(view_of(np.empty((40, 0))), 7)
    assert forecast.pool_ids == ()
    assert forecast.to_frame().empty


@settings(max_examples=40, deadline=None)
@given(data=st.data(), name=st.sampled_from(NAMES), horizon_days=st.integers(1, 40))
def test_any_history_gives_a_valid_forecast(
    data: st.DataObject, name: str, horizon_days: int
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    shape = (data.draw(st.integers(1, 90)), data.draw(st.integers(1, 5)))
    apy = rng.standard_cauchy(shape) * 10.0 ** rng.integers(-3, 6, shape)
    tvl = np.exp(rng.normal(10.0, 5.0, shape)) * rng.choice([-1.0, 0.0, 1.0, 1.0], shape)
    apy[rng.random(shape) < 0.3] = NAN
    tvl[rng.random(shape) < 0.3] = NAN
    forecast = baseline(name).forecast(view_of(apy, tvl), horizon_days)
    assert not np.isinf(forecast.apy_q90_pct).any()
    assert not np.isinf(forecast.tvl_usd).any()
    assert (np.isfinite(forecast.apy_q10_pct) <= forecast.is_known).all()


def test_tvl_is_forecast_on_its_logarithm() -> None:
    forecast = baseline("mean7").forecast(
        view_of(np.full((7, 1), 5.0), column(*(10.0 ** np.arange(1, 8)))), 1
    )
    assert forecast.tvl_usd[0] == pytest.approx(1e4, rel=0.02)


def test_tvl_is_never_predicted_above_five_times_its_last_value() -> None:
    tvl = column(*[1e9] * 29, 1e3)
    forecast = baseline("mean30").forecast(view_of(np.full((30, 1), 5.0), tvl), 1)
    assert forecast.tvl_usd[0] == pytest.approx(5e3)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_pool_stays_empty_and_a_negative_tvl_is_unknown(name: str) -> None:
    apy = np.full((60, 2), 5.0)
    tvl = np.column_stack([np.zeros(60), np.full(60, -5.0)])
    forecast = baseline(name).forecast(view_of(apy, tvl), 1)
    assert forecast.tvl_usd[0] == 0.0
    assert np.isnan(forecast.tvl_usd[1])


def test_only_the_window_matters() -> None:
    apy = random_apy(300, 5)
    changed = apy.copy()
    changed[:120] = 77.0
    plain = baseline("ewma").forecast(view_of(apy), 7)
    assert_equal_up_to_rounding(baseline("ewma").forecast(view_of(changed), 7), plain)


def test_the_model_version_tells_every_option() -> None:
    view = view_of(column(5.0, 5.0))
    version = baseline("ewma", half_life_days=3, window_days=90).forecast(view, 1).model_version
    assert version == "ewma(half_life_days=3, max_age_days=3, window_days=90)"


def test_a_baseline_can_be_sent_to_another_process() -> None:
    view = view_of(random_apy(60, 3))
    copy = pickle.loads(pickle.dumps(baseline("median", days=5)))
    expected = baseline("median", days=5).forecast(view, 7)
    np.testing.assert_array_equal(copy.forecast(view, 7).apy_pct, expected.apy_pct)


@pytest.mark.parametrize("horizon_days", [0, 366, -1, 7.0, "7"])
def test_a_wrong_horizon_is_refused(horizon_days: object) -> None:
    with pytest.raises(ParameterError, match="horizon_days"):
        baseline("last").forecast(view_of(column(5.0, 5.0)), horizon_days)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("arima", {}, "unknown baseline 'arima'.*last, mean7"),
        ("ewma", {"days": 3}, "no option 'days'.*half_life_days"),
        ("last", {"half_life_days": 3}, "no option 'half_life_days'"),
        ("ewma", {"half_life_days": 0}, "half_life_days is 0"),
        ("ewma", {"half_life_days": NAN}, "half_life_days is nan"),
        ("median", {"days": 2.5}, "days is 2.5"),
        ("median", {"days": math.inf}, "days is inf"),
        ("last", {"window_days": 10}, "window_days is 10"),
        ("last", {"max_age_days": -1}, "max_age_days is -1"),
    ],
)
def test_a_wrong_option_is_refused_by_name(
    name: str, options: dict[str, float], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        baseline(name, **options)
