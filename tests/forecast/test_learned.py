from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import fields, replace
from datetime import date, timedelta

import numpy as np
import pytest

from stableyield.errors import ContractError, ParameterError
from stableyield.forecast import EvaluationSettings, Forecast, baseline, evaluate
from stableyield.forecast.boosting import BoostingSettings
from stableyield.forecast.features import FEATURE_GROUPS
from stableyield.forecast.learned import LearnedForecaster
from stableyield.forecast.training import LearnedSettings
from stableyield.market.panel import MarketView
from support.learned_market import FIRST_DAY, busy_arrays, panel_of, view_of

NAN = np.nan
N_DAYS, N_POOLS = 150, 9
FEW_TREES = BoostingSettings(n_trees=5, num_leaves=5, learning_rate=0.4)
QUICK = LearnedSettings(
    window_days=120,
    holdout_days=30,
    min_rows=300,
    boosting=FEW_TREES,
    quantile_boosting=FEW_TREES,
    tvl_boosting=FEW_TREES,
)


def learned() -> LearnedForecaster:
    return LearnedForecaster(QUICK)


def busy(seed: int = 3, n_pools: int = N_POOLS) -> dict[str, np.ndarray]:
    return busy_arrays(N_DAYS, n_pools, seed)


def assert_identical(found: Forecast, expected: Forecast) -> None:
    for item in fields(Forecast):
        one, other = getattr(found, item.name), getattr(expected, item.name)
        if isinstance(one, np.ndarray):
            assert one.tobytes() == other.tobytes(), item.name
        else:
            assert one == other, item.name


@pytest.fixture(scope="module")
def view() -> MarketView:
    return view_of(busy())


@pytest.fixture(scope="module")
def week(view: MarketView) -> Forecast:
    return learned().forecast(view, 7)


def test_it_beats_the_last_value_where_rates_revert() -> None:
    arrays = busy(seed=8, n_pools=16)
    panel = panel_of(arrays)
    forecaster = LearnedForecaster(replace(QUICK, refit_every_days=60))
    errors = np.zeros(2)
    for t in range(120, 148, 4):
        day = FIRST_DAY + timedelta(days=t)
        found = forecaster.forecast(panel.as_of(day), 1)
        ids = panel.as_of(panel.last_day).pool_index
        columns = [ids[pool_id] for pool_id in found.pool_ids]
        truth = panel.as_of(panel.last_day).pool_series.apy_pct
        outcome, last = truth[t + 1, columns], truth[t, columns]
        known = np.isfinite(outcome) & np.isfinite(last) & found.is_known
        errors += [np.abs(x - outcome)[known].sum() for x in (found.apy_pct, last)]
    assert errors[0] < 0.93 * errors[1]


def test_what_was_asked_before_changes_nothing(view: MarketView, week: Forecast) -> None:
    panel, forecaster = panel_of(busy()), learned()
    for days, horizon in ((3, 1), (20, 7)):
        forecaster.forecast(panel.as_of(view.day - timedelta(days=days)), horizon)
    assert_identical(forecaster.forecast(panel.as_of(view.day), 7), week)


def test_another_market_is_not_served_from_memory(view: MarketView, week: Forecast) -> None:
    forecaster = learned()
    forecaster.forecast(view_of(busy(seed=4)), 7)
    assert_identical(forecaster.forecast(view, 7), week)


def test_the_same_rates_under_other_protocols_are_another_market(view: MarketView) -> None:
    forecaster = learned()
    forecaster.forecast(view, 7)
    others = tuple(replace(pool, protocol=pool.pool_id) for pool in view.pools)
    moved = replace(view, pools=others)
    assert_identical(forecaster.forecast(moved, 7), learned().forecast(moved, 7))


def test_a_forecaster_that_went_through_a_file_says_the_same(
    view: MarketView, week: Forecast
) -> None:
    forecaster = learned()
    forecaster.forecast(view, 1)
    revived = pickle.loads(pickle.dumps(forecaster))
    assert revived.training_info["models"] == []
    assert_identical(revived.forecast(view, 7), week)


