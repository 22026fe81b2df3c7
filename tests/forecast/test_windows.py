from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stableyield.forecast.windows import (
    carried_forward,
    exponential_mean,
    horizon_mean,
    last_known,
    median_of_last_axis,
    seen_twice,
    trailing_count,
    trailing_mean,
    trailing_median,
    trailing_std,
    trailing_sum,
)

NAN = np.nan

gappy = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 40), st.integers(1, 4)),
    elements=st.one_of(st.just(NAN), st.integers(-1000, 1000).map(float)),
)


@settings(max_examples=60, deadline=None)
@given(values=gappy, days=st.integers(1, 45))
def test_trailing_statistics_agree_with_pandas(values: np.ndarray, days: int) -> None:
    rolling = pd.DataFrame(values).rolling(days, min_periods=1)

    np.testing.assert_array_equal(trailing_count(values, days), rolling.count())
    np.testing.assert_allclose(trailing_sum(values, days), rolling.sum().fillna(0.0), atol=1e-7)
    np.testing.assert_allclose(trailing_mean(values, days), rolling.mean(), atol=1e-7)
    np.testing.assert_allclose(trailing_median(values, days), rolling.median(), atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(values=gappy, days=st.integers(2, 45))
def test_the_standard_deviation_agrees_with_numpy_row_by_row(values: np.ndarray, days: int) -> None:
    found = trailing_std(values, days)
    for row in range(len(values)):
        for column in range(values.shape[1]):
            window = values[max(0, row - days + 1) : row + 1, column]
            window = window[np.isfinite(window)]
            expected = np.std(window, ddof=1) if len(window) > 1 else NAN
            np.testing.assert_allclose(found[row, column], expected, atol=2e-3)


def test_a_spike_leaves_no_trace_once_it_has_left_the_window() -> None:
    values = np.full((20, 1), 0.1)
    values[3] = 1e15
    assert trailing_sum(values, 5)[-1, 0] == pytest.approx(0.5, rel=1e-15)
    assert trailing_std(values - 0.1, 5)[-1, 0] == 0.0


def test_the_horizon_mean_is_of_the_days_after_the_row() -> None:
    values = np.array([[1.0], [2.0], [4.0], [9.0]])
    np.testing.assert_allclose(horizon_mean(values, 2)[:, 0], [3.0, 6.5, NAN, NAN])


def test_a_horizon_needs_four_fifths_of_its_days() -> None:
    values = np.array([[0.0], [1.0], [NAN], [3.0], [4.0], [5.0], [NAN], [7.0]])
    # after row 0: 1, -, 3, 4, 5 (four of five); after row 2: 3, 4, 5, -, 7
    found = horizon_mean(values, 5)[:, 0]
    np.testing.assert_allclose(found[:3], [13 / 4, NAN, 19 / 4])
    assert np.isnan(horizon_mean(values, 3)[1, 0])  # two of three days are too few


def test_a_horizon_longer_than_the_history_has_no_target() -> None:
    assert np.isnan(horizon_mean(np.ones((5, 2)), 5)).all()
    assert np.isnan(horizon_mean(np.ones((5, 2)), 365)).all()


def test_weights_of_the_exponential_mean_halve_by_calendar_day() -> None:
    values = np.array([[4.0], [NAN], [8.0]])
    # weights 1/4 and 1 at a half-life of one day
    assert exponential_mean(values, 1.0)[-1, 0] == pytest.approx((4.0 / 4 + 8.0) / (1.25))


def test_a_pool_at_rest_for_ten_half_lives_is_at_rest_exactly() -> None:
    values = np.concatenate([np.full((5, 1), 37.0), np.zeros((20, 1))])
    assert exponential_mean(values, 2.0)[-1, 0] == 0.0
    assert exponential_mean(values[:-1], 2.0)[-1, 0] > 0.0


def test_the_last_value_is_carried_only_so_far() -> None:
    values = np.array([[1.0], [NAN], [NAN], [NAN], [5.0], [NAN]])
    np.testing.assert_array_equal(carried_forward(values, 2)[:, 0], [1.0, 1.0, 1.0, NAN, 5.0, 5.0])
    np.testing.assert_array_equal(carried_forward(values, 0), values)


def test_last_known_looks_back_at_any_age() -> None:
    values = np.array([[1.0, NAN, 3.0], [NAN, NAN, 4.0]])
    np.testing.assert_array_equal(last_known(values), [1.0, NAN, 4.0])


def test_a_pool_is_seen_twice_from_its_second_value_on() -> None:
    values = np.array([[1.0, NAN, 3.0], [NAN, NAN, 4.0], [2.0, 1.0, NAN]])
    np.testing.assert_array_equal(
        seen_twice(values), [[False, False, False], [False, False, True], [True, False, True]]
    )


def test_the_median_of_an_even_number_is_the_middle() -> None:
    values = np.array([[4.0, 1.0, NAN, 2.0, 3.0], [NAN] * 5])
    np.testing.assert_array_equal(median_of_last_axis(values), [2.5, NAN])
