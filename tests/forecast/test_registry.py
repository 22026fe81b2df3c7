from __future__ import annotations

import pytest

from stableyield.errors import ParameterError
from stableyield.forecast import BASELINES, FORECASTERS, baseline, forecaster
from stableyield.forecast.registry import judged_forecaster


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


def test_the_learned_forecaster_learns_what_it_is_judged_by() -> None:
    quoted, realised = (
        judged_forecaster("stableyield", target=target, refit_every_days=28)
        for target in ("quoted", "realised")
    )
    assert realised.settings.target == "realised"  # type: ignore[attr-defined]
    assert realised.settings.refit_every_days == 28  # type: ignore[attr-defined]
    assert quoted.model_version != realised.model_version  # type: ignore[attr-defined]
    assert judged_forecaster("ewma", target="realised").name == "ewma"
