"""A forecast at t is bit-identical whatever happens after t."""

from __future__ import annotations

from dataclasses import fields
from datetime import date, timedelta

import numpy as np
import pytest

from stableyield.domain.pool import Pool
from stableyield.forecast import BASELINES, Forecast, Forecaster, ForeignForecaster, baseline
from stableyield.forecast.rules import History
from stableyield.forecast.windows import carried_forward
from stableyield.market.panel import MarketPanel

N_DAYS, N_POOLS = 130, 7
T = 100
FORECASTERS: tuple[Forecaster, ...] = (*(baseline(n) for n in BASELINES), ForeignForecaster())


def arrays(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = (N_DAYS, N_POOLS)
    apy = rng.lognormal(1.5, 1.0, shape)
    starts = rng.integers(0, N_DAYS - 20, N_POOLS)
    known = (np.arange(N_DAYS)[:, None] >= starts) & (rng.random(shape) > 0.1)
    return {
        "apy_pct": np.where(known, apy, np.nan),
        "tvl_usd": np.where(known, rng.lognormal(14.0, 1.0, shape), np.nan),
        "forecast_apy_pct": np.where(known, apy + 1.0, np.nan),
        "forecast_apy_q10_pct": np.where(known, apy - 1.0, np.nan),
        "forecast_tvl_usd": rng.lognormal(14.0, 1.0, shape),
    }


def panel_of(values: dict[str, np.ndarray]) -> MarketPanel:
    pools = [Pool(f"p{i}", "USDC", "Ethereum", "test", ("USDC",)) for i in range(N_POOLS)]
    days = np.datetime64("2024-01-01") + np.arange(N_DAYS)
    return MarketPanel.build(days, pools, values, [], {})


def assert_identical(found: Forecast, expected: Forecast) -> None:
    for item in fields(Forecast):
        one, other = getattr(found, item.name), getattr(expected, item.name)
        if isinstance(one, np.ndarray):
            assert one.tobytes() == other.tobytes(), item.name
        else:
            assert one == other, item.name


@pytest.mark.parametrize("forecaster", FORECASTERS, ids=lambda f: f.name)
@pytest.mark.parametrize("horizon_days", [1, 7, 30])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_future_cannot_change_a_forecast(
    forecaster: Forecaster, horizon_days: int, seed: int
) -> None:
    past, other = arrays(seed), arrays(seed + 100)
    bumped = {name: np.vstack([past[name][: T + 1], 1e3 * other[name][T + 1 :]]) for name in past}
    day = date(2024, 1, 1) + timedelta(days=T)
    expected = forecaster.forecast(panel_of(past).as_of(day), horizon_days)
    found = forecaster.forecast(panel_of(bumped).as_of(day), horizon_days)
    assert expected.is_known.sum() >= 3  # else the test would compare nothing
    assert_identical(found, expected)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("horizon_days", [1, 7, 30])
def test_a_past_forecast_is_the_one_that_was_made_then(name: str, horizon_days: int) -> None:
    """Row s of a rule is what the rule said on day s: its errors are honest."""
    moves = arrays(5)["apy_pct"]
    last = carried_forward(moves, 3)
    rule = baseline(name).rule
    today = rule(History(moves, last, horizon_days))
    for s in (0, 1, 33, 64, T):
        then = rule(History(moves[: s + 1], last[: s + 1], horizon_days))
        assert today[s].tobytes() == then[s].tobytes()
