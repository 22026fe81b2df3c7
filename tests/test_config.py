"""Parameters: names, defaults, bounds, overrides, and one text for equal content."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import date

import numpy as np
import pytest

from stableyield.config import AllocationParameters, canonical_json, sha256_of
from stableyield.errors import ParameterError
from support.problems import SHARED

GOLDEN = SHARED / "golden" / "seed_mock_15.json"

# the notebooks' names and defaults, written down once more by hand
NOTEBOOK_DEFAULTS = {
    "max_alloc_percentage": 0.25,
    "conversion_rate": 0.0004,
    "min_transaction_value": 50.0,
    "tvl_limit_percentage": 0.05,
    "min_pools": 5,
    "token_marketcap_limit": 1e9,
    "pool_tvl_limit": 1e5,
    "pool_apy_limit": 0.01,
    "pool_pair_tvl_ratio_min": 0.3,
    "pool_pair_tvl_ratio_max": 0.5,
    "group1_max_pct": 0.35,
    "group2_max_pct": 0.35,
    "group3_max_pct": 0.30,
    "position_max_pct_total_assets": 0.25,
    "position_max_pct_pool_tvl": 0.05,
    "group1_apy_delta_max": 0.01,
    "group1_7d_stddev_max": 0.015,
    "group1_30d_stddev_max": 0.02,
    "group2_apy_delta_max": 0.03,
    "group2_7d_stddev_max": 0.04,
    "group2_30d_stddev_max": 0.05,
    "group3_apy_delta_min": 0.03,
    "group3_7d_stddev_min": 0.04,
    "group3_30d_stddev_min": 0.02,
    "icebox_ohlc_l_threshold_pct": 0.02,
    "icebox_ohlc_l_days_threshold": 2,
    "icebox_ohlc_c_threshold_pct": 0.01,
    "icebox_ohlc_c_days_threshold": 1,
    "icebox_recovery_l_days_threshold": 2,
    "icebox_recovery_c_days_threshold": 3,
}


@pytest.mark.parametrize(("name", "default"), NOTEBOOK_DEFAULTS.items())
def test_a_notebook_parameter_keeps_its_default(name: str, default: float) -> None:
    assert getattr(AllocationParameters(), name) == default


@pytest.mark.skipif(not GOLDEN.exists(), reason="needs ../shared/golden")
def test_the_golden_instance_states_exactly_the_defaults() -> None:
    stated = json.loads(GOLDEN.read_text(encoding="utf-8"))["parameters"]
    ours = AllocationParameters().model_dump()
    assert stated == {name: ours[name] for name in stated}
    assert set(stated) == set(NOTEBOOK_DEFAULTS)


def test_a_misspelt_name_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ParameterError, match="'min_pool', did you mean 'min_pools'"):
        AllocationParameters.from_mapping({"min_pool": 3})


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(ParameterError) as caught:
        AllocationParameters.from_mapping({"zzzzzz": 3})
    assert "did you mean" not in str(caught.value)


def test_every_offender_is_named() -> None:
    with pytest.raises(ParameterError) as caught:
        AllocationParameters.from_mapping({"max_alloc_percentage": 25.0, "min_pools": -1})
    text = "\n".join([str(caught.value), *caught.value.details])
    assert "max_alloc_percentage" in text
    assert "25.0" in text
    assert "min_pools" in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_alloc_percentage", 1.0000001),
        ("max_alloc_percentage", -0.1),
        ("conversion_rate", 1.0),
        ("position_max_pct_pool_tvl", 1.0),
        ("min_transaction_value", -1.0),
        ("min_pools", 2.5),
        ("horizon_days", 0.0),
        ("horizon_days", float("nan")),
        ("horizon_days", float("inf")),
        ("gap_usd", 0.0),
        ("time_limit_seconds", 0.0),
        ("own_impact", "some"),
        ("on_failure", "panic"),
        ("approved_chains", 3),
        ("profit_optimization", "perhaps"),
    ],
)
def test_a_value_out_of_bounds_is_refused(name: str, value: object) -> None:
    with pytest.raises(ParameterError, match=name):
        AllocationParameters.from_mapping({name: value})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pool_pair_tvl_ratio_min": 0.6}, "pool_pair_tvl_ratio_min must not exceed"),
        ({"group1_apy_delta_max": 0.5}, "group1_apy_delta_max must not exceed"),
        ({"group1_30d_stddev_max": 0.5}, "group1_30d_stddev_max must not exceed"),
    ],
)
def test_contradicting_values_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        AllocationParameters.from_mapping(values)


def test_overrides_are_read_as_the_command_line_gives_them() -> None:
    p = AllocationParameters().with_overrides(
        {
            "min_pools": "3",
            "horizon_days": "7",
            "profit_optimization": "true",
            "gas_per_leg": "false",
            "approved_chains": " Ethereum, Arbitrum ,",
            "on_failure": "relax",
        }
    )
    assert (p.min_pools, p.horizon_days) == (3, 7.0)
    assert p.profit_optimization is True
    assert p.gas_per_leg is False
    assert p.approved_chains == ("Ethereum", "Arbitrum")
    assert p.on_failure == "relax"


def test_an_override_leaves_the_rest_and_the_original_alone() -> None:
    original = AllocationParameters(min_pools=3)
    changed = original.with_overrides({"horizon_days": 7})
    assert (changed.min_pools, changed.horizon_days) == (3, 7.0)
    assert original.horizon_days == 30.0


def test_an_empty_text_empties_a_list() -> None:
    p = AllocationParameters(approved_tokens=("DAI",)).with_overrides({"approved_tokens": ""})
    assert p.approved_tokens == ()


def test_a_bad_override_is_refused() -> None:
    with pytest.raises(ParameterError, match="min_pools"):
        AllocationParameters().with_overrides({"min_pools": "many"})
    with pytest.raises(ParameterError, match="unknown parameter 'nonsense'"):
        AllocationParameters().with_overrides({"nonsense": "1"})


def test_parameters_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        AllocationParameters().min_pools = 3  # type: ignore[misc]


def test_group_caps_are_found_by_number() -> None:
    p = AllocationParameters(group1_max_pct=0.1, group2_max_pct=0.2, group3_max_pct=0.3)
    assert p.group_max_pct == {1: 0.1, 2: 0.2, 3: 0.3}


# --- one text for equal content ---


def test_equal_content_has_one_text_and_one_hash_whatever_the_order() -> None:
    one = {"b": [1, 2.5], "a": {"y": None, "x": True}}
    other = {"a": {"x": True, "y": None}, "b": [1, 2.5]}
    assert canonical_json(one) == canonical_json(other) == '{"a":{"x":true,"y":null},"b":[1,2.5]}'
    assert sha256_of(one) == sha256_of(other)


def test_the_hash_is_the_sha256_of_the_text() -> None:
    assert sha256_of({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()


def test_a_different_value_has_a_different_hash() -> None:
    assert sha256_of({"a": 0.1}) != sha256_of({"a": math.nextafter(0.1, 1.0)})


def test_parameters_sets_arrays_and_dates_have_a_text() -> None:
    text = canonical_json(
        {
            "p": AllocationParameters(),
            "set": {"b", "a"},
            "array": np.array([1.5, 2.0]),
            "day": date(2025, 1, 2),
        }
    )
    read = json.loads(text)
    assert read["p"]["min_pools"] == 5
    assert read["set"] == ["a", "b"]
    assert read["array"] == [1.5, 2.0]
    assert read["day"] == "2025-01-02"


def test_what_has_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": float("nan")})
    with pytest.raises(TypeError, match="object"):
        canonical_json({"a": object()})


@pytest.mark.parametrize("name", ["min_pools", "horizon_days", "gap_usd", "mode"])
def test_true_is_not_a_number(name: str) -> None:
    with pytest.raises(ParameterError, match="not true or false"):
        AllocationParameters.from_mapping({name: True})
