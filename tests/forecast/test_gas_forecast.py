from __future__ import annotations

import numpy as np
import pytest

from stableyield.errors import ParameterError
from stableyield.forecast.gas import PRIOR_SHARE, forecast_gas
from stableyield.market.panel import GasSeries


def series(prices: np.ndarray) -> GasSeries:
    return GasSeries(prices, np.full(len(prices), 2000.0))


def noisy_prices(n_days: int = 500, seed: int = 1) -> np.ndarray:
    """A level of 20 gwei with days that have nothing to do with each other."""
    return 20.0 * np.exp(np.random.default_rng(seed).normal(0.0, 0.4, n_days))


def wandering_prices(n_days: int = 500, seed: int = 1) -> np.ndarray:
    steps = np.random.default_rng(seed).normal(0.0, 0.2, n_days)
    return 20.0 * np.exp(np.cumsum(steps))


def test_gas_without_memory_is_forecast_at_its_median() -> None:
    assert forecast_gas(series(noisy_prices()), 1).median_share >= 0.55


def test_gas_that_wanders_is_forecast_at_its_last_value() -> None:
    assert forecast_gas(series(wandering_prices()), 1).median_share <= 0.2


def test_the_forecast_lies_between_the_last_price_and_the_median_of_the_week() -> None:
    prices = noisy_prices(30)  # too short to tell the days of the week apart
    found = forecast_gas(series(prices), 1)
    low, high = sorted([prices[-1], np.median(prices[-7:])])
    assert low * (1 - 1e-9) <= found.gas_gwei <= high * (1 + 1e-9)


def weekly_prices(n_days: int, cheap: float) -> np.ndarray:
    """A wandering level with every sixth and seventh day of the week cheaper."""
    is_weekend = np.arange(n_days) % 7 >= 5
    return wandering_prices(n_days) * np.where(is_weekend, cheap, 1.0)


def test_a_cheap_weekend_is_forecast_on_the_day_before_it() -> None:
    prices = weekly_prices(7 * 60 + 5, cheap=0.5)  # the next day is a sixth one
    assert 0.4 < forecast_gas(series(prices), 1).gas_gwei / prices[-1] < 0.65
    assert 0.7 < forecast_gas(series(prices), 7).gas_gwei / prices[-1] < 1.0


def test_whatever_the_weekday_one_gas_price_in_ten_falls_below_q10() -> None:
    prices = weekly_prices(900, cheap=0.6)
    below = np.array(
        [
            prices[t + 1] < forecast_gas(series(prices[: t + 1]), 1).q10_gwei
            for t in range(410, 410 + 7 * 60)
        ]
    )
    by_weekday = below.reshape(-1, 7).mean(axis=0)
    assert (by_weekday < 0.25).all()
    assert 0.05 <= below.mean() <= 0.16


@pytest.mark.parametrize("horizon_days", [1, 7])
def test_one_gas_price_in_ten_falls_below_q10(horizon_days: int) -> None:
    prices = noisy_prices(900)
    below = [
        prices[t + 1 : t + 1 + horizon_days].mean()
        < forecast_gas(series(prices[: t + 1]), horizon_days).q10_gwei
        for t in range(400, 880)
    ]
    assert 0.05 <= np.mean(below) <= 0.16


def test_a_short_history_uses_the_prior_share_and_states_no_quantiles() -> None:
    found = forecast_gas(series(np.array([10.0, 20.0, 20.0, 30.0])), 1)
    assert found.median_share == PRIOR_SHARE
    assert found.gas_gwei == pytest.approx(30.0**0.7 * 20.0**0.3)
    assert np.isnan([found.q10_gwei, found.q90_gwei]).all()


@pytest.mark.parametrize("prices", [[], [np.nan, np.nan], [0.0, -1.0, np.inf]])
def test_unknown_gas_has_no_forecast(prices: list[float]) -> None:
    assert np.isnan(forecast_gas(series(np.array(prices, dtype=float)), 1).gas_gwei)


def test_gas_that_ended_four_days_ago_has_no_forecast() -> None:
    prices = np.concatenate([noisy_prices(), [np.nan] * 4])
    assert np.isnan(forecast_gas(series(prices), 1).gas_gwei)
    assert np.isfinite(forecast_gas(series(prices[:-1]), 1).gas_gwei)


def test_a_horizon_of_no_days_is_refused() -> None:
    with pytest.raises(ParameterError, match="horizon_days is 0"):
        forecast_gas(series(noisy_prices()), 0)
