from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stableyield as sy
from stableyield.allocation import notebook
from stableyield.domain.pool import PoolState
from stableyield.errors import (
    ContractError,
    InfeasibleError,
    InputError,
    MissingDataError,
    ParameterError,
)
from support.problems import SHARED

GOLDEN = SHARED / "golden" / "seed_mock_15.json"
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "notebook_interface.ipynb"
SAFE = {  # what keeps the small cases free of limits
    "max_alloc_percentage": 1.0,
    "position_max_pct_total_assets": 1.0,
    "min_pools": 0,
    "min_transaction_value": 0.0,
    "min_position_usd": 0.0,
    "conversion_rate": 0.0,
    "horizon_days": 365.0,
}
TRANSACTION_KEYS = [
    "seq",
    "type",
    "from_location",
    "to_location",
    "amount",
    "amount_usd",
    "gas_cost_usd",
    "conversion_cost_usd",
    "total_cost_usd",
]


def arguments(problem, **parameters):
    """A problem file's content as the notebooks hand it over."""
    rows = [
        {
            "pool_id": row["pool_id"],
            "symbol": row["symbol"],
            "chain": row["chain"],
            "protocol": row["protocol"],
            "underlying_tokens": json.dumps(row["tokens"]),
            "forecasted_apy": row["forecast_apy_pct"],
            "forecasted_tvl": row["forecast_tvl_usd"],
            "is_filtered_out": False,
            "is_active": True,
        }
        for row in problem["pools"]
    ]
    return {
        "pools_df": pd.DataFrame(rows),
        "token_prices": dict(problem["token_prices_usd"]),
        "warm_wallet": dict(problem["wallet"]),
        "current_allocations": {
            (row["pool_id"], row["token"]): row["amount"] for row in problem["positions"]
        },
        "gas_fees": {**problem["gas_usd"], "transfer": 1.0, "deposit": 1.0},
        "alloc_params": {**problem["parameters"], **parameters},
    }


def mock(n_pools=15, seed=42, **parameters):
    return arguments(sy.mock_instance(n_pools, seed).problem, **parameters)


def small(*pools, wallet=None, held=None, gas=0.0, **parameters):
    """A decision without limits among pools given as dicts; 1,000 USDC unless said."""
    defaults = {
        "symbol": "USDC",
        "chain": "Ethereum",
        "protocol": "aave-v3",
        "underlying_tokens": ["USDC"],
        "forecasted_apy": 5.0,
        "forecasted_tvl": 1e9,
        "is_filtered_out": False,
        "is_active": True,
    }
    rows = [{"pool_id": f"p{n}", **defaults, **pool} for n, pool in enumerate(pools, start=1)]
    return {
        "pools_df": pd.DataFrame(rows),
        "token_prices": {"USDC": 1.0, "DAI": 1.0, "ETH": 3000.0},
        "warm_wallet": {"USDC": 1000.0} if wallet is None else wallet,
        "current_allocations": held or {},
        "gas_fees": {"allocation": gas, "withdrawal": gas, "conversion": gas},
        "alloc_params": {**SAFE, **parameters},
    }


def solved(given_arguments):
    optimizer = sy.AllocationOptimizer(**given_arguments)
    assert optimizer.solve(verbose=False) is True
    assert sy.verify(optimizer.plan).violations == ()
    return optimizer


def placed(optimizer):
    """USD by pool after the plan, to the cent."""
    final = optimizer.format_results()["final_allocations"]
    return {
        pool_id: round(sum(worth["amount_usd"] for worth in entry["tokens"].values()), 2)
        for pool_id, entry in final.items()
    }


# --- the known instance -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("horizon_days", "gain_usd"), [(1, 232.0177), (30, 8_839.2216), (365, 114_801.8406)]
)
def test_the_golden_instance_gains_what_the_independent_model_says(horizon_days, gain_usd):
    if not GOLDEN.exists():
        pytest.skip(f"{GOLDEN.name} is not beside this repository")
    golden = json.loads(GOLDEN.read_text())
    optimizer = solved(arguments(golden, horizon_days=horizon_days))
    assert optimizer.plan.certificate.objective_usd == pytest.approx(gain_usd, abs=0.02)
    assert optimizer.total_aum == golden["aum_usd"]


