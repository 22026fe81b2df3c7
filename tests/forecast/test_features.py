from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from stableyield.domain.rates import Floats
from stableyield.forecast.cross_section import group_medians_without_own, ranks_within
from stableyield.forecast.features import (
    FAR,
    FEATURE_GROUPS,
    LOOKBACK_DAYS,
    FeatureGroup,
    Known,
    compute,
    days_since,
    feature_hash,
    trailing_extreme,
)
from stableyield.forecast.inputs import Inputs, inputs_of
from support.learned_market import busy_arrays, panel_of, view_of

NAN = np.nan
N_DAYS, N_POOLS, T = 190, 8, 150
NAMES = compute(
    Known(inputs_of(view_of(busy_arrays(5, 3, seed=0)), 5)), np.array([4], dtype=np.intp)
)[0]


def inputs(arrays: Mapping[str, np.ndarray], day: int = -1, n_rows: int = 999) -> Inputs:
    return inputs_of(view_of(arrays, day), n_rows)


def features_at(
    arrays: Mapping[str, np.ndarray], day: int, groups: tuple[FeatureGroup, ...] = FEATURE_GROUPS
) -> np.ndarray:
    """Features of row ``day`` computed on the whole history, as for training."""
    known = Known(inputs(arrays))
    return compute(known, np.array([day], dtype=np.intp), groups)[1][0]


@pytest.fixture(scope="module")
def busy() -> dict[str, np.ndarray]:
    return busy_arrays(N_DAYS, N_POOLS, seed=3)


