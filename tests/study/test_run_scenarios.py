from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stableyield.allocation import checked, problem_document, read_problem, solve, verify
from stableyield.errors import (
    ContractError,
    DayOutOfRangeError,
    InputError,
    MissingDataError,
    ParameterError,
)
from stableyield.market.files import write_market
from stableyield.market.mock import mock_instance
from stableyield.study import (
    MarketDay,
    MockMarket,
    ProblemFile,
    Scenario,
    read_scenarios,
    run_scenarios,
    scenario_problem,
)
from stableyield.study import scenarios as runner
from stableyield.study.scenario import GasUsd
from support.markets import FIRST_DAY, synthetic_frames

NOTEBOOK = Path(__file__).resolve().parents[2] / "scenarios" / "notebook.toml"
# what the notebooks printed: AUM to the cent, and the money they could not account for
RECORDED_AUM_USD = {
    "Baseline": 999_729.21,
    "High Max Allocation": 999_729.21,
    "Low TVL Limit": 999_729.21,
    "High Conversion Cost": 999_729.21,
    "Many Small Pools": 998_141.04,
    "Few Large Pools": 1_000_214.30,
    "Custom": 1_000_416.35,
}
RESULT_COLUMNS = [
    "scenario",
    "total_aum",
    "total_allocated",
    "total_unallocated",
    "total_cost",
    "num_pools",
    "num_transactions",
    "weighted_apy",
    "allocation_pct",
    "cost_pct",
    "solve_time",
    "status",
    "reason",
]
SMALL = MockMarket(pools=5)


@pytest.fixture(scope="module")
def notebook():
    return run_scenarios(NOTEBOOK)


@pytest.fixture(scope="module")
def market_directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("market")
    write_market(synthetic_frames(), directory)
    return directory


# --- the notebooks' scenarios --------------------------------------------------------------------


def test_the_notebook_scenarios_own_what_the_notebooks_recorded_to_the_cent(notebook):
    table = notebook.table()
    assert dict(zip(table["scenario"], table["total_aum"].round(2), strict=True)) == (
        RECORDED_AUM_USD
    )


def test_no_notebook_scenario_leaves_a_cent_unaccounted_for(notebook):
    table = notebook.table()
    parts = table["total_allocated"] + table["total_unallocated"] + table["total_cost"]
    assert (table["total_aum"] - parts).abs().max() < 1e-6
    for outcome in notebook.outcomes:
        check = verify(outcome.plan)
        assert check.violations == ()
        assert abs(check.unaccounted_usd) < 1e-6


def test_every_notebook_scenario_is_solved_to_its_gap_and_nearly_all_is_invested(notebook):
    table = notebook.table()
    assert list(table["status"]) == ["optimal"] * 7
    assert list(table["reason"]) == [""] * 7
    assert table["allocation_pct"].min() > 99.9
    assert table["num_pools"].min() >= 5


def test_the_plans_earn_more_a_year_than_the_recorded_ones_which_lost_money(notebook):
    recorded = {  # allocated USD and weighted APY of the notebooks' own optimiser
        "Baseline": (861_757.02, 11.821351),
        "High Max Allocation": (861_762.39, 13.269093),
        "Low TVL Limit": (862_299.14, 11.222736),
        "High Conversion Cost": (861_757.02, 11.821351),
        "Few Large Pools": (749_410.00, 9.24),
    }
    table = notebook.table().set_index("scenario")
    for name, (allocated_usd, apy_pct) in recorded.items():
        row = table.loc[name]
        assert row["total_allocated"] * row["weighted_apy"] > allocated_usd * apy_pct


@pytest.mark.parametrize(
    ("name", "recorded_usd"),
    [("Many Small Pools", 997_971.95 * 0.15016536), ("Custom", 1_000_223.0 * 0.1370)],
)
def test_with_as_few_real_pools_as_the_recorded_runs_had_the_plans_earn_more(name, recorded_usd):
    scenario = next(s for s in read_scenarios(NOTEBOOK) if s.name == name)
    four = replace(scenario, parameters={**scenario.parameters, "min_pools": 4})
    (row,) = run_scenarios([four]).table().to_dict("records")
    assert row["total_allocated"] * row["weighted_apy"] / 100.0 > recorded_usd


