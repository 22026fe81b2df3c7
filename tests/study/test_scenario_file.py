from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from stableyield.errors import ContractError, InputError, ParameterError
from stableyield.study import MarketDay, MockMarket, ProblemFile, Scenario, read_scenarios
from stableyield.study.scenario import GasUsd


@pytest.fixture
def read(tmp_path):
    def write_and_read(text: str) -> tuple[Scenario, ...]:
        (tmp_path / "study.toml").write_text(text, encoding="utf-8")
        return read_scenarios(tmp_path / "study.toml")

    return write_and_read


def test_scenarios_come_in_the_order_of_the_file_with_their_overrides(read):
    first, second = read(
        """
        [[scenario]]
        name = "Zeta"
        mock = { pools = 3 }
        [[scenario]]
        name = "Alpha"
        mock = { pools = 4, seed = 7, aum_usd = 2e6, gas_of = 15 }
        [scenario.parameters]
        min_pools = 2
        """
    )
    assert (first.name, dict(first.parameters)) == ("Zeta", {})
    assert first.market == MockMarket(pools=3)
    assert (second.name, dict(second.parameters)) == ("Alpha", {"min_pools": 2})
    assert second.market == MockMarket(pools=4, seed=7, aum_usd=2e6, gas_of=15)


def test_what_a_scenario_says_goes_before_what_the_defaults_say(read):
    plain, own = read(
        """
        [defaults]
        mock = { pools = 15, seed = 1 }
        [defaults.parameters]
        min_pools = 3
        horizon_days = 365
        [[scenario]]
        name = "plain"
        [[scenario]]
        name = "own"
        mock = { pools = 30 }
        parameters = { min_pools = 1 }
        """
    )
    assert plain.market == MockMarket(pools=15, seed=1)
    assert dict(plain.parameters) == {"min_pools": 3, "horizon_days": 365}
    assert own.market == MockMarket(pools=30, seed=1)
    assert dict(own.parameters) == {"min_pools": 1, "horizon_days": 365}


def test_another_kind_of_market_replaces_that_of_the_defaults(read, tmp_path):
    (scenario,) = read(
        """
        [defaults]
        mock = { pools = 15 }
        [[scenario]]
        name = "file"
        problem = "problems/one.json"
        """
    )
    assert scenario.market == ProblemFile(path=tmp_path / "problems/one.json")


def test_a_day_of_a_market_directory_is_found_beside_the_file(read, tmp_path):
    first, second = read(
        """
        [defaults.market]
        directory = "../market"
        day = 2025-03-01
        [[scenario]]
        name = "TOML date"
        [[scenario]]
        name = "text"
        [scenario.market]
        day = "2025-03-02"
        aum_usd = 5_000_000
        token = "DAI"
        forecast = "last"
        assume_par = true
        gas_usd = { allocation = 5, withdrawal = 5, conversion = 8.5 }
        """
    )
    assert first.market == MarketDay(directory=tmp_path / "../market", day=date(2025, 3, 1))
    assert second.market == MarketDay(
        directory=tmp_path / "../market",
        day=date(2025, 3, 2),
        aum_usd=5e6,
        token="DAI",
        forecast="last",
        assume_par=True,
        gas_usd=GasUsd(allocation=5.0, withdrawal=5.0, conversion=8.5),
    )


MOCK = "mock = { pools = 5 }\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[default]\n[[scenario]]\nname = "A"\n' + MOCK, ("'default'", "did you mean 'defaults'")),
        ('[defaults]\nmok = 1\n[[scenario]]\nname = "A"\n', ("'defaults.mok'",)),
        ('[[scenario]]\nname = "A"\nmin_pools = 3\n' + MOCK, ("scenario 'A'", "'min_pools'")),
        ('[[scenario]]\nname = "A"\nmock = { pool = 5 }', ("scenario 'A'", "'mock.pool'")),
        (
            '[[scenario]]\nname = "A"\nmarket = { directory = ".", day = 2025-01-01, tokn = "X" }',
            ("scenario 'A'", "'market.tokn'"),
        ),
    ],
)
def test_an_unknown_key_is_an_error_that_names_file_scenario_and_key(read, text, said):
    with pytest.raises(ContractError, match="unknown key") as caught:
        read(text)
    for part in ("study.toml", *said):
        assert part in caught.value.one_line