def test_a_frame_gains_the_same_as_its_problem_file():
    optimizer = solved(mock())
    direct = sy.solve(sy.AllocationProblem.from_json(sy.mock_instance().problem))
    assert optimizer.plan.certificate.objective_usd == pytest.approx(8_839.2216, abs=0.02)
    assert optimizer.plan.certificate.objective_usd == pytest.approx(
        direct.certificate.objective_usd, abs=1e-6
    )
    assert optimizer.plan.settlement.after.positions == direct.settlement.after.positions


def test_the_gas_of_the_golden_instance_comes_from_its_four_numbers():
    instance = sy.mock_instance()
    gas = instance.gas_inputs
    fees = sy.calculate_transaction_gas_fees(
        eth_price_usd=gas.eth_price_usd,
        base_fee_transfer_gwei=gas.base_fee_transfer_gwei,
        base_fee_swap_gwei=gas.base_fee_swap_gwei,
        priority_fee_gwei=gas.priority_fee_gwei,
        min_gas_units=gas.gas_units,
    )
    assert list(fees) == ["allocation", "withdrawal", "conversion", "transfer", "deposit"]
    assert {name: fees[name] for name in instance.problem["gas_usd"]} == instance.problem["gas_usd"]
    assert fees["transfer"] == fees["deposit"] == fees["allocation"] == 1.3164431092892066


def test_gas_in_usd_is_units_times_base_and_priority_fee_times_the_ether_price():
    assert sy.calculate_gas_fee_usd(21_000, 20.0, 10.0, 3000.0) == pytest.approx(1.89)
    with pytest.raises(MissingDataError, match="ETH price"):
        sy.calculate_gas_fee_usd(21_000, 20.0, 10.0, math.nan)


# --- what goes in does not matter in form, and stays as it is ------------------------------------


@pytest.mark.parametrize("form", [json.loads, lambda text: tuple(json.loads(text)), "array"])
def test_tokens_as_json_or_as_lists_give_the_same_plan(form):
    parsed = mock()
    cells = parsed["pools_df"]["underlying_tokens"]
    to_cell = (lambda text: np.array(json.loads(text))) if form == "array" else form
    parsed["pools_df"]["underlying_tokens"] = pd.Series(map(to_cell, cells), dtype=object)
    first, second = solved(mock()), solved(parsed)
    assert first.plan.inputs_sha256 == second.plan.inputs_sha256
    assert first.format_results() == second.format_results()


def test_the_order_of_rows_tokens_and_keys_does_not_matter():
    shuffled = mock()
    frame = shuffled["pools_df"].sample(frac=1.0, random_state=7)
    frame["underlying_tokens"] = [json.loads(text)[::-1] for text in frame["underlying_tokens"]]
    shuffled["pools_df"] = frame[frame.columns[::-1]]
    for name in ("token_prices", "warm_wallet", "current_allocations", "gas_fees", "alloc_params"):
        shuffled[name] = dict(reversed(shuffled[name].items()))
    assert solved(shuffled).format_results() == solved(mock()).format_results()


def test_token_shares_follow_their_tokens_when_those_are_reordered():
    for tokens, shares in ((["USDC", "DAI"], [0.8, 0.2]), (["DAI", "USDC"], "[0.2, 0.8]")):
        optimizer = solved(small({"underlying_tokens": tokens, "token_shares": shares}))
        tokens_usd = optimizer.format_results()["final_allocations"]["p1"]["tokens"]
        assert tokens_usd["USDC"]["amount_usd"] == pytest.approx(800.0)
        assert tokens_usd["DAI"]["amount_usd"] == pytest.approx(200.0)


