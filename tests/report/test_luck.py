from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stableyield.errors import ParameterError
from stableyield.report.luck import (
    FEWEST_DAYS,
    deflated_sharpe,
    highest_by_luck,
    probabilistic_sharpe,
)
from stableyield.report.performance import Undefined


def days_of(mean: float, *, n: int = 200, seed: int = 1) -> np.ndarray:
    """Daily growth factors that jitter by 10 bps around 1 + mean."""
    return 1.0 + mean + np.random.default_rng(seed).normal(0.0, 1e-3, n)


def test_the_worked_example_of_the_paper_comes_out() -> None:
    """Bailey and Lopez de Prado (2014): annual ratio 2.5 over 5 years of 250 days, 100 trials."""
    luck = highest_by_luck(100, math.sqrt(0.5 / 250))
    assert luck == pytest.approx(0.1132, abs=5e-5)
    found = probabilistic_sharpe(2.5 / math.sqrt(250), luck, 1250, skewness=-3.0, kurtosis=10.0)
    assert found == pytest.approx(0.9004, abs=5e-5)


def test_one_trial_is_not_selected_and_has_nothing_to_beat() -> None:
    assert highest_by_luck(1, 0.3) == 0.0
    growth = days_of(1e-4)
    excess = growth - 1.0
    ratio = excess.mean() / excess.std(ddof=1)
    error = math.sqrt(
        (1 - stats.skew(excess) * ratio + (stats.kurtosis(excess) + 2) / 4 * ratio**2) / 199
    )
    assert deflated_sharpe(growth) == pytest.approx(stats.norm.cdf(ratio / error), abs=1e-12)


def test_the_highest_of_many_normal_draws_is_what_luck_gives() -> None:
    """The formula is an approximation: 2 % off for 10 trials, less for more."""
    rng = np.random.default_rng(4)
    for n_trials in (10, 50, 200):
        drawn = rng.normal(0.0, 0.05, (4000, n_trials)).max(axis=1).mean()
        assert highest_by_luck(n_trials, 0.05) == pytest.approx(drawn, rel=0.04)


def test_it_is_the_ratio_of_quantstats_but_for_its_corrected_moments() -> None:
    """quantstats 0.0.86, probabilistic_sharpe_ratio(rf=0.04, periods=365), on the same days."""
    k = np.arange(120)
    returns = 1e-4 + 3e-4 * np.sin(k) + 2e-4 * np.cos(0.037 * k**2) - 4e-3 * (k == 55)
    excess = pd.Series(returns - (1.04 ** (1 / 365) - 1.0))
    found = probabilistic_sharpe(
        excess.mean() / excess.std(), 0.0, 120, excess.skew(), excess.kurt() + 3.0
    )
    assert found == pytest.approx(0.08886926455132299, abs=1e-9)


@given(st.integers(1, 5000), st.integers(2, 5000))
def test_more_trials_never_make_a_ratio_surer(few: int, more: int) -> None:
    growth = days_of(1.5e-4)
    one, other = (deflated_sharpe(growth, n_trials=n) for n in sorted((few, few + more)))
    assert isinstance(one, float)
    assert isinstance(other, float)
    assert 0.0 <= other <= one <= 1.0


def test_trials_that_differ_more_raise_what_luck_gives() -> None:
    growth = days_of(1.5e-4)
    alike, apart = (
        deflated_sharpe(growth, n_trials=20, trials_deviation=deviation) for deviation in (0.1, 2.0)
    )
    assert apart < alike


def test_without_the_trials_ratios_those_without_skill_stand_in() -> None:
    growth = days_of(1.5e-4)
    expected = deflated_sharpe(growth, n_trials=20, trials_deviation=math.sqrt(365 / 199))
    assert deflated_sharpe(growth, n_trials=20) == pytest.approx(expected, abs=1e-12)


def test_a_higher_stated_rate_is_harder_to_beat() -> None:
    assert deflated_sharpe(days_of(1.5e-4), 0.05) < deflated_sharpe(days_of(1.5e-4), 0.0)


@pytest.mark.parametrize(
    ("growth", "reason"),
    [
        (days_of(1e-4, n=FEWEST_DAYS - 1), "fewer than 10 days"),
        (np.full(30, 1.0001), "every day grew alike"),
    ],
)
def test_without_days_or_volatility_it_is_undefined(growth: np.ndarray, reason: str) -> None:
    value = deflated_sharpe(growth)
    assert isinstance(value, Undefined)
    assert reason in value.reason


def test_where_the_ratio_has_no_error_there_is_no_probability() -> None:
    """Days of two values whose ratio is 2 / skewness: the error of the formula vanishes."""
    days = np.repeat([0.0, 1e-3], [15, 5])
    ratio = 2.0 / stats.skew(days)
    growth = 1.0 + days - days.mean() + ratio * days.std(ddof=1)
    value = deflated_sharpe(growth)
    assert isinstance(value, Undefined)
    assert "two values" in value.reason
    assert isinstance(deflated_sharpe(growth + 1e-4), float)


def test_no_trial_and_an_impossible_deviation_are_refused() -> None:
    with pytest.raises(ParameterError, match="n_trials is 0"):
        deflated_sharpe(days_of(1e-4), n_trials=0)
    for deviation in (-1.0, math.nan, math.inf):
        with pytest.raises(ParameterError, match="trials_deviation"):
            deflated_sharpe(days_of(1e-4), n_trials=3, trials_deviation=deviation)
