from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from stableyield.domain.pool import Pool
from stableyield.errors import MissingDataError, ParameterError
from stableyield.forecast import ForeignForecaster
from stableyield.market.panel import MarketPanel, Provenance

NAN = np.nan


def panel_with_forecasts() -> MarketPanel:
    pools = [Pool(name, "USDC", "Ethereum", "test", ("USDC",)) for name in ("a", "b", "c")]
    return MarketPanel.build(
        np.datetime64("2025-12-18") + np.arange(2),
        pools,
        {
            "apy_pct": np.full((2, 3), 5.0),
            "forecast_apy_pct": np.array([[7.0, 4.0, np.inf], [8.0, NAN, 3.0]]),
            "forecast_apy_q10_pct": np.array([[6.0, NAN, NAN], [7.0, NAN, NAN]]),
            "forecast_tvl_usd": np.array([[1e6, -5.0, NAN], [2e6, NAN, 3e6]]),
        },
        [],
        {},
    )


def test_the_forecast_of_the_exec_day_is_served_as_it_came() -> None:
    forecast = ForeignForecaster().forecast(panel_with_forecasts().as_of(date(2025, 12, 19)), 1)
    assert forecast.method == "foreign"
    np.testing.assert_array_equal(forecast.apy_pct, [8.0, NAN, 3.0])
    np.testing.assert_array_equal(forecast.apy_q10_pct, [7.0, NAN, NAN])
    np.testing.assert_array_equal(forecast.tvl_usd, [2e6, NAN, 3e6])
    assert forecast.q10_unknown.tolist() == [False, False, True]
    assert forecast.flags == ()


def test_yesterdays_forecast_is_not_carried_over() -> None:
    forecast = ForeignForecaster().forecast(panel_with_forecasts().as_of(date(2025, 12, 19)), 1)
    assert not forecast.is_known[1]


def test_a_negative_tvl_is_unknown_and_flagged() -> None:
    forecast = ForeignForecaster().forecast(panel_with_forecasts().as_of(date(2025, 12, 18)), 1)
    np.testing.assert_array_equal(forecast.tvl_usd, [1e6, NAN, NAN])
    assert len(forecast.flags) == 1
    assert "pool b" in forecast.flags[0]
    assert "-5" in forecast.flags[0]


def test_an_infinite_rate_is_unknown() -> None:
    forecast = ForeignForecaster().forecast(panel_with_forecasts().as_of(date(2025, 12, 18)), 1)
    assert forecast.is_known.tolist() == [True, True, False]


def test_a_market_without_forecasts_has_none() -> None:
    pools = [Pool("a", "USDC", "Ethereum", "test", ("USDC",))]
    days = np.datetime64("2025-12-18") + np.arange(2)
    panel = MarketPanel.build(days, pools, {"apy_pct": np.full((2, 1), 5.0)}, [], {})
    assert not ForeignForecaster().forecast(panel.as_of(panel.last_day), 7).is_known.any()


def test_the_horizon_is_checked() -> None:
    with pytest.raises(ParameterError, match="horizon_days"):
        ForeignForecaster().forecast(panel_with_forecasts().as_of(date(2025, 12, 18)), 0)


def test_the_risk_adjusted_numbers_are_served_when_asked() -> None:
    pools = [Pool(name, "USDC", "Ethereum", "test", ("USDC",)) for name in ("a", "b")]
    panel = MarketPanel.build(
        np.datetime64("2025-12-18") + np.arange(1),
        pools,
        {
            "apy_pct": np.full((1, 2), 5.0),
            "forecast_apy_pct": np.array([[7.0, 4.0]]),
            "forecast_apy_q10_pct": np.array([[6.0, 3.0]]),
            "forecast_tvl_usd": np.array([[2e6, 3e6]]),
            "forecast_apy_risk_adj_pct": np.array([[6.5, NAN]]),
            "forecast_tvl_risk_adj_usd": np.array([[NAN, 1e6]]),
        },
        [],
        {},
    )
    forecaster = ForeignForecaster("foreign:risk_adj", risk_adjusted=True)
    forecast = forecaster.forecast(panel.as_of(panel.last_day), 1)
    assert forecast.method == "foreign:risk_adj"
    np.testing.assert_array_equal(forecast.apy_pct, [6.5, NAN])  # never the other column instead
    np.testing.assert_array_equal(forecast.apy_q10_pct, [NAN, NAN])  # the risk is counted once
    np.testing.assert_array_equal(forecast.tvl_usd, [2e6, 1e6])


# --- whether there is anything to serve ---

RISK_ADJUSTED = ForeignForecaster("foreign:risk_adj", risk_adjusted=True)


def panel_of(*assumptions: str, **arrays: float) -> MarketPanel:
    pools = [Pool("a", "USDC", "Ethereum", "test", ("USDC",))]
    return MarketPanel.build(
        np.datetime64("2025-12-18") + np.arange(2),
        pools,
        {name: np.full((2, 1), value) for name, value in {"apy_pct": 5.0, **arrays}.items()},
        [],
        {},
        provenance=Provenance(assumptions),
    )


def test_a_market_with_forecasts_is_enough() -> None:
    ForeignForecaster().require(panel_with_forecasts())
    RISK_ADJUSTED.require(panel_of(forecast_apy_pct=4.0, forecast_apy_risk_adj_pct=3.0))


@pytest.mark.parametrize("forecaster", [ForeignForecaster(), RISK_ADJUSTED])
def test_a_market_without_a_forecast_is_refused_by_its_directory(
    forecaster: ForeignForecaster,
) -> None:
    with pytest.raises(MissingDataError, match=r"there are no .*foreign forecasts") as caught:
        forecaster.require(panel_of("gas: fixed"), "my-market")
    assert caught.value.where == "my-market"
    assert "add forecasts.parquet" in caught.value.remedy


@pytest.mark.parametrize("forecaster", [ForeignForecaster(), RISK_ADJUSTED])
def test_forecasts_that_do_not_fit_are_not_called_absent(forecaster: ForeignForecaster) -> None:
    panel = panel_of("gas: fixed", "7 forecast rows of x are not used.", "2 forecast rows of y.")
    with pytest.raises(MissingDataError) as caught:
        forecaster.require(panel)
    assert caught.value.what == (
        "no row of the foreign forecasts can be used: 7 forecast rows of x are not used"
    )
    assert caught.value.details == ("2 forecast rows of y.",)
    assert "exec_date" in caught.value.remedy
    assert "add forecasts" not in caught.value.one_line


def test_forecasts_without_the_risk_adjusted_column_are_not_called_absent() -> None:
    with pytest.raises(MissingDataError) as caught:
        RISK_ADJUSTED.require(panel_of(forecast_apy_pct=4.0))
    assert "pred_global_apy_risk_adj is absent or empty where 2 rows" in caught.value.what
    assert "'foreign'" in caught.value.remedy
    assert "add forecasts" not in caught.value.one_line