def test_nothing_that_the_caller_gave_is_changed():
    ours = mock(run_id=3)
    ours["pools_df"]["underlying_tokens"] = [
        json.loads(text) for text in ours["pools_df"]["underlying_tokens"]
    ]
    before = copy.deepcopy(ours)
    optimizer = solved(ours)
    sy.build_token_universe(
        ours["pools_df"], ours["warm_wallet"], ours["current_allocations"]
    ).clear()
    results = optimizer.format_results()
    results["final_allocations"].clear()
    allocations, transactions = optimizer.extract_results()
    allocations["amount"] = 0.0
    transactions.clear()
    pd.testing.assert_frame_equal(ours.pop("pools_df"), before.pop("pools_df"))
    assert ours == before
    assert optimizer.format_results()["final_allocations"]


def test_numbers_may_come_from_a_database():
    ours = mock(
        min_pools=np.int64(5),
        max_alloc_percentage=Decimal("0.25"),
        gas_per_leg=np.bool_(True),
    )
    frame = ours["pools_df"]
    frame["forecasted_apy"] = [Decimal(repr(apy)) for apy in frame["forecasted_apy"]]
    frame["forecasted_tvl"] = frame["forecasted_tvl"].astype("Float64")
    frame["is_active"] = 1
    frame["is_filtered_out"] = frame["is_filtered_out"].astype("boolean")
    ours["warm_wallet"] = {k: Decimal(repr(v)) for k, v in ours["warm_wallet"].items()}
    assert solved(ours).format_results() == solved(mock()).format_results()


# --- parameters ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max_aloc_percentage", "optimization_horizon", "runid"])
def test_an_unknown_parameter_is_refused(name):
    with pytest.raises(ParameterError, match=f"unknown parameter '{name}'"):
        sy.AllocationOptimizer(**mock(**{name: 1}))


def test_a_parameter_out_of_bounds_is_refused():
    with pytest.raises(ParameterError, match="max_alloc_percentage"):
        sy.AllocationOptimizer(**mock(max_alloc_percentage=25))


def test_run_id_and_timestamp_are_kept_as_provenance_and_change_nothing():
    day = pd.Timestamp("2024-03-01")
    optimizer = solved(mock(run_id="r-7", timestamp=day))
    assert optimizer.provenance == {"run_id": "r-7", "timestamp": day}
    assert optimizer.plan.inputs_sha256 == solved(mock()).plan.inputs_sha256
    assert solved(mock()).provenance == {}


def test_a_pool_keeps_its_rate_unless_own_impact_is_named():
    plain = solved(small({"forecasted_tvl": 20_000.0}))
    diluted = solved(small({"forecasted_tvl": 20_000.0}, own_impact="pro_rata"))
    assert plain.problem.parameters.own_impact == "none"
    expected = plain.plan.expected
    assert expected.yield_usd == expected.yield_before_dilution_usd == pytest.approx(50.0)
    assert diluted.plan.expected.yield_usd == pytest.approx(50.0 * 20.0 / 21.0)


def test_risk_groups_limit_only_where_the_frame_has_them():
    caps = {"group1_max_pct": 0.4, "group2_max_pct": 0.1}
    pools = ({"forecasted_apy": 9.0}, {"forecasted_apy": 8.0}, {"forecasted_apy": 3.0})
    assert placed(solved(small(*pools, **caps))) == {"p1": 1000.0}
    grouped = [{**pool, "risk_group": g} for pool, g in zip(pools, (1, 2, np.nan), strict=True)]
    assert placed(solved(small(*grouped, **caps))) == {"p1": 400.0, "p2": 100.0, "p3": 500.0}


def test_the_pessimistic_forecast_counts_by_risk_aversion():
    pools = (
        {"forecasted_apy": 9.0, "forecasted_apy_q10": 1.0},
        {"forecasted_apy": 6.0, "forecasted_apy_q10": 5.0},
    )
    assert placed(solved(small(*pools, risk_aversion=0.5))) == {"p2": 1000.0}
    assert placed(solved(small(*pools, risk_aversion=0.0))) == {"p1": 1000.0}