def test_the_order_of_pools_does_not_change_a_forecast(view: MarketView, week: Forecast) -> None:
    order = np.random.default_rng(1).permutation(N_POOLS)
    arrays = {k: v[:, order] if v.ndim == 2 else v for k, v in busy().items()}
    panel = panel_of(arrays, order)
    shuffled = panel.as_of(view.day)
    backwards = replace(
        shuffled,
        pools=shuffled.pools[::-1],
        pool_series=shuffled.pool_series.columns(np.arange(N_POOLS)[::-1]),
    )
    found = learned().forecast(backwards, 7)
    assert found.pool_ids != week.pool_ids
    place = [found.pool_ids.index(pool_id) for pool_id in week.pool_ids]
    for name in ("apy_pct", "apy_q10_pct", "apy_q90_pct", "tvl_usd", "tvl_q10_usd"):
        assert getattr(found, name)[place].tobytes() == getattr(week, name).tobytes()


def test_models_serve_from_one_refit_day_of_the_calendar_to_the_next(view: MarketView) -> None:
    forecaster, panel = learned(), panel_of(busy())
    days = [view.day - timedelta(days=k) for k in range(28)]
    refit_days = [forecaster.refit_day(day) for day in days]
    assert len(set(refit_days)) in {2, 3}
    assert all(0 <= (day - refit).days < 14 for day, refit in zip(days, refit_days, strict=True))
    for day in days[:14:6]:
        forecaster.forecast(panel.as_of(day), 1)
    models = forecaster.training_info["models"]
    assert {model["refit_day"] for model in models} <= {str(day) for day in refit_days}


def test_outcomes_that_end_after_the_refit_day_are_not_learned_from(view: MarketView) -> None:
    forecaster = learned()
    forecaster.forecast(view, 30)
    (model,) = forecaster.training_info["models"]
    last = date.fromisoformat(model["last_origin"])
    assert last == date.fromisoformat(model["refit_day"]) - timedelta(days=30)
    assert 0.0 <= model["carry_weight"] <= 1.0


@pytest.mark.parametrize("horizon_days", [1, 7, 30])
def test_quantiles_contain_the_forecast_within_what_the_pool_can_do(
    view: MarketView, horizon_days: int
) -> None:
    found = learned().forecast(view, horizon_days)
    assert found.is_known.all()
    assert (found.apy_q10_pct <= found.apy_pct).all()
    assert (found.apy_pct <= found.apy_q90_pct).all()
    assert (found.apy_q10_pct < found.apy_q90_pct).mean() > 0.9
    assert (found.apy_q10_pct >= 0.0).all()
    assert (found.apy_q90_pct <= 2.0 * np.nanmax(view.pool_series.apy_pct, axis=0)).all()
    assert (found.tvl_q10_usd <= found.tvl_usd).all()
    assert (found.tvl_usd <= 5.0 * view.pool_series.tvl_usd[-1] * (1 + 1e-9)).all()


def test_a_market_too_young_to_learn_from_is_forecast_by_a_baseline_and_says_so() -> None:
    view = view_of(busy(), day=25)
    for horizon, rule in ((1, "last"), (7, "reversion"), (30, "ewma")):
        found = learned().forecast(view, horizon)
        assert rule in found.flags[0]
        assert "too little history" in found.flags[0]
        assert found.method == "learned"
        assert f"fallback.{rule}" in found.model_version
        assert found.is_known.any()


@pytest.mark.parametrize("t", [0, 1, 5])
def test_before_the_first_refit_day_a_baseline_forecasts(t: int) -> None:
    first = date(2024, 1, 8)  # a day after a refit day: the one before it has no history
    panel = panel_of(busy(), first_day=first)
    forecaster = learned()
    assert forecaster.refit_day(first) < first
    for horizon in (1, 30):
        found = forecaster.forecast(panel.as_of(first + timedelta(days=t)), horizon)
        assert "too little history" in found.flags[0]
        assert found.is_known.any() == (t > 0)


def test_a_history_that_begins_on_the_refit_day_is_forecast_by_a_baseline() -> None:
    first = learned().refit_day(FIRST_DAY)
    panel = panel_of(busy(), first_day=first)
    assert "too little history" in learned().forecast(panel.as_of(first), 7).flags[0]


def test_the_time_spent_on_fitting_is_counted_and_grows_with_refits_alone(
    view: MarketView,
) -> None:
    forecaster, seconds = learned(), []
    for _ in range(2):
        forecaster.forecast(view, 1)
        seconds.append(forecaster.fit_seconds)
    assert seconds[0] > 0.0
    assert seconds[1] == seconds[0]
    forecaster.forecast(view, 2)
    assert forecaster.fit_seconds > seconds[0]