@pytest.mark.parametrize(
    ("where", "place"),
    [("[scenario.parameters]", "scenario 'A'"), ("[defaults.parameters]", "defaults.parameters")],
)
def test_an_unknown_parameter_is_an_error_with_the_nearest_name(read, where, place):
    with pytest.raises(ParameterError, match="did you mean 'min_pools'") as caught:
        read(f'[[scenario]]\nname = "A"\n{MOCK}{where}\nmin_pool = 3\n')
    assert "study.toml" in caught.value.where
    assert place in caught.value.where


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no scenario"),
        ("scenario = 3", "there is no scenario"),
        ("scenario = [3]", "must be a table"),
        ("[[scenario]]\n" + MOCK, "name is None"),
        ('[[scenario]]\nname = ""\n' + MOCK, "name is ''"),
        ('[[scenario]]\nname = "!?"\n' + MOCK, "cannot name a file"),
        (f'[[scenario]]\nname = "{"x" * 81}"\n' + MOCK, "cannot name a file"),
        ('[[scenario]]\nname = "a\\nb"\n' + MOCK, "cannot name a file"),
        ('[[scenario]]\nname = "A"', "has 0 markets"),
        ('[[scenario]]\nname = "A"\nproblem = "x.json"\n' + MOCK, "has 2 markets"),
        ('[[scenario]]\nname = "A"\nproblem = 3', "problem must be a path"),
        ('[[scenario]]\nname = "A"\nmock = 15', "mock must be a table"),
        ('[[scenario]]\nname = "A"\nmock = { pools = 0 }', "mock.pools"),
        ('[[scenario]]\nname = "A"\nmock = { pools = true }', "mock.pools"),
        ('[[scenario]]\nname = "A"\nmock = { aum_usd = nan }', "mock.aum_usd"),
        ('[[scenario]]\nname = "A"\nmarket = { directory = "." }', "'market.day' is missing"),
        (
            '[[scenario]]\nname = "A"\nmarket = { directory = 1, day = 2025-01-01 }',
            "must be a path",
        ),
        ('[[scenario]]\nname = "A"\nmarket = { directory = ".", day = "May" }', "market.day"),
        ('[[scenario]]\nname = "A"\nparameters = 3\n' + MOCK, "parameters must be a table"),
        ("[[scenario]", "is not TOML"),
    ],
)
def test_a_broken_file_is_refused_by_name(read, text, said):
    with pytest.raises(InputError) as caught:
        read(text)
    assert said in caught.value.one_line
    assert "study.toml" in caught.value.one_line


@pytest.mark.parametrize(("first", "second"), [("A b", "A b"), ("A b", "a-B"), ("é", "e")])
def test_names_that_would_write_the_same_files_are_refused(read, first, second):
    with pytest.raises(ContractError) as caught:
        read("".join(f'[[scenario]]\nname = "{name}"\n{MOCK}' for name in (first, second)))
    assert f"scenario {second!r}" in caught.value.where


def test_a_file_that_is_not_there_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_scenarios(tmp_path / "none.toml")


def test_a_file_that_is_not_text_is_an_input_error(tmp_path):
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not TOML"):
        read_scenarios(tmp_path / "bytes.toml")


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("High Max Allocation", "High_Max_Allocation"),
        ("../../etc/passwd", "etc_passwd"),
        ("30 % – café", "30_cafe"),
        ("A.B", "A_B"),
    ],
)
def test_a_name_becomes_a_part_of_file_names_without_paths_and_spaces(name, slug):
    assert Scenario(name, MockMarket()).slug == slug


def test_the_shipped_notebook_scenarios_are_those_of_the_notebooks():
    path = Path(__file__).resolve().parents[2] / "scenarios" / "notebook.toml"
    scenarios = read_scenarios(path)
    pools = {s.name: s.market.pools for s in scenarios if isinstance(s.market, MockMarket)}
    assert pools == {
        "Baseline": 15,
        "High Max Allocation": 15,
        "Low TVL Limit": 15,
        "High Conversion Cost": 15,
        "Many Small Pools": 30,
        "Few Large Pools": 5,
        "Custom": 25,
    }
    assert all(s.parameters["horizon_days"] == 365 for s in scenarios)
    overrides = {s.name: {**s.parameters} for s in scenarios}
    for values in overrides.values():
        del values["horizon_days"]
    assert overrides["Baseline"] == {}
    assert overrides["High Max Allocation"]["max_alloc_percentage"] == 0.5
    assert overrides["Low TVL Limit"] == {"tvl_limit_percentage": 0.01}
    assert overrides["High Conversion Cost"] == {"conversion_rate": 0.001}
    assert overrides["Custom"] == {
        "max_alloc_percentage": 0.3,
        "position_max_pct_total_assets": 0.3,
        "tvl_limit_percentage": 0.03,
        "conversion_rate": 0.0005,
        "min_transaction_value": 100,
    }