def test_scenarios_of_another_size_keep_the_gas_of_fifteen_pools(notebook):
    gas = {outcome.plan.problem.gas for outcome in notebook.outcomes}
    assert gas == {mock_instance(15).gas_usd}


def test_a_higher_cap_and_a_lower_fee_never_earn_less(notebook):
    net = {o.name: o.plan.expected.net_usd for o in notebook.outcomes}
    assert net["High Max Allocation"] > net["Baseline"] > net["High Conversion Cost"]
    assert net["Baseline"] > net["Low TVL Limit"]


# --- the tables ----------------------------------------------------------------------------------


def test_the_table_has_the_notebooks_columns_then_status_and_reason(notebook):
    table = notebook.table()
    assert list(table.columns) == RESULT_COLUMNS
    assert tuple(table["scenario"]) == notebook.names == tuple(RECORDED_AUM_USD)


def test_the_tables_of_a_plan_add_up_to_its_row(notebook):
    table = notebook.table().set_index("scenario")
    for name in notebook.names:
        row, allocations = table.loc[name], notebook.allocations(name)
        transactions = notebook.transactions(name)
        assert allocations["amount_usd"].sum() == pytest.approx(row["total_allocated"], abs=0.01)
        assert allocations["pool_id"].nunique() == row["num_pools"]
        assert transactions["total_cost_usd"].sum() == pytest.approx(row["total_cost"], abs=1e-6)
        assert len(transactions) == row["num_transactions"]
        assert row["allocation_pct"] == pytest.approx(
            100.0 * row["total_allocated"] / row["total_aum"]
        )
        assert row["cost_pct"] == pytest.approx(100.0 * row["total_cost"] / row["total_aum"])


def test_a_conversion_names_two_tokens_and_other_transactions_one(notebook):
    steps = notebook.transactions("Custom")
    is_swap = steps["type"] == "CONVERSION"
    assert is_swap.any()
    assert (steps.loc[is_swap, ["from_token", "to_token"]] != "").all(axis=None)
    assert (steps.loc[is_swap, "token"] == "").all()
    assert (steps.loc[~is_swap, "token"] != "").all()
    assert steps["to_amount"].notna().equals(is_swap)
    assert "HOLD" not in set(steps["type"])


def test_allocations_have_the_columns_of_the_format(notebook):
    assert list(notebook.allocations("Baseline").columns) == [
        "scenario",
        "pool_id",
        "pool_symbol",
        "token",
        "amount",
        "amount_usd",
    ]


def test_tables_without_rows_have_the_same_columns_and_types(market_directory):
    day = FIRST_DAY + timedelta(days=40)
    market = MarketDay(directory=market_directory, day=day)
    results = run_scenarios(
        [Scenario("none", market, {"min_pools": 500}), Scenario("some", market)]
    )
    for kind in (results.allocations, results.transactions):
        assert len(kind("none")) == 0
        assert len(kind("some")) > 0
        pd.testing.assert_series_equal(kind("none").dtypes, kind("some").dtypes)


def test_two_runs_differ_in_nothing_but_the_time_they_took(notebook):
    again = run_scenarios(NOTEBOOK)
    csv = [r.table().drop(columns="solve_time").to_csv(index=False) for r in (notebook, again)]
    assert csv[0] == csv[1]
    for name in notebook.names:
        assert notebook.allocations(name).to_csv() == again.allocations(name).to_csv()
        assert notebook.transactions(name).to_csv() == again.transactions(name).to_csv()


def test_an_unknown_scenario_is_an_error_that_lists_the_known_ones(notebook):
    with pytest.raises(ParameterError, match="Few Large Pools"):
        notebook.allocations("Basline")


# --- scenarios without a plan ---------------------------------------------------------------------