def test_what_it_was_trained_on_can_be_stored(view: MarketView) -> None:
    forecaster = learned()
    for horizon in (2, 1):
        forecaster.forecast(view, horizon)
    info = json.loads(json.dumps(forecaster.training_info))
    assert info["features_hash"] in info["model_version"]
    assert info["settings"]["seed"] == QUICK.seed
    assert info["settings"]["window_days"] == QUICK.window_days
    assert [model["horizon_days"] for model in info["models"]] == [1, 2]
    assert all(model["n_rows"] >= QUICK.min_rows for model in info["models"])


def test_the_version_names_features_and_settings() -> None:
    version = learned().model_version
    assert LearnedForecaster(replace(QUICK, seed=8)).model_version != version
    assert LearnedForecaster(QUICK, FEATURE_GROUPS[:-1]).model_version != version
    assert LearnedForecaster(QUICK).model_version == version


def test_another_seed_gives_another_forecast(view: MarketView, week: Forecast) -> None:
    found = LearnedForecaster(replace(QUICK, seed=99)).forecast(view, 7)
    assert (found.apy_pct != week.apy_pct).any()


def test_realised_growth_can_be_forecast_instead_of_the_quoted_rate() -> None:
    arrays = busy()
    arrays["return_1d"] = np.expm1(np.log1p(2.0 * arrays["apy_pct"] / 100.0) / 365.0)
    view = view_of(arrays)
    quoted = learned().forecast(view, 1)
    realised = LearnedForecaster(replace(QUICK, target="realised")).forecast(view, 1)
    assert 1.4 < np.median(realised.apy_pct / quoted.apy_pct) < 2.1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("window_days", 119),
        ("refit_every_days", 0),
        ("seed", -1),
        ("max_rows", 10.5),
        ("weight_power", -0.1),
        ("target", "hoped"),
    ],
)
def test_settings_out_of_bounds_are_refused(name: str, value: object) -> None:
    with pytest.raises(ParameterError, match=name):
        LearnedSettings(**{name: value})


@pytest.mark.parametrize("horizon_days", [0, 366, 1.5])
def test_a_horizon_out_of_bounds_is_refused(view: MarketView, horizon_days: int) -> None:
    with pytest.raises(ParameterError, match="horizon_days"):
        learned().forecast(view, horizon_days)


