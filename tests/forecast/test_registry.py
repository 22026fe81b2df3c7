from __future__ import annotations

import pytest

from stableyield.errors import ParameterError
from stableyield.forecast import BASELINES, FORECASTERS, baseline, forecaster


def test_every_name_gives_a_forecaster_of_that_name() -> None:
    for name in FORECASTERS:
        expected = "learned" if name == "stableyield" else name
        assert forecaster(name).name == expected


def test_a_baseline_by_name_is_the_baseline() -> None:
    assert [forecaster(name).name for name in BASELINES] == list(BASELINES)
    found = forecaster("ewma", half_life_days=3)
    assert found.model_version == baseline("ewma", half_life_days=3).model_version  # type: ignore[attr-defined]


def test_a_misspelt_name_suggests_the_right_one() -> None:
    with pytest.raises(ParameterError, match="did you mean 'learned'"):
        forecaster("lerned")


@pytest.mark.parametrize("name", ["ewma", "foreign", "learned"])
def test_an_option_that_it_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(ParameterError, match="no_such_option"):
        forecaster(name, no_such_option=3)
