from __future__ import annotations

import numpy as np
import pytest

from stableyield.forecast.base import is_cold_start
from stableyield.forecast.bounds import bounded
from stableyield.forecast.calibration import FACTOR_LIMITS, Factors, QuantileModels, fit_factors
from stableyield.forecast.cold_start import drawn_to_neighbours, neighbour_levels
from stableyield.forecast.combination import PRIOR_CARRY_WEIGHT, carry_weight, combined
from stableyield.forecast.inputs import inputs_of
from stableyield.forecast.linear import fit_linear
from stableyield.forecast.training import LearnedSettings, Rows, origins, rows_of
from support.learned_market import busy_arrays, view_of

NAN = np.nan


def test_the_linear_model_finds_the_line_through_most_points() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(20_000, 2)).astype(np.float32)
    target = 0.3 + 0.8 * rows[:, 0] - 0.5 * rows[:, 1] + rng.normal(0.0, 0.1, 20_000)
    target[::10] += 50.0  # one in ten is absurd, and does not pull
    found = fit_linear(rows, target, np.ones(len(target))).coefficients
    np.testing.assert_allclose(found, [0.3, 0.8, -0.5], atol=0.05)


def test_an_unknown_input_of_the_linear_model_is_no_distance() -> None:
    rows = np.random.default_rng(1).normal(size=(5_000, 1)).astype(np.float32)
    model = fit_linear(rows, rows[:, 0].astype(float), np.ones(5_000))
    unknown, zero = (
        model.predict(np.array([[value]], dtype=np.float32)) for value in (np.nan, 0.0)
    )
    assert unknown == zero


def test_a_model_that_goes_astray_does_not_move_the_forecast_of_tomorrow() -> None:
    trees = np.array([[5.0], [5.1], [5.2], [1e6]])
    assert combined(trees, np.array([4.9]), 1)[0] == 5.1
    assert 4.9 < combined(trees, np.array([4.9]), 7)[0] < 5.2


def test_the_weight_of_the_carried_forecast_is_learned_as_far_as_there_is_evidence() -> None:
    own, carried = np.full(50, 4.0), np.full(50, 6.0)
    weights = [carry_weight(own, carried, own, n_blocks) for n_blocks in (0.0, 1.5, 300.0)]
    assert weights[0] == PRIOR_CARRY_WEIGHT
    assert weights[0] > weights[1] > weights[2]
    assert weights[2] < 0.01
    assert carry_weight(own, carried, carried, 300.0) > 0.99


class Widths:
    """Trees that always say the same."""

    def __init__(self, value: float) -> None:
        self.value = value

    def predict(self, rows: np.ndarray, **_: object) -> np.ndarray:
        return np.full(len(rows), self.value)


def models(width: float, horizon_days: int) -> QuantileModels:
    return QuantileModels(Widths(-width), Widths(width), horizon_days)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def held_out() -> Rows:
    inputs = inputs_of(view_of(busy_arrays(200, 20, seed=1)), 200)
    return rows_of(inputs, np.arange(120, 200))


def test_intervals_that_were_too_narrow_are_stretched(held_out: Rows) -> None:
    noise = np.random.default_rng(2).normal(0.0, 1.0, len(held_out))
    came = held_out.anchors["ewma2"] + held_out.scale * noise
    right = 1.2816
    factors = [fit_factors(models(width, 1), held_out, came) for width in (right / 2, 1.5 * right)]
    assert (factors[0].low > 1.5).all()
    assert (factors[0].high > 1.5).all()
    assert (factors[1].low < 0.85).all()
    low, high = models(right / 2, 1).interval(held_out, held_out.anchors["ewma2"], factors[0])
    assert 0.06 < (came < low).mean() < 0.14
    assert 0.86 < (came <= high).mean() < 0.94