@pytest.fixture(scope="module")
def both(busy: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The features of row T as training computes them, and as serving does."""
    last = np.array([LOOKBACK_DAYS - 1], dtype=np.intp)
    served = compute(Known(inputs(busy, day=T, n_rows=LOOKBACK_DAYS)), last)[1][0]
    return features_at(busy, T), served


@pytest.mark.parametrize("name", NAMES)
def test_serving_computes_what_training_learned_from(
    both: tuple[np.ndarray, np.ndarray], name: str
) -> None:
    """Every feature of one row, from the whole history and from the last rows: the same bits."""
    trained, served = (values[:, NAMES.index(name)] for values in both)
    assert np.isfinite(trained).any(), "the fixture must make every feature known somewhere"
    assert trained.tobytes() == served.tobytes()


def leaking(known: Known) -> dict[str, Floats]:
    """A planted leak: tomorrow's rate."""
    tomorrow = np.full_like(known.apy, NAN)
    tomorrow[:-1] = known.apy[1:]
    return {"tomorrow": tomorrow}


def changed_by_the_future(
    past: Mapping[str, np.ndarray], groups: tuple[FeatureGroup, ...]
) -> set[str]:
    """Features of rows up to T that change when everything after T does."""
    other = busy_arrays(N_DAYS, N_POOLS, seed=99)
    bumped = {key: np.concatenate([past[key][: T + 1], 7.0 * other[key][T + 1 :]]) for key in past}
    rows = np.arange(T + 1, dtype=np.intp)
    names, before = compute(Known(inputs(past)), rows, groups)
    after = compute(Known(inputs(bumped)), rows, groups)[1]
    return {
        name for i, name in enumerate(names) if before[..., i].tobytes() != after[..., i].tobytes()
    }


def test_no_feature_sees_the_future(busy: dict[str, np.ndarray]) -> None:
    assert changed_by_the_future(busy, FEATURE_GROUPS) == set()


def test_the_causality_check_finds_a_planted_leak(busy: dict[str, np.ndarray]) -> None:
    assert changed_by_the_future(busy, (*FEATURE_GROUPS, leaking)) == {"tomorrow"}


def test_the_order_of_pools_does_not_change_a_pools_features(busy: dict[str, np.ndarray]) -> None:
    order = np.random.default_rng(5).permutation(N_POOLS)
    shuffled = {
        key: values[:, order] if values.ndim == 2 else values for key, values in busy.items()
    }
    found = inputs_of(panel_of(shuffled, order).as_of(panel_of(shuffled, order).last_day), 999)
    expected = inputs(busy)
    assert found.pool_ids == expected.pool_ids
    rows = np.array([T], dtype=np.intp)
    assert compute(Known(found), rows)[1].tobytes() == compute(Known(expected), rows)[1].tobytes()


def test_distances_end_at_twenty_units_of_movement() -> None:
    arrays = busy_arrays(120, 3, seed=1)
    arrays["apy_pct"][100, 0] = 1e6
    known = Known(inputs(arrays, day=119))
    lags = compute(known, np.arange(120, dtype=np.intp))[1][..., NAMES.index("lag1")]
    assert np.nanmax(np.abs(lags)) <= FAR


def test_a_constant_pool_has_no_distance_to_its_past() -> None:
    arrays = busy_arrays(120, 3, seed=1)
    arrays["apy_pct"][:, 1] = 4.7
    row = features_at(arrays, 119)[1]
    for name in ("lag7", "mean30", "median7", "max30", "ewma7", "std30", "step_std"):
        assert abs(row[NAMES.index(name)]) < 1e-10


def test_the_feature_list_has_a_fingerprint() -> None:
    assert feature_hash() == feature_hash(FEATURE_GROUPS)
    assert feature_hash((*FEATURE_GROUPS, leaking)) != feature_hash()


def test_medians_and_ranks_leave_the_pool_itself_out() -> None:
    rng = np.random.default_rng(2)
    values = rng.integers(0, 6, (40, 9)).astype(float)
    values[rng.random(values.shape) < 0.3] = NAN
    group_of = np.array([0, 1, 0, 1, 2, 0, 1, 0, 1])
    medians, ranks = group_medians_without_own(values, group_of), ranks_within(values, group_of)
    for day in range(40):
        for pool in range(9):
            others = [
                values[day, k]
                for k in range(9)
                if k != pool and group_of[k] == group_of[pool] and np.isfinite(values[day, k])
            ]
            expected = np.median(others) if others else NAN
            np.testing.assert_equal(medians[day, pool], expected)
            own = values[day, pool]
            below = np.mean([(o < own) + 0.5 * (o == own) for o in others]) if others else NAN
            np.testing.assert_equal(ranks[day, pool], below if np.isfinite(own) else NAN)


def test_a_trailing_extreme_is_that_of_the_window() -> None:
    values = np.random.default_rng(4).normal(size=(50, 2))
    values[::5, 0] = NAN
    for days in (1, 2, 7, 30):
        found = trailing_extreme(values, days, -1.0)
        for row in range(50):
            window = values[max(0, row - days + 1) : row + 1]
            for column in range(2):
                known = window[np.isfinite(window[:, column]), column]
                np.testing.assert_equal(found[row, column], known.min() if len(known) else NAN)


def test_days_since_an_event_are_counted_up_to_the_limit() -> None:
    events = np.array([False, False, True, False, False, False, False])[:, None]
    np.testing.assert_array_equal(days_since(events, 3)[:, 0], [3, 3, 0, 1, 2, 3, 3])


@pytest.mark.parametrize(("what", "value"), [("apy_pct", -101.0), ("apy_pct", 2e9)])
def test_rates_that_nobody_can_believe_are_unknown(what: str, value: float) -> None:
    arrays = busy_arrays(20, 3, seed=1)
    arrays[what][10, 1] = value
    assert np.isnan(inputs(arrays, day=19).apy[10, 1])


def test_a_negative_tvl_is_unknown_and_an_empty_pool_is_not() -> None:
    arrays = busy_arrays(20, 3, seed=1)
    arrays["tvl_usd"][10, 1], arrays["tvl_usd"][11, 1] = -5.0, 0.0
    found = inputs(arrays, day=19).tvl
    assert np.isnan(found[10, 1])
    assert found[11, 1] == 0.0