# --- prices and the book ------------------------------------------------------------------------


@pytest.mark.parametrize("price", ["absent", None, math.nan, 0.0, -1.0])
@pytest.mark.parametrize("token", ["USDC", "DAI"])
def test_a_missing_price_of_what_is_owned_or_could_be_bought_is_an_error(token, price):
    ours = small({"underlying_tokens": ["USDC", "DAI"]})  # USDC is owned, DAI is not
    ours["token_prices"][token] = price
    if price == "absent":
        del ours["token_prices"][token]
    with pytest.raises(MissingDataError, match=f"{token} has no usable USD price"):
        sy.AllocationOptimizer(**ours)


def test_a_price_that_nobody_needs_may_be_missing_or_be_there():
    ours = small({}, wallet={"USDC": 1000.0, "GHO": 0.0})
    ours["token_prices"].update({"ETH": None, "WBTC": 60_000.0})
    assert solved(ours).total_aum == 1000.0


def test_aum_is_wallet_and_positions_at_the_given_prices():
    wallet, held = {"USDC": 100.0, "DAI": 0.0}, {("p1", "DAI"): 50.0, ("gone", "USDC"): 10.0}
    prices = {"USDC": 0.5, "DAI": 2.0, "ETH": 3000.0}
    assert sy.calculate_aum(wallet, held, prices) == 155.0
    assert sy.calculate_aum({}, {}, prices) == 0.0
    with pytest.raises(MissingDataError, match="DAI"):
        sy.calculate_aum(wallet, held, {"USDC": 1.0})


def test_the_token_universe_is_everything_that_is_named_sorted():
    ours = small({"underlying_tokens": '["sUSD", "USDC"]'}, {"underlying_tokens": ["USDe"]})
    found = sy.build_token_universe(
        ours["pools_df"], {"DAI": 0.0}, {("p1", "USDT"): 1.0, ("gone", "GHO"): 1.0}
    )
    assert found == ["DAI", "GHO", "USDC", "USDT", "USDe", "sUSD"]
    assert sy.build_token_universe(ours["pools_df"].iloc[:0], {}, {}) == []


def test_a_position_in_a_token_that_its_pool_does_not_contain_can_only_leave():
    held = {("p1", "DAI"): 500.0}
    optimizer = solved(small({"forecasted_apy": 8.0}, wallet={"USDC": 500.0}, held=held))
    moves = optimizer.format_results()["transactions"]
    assert [step["type"] for step in moves] == ["WITHDRAWAL", "CONVERSION", "ALLOCATION"]
    assert moves[0]["token"] == "DAI"
    assert moves[0]["amount"] == 500.0
    assert (moves[1]["from_token"], moves[1]["to_token"]) == ("DAI", "USDC")
    assert moves[2]["token"] == "USDC"
    assert placed(optimizer) == {"p1": 1000.0}


# --- pools that may not be bought ---------------------------------------------------------------


@pytest.mark.parametrize("closed", [{"is_filtered_out": True}, {"is_active": False}])
def test_a_closed_pool_that_nobody_holds_is_not_bought(closed):
    assert placed(solved(small({"forecasted_apy": 20.0, **closed}, {}))) == {"p2": 1000.0}


def test_a_held_pool_that_is_filtered_out_may_be_kept_but_not_bought():
    optimizer = solved(
        small({"forecasted_apy": 20.0, "is_filtered_out": True}, {}, held={("p1", "USDC"): 300.0})
    )
    assert placed(optimizer) == {"p1": 300.0, "p2": 1000.0}
    poor = solved(
        small({"forecasted_apy": 1.0, "is_filtered_out": True}, {}, held={("p1", "USDC"): 300.0})
    )
    assert placed(poor) == {"p2": 1300.0}


@pytest.mark.parametrize("closed", [{}, {"is_filtered_out": True}])
def test_a_held_pool_that_is_inactive_is_left_even_if_it_would_pay(closed):
    best = {"forecasted_apy": 20.0, "is_active": False, **closed}
    optimizer = solved(small(best, {}, held={("p1", "USDC"): 300.0}))
    assert placed(optimizer) == {"p2": 1300.0}
    assert optimizer.notes == ("held, but inactive or not in pools_df: left completely: p1",)


