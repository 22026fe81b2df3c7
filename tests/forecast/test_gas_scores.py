from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from stableyield.domain.pool import Pool
from stableyield.forecast.gas import forecast_gas
from stableyield.forecast.gas_scores import GAS_COLUMNS, score_gas
from stableyield.market.panel import GasSeries, MarketPanel

FIRST = date(2024, 1, 1)


def panel_of(gwei: np.ndarray) -> MarketPanel:
    days = np.datetime64(FIRST) + np.arange(len(gwei))
    gas = GasSeries(gwei, np.full(len(gwei), 3000.0))
    pools = [Pool("p", "USDC", "Ethereum", "test", ("USDC",))]
    rates = {"apy_pct": np.full((len(gwei), 1), 5.0)}
    return MarketPanel.build(days, pools, rates, [], {}, gas=gas)


def days(first: int, last: int) -> list[date]:
    return [FIRST + timedelta(days=n) for n in range(first, last)]


def test_gas_scores_agree_with_a_computation_from_the_forecasts() -> None:
    gwei = np.exp(np.random.default_rng(0).normal(3.0, 0.4, 120))
    panel = panel_of(gwei)
    row = score_gas(panel, (1,), days(60, 119), (200, 0)).iloc[0]
    said = np.array([forecast_gas(panel.as_of(day).gas, 1).gas_gwei for day in days(60, 119)])
    came, last = gwei[61:120], gwei[60:119]
    assert row["n"] == 59
    assert row["mae_gwei"] == pytest.approx(np.abs(said - came).mean())
    assert row["skill_vs_last"] == pytest.approx(
        1.0 - np.abs(said - came).sum() / np.abs(last - came).sum()
    )
    logs = np.abs(np.log(said / came)).sum() / np.abs(np.log(last / came)).sum()
    assert row["skill_log_vs_last"] == pytest.approx(1.0 - logs)
    assert row["skill_low"] < row["skill_log_vs_last"] < row["skill_high"]


def test_an_outcome_that_is_not_over_is_not_scored() -> None:
    found = score_gas(panel_of(np.full(50, 10.0)), (1, 7, 60), days(0, 50), (50, 0))
    assert found["n"].tolist() == [49, 43, 0]
    assert np.isnan(found["skill_vs_last"]).all()  # the last price is always right


@pytest.mark.parametrize("price", [np.nan, 0.0, -1.0])
def test_a_market_without_gas_prices_has_no_rows(price: float) -> None:
    found = score_gas(panel_of(np.full(20, price)), (1,), days(0, 10), (50, 0))
    assert found.empty
    assert found.columns.tolist() == list(GAS_COLUMNS)
