"""Gas in USD: dated prices times a table, or the notebooks' four numbers."""

from __future__ import annotations

import json
import math

import pytest

from stableyield.domain.costs import (
    GasCosts,
    GasTable,
    Operation,
    gas_fee_usd,
    notebook_gas_costs,
)
from stableyield.errors import InputError, MissingDataError
from support.problems import SHARED

GOLDEN = SHARED / "golden" / "seed_mock_15.json"


def test_gas_is_units_times_price_times_eth() -> None:
    # 21,000 units at 20 gwei with ETH at 3,000 USD: 0.00042 ETH
    assert gas_fee_usd(21_000, 20.0, 3_000.0) == pytest.approx(1.26, rel=1e-14)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_unknown_or_negative_factor_is_an_error(place: int) -> None:
    factors = [21_000.0, 20.0, 3_000.0]
    factors[place] = math.nan
    with pytest.raises(MissingDataError, match="unknown"):
        gas_fee_usd(*factors)
    factors[place] = -1.0
    with pytest.raises(InputError, match="negative"):
        gas_fee_usd(*factors)


@pytest.mark.parametrize("value", [-0.01, math.nan, math.inf])
@pytest.mark.parametrize("name", ["allocation", "withdrawal", "conversion"])
def test_gas_costs_are_finite_and_not_negative(name: str, value: float) -> None:
    costs = {"allocation": 1.0, "withdrawal": 1.0, "conversion": 1.0, name: value}
    with pytest.raises(InputError, match=name):
        GasCosts(**costs)


def test_the_notebooks_four_numbers_charge_transfers_and_swaps() -> None:
    costs = notebook_gas_costs(3_000.0, 10.0, 30.0, 5.0)
    assert costs.allocation == costs.withdrawal == pytest.approx(21_000 * 15e-9 * 3_000)
    assert costs.conversion == pytest.approx(21_000 * 35e-9 * 3_000)


@pytest.mark.skipif(not GOLDEN.exists(), reason="needs ../shared/golden")
def test_the_golden_instance_has_the_gas_of_its_four_numbers() -> None:
    document = json.loads(GOLDEN.read_text(encoding="utf-8"))
    costs = notebook_gas_costs(**document["gas_inputs"])
    assert {
        "allocation": costs.allocation,
        "withdrawal": costs.withdrawal,
        "conversion": costs.conversion,
    } == document["gas_usd"]


def test_the_same_deposit_costs_what_gas_and_eth_cost_that_day() -> None:
    table = GasTable()
    calm, mania = table.costs("aave-v3", 2.0, 2_500.0), table.costs("aave-v3", 105.0, 4_000.0)
    assert mania.allocation / calm.allocation == pytest.approx(105.0 * 4_000 / (2.0 * 2_500))
    assert calm.allocation == pytest.approx(260_000 * 2e-9 * 2_500)
    assert calm.conversion == pytest.approx(180_000 * 2e-9 * 2_500)


def test_a_day_without_a_gas_price_has_no_gas_cost() -> None:
    with pytest.raises(MissingDataError):
        GasTable().costs("aave-v3", math.nan, 3_000.0)


def test_the_longest_matching_family_counts() -> None:
    table = GasTable(overrides={"aave-v3": (1.0, 2.0), "newcomer": (3.0, 4.0)})
    assert table.units("AAVE-V3-lido", Operation.DEPOSIT) == 1.0
    assert table.units("aave-v2", Operation.DEPOSIT) == 260_000
    assert table.units("newcomer", Operation.WITHDRAWAL) == 4.0
    assert table.units("never heard of", Operation.WITHDRAWAL) == 300_000


def test_a_conversion_costs_the_same_wherever_it_leads() -> None:
    table = GasTable(conversion_units=150_000.0)
    assert table.units("aave-v3", Operation.CONVERSION) == 150_000.0