@pytest.mark.parametrize("on_failure", ["hold", "raise"])
def test_an_infeasible_scenario_is_a_row_with_its_reason_and_the_others_go_on(on_failure):
    results = run_scenarios(
        [
            Scenario("before", SMALL),
            Scenario("impossible", SMALL, {"min_pools": 6, "on_failure": on_failure}),
            Scenario("after", SMALL),
        ]
    )
    table = results.table().set_index("scenario")
    assert list(table["status"]) == ["optimal", "infeasible", "optimal"]
    row = table.loc["impossible"]
    assert "6 pools" in row["reason"]
    assert (row["total_cost"], row["num_transactions"]) == (0.0, 0)
    book = results.outcome("impossible").plan.problem.book
    assert results.outcome("impossible").plan.settlement.after == book
    assert row["total_allocated"] + row["total_unallocated"] == pytest.approx(row["total_aum"])
    same = table.loc[["before", "after"]].drop(columns="solve_time")
    assert same.iloc[0].equals(same.iloc[1])


def test_relaxed_limits_are_named_in_the_row():
    (row,) = (
        run_scenarios([Scenario("relaxed", SMALL, {"min_pools": 6, "on_failure": "relax"})])
        .table()
        .to_dict("records")
    )
    assert row["status"] == "optimal"
    assert "min_pools relaxed from 6 to 5" in row["reason"]


def test_a_scenario_that_relaxing_does_not_help_is_an_infeasible_row(monkeypatch):
    def refuse(problem):
        if problem.parameters.on_failure == "relax":
            raise runner.InfeasibleError("no plan meets the limits")
        return solve(problem)

    monkeypatch.setattr(runner, "solve", refuse)
    results = run_scenarios([Scenario("A", SMALL, {"min_pools": 6, "on_failure": "relax"})])
    assert list(results.table()["status"]) == ["infeasible"]


# --- markets --------------------------------------------------------------------------------------


def test_a_problem_file_gives_the_plan_of_that_problem(tmp_path):
    document = mock_instance(5).problem
    document["parameters"] = {**document["parameters"], "horizon_days": 90, "min_pools": 2}
    (tmp_path / "one.json").write_text(json.dumps(document))
    (tmp_path / "study.toml").write_text(
        '[[scenario]]\nname = "A"\nproblem = "one.json"\n'
        "[scenario.parameters]\nmax_alloc_percentage = 0.2\n"
    )
    (outcome,) = run_scenarios(tmp_path / "study.toml").outcomes
    parameters = outcome.plan.problem.parameters
    assert (parameters.horizon_days, parameters.min_pools) == (90.0, 2)
    assert parameters.max_alloc_percentage == 0.2
    problem = read_problem(tmp_path / "one.json")
    expected = checked(solve(problem.with_parameters(parameters)))
    assert outcome.plan.settlement.after == expected.settlement.after