def test_a_held_pool_that_is_not_in_the_frame_is_left():
    assert placed(solved(small({}, held={("gone", "DAI"): 300.0}))) == {"p1": 1300.0}


@pytest.mark.parametrize("column", ["forecasted_apy", "forecasted_tvl"])
def test_a_held_pool_that_is_filtered_out_and_has_no_forecast_is_not_touched(column):
    unknown = {column: np.nan, "is_filtered_out": True}
    optimizer = solved(small(unknown, {}, held={("p1", "USDC"): 300.0}))
    assert [pool.state for pool in optimizer.problem.pools] == [PoolState.FROZEN, PoolState.OPEN]
    assert placed(optimizer) == {"p1": 300.0, "p2": 1000.0}
    assert "without a forecast: not touched: p1" in optimizer.notes[0]


def test_rows_that_are_not_used_need_not_be_complete():
    empty = {"symbol": None, "underlying_tokens": "?", "forecasted_apy": np.nan}
    ours = small({**empty, "is_filtered_out": True}, {**empty, "is_active": False}, {})
    assert placed(solved(ours)) == {"p3": 1000.0}


# --- what breaks the contract -------------------------------------------------------------------


@pytest.mark.parametrize("column", ["forecasted_apy", "forecasted_tvl"])
def test_an_open_pool_without_a_forecast_is_an_error_that_names_row_and_column(column):
    ours = small({}, {column: np.nan}, held={("p2", "USDC"): 300.0})
    ours["pools_df"].index = ["first", "second"]
    with pytest.raises(MissingDataError, match=rf"row second \(p2\): {column} is unknown"):
        sy.AllocationOptimizer(**ours)


def test_a_pool_that_occurs_twice_is_an_error_even_where_it_is_inactive():
    ours = small({}, {"pool_id": "p1", "is_active": False})
    with pytest.raises(ContractError, match="pool p1 occurs twice"):
        sy.AllocationOptimizer(**ours)


@pytest.mark.parametrize("column", ["pool_id", "underlying_tokens", "is_active"])
def test_a_missing_column_is_named(column):
    ours = small({})
    ours["pools_df"] = ours["pools_df"].drop(columns=column)
    with pytest.raises(ContractError, match=f"no column '{column}'"):
        sy.AllocationOptimizer(**ours)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("pool_id", ""),
        ("pool_id", 7),
        ("symbol", None),
        ("is_active", "False"),
        ("is_active", np.nan),
        ("is_filtered_out", None),
        ("is_filtered_out", 2),
        ("forecasted_apy", "high"),
        ("forecasted_tvl", math.inf),
        ("underlying_tokens", "['USDC']"),
        ("underlying_tokens", '{"USDC": 1}'),
        ("underlying_tokens", '"USDC"'),
        ("underlying_tokens", ["USDC", None]),
        ("underlying_tokens", [""]),
        ("underlying_tokens", 5),
        ("token_shares", ["1.0"]),
        ("token_shares", [True]),
        ("risk_group", 4),
        ("risk_group", 1.5),
    ],
)
def test_an_unreadable_cell_is_an_error_that_names_row_and_column(column, value):
    ours = small({}, {})
    cells = [*ours["pools_df"].get(column, [None, None])][:1]
    ours["pools_df"][column] = pd.Series([*cells, value], dtype=object)
    with pytest.raises(ContractError, match=rf"row 1 \(.*\): {column} is "):
        sy.AllocationOptimizer(**ours)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"underlying_tokens": []}, "no tokens"),
        ({"underlying_tokens": np.nan}, "no tokens"),
        ({"underlying_tokens": ["USDC", "USDC"]}, "a token repeats"),
        ({"token_shares": [0.5, 0.5]}, "2 token_shares for 1 tokens"),
        ({"token_shares": [0.5]}, "token_shares"),
        ({"forecasted_apy": -101.0}, "below -100"),
    ],
)
def test_an_impossible_pool_is_an_error_that_names_it(cells, message):
    with pytest.raises(ContractError, match=message) as caught:
        sy.AllocationOptimizer(**small(cells))
    assert "p1" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gas_fees": {"allocation": 1.0, "withdrawal": 1.0}}, "'conversion' is missing"),
        ({"gas_fees": {**dict.fromkeys(sy.mock_instance().problem["gas_usd"], 1.0), "swap": 1.0}},
         "unknown key 'swap'"),
        ({"gas_fees": {"allocation": -1.0, "withdrawal": 1.0, "conversion": 1.0}}, "allocation"),
        ({"current_allocations": {"p1": 1.0}}, "is not \\(pool_id, token\\)"),
        ({"current_allocations": {("p1", 1): 1.0}}, "is not \\(pool_id, token\\)"),
        ({"current_allocations": {("p1", "USDC"): -1.0}}, "amount -1.0"),
        ({"warm_wallet": {"USDC": None}}, "warm_wallet\\['USDC'\\]: is None"),
        ({"warm_wallet": {"USDC": math.nan}}, "amount nan"),
        ({"warm_wallet": {}}, "are empty"),
        ({"token_prices": {"USDC": "par"}}, "token_prices\\['USDC'\\]: is 'par'"),
    ],
)  # fmt: skip
def test_a_wrong_dict_is_an_error_that_names_the_entry(change, message):
    with pytest.raises(InputError, match=message):
        sy.AllocationOptimizer(**{**small({}), **change})


