"""APR, APY and day return: one definition each."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stableyield.domain.rates import (
    annualised,
    apr_to_apy,
    apy_to_apr,
    day_return,
    growth,
)


def test_a_year_of_growth_is_the_apy() -> None:
    assert growth(0.136, 365.0) == pytest.approx(0.136, rel=1e-14)


def test_a_day_return_is_the_365th_root_of_the_year() -> None:
    assert day_return(0.10) == pytest.approx(1.10 ** (1 / 365) - 1, rel=1e-12)


def test_a_small_rate_keeps_its_digits() -> None:
    # (1 + 1e-13) ** (1/365) - 1 has no correct digit in floats; expm1 and log1p keep them all
    assert growth(1e-13, 1.0) == pytest.approx(1e-13 / 365.0, rel=1e-9)


def test_an_apr_compounds_continuously() -> None:
    # 13.62373 percent paid by the second make 14.595 percent a year
    assert 100.0 * apr_to_apy(0.1362373) == pytest.approx(14.595, abs=5e-4)
    assert apy_to_apr(apr_to_apy(0.1362373)) == pytest.approx(0.1362373, rel=1e-14)


def test_a_total_loss_loses_everything_over_any_time() -> None:
    assert growth(-1.0, 1.0) == -1.0
    assert growth(np.array([-1.0]), 30.0)[0] == -1.0


def test_no_time_no_growth() -> None:
    assert growth(0.5, 0.0) == 0.0


@pytest.mark.parametrize("function", [day_return, apr_to_apy, apy_to_apr])
def test_unknown_in_unknown_out(function) -> None:
    assert math.isnan(function(math.nan))
    assert np.array_equal(np.isnan(function(np.array([0.1, math.nan, 0.2]))), [False, True, False])


def test_arrays_and_numbers_agree() -> None:
    rates = np.array([-0.5, 0.0, 0.03, 2.0])
    assert growth(rates, 7.0).tolist() == [growth(float(rate), 7.0) for rate in rates]
    assert isinstance(growth(0.03, 7.0), float)
    assert apr_to_apy(rates).tolist() == [apr_to_apy(float(rate)) for rate in rates]


def test_annualised_undoes_growth() -> None:
    assert annualised(1.0 + growth(0.08, 17.0), 17.0) == pytest.approx(0.08, rel=1e-12)
