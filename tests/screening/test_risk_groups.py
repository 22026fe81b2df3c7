from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stableyield.config import AllocationParameters
from stableyield.errors import InputError
from stableyield.screening import classify, risk_groups

PARAMETERS = AllocationParameters()


def groups_of(delta: float, s7: float, s30: float, parameters=PARAMETERS) -> int:
    return int(classify(np.array([delta]), np.array([s7]), np.array([s30]), parameters)[0])


@pytest.mark.parametrize(
    ("delta", "s7", "s30", "group"),
    [
        (0.0, 0.0, 0.0, 1),
        (1.0, 1.5, 2.0, 1),  # all three exactly at the limit: the calmer group
        (1.001, 0.0, 0.0, 2),
        (0.0, 1.501, 0.0, 2),
        (0.0, 0.0, 2.001, 2),
        (3.0, 4.0, 5.0, 2),
        (3.001, 0.0, 0.0, 3),
        (0.0, 4.001, 0.0, 3),
        (0.0, 0.0, 5.001, 3),
        (-0.9, 0.0, 0.0, 1),
        (-2.0, 0.0, 0.0, 2),
        (np.nan, 0.0, 0.0, 3),
        (0.0, np.nan, 0.0, 3),
        (0.0, 0.0, np.nan, 3),
    ],
)
def test_each_limit_decides_the_group_in_percentage_points(delta, s7, s30, group):
    assert groups_of(delta, s7, s30) == group


@pytest.mark.parametrize("limit", [0.0001, 0.0055, 0.007, 0.011, 0.017, 0.029])
def test_a_move_written_as_the_limit_itself_is_in_the_calmer_group(limit):
    parameters = AllocationParameters(group1_apy_delta_max=limit)
    exact = float(f"{limit * 100:.6g}")
    assert groups_of(exact, 0.0, 0.0, parameters) == 1
    # 10.x + limit - 10.x is not exactly the limit in binary
    assert groups_of(10.3 + exact - 10.3, 0.0, 0.0, parameters) == 1
    assert groups_of(exact + 1e-6, 0.0, 0.0, parameters) == 2


def test_measures_are_sample_deviations_of_levels_over_7_and_30_calendar_days():
    rng = np.random.default_rng(7)
    apy = rng.uniform(2.0, 9.0, (45, 3))
    found = risk_groups(apy, PARAMETERS)
    np.testing.assert_allclose(found.delta_pp, np.abs(apy[-1] - apy[-2]))
    np.testing.assert_allclose(found.stddev_7d_pp, apy[-7:].std(axis=0, ddof=1))
    np.testing.assert_allclose(found.stddev_30d_pp, apy[-30:].std(axis=0, ddof=1))


def test_missing_days_are_left_out_not_filled():
    apy = np.full((30, 1), np.nan)
    apy[[-20, -5, -2, -1], 0] = [9.0, 4.0, 5.0, 5.5]
    found = risk_groups(apy, PARAMETERS)
    assert found.stddev_7d_pp[0] == pytest.approx(np.std([4.0, 5.0, 5.5], ddof=1))
    assert found.stddev_30d_pp[0] == pytest.approx(np.std([9.0, 4.0, 5.0, 5.5], ddof=1))


@pytest.mark.parametrize(
    ("known_rows", "why"),
    [
        ([-1], "a single day"),
        ([-2, -3, -4], "no APY today"),
        ([-1, -3, -4], "no APY yesterday"),
        ([], "never an APY"),
    ],
)
def test_too_little_history_is_group_3(known_rows, why):
    apy = np.full((30, 1), np.nan)
    apy[known_rows, 0] = 5.0
    assert risk_groups(apy, PARAMETERS).group[0] == 3, why


def test_a_steady_pool_with_two_days_is_group_1():
    assert risk_groups(np.full((2, 1), 5.0), PARAMETERS).group[0] == 1


def test_the_first_day_of_a_history_is_group_3():
    found = risk_groups(np.full((1, 2), 5.0), PARAMETERS)
    assert found.group.tolist() == [3, 3]


def test_only_the_last_30_days_count():
    apy = np.full((60, 2), 5.0)
    apy[:30, 1] = 400.0
    assert risk_groups(apy, PARAMETERS).group.tolist() == [1, 1]


def test_absurd_rates_are_group_3_without_a_warning():
    apy = np.full((10, 3), 5.0)
    apy[-3] = [np.inf, -np.inf, 1e300]
    assert risk_groups(apy, PARAMETERS).group[2] == 3


@pytest.mark.parametrize("shape", [(5,), (0, 3)])
def test_an_array_that_is_no_table_of_days_is_refused(shape):
    with pytest.raises(InputError, match="n_days, n_pools"):
        risk_groups(np.ones(shape), PARAMETERS)


rates = st.one_of(st.just(np.nan), st.floats(-50.0, 500.0))
tables = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=rates
)


@given(apy=tables, scale=st.floats(1.0, 5.0))
def test_wider_limits_never_move_a_pool_to_a_wilder_group(apy, scale):
    p = PARAMETERS
    names = [f"group{g}_{m}" for g in (1, 2) for m in ("apy_delta_max", "7d_stddev_max")]
    wider = p.with_overrides({name: getattr(p, name) * scale for name in names})
    assert np.all(risk_groups(apy, wider).group <= risk_groups(apy, p).group)


@given(apy=tables, data=st.data())
def test_permuting_pools_permutes_their_groups(apy, data):
    order = np.array(data.draw(st.permutations(range(apy.shape[1]))))
    assert np.array_equal(
        risk_groups(apy[:, order], PARAMETERS).group, risk_groups(apy, PARAMETERS).group[order]
    )