def test_the_token_universe_needs_its_column_and_pairs_as_keys():
    with pytest.raises(ContractError, match="underlying_tokens"):
        sy.build_token_universe(pd.DataFrame({"pool_id": ["p1"]}), {}, {})
    with pytest.raises(ContractError, match="pool_id, token"):
        sy.build_token_universe(small({})["pools_df"], {}, {"p1": 1.0})


# --- results ------------------------------------------------------------------------------------


def test_results_have_exactly_the_notebooks_structure():
    results = solved(mock(horizon_days=1)).format_results()
    assert list(results) == ["final_allocations", "unallocated_tokens", "transactions"]
    for entry in results["final_allocations"].values():
        assert list(entry) == ["pool_symbol", "tokens"]
        assert all(list(worth) == ["amount", "amount_usd"] for worth in entry["tokens"].values())
    assert results["unallocated_tokens"]
    for worth in results["unallocated_tokens"].values():
        assert list(worth) == ["amount", "amount_usd"]
    symbols = {row["pool_id"]: row["symbol"] for row in sy.mock_instance().problem["pools"]}
    for pool_id, entry in results["final_allocations"].items():
        assert entry["pool_symbol"] == symbols[pool_id]
    assert json.loads(json.dumps(results)) == results


def test_transactions_have_exactly_the_notebooks_keys():
    kinds = set()
    for horizon_days in (1, 30):  # the short one holds, the long one converts
        steps = solved(mock(horizon_days=horizon_days)).format_results()["transactions"]
        assert [step["seq"] for step in steps] == list(range(1, len(steps) + 1))
        for step in steps:
            tokens = ["from_token", "to_token"] if step["type"] == "CONVERSION" else ["token"]
            assert sorted(step) == sorted(TRANSACTION_KEYS + tokens)
            kinds.add(step["type"])
    assert kinds == {"HOLD", "WITHDRAWAL", "CONVERSION", "ALLOCATION"}


def test_extracted_results_are_a_frame_and_the_same_transactions():
    optimizer = solved(mock())
    allocations, transactions = optimizer.extract_results()
    formatted = optimizer.format_results()
    assert list(allocations) == ["pool_id", "pool_symbol", "token", "amount", "amount_usd"]
    assert transactions == formatted["transactions"]
    for row in allocations.itertuples():
        entry = formatted["final_allocations"][row.pool_id]
        assert entry["pool_symbol"] == row.pool_symbol
        assert entry["tokens"][row.token] == {"amount": row.amount, "amount_usd": row.amount_usd}
    assert len(allocations) == sum(
        len(entry["tokens"]) for entry in formatted["final_allocations"].values()
    )


