"""The learned forecaster on 72 real lending pools and vaults, walk-forward."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stableyield.forecast.gas import forecast_gas
from stableyield.forecast.learned import LearnedForecaster
from stableyield.forecast.targets import apy_target
from stableyield.forecast.training import LearnedSettings
from stableyield.forecast.windows import carried_forward
from stableyield.market.assemble import assemble
from stableyield.market.layouts import import_market
from stableyield.market.panel import GasSeries, MarketPanel

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
FILE = DATA / "lending_panel.parquet"
GAS_FILE = DATA / "gas_eth_daily.parquet"

pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"{FILE.name} is not in ../shared/data")


@pytest.fixture(scope="module")
def panel() -> MarketPanel:
    return assemble(import_market("panel", [FILE]))


def scored(
    panel: MarketPanel, horizon_days: int, step_days: int, day: date = date(2024, 9, 1)
) -> pd.DataFrame:
    """Forecasts, the last value and what came, one row a pool and origin."""
    forecaster = LearnedForecaster(LearnedSettings(refit_every_days=28))
    truth = panel.as_of(panel.last_day)
    target = apy_target(truth, horizon_days, "quoted")
    rows = []
    while day <= panel.last_day - timedelta(days=horizon_days):
        view = panel.as_of(day)
        forecast = forecaster.forecast(view, horizon_days)
        columns = [truth.pool_index[pool_id] for pool_id in view.pool_ids]
        rows.append(
            pd.DataFrame(
                {
                    "day": day,
                    "last": carried_forward(view.pool_series.apy_pct[-4:], 3)[-1],
                    "apy": forecast.apy_pct,
                    "q10": forecast.apy_q10_pct,
                    "q90": forecast.apy_q90_pct,
                    "came": target[(day - panel.first_day).days, columns],
                }
            )
        )
        day += timedelta(days=step_days)
    return pd.concat(rows).dropna()


def skill(rows: pd.DataFrame) -> float:
    return 1.0 - (rows["apy"] - rows["came"]).abs().mean() / (
        (rows["last"] - rows["came"]).abs().mean()
    )


@pytest.mark.slow
def test_next_week_is_forecast_better_than_by_the_last_value(panel: MarketPanel) -> None:
    rows = scored(panel, 7, step_days=4, day=date(2025, 1, 22))
    assert len(rows) > 200
    assert skill(rows) > 0.08


@pytest.mark.slow
@pytest.mark.parametrize(("horizon_days", "floor"), [(1, 0.10), (7, 0.15), (30, 0.12)])
def test_the_floor_of_the_contract_is_reached(
    panel: MarketPanel, horizon_days: int, floor: float
) -> None:
    rows = scored(panel, horizon_days, step_days=3)
    assert skill(rows) >= floor
    is_month = horizon_days == 30
    assert (0.05 if is_month else 0.07) <= (rows["came"] < rows["q10"]).mean() <= 0.15
    assert (0.83 if is_month else 0.87) <= (rows["came"] <= rows["q90"]).mean() <= 0.94
    by_day = rows.groupby("day")[["apy", "last", "came"]].rank()
    ours, last = (
        by_day.groupby(rows["day"]).apply(lambda r, c=name: r[c].corr(r["came"])).mean()
        for name in ("apy", "last")
    )
    assert ours > last


@pytest.mark.parametrize(("horizon_days", "at_least"), [(1, 0.02), (7, 0.08)])
def test_gas_is_forecast_better_than_by_the_last_price(horizon_days: int, at_least: float) -> None:
    table = pd.read_parquet(GAS_FILE)
    prices = table["avg_gas_gwei"].to_numpy()[-1200:]
    gas = GasSeries(prices, np.full(len(prices), np.nan))
    origins = range(500, len(prices) - horizon_days, 3)
    came = np.array([prices[t + 1 : t + 1 + horizon_days].mean() for t in origins])
    found = np.array([forecast_gas(gas.head(t + 1), horizon_days).gas_gwei for t in origins])
    last = prices[list(origins)]
    assert 1.0 - np.abs(found - came).mean() / np.abs(last - came).mean() > at_least