def test_a_month_ahead_the_latest_origins_are_believed_less(held_out: Rows) -> None:
    came = held_out.anchors["ewma2"] + 5.0 * held_out.scale
    day, month = (fit_factors(models(0.5, horizon), held_out, came) for horizon in (1, 30))
    assert (month.high > 1.0).all()
    assert (month.high < day.high).all()
    assert (day.high <= FACTOR_LIMITS[1]).all()


def test_a_long_horizon_reaches_over_the_pools_own_range(held_out: Rows) -> None:
    middle = held_out.anchors["ewma2"]
    _, near = models(0.1, 7).interval(held_out, middle, Factors.none())
    _, far = models(0.1, 30).interval(held_out, middle, Factors.none())
    assert np.median(far - middle) > 3.0 * np.median(near - middle)


def test_forecasts_stay_between_nothing_and_twice_the_highest_rate() -> None:
    history = np.array([[2.0, 2.0, -1.0], [4.0, 4.0, 3.0]] * 10)
    last = history[-1]
    outside = np.array([-9.0, 99.0, -9.0])
    mean, q10, q50, q90 = bounded(history, last, outside, outside - 1.0, outside + 1.0)
    np.testing.assert_array_equal(mean, [0.0, 8.0, -2.0])
    assert (q10 <= q50).all()
    assert (q50 <= q90).all()


def test_no_more_than_everything_can_be_lost() -> None:
    history = np.array([[-70.0], [5.0]] * 20)
    mean, q10, *_ = bounded(history, history[-1], *(np.array([x]) for x in (-130.0, -300.0, 9.0)))
    assert (mean[0], q10[0]) == (-100.0, -100.0)


def test_a_pool_at_rest_stays_where_it_is() -> None:
    history = np.full((40, 1), 4.7)
    answers = bounded(history, history[-1], *(np.array([x]) for x in (5.0, 3.0, 9.0)))
    assert {float(value[0]) for value in answers} == {4.7}


def test_six_equal_rows_are_not_yet_rest() -> None:
    history = np.full((40, 1), NAN)
    history[-6:] = 4.7
    mean, *_ = bounded(history, history[-1], *(np.array([x]) for x in (5.0, 3.0, 9.0)))
    assert mean[0] == 5.0


def test_a_young_pool_is_drawn_to_those_of_its_token_and_protocol() -> None:
    arrays = busy_arrays(100, 9, seed=1)
    arrays["apy_pct"][:] = np.where(np.arange(9) % 4 == 0, 10.0, 4.0)  # p000, p004, p008 are alike
    arrays["apy_pct"][:-2, 8] = NAN
    inputs = inputs_of(view_of(arrays), 92)
    is_cold = is_cold_start(inputs.apy)
    assert list(np.flatnonzero(is_cold)) == [8]
    assert neighbour_levels(inputs, is_cold)[8] == 10.0
    point, pool = np.full(9, 5.0), np.arange(9)
    day, month = (drawn_to_neighbours(point, inputs, pool, is_cold, h) for h in (1, 30))
    assert (day[:8] == 5.0).all()
    assert 5.0 < day[8] < 5.1
    assert month[8] == pytest.approx(5.0 + 0.5 / 2.5 * 5.0)


def test_a_young_pool_alone_is_not_drawn_anywhere() -> None:
    arrays = {
        key: values[:, :1] if values.ndim == 2 else values
        for key, values in busy_arrays(20, 3, seed=1).items()
    }
    inputs = inputs_of(view_of(arrays), 92)
    drawn = drawn_to_neighbours(np.array([5.0]), inputs, np.array([0]), np.array([True]), 30)
    assert drawn[0] == 5.0


def test_a_large_market_is_learned_from_every_other_day() -> None:
    inputs = inputs_of(view_of(busy_arrays(200, 20, seed=1)), 200)
    days = origins(inputs, 190, LearnedSettings(window_days=150, max_rows=1000))
    assert days[-1] == 190
    assert set(np.diff(days)) == {3}
    assert days[0] >= 41