def test_extracted_results_keep_their_columns_when_nothing_is_placed():
    allocations, transactions = solved(small({"forecasted_apy": 0.0})).extract_results()
    assert allocations.empty
    assert list(allocations) == ["pool_id", "pool_symbol", "token", "amount", "amount_usd"]
    assert transactions == []


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from([1.0, 30.0, 365.0]))
@settings(max_examples=25, deadline=None)
def test_no_money_appears_or_disappears_and_costs_add_up(seed, n_pools, horizon_days):
    ours = mock(n_pools, seed, min_pools=0, horizon_days=horizon_days)
    optimizer = solved(ours)
    results = optimizer.format_results()
    final_usd = float(optimizer.extract_results().allocations["amount_usd"].sum())
    left_usd = sum(worth["amount_usd"] for worth in results["unallocated_tokens"].values())
    paid_usd = 0.0
    for step in results["transactions"]:
        cost_usd = step["gas_cost_usd"] + step["conversion_cost_usd"]
        assert step["total_cost_usd"] == pytest.approx(cost_usd, abs=1e-9)
        paid_usd += step["total_cost_usd"]
    assert paid_usd == pytest.approx(optimizer.plan.settlement.costs_usd, abs=1e-6)
    assert final_usd + left_usd + paid_usd == pytest.approx(optimizer.total_aum, abs=0.01)
    assert optimizer.total_aum == sy.calculate_aum(
        ours["warm_wallet"], ours["current_allocations"], ours["token_prices"]
    )


def test_an_amount_in_usd_is_the_amount_at_the_given_price():
    ours = mock()
    results = solved(ours).format_results()
    rows = list(results["unallocated_tokens"].items())
    for entry in results["final_allocations"].values():
        rows += entry["tokens"].items()
    rows += [(s.get("token") or s["from_token"], s) for s in results["transactions"]]
    assert len(rows) > 20
    for token, worth in rows:
        expected_usd = worth["amount"] * ours["token_prices"][token]
        assert worth["amount_usd"] == pytest.approx(expected_usd, rel=1e-9)


# --- solving ------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", [None, "HIGHS", "highs", "SCIP", "GUROBI", object()])
def test_any_solver_may_be_asked_for_and_changes_nothing(solver, capsys):
    optimizer = sy.AllocationOptimizer(**small({}))
    assert optimizer.solve(solver=solver) is True
    printed = capsys.readouterr().out
    assert placed(optimizer) == {"p1": 1000.0}
    is_ours = solver is None or str(solver).upper() == "HIGHS"
    assert ("HiGHS was used" in printed) is not is_ours


def test_solve_prints_a_summary_only_when_asked_to(capsys):
    optimizer = sy.AllocationOptimizer(**small({}, gas=2.0))
    assert optimizer.solve(verbose=False)
    assert capsys.readouterr() == ("", "")
    assert optimizer.solve()
    printed = capsys.readouterr().out
    assert printed.startswith("optimal, within 0.0")
    assert "1 transactions cost 2.00 USD (gas 2.00, conversion 0.00)" in printed
    assert "AUM 1,000.00 -> 998.00 USD" in printed
    assert "49.90 USD, 47.90 after costs; weighted APY 5.00 %" in printed


def test_solving_twice_gives_the_same_plan():
    optimizer = solved(mock())
    first = optimizer.format_results()
    assert optimizer.solve(verbose=False)
    assert optimizer.format_results() == first


def test_there_are_no_results_before_solve():
    optimizer = sy.AllocationOptimizer(**small({}))
    for results in (optimizer.format_results, optimizer.extract_results):
        with pytest.raises(InputError, match="has not been called"):
            results()


