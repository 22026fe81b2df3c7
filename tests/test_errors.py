"""Every error says what, where and what to do, and knows its exit code."""

from __future__ import annotations

import pytest

from stableyield import errors
from stableyield.errors import (
    ConservationError,
    ContractError,
    DataQualityError,
    DayOutOfRangeError,
    InfeasibleError,
    InputError,
    IntegrityError,
    LookAheadError,
    MissingDataError,
    ParameterError,
    SolverError,
    SourceError,
    StableyieldError,
)

EXIT_CODES = {
    StableyieldError: 1,
    InputError: 2,
    ParameterError: 2,
    ContractError: 2,
    MissingDataError: 2,
    DayOutOfRangeError: 2,
    InfeasibleError: 3,
    SourceError: 4,
    DataQualityError: 5,
    SolverError: 1,
    IntegrityError: 1,
    ConservationError: 1,
    LookAheadError: 1,
}


def test_the_message_is_where_what_remedy() -> None:
    error = ContractError("column 'apy_pct' is missing", where="pools.csv", remedy="add it")
    assert str(error) == "pools.csv: column 'apy_pct' is missing (add it)"
    assert (error.what, error.where, error.remedy) == (
        "column 'apy_pct' is missing",
        "pools.csv",
        "add it",
    )


def test_place_and_remedy_may_be_absent() -> None:
    assert str(StableyieldError("no")) == "no"
    assert StableyieldError("no", details=("line 1", "line 2")).details == ("line 1", "line 2")


@pytest.mark.parametrize(("kind", "code"), EXIT_CODES.items())
def test_each_error_has_its_exit_code_and_can_be_caught_as_ours(
    kind: type[StableyieldError], code: int
) -> None:
    assert kind.exit_code == code
    with pytest.raises(StableyieldError):
        raise kind("x")


def test_no_error_is_left_out_of_this_table() -> None:
    defined = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, StableyieldError)
    }
    assert defined == set(EXIT_CODES)


def test_wrong_input_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="too high"):
        raise ParameterError("too high")


def test_lost_money_and_a_look_ahead_are_bugs() -> None:
    assert issubclass(ConservationError, IntegrityError)
    assert issubclass(LookAheadError, IntegrityError)