def test_a_problem_path_is_relative_to_the_file_wherever_one_is(tmp_path, monkeypatch):
    (tmp_path / "studies").mkdir()
    (tmp_path / "one.json").write_text(json.dumps(mock_instance(5).problem))
    (tmp_path / "studies" / "study.toml").write_text(
        '[[scenario]]\nname = "A"\nproblem = "../one.json"\n'
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run_scenarios("../studies/study.toml").names == ("A",)


def test_a_day_of_a_market_sees_nothing_of_later_days(market_directory, tmp_path):
    frames = synthetic_frames()
    day = FIRST_DAY + timedelta(days=40)
    until = np.datetime64(day)
    later = frames.pool_daily["date"].to_numpy() > until
    changed = frames.pool_daily.copy()
    changed.loc[later, "apy_pct"] = changed.loc[later, "apy_pct"] * 3.0 + 1.0
    write_market(replace(frames, pool_daily=changed), tmp_path / "another_future")
    documents = [
        problem_document(
            run_scenarios([Scenario("A", MarketDay(directory=directory, day=day))])
            .outcomes[0]
            .plan.problem
        )
        for directory in (market_directory, tmp_path / "another_future")
    ]
    assert documents[0] == documents[1]
    assert len(documents[0]["pools"]) > 3


def test_money_starts_in_the_token_of_the_scenario(market_directory):
    market = MarketDay(
        directory=market_directory,
        day=FIRST_DAY + timedelta(days=40),
        aum_usd=3e6,
        token="DAI",
        forecast="last",
    )
    (outcome,) = run_scenarios([Scenario("A", market)]).outcomes
    assert set(outcome.plan.problem.book.wallet) == {"DAI"}
    assert outcome.plan.problem.aum_usd == pytest.approx(3e6)
    assert outcome.assumptions  # the market is synthetic, and says so


def test_fixed_gas_is_used_and_said(market_directory):
    market = MarketDay(
        directory=market_directory,
        day=FIRST_DAY + timedelta(days=40),
        gas_usd=GasUsd(allocation=1.0, withdrawal=2.0, conversion=3.0),
    )
    (outcome,) = run_scenarios([Scenario("A", market)]).outcomes
    gas = outcome.plan.problem.gas
    assert (gas.allocation, gas.withdrawal, gas.conversion) == (1.0, 2.0, 3.0)
    assert any("fixed" in sentence for sentence in outcome.assumptions)


def test_a_market_without_foreign_forecasts_offers_no_pool_to_the_foreign_forecaster(
    market_directory,
):
    day = FIRST_DAY + timedelta(days=40)
    market = MarketDay(directory=market_directory, day=day, forecast="foreign")
    (row,) = run_scenarios([Scenario("A", market)]).table().to_dict("records")
    assert (row["status"], row["num_pools"]) == ("infeasible", 0)


def test_a_market_is_read_once_for_all_its_days(market_directory, monkeypatch):
    read = []

    def counted(directory, **options):
        read.append(directory)
        return scenario_problem_read(directory, **options)

    scenario_problem_read = scenario_problem.read_market
    monkeypatch.setattr(scenario_problem, "read_market", counted)
    run_scenarios(
        [
            Scenario(
                f"day {n}", MarketDay(directory=market_directory, day=FIRST_DAY + timedelta(n))
            )
            for n in (40, 41)
        ]
    )
    assert read == [market_directory]


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("market", "parameters", "error", "said"),
    [
        (ProblemFile(path=Path("none.json")), {}, InputError, "none.json"),
        (SMALL, {"min_pools": -1}, ParameterError, "min_pools"),
        (SMALL, {"min_pols": 1}, ParameterError, "did you mean 'min_pools'"),
        (SMALL, {"group1_apy_delta_max": 0.05}, ParameterError, "group1_apy_delta_max"),
        (MarketDay(directory=Path("none"), day=FIRST_DAY), {}, MissingDataError, "none"),
    ],
)
def test_bad_input_in_one_scenario_stops_before_anything_is_solved(
    market, parameters, error, said, monkeypatch
):
    monkeypatch.setattr(runner, "solve", lambda problem: pytest.fail("something was solved"))
    with pytest.raises(error) as caught:
        run_scenarios([Scenario("good", SMALL), Scenario("bad one", market, parameters)])
    assert "scenario 'bad one'" in caught.value.one_line
    assert said in caught.value.one_line


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"day": FIRST_DAY - timedelta(days=1)}, DayOutOfRangeError, "outside the market"),
        ({"token": "USDc"}, MissingDataError, "USDc"),
        ({"forecast": "tarot"}, ParameterError, "tarot"),
    ],
)
def test_a_market_that_cannot_be_used_names_the_scenario(market_directory, changes, error, said):
    market = MarketDay(directory=market_directory, day=FIRST_DAY + timedelta(days=40))
    with pytest.raises(error) as caught:
        run_scenarios([Scenario("A", market.model_copy(update=changes))])
    assert "scenario 'A'" in caught.value.one_line
    assert said in caught.value.one_line


def test_no_scenario_at_all_is_an_error():
    with pytest.raises(ContractError, match="there is no scenario"):
        run_scenarios([])


def test_equal_names_are_an_error_in_python_too():
    with pytest.raises(ContractError, match="occurs twice"):
        run_scenarios([Scenario("A", SMALL), Scenario("A", SMALL)])


def test_progress_is_told_after_every_scenario():
    told = []
    run_scenarios(
        [Scenario("A", SMALL), Scenario("B", SMALL)], progress=lambda *done: told.append(done)
    )
    assert told == [(1, 2), (2, 2)]


def test_a_plan_that_was_not_proven_in_time_says_so():
    (outcome,) = run_scenarios([Scenario("A", SMALL)]).outcomes
    late = replace(outcome.plan, certificate=replace(outcome.plan.certificate, status="time_limit"))
    assert replace(outcome, plan=late).reason == "the best plan found in time"
    none = replace(late, certificate=replace(late.certificate, objective_usd=math.nan))
    assert replace(outcome, plan=none).reason == "no plan was found in time"