def test_importing_the_forecaster_does_not_import_the_boosting_library() -> None:
    code = (
        "import sys; from stableyield.forecast.learned import LearnedForecaster as F; F(); "
        "sys.exit('lightgbm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


KINDS = ("no row", "one row", "two rows", "constant", "gaps", "spike", "negative", "dead")


@pytest.fixture(scope="module")
def bad_arrays() -> dict[str, np.ndarray]:
    arrays = busy(n_pools=len(KINDS) + 8)
    apy = arrays["apy_pct"]
    apy[:, :8] = np.where(np.isfinite(apy[:, :8]), apy[:, :8], 5.0)
    apy[:, 0] = NAN
    apy[:-1, 1] = NAN
    apy[:-2, 2] = NAN
    apy[:, 3] = 4.7
    apy[np.arange(N_DAYS) % 3 != (N_DAYS - 1) % 3, 4] = NAN
    apy[-5, 5] = 1e6
    apy[-20:, 6] = -3.0 + 0.1 * np.arange(20)
    apy[-4:, 7] = NAN
    arrays["apy_reward_pct"][:, :10] = NAN
    return arrays


@pytest.fixture(scope="module", params=[1, 30])
def bad_forecast(request: pytest.FixtureRequest, bad_arrays: dict[str, np.ndarray]) -> Forecast:
    panel = panel_of(bad_arrays)
    return learned().forecast(panel.as_of(panel.last_day), request.param)


class TestBadInput:
    """Each kind of bad pool, beside good ones: a documented answer, and nobody else disturbed."""

    def of(self, forecast: Forecast, kind: str) -> dict[str, float]:
        i = forecast.pool_ids.index(f"p{KINDS.index(kind):03d}")
        names = ("apy_pct", "apy_q10_pct", "apy_q50_pct", "apy_q90_pct", "cold_start")
        return {name: float(getattr(forecast, name)[i]) for name in names}

    def test_nothing_is_dropped(self, bad_forecast: Forecast) -> None:
        assert len(bad_forecast.pool_ids) == len(KINDS) + 8
        assert bad_forecast.is_known.sum() == len(KINDS) + 8 - 3

    @pytest.mark.parametrize("kind", ["no row", "one row", "dead"])
    def test_a_pool_without_two_recent_rows_is_unknown(
        self, bad_forecast: Forecast, kind: str
    ) -> None:
        assert np.isnan(self.of(bad_forecast, kind)["apy_pct"])

    def test_a_pool_with_two_rows_is_a_cold_start(self, bad_forecast: Forecast) -> None:
        found = self.of(bad_forecast, "two rows")
        assert np.isfinite(found["apy_pct"])
        assert found["cold_start"]

    def test_a_constant_pool_stays_without_spread(self, bad_forecast: Forecast) -> None:
        found = self.of(bad_forecast, "constant")
        assert {value for name, value in found.items() if name.startswith("apy")} == {4.7}

    def test_a_pool_with_gaps_has_a_forecast_with_spread(self, bad_forecast: Forecast) -> None:
        found = self.of(bad_forecast, "gaps")
        assert found["apy_q10_pct"] < found["apy_q90_pct"]

    def test_a_spike_of_a_million_percent_is_not_forecast_to_return(
        self, bad_forecast: Forecast
    ) -> None:
        assert 0.0 <= self.of(bad_forecast, "spike")["apy_pct"] < 4e5

    def test_a_loss_may_be_forecast_for_a_pool_that_loses(self, bad_forecast: Forecast) -> None:
        assert -6.0 <= self.of(bad_forecast, "negative")["apy_q10_pct"] < 0.0

    def test_the_spike_of_one_pool_moves_no_other_pool_far(
        self, bad_forecast: Forecast, bad_arrays: dict[str, np.ndarray]
    ) -> None:
        calm = {**bad_arrays, "apy_pct": bad_arrays["apy_pct"].copy()}
        calm["apy_pct"][-5, 5] = 5.0
        panel = panel_of(calm)
        other = learned().forecast(panel.as_of(panel.last_day), bad_forecast.horizon_days)
        good = np.array([int(name[1:]) >= 8 for name in bad_forecast.pool_ids])
        moved = np.abs(other.apy_pct[good] / bad_forecast.apy_pct[good] - 1.0)
        assert np.median(moved) < 0.1


def test_bad_pools_are_evaluated_beside_good_ones_and_counted(
    bad_arrays: dict[str, np.ndarray],
) -> None:
    panel = panel_of(bad_arrays)
    found = evaluate(
        panel,
        [LearnedForecaster(replace(QUICK, refit_every_days=365)), baseline("ewma")],
        horizons=[1],
        step_days=37,
        settings=EvaluationSettings(n_draws=20),
    )
    rows = found.scores[found.scores["segment"] == "all"]
    assert (rows["n"] > 20).all()
    assert np.isfinite(rows["mae"]).all()
    assert found.notes[0].startswith("1 d: 13 of 16 pools scored; the others were without")


def test_two_pools_with_one_id_are_no_market() -> None:
    with pytest.raises(ContractError, match="p000"):
        panel_of(busy(), order=[0, *range(N_POOLS - 1)])


def test_a_protocol_that_training_never_saw_is_forecast() -> None:
    arrays = busy()
    apy = arrays["apy_pct"]
    apy[:-10, N_POOLS - 1] = NAN
    apy[-10:, N_POOLS - 1] = 9.0 + np.arange(10) % 3
    view = view_of(arrays)
    i = view.pool_ids.index(f"p{N_POOLS - 1:03d}")
    pools = list(view.pools)
    pools[i] = replace(pools[i], protocol="brand-new", tokens=("NEWUSD",))
    found = learned().forecast(replace(view, pools=tuple(pools)), 7)
    assert 3.0 < found.apy_pct[i] < 16.0
    assert found.cold_start[i]


def test_a_market_without_any_pool_has_an_empty_forecast() -> None:
    view = view_of(busy(), day=140)
    empty = replace(view, pools=(), pool_series=view.pool_series.head(len(view.days), 0))
    assert learned().forecast(empty, 7).pool_ids == ()
