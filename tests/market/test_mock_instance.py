from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stableyield.config import AllocationParameters
from stableyield.errors import ParameterError
from stableyield.market.mock import mock_instance

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "golden" / "seed_mock_15.json"
PROBLEM_KEYS = {"token_prices_usd", "gas_usd", "wallet", "positions", "pools", "parameters"}


def test_the_default_instance_is_the_notebooks_to_the_last_bit():
    if not GOLDEN.exists():
        pytest.skip(f"{GOLDEN.name} is not beside this repository")
    golden = json.loads(GOLDEN.read_text())
    instance = mock_instance()
    assert instance.problem == {key: golden[key] for key in PROBLEM_KEYS}
    assert instance.aum_usd == golden["aum_usd"]
    drawn = {name: getattr(instance.gas_inputs, name) for name in golden["gas_inputs"]}
    assert drawn == golden["gas_inputs"]


def test_the_first_last_and_middle_draws_of_seed_42_are_known():
    # literal values of the stream, one from every stage of the draws
    instance = mock_instance()
    problem = instance.problem
    assert set(problem) == PROBLEM_KEYS
    assert problem["pools"][0] == {
        "pool_id": "pool_001",
        "symbol": "USDC-USDT",
        "chain": "Ethereum",
        "protocol": "Curve",
        "tokens": ["USDC", "USDT"],
        "forecast_apy_pct": 6.867917830249383,
        "forecast_tvl_usd": 95076359.21035062,
    }
    assert problem["pools"][5]["forecast_apy_pct"] == 1.1593646281271108
    assert problem["token_prices_usd"]["ETH"] == 2970.8306250206724
    assert problem["wallet"]["USDT"] == 171760.9856894176
    assert problem["positions"][-1] == {
        "pool_id": "pool_007",
        "token": "DAI",
        "amount": 154366.78836522295,
    }
    assert problem["gas_usd"] == {
        "allocation": 1.3164431092892066,
        "withdrawal": 1.3164431092892066,
        "conversion": 2.5012450946315155,
    }
    assert instance.aum_usd == 999729.2099621573


@pytest.mark.parametrize(
    ("n_pools", "recorded_aum_usd", "digits"),
    [(30, 998141.044266, 6), (5, 1000214.30, 2), (25, 1000416.35, 2)],
)
def test_other_pool_counts_reach_the_recorded_aum(n_pools, recorded_aum_usd, digits):
    assert round(mock_instance(n_pools).aum_usd, digits) == recorded_aum_usd


def test_gas_costs_of_the_15_pool_instance_can_be_kept():
    base = mock_instance()
    fresh, kept = mock_instance(30), mock_instance(30, gas_usd=base.gas_usd)
    assert kept.problem["gas_usd"] == base.problem["gas_usd"]
    assert fresh.problem["gas_usd"] != base.problem["gas_usd"]
    assert kept.problem["pools"] == fresh.problem["pools"]
    assert kept.gas_inputs == fresh.gas_inputs


def test_templates_repeat_every_eight_pools():
    pools = mock_instance(17).problem["pools"]
    for name in ("symbol", "chain", "protocol", "tokens"):
        assert [pool[name] for pool in pools[8:16]] == [pool[name] for pool in pools[:8]]
    assert pools[16]["pool_id"] == "pool_017"


def test_the_parameters_are_the_notebooks_names_at_our_defaults():
    parameters = mock_instance().problem["parameters"]
    assert len(parameters) == 30
    assert "horizon_days" not in parameters
    assert AllocationParameters.from_mapping(parameters) == AllocationParameters()


def test_the_global_random_state_is_left_alone():
    before = np.random.get_state()  # noqa: NPY002 - the legacy state is what is checked
    mock_instance()
    after = np.random.get_state()  # noqa: NPY002
    assert before[2] == after[2]
    assert np.array_equal(before[1], after[1])


def test_an_instance_is_json_and_reproducible():
    first, second = (json.dumps(mock_instance(12, seed=7).problem) for _ in range(2))
    assert first == second
    assert first != json.dumps(mock_instance(12, seed=8).problem)


def test_positions_never_exceed_the_pools():
    for seed in range(20):
        problem = mock_instance(2, seed=seed).problem
        assert {row["pool_id"] for row in problem["positions"]} == {"pool_001", "pool_002"}


def test_money_at_par_is_the_amount_asked_for():
    problem = mock_instance(aum_usd=250_000.0).problem
    total = sum(problem["wallet"].values()) + sum(row["amount"] for row in problem["positions"])
    assert total == pytest.approx(250_000.0, abs=1e-6)


def test_other_tokens_get_the_notebooks_prices():
    prices = mock_instance(tokens=("USDC", "DAI", "USDT", "WBTC", "CRV")).problem[
        "token_prices_usd"
    ]
    assert list(prices) == ["USDC", "DAI", "USDT", "WBTC", "CRV"]
    assert 50_000.0 < prices["WBTC"] < 70_000.0
    assert 0.5 <= prices["CRV"] <= 100.0


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"n_pools": 0}, "n_pools"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"aum_usd": 0.0}, "aum_usd"),
        ({"aum_usd": float("nan")}, "aum_usd"),
        ({"tokens": ("USDC", "DAI")}, "USDT"),
    ],
)
def test_a_bad_argument_is_named(arguments, name):
    with pytest.raises(ParameterError, match=name):
        mock_instance(**arguments)
