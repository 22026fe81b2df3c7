from __future__ import annotations

import math
from datetime import date

import pytest

from stableyield.report import text


@pytest.mark.parametrize(
    ("value", "kwargs", "expected"),
    [
        (1234567.891, {}, "$1,234,568"),
        (-12.345, {"digits": 2}, "−$12.35"),
        (12, {"plus": True}, "+$12"),
        (-0.001, {"digits": 2}, "$0.00"),
        (0.0, {"plus": True}, "$0"),
    ],
)
def test_dollars_have_separators_and_their_sign_in_front(value, kwargs, expected):
    assert text.usd(value, **kwargs) == expected


@pytest.mark.parametrize("unknown", [None, math.nan, math.inf, "x", True])
def test_what_is_not_a_number_is_a_dash_never_a_zero(unknown):
    assert text.usd(unknown) == text.pct(unknown) == text.number(unknown) == text.DASH
    assert text.points(unknown) == text.by_unit(unknown, "usd") == text.DASH


def test_percent_and_points_are_written_with_their_unit():
    assert text.pct(5.126) == "5.13\N{NO-BREAK SPACE}%"
    assert text.points(-0.5) == "−0.50\N{NO-BREAK SPACE}pp"


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.0123, "pct", "0.012\N{NO-BREAK SPACE}%"),
        (3.0, "days", "3"),
        (12.34, "bps", "12.3\N{NO-BREAK SPACE}bps"),
        (2.04, "times", "2.0×"),
        (1.005, "number", "1.00"),
    ],
)
def test_each_unit_has_its_form(value, unit, expected):
    assert text.by_unit(value, unit) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2025-03-01", "1 Mar 2025"),
        (date(2025, 12, 31), "31 Dec 2025"),
        ("soon", "soon"),
        (None, text.DASH),
    ],
)
def test_days_are_written_out(value, expected):
    assert text.day(value) == expected
