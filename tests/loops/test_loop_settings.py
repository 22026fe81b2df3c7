"""Settings of a loop: exactly one way to fix the leverage, everything within bounds."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from stableyield.errors import ParameterError
from stableyield.loops import LoopCosts, LoopSettings, LoopTarget
from stableyield.loops.settings import DEFAULT_HEALTH_FACTOR


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ltv": 0.9, "rounds": 3, "leverage": 2.0}, "ltv and leverage are given together"),
        ({"leverage": 2.0, "health_factor": 1.2}, "leverage and health_factor"),
        ({"rounds": 3}, "rounds is given without ltv"),
        ({"ltv": 0.9}, "neither rounds nor stop_share"),
        ({"ltv": 0.9, "rounds": 3, "stop_share": 0.1}, "rounds and stop_share"),
        ({"ltv": 90.0, "rounds": 3}, "ltv is 90"),
        ({"leverage": 0.5}, "leverage is 0.5"),
        ({"health_factor": 0.9}, "health_factor is 0.9"),
        ({"ltv": 0.9, "rounds": 500}, "the largest is 200"),
    ],
)
def test_a_target_that_contradicts_itself_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        LoopTarget(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"equity_usd": 0.0}, "equity_usd is 0.0"),
        ({"rewards_haircut": 25.0}, "rewards_haircut"),
        ({"hysteresis": True}, "hysteresis is True"),
        ({"signal_days": 0}, "signal_days"),
        ({"unlever_after_days": 0}, "unlever_after_days"),
        ({"over_limit": "maybe"}, "over_limit is 'maybe'"),
        ({"own_impact": "some"}, "own_impact is 'some'"),
        ({"start": date(2024, 2, 1), "end": date(2024, 1, 1)}, "is before start"),
        (
            {"target": LoopTarget(health_factor=1.01), "min_health_factor": 1.05},
            "below min_health_factor",
        ),
    ],
)
def test_a_setting_out_of_bounds_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        LoopSettings(**given)


@pytest.mark.parametrize(
    "given", [{"swap": 1.0}, {"gas_usd": -1.0}, {"execution": "magic"}, {"gas_units": -1.0}]
)
def test_a_cost_out_of_bounds_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        LoopCosts(**given)


def test_nothing_given_aims_at_a_health_factor() -> None:
    assert LoopTarget().wanted_health_factor == DEFAULT_HEALTH_FACTOR
    assert LoopTarget().size(0.78) == pytest.approx(1.3 / (1.3 - 0.78))


def test_rounds_and_stop_share_say_the_same() -> None:
    by_rounds, by_share = LoopTarget(ltv=0.9, rounds=3), LoopTarget(ltv=0.9, stop_share=0.8)
    assert by_rounds.size(1.0) == by_share.size(1.0) == pytest.approx(3.439)


@pytest.mark.parametrize(("size", "n"), [(1.0, 0), (1.9, 1), (1.91, 2), (3.439, 3), (10.0, 44)])
def test_a_leverage_by_hand_takes_as_many_rounds_as_reach_it(size: float, n: int) -> None:
    assert LoopTarget(leverage=size).rounds_by_hand(size, 0.9) == n