def test_limits_that_cannot_be_met_are_said_and_kept(capsys):
    optimizer = sy.AllocationOptimizer(**small({}, {}, min_pools=3))
    assert optimizer.solve() is False
    assert [limit.limit for limit in optimizer.infeasible_because] == ["min_pools"]
    printed = capsys.readouterr().out
    assert printed.startswith("no plan meets the limits: ")
    assert optimizer.infeasible_because[0].detail in printed
    assert optimizer.plan is None
    for results in (optimizer.format_results, optimizer.extract_results):
        with pytest.raises(InputError, match="there are no results: no plan meets the limits"):
            results()


def test_on_failure_raise_raises_and_leaves_no_results():
    optimizer = sy.AllocationOptimizer(**small({}, {}, min_pools=3, on_failure="raise"))
    with pytest.raises(InfeasibleError, match="3 pools of at least 10"):
        optimizer.solve(verbose=False)
    with pytest.raises(InputError, match="did not finish"):
        optimizer.format_results()


def test_on_failure_relax_finds_a_plan_and_says_what_was_relaxed(capsys):
    optimizer = sy.AllocationOptimizer(**small({}, {}, min_pools=3, on_failure="relax"))
    assert optimizer.solve() is True
    assert "relaxed: min_pools" in capsys.readouterr().out
    assert sum(placed(optimizer).values()) == pytest.approx(1000.0)


def test_relaxing_that_does_not_help_is_no_plan():
    # gas for leaving the inactive pool is more than what there is: no limit to relax
    ours = small(
        {"is_active": False},
        wallet={},
        held={("p1", "USDC"): 100.0},
        gas=500.0,
        on_failure="relax",
    )
    optimizer = sy.AllocationOptimizer(**ours)
    assert optimizer.solve(verbose=False) is False
    assert optimizer.infeasible_because
    assert optimizer.plan is None


def test_a_plan_that_was_not_found_in_time_is_no_plan(monkeypatch, capsys):
    optimizer = solved(small({}))
    late = replace(
        optimizer.plan,
        certificate=replace(
            optimizer.plan.certificate, status="time_limit", objective_usd=math.nan
        ),
    )
    monkeypatch.setattr(notebook, "solve", lambda problem: late)
    monkeypatch.setattr(notebook, "checked", lambda plan: plan)
    assert optimizer.solve() is False
    assert "in time" in capsys.readouterr().out
    assert optimizer.infeasible_because == ()
    with pytest.raises(InputError, match="time_limit_seconds"):
        optimizer.format_results()


# --- notes --------------------------------------------------------------------------------------


def test_rates_that_look_like_fractions_are_noted(capsys):
    rates = [{"forecasted_apy": rate} for rate in (0.05, 0.04, 0.0, 0.06)]
    optimizer = sy.AllocationOptimizer(**small(*rates, pool_apy_limit=0.0))
    assert optimizer.notes == ("forecasted_apy has a median of 0.0500 %: is it a fraction?",)
    optimizer.solve()
    assert "note: forecasted_apy has a median" in capsys.readouterr().out


def test_open_pools_below_the_screening_limits_are_noted_not_dropped():
    ours = small({"forecasted_apy": 3.0}, {"forecasted_apy": 9.0, "forecasted_tvl": 50_000.0},
                 pool_apy_limit=0.04, pool_tvl_limit=1e5)  # fmt: skip
    optimizer = solved(ours)
    assert [note.split(";")[0] for note in optimizer.notes] == [
        "1 open pools are below pool_apy_limit",
        "1 open pools are below pool_tvl_limit",
    ]
    assert placed(optimizer) == {"p2": 1000.0}


# --- the example --------------------------------------------------------------------------------


def test_the_example_notebook_runs_and_is_stored_without_outputs(capsys):
    document = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    cells = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    names: dict[str, object] = {}
    for cell in cells:
        assert cell["outputs"] == []
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["is_solved"] is True
    assert names["has_plan"] is False
    assert abs(names["unaccounted_usd"]) < 0.01
    assert "no plan meets the limits" in capsys.readouterr().out
