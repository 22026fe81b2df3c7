"""The learned forecast at t is bit-identical whatever happens after t."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

import numpy as np
import pytest

from stableyield.domain.rates import Floats
from stableyield.forecast.base import Forecast
from stableyield.forecast.boosting import BoostingSettings
from stableyield.forecast.features import FEATURE_GROUPS, FeatureGroup, Known
from stableyield.forecast.gas import forecast_gas
from stableyield.forecast.learned import LearnedForecaster
from stableyield.forecast.training import LearnedSettings
from stableyield.market.panel import GasSeries
from support.learned_market import FIRST_DAY, busy_arrays, panel_of

N_DAYS, T = 160, 128
FEW_TREES = BoostingSettings(n_trees=3, num_leaves=4)
QUICK = LearnedSettings(
    window_days=120,
    holdout_days=30,
    min_rows=300,
    boosting=FEW_TREES,
    quantile_boosting=FEW_TREES,
    tvl_boosting=FEW_TREES,
)


def differing(groups: tuple[FeatureGroup, ...], horizon_days: int) -> set[str]:
    """Fields of the forecast of day T that change when everything after T does."""
    past, other = busy_arrays(N_DAYS, 10, seed=1), busy_arrays(N_DAYS, 10, seed=2)
    bumped = {key: np.concatenate([past[key][: T + 1], 7.0 * other[key][T + 1 :]]) for key in past}
    day = FIRST_DAY + timedelta(days=T)
    one, two = (
        LearnedForecaster(QUICK, groups).forecast(panel_of(arrays).as_of(day), horizon_days)
        for arrays in (past, bumped)
    )
    assert one.is_known.sum() >= 8  # else nothing would be compared
    return {
        item.name
        for item in fields(Forecast)
        if np.asarray(getattr(one, item.name)).tobytes()
        != np.asarray(getattr(two, item.name)).tobytes()
    }


@pytest.mark.parametrize("horizon_days", [1, 7, 30])
def test_the_future_cannot_change_a_learned_forecast(horizon_days: int) -> None:
    assert differing(FEATURE_GROUPS, horizon_days) == set()


def test_the_check_finds_a_feature_that_knows_tomorrow() -> None:
    """A leak needs a market from elsewhere: the view itself holds no tomorrow."""
    past = busy_arrays(N_DAYS, 10, seed=1)
    forecasts = []
    for factor in (1.0, 0.5):
        whole = np.vstack([past["apy_pct"][: T + 1], factor * past["apy_pct"][T + 1 :]])

        def leaking(known: Known, whole: Floats = whole) -> dict[str, Floats]:
            start = int((known.inputs.days[0] - np.datetime64(FIRST_DAY)).astype(int))
            columns = [int(name[1:]) for name in known.inputs.pool_ids]
            tomorrow = whole[start + 1 : start + 1 + len(known.apy)][:, columns]
            return {"tomorrow": known.from_last(tomorrow)}

        forecaster = LearnedForecaster(QUICK, (*FEATURE_GROUPS, leaking))
        view = panel_of({**past, "apy_pct": whole}).as_of(FIRST_DAY + timedelta(days=T))
        forecasts.append(forecaster.forecast(view, 1))
    assert forecasts[0].apy_pct.tobytes() != forecasts[1].apy_pct.tobytes()


def test_a_gas_forecast_is_made_of_the_past_alone() -> None:
    prices = 20.0 * np.exp(np.random.default_rng(1).normal(0.0, 0.4, 600))
    bumped = np.concatenate([prices[:500], 9.0 * prices[500:]])
    one, two = (forecast_gas(GasSeries(values, values).head(500), 7) for values in (prices, bumped))
    assert one == two
