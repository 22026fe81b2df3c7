from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stableyield.errors import ContractError, ParameterError
from stableyield.forecast import Forecast

NAN = np.nan


def forecast_of(**changes: Any) -> Forecast:
    values: dict[str, Any] = {
        "exec_day": date(2025, 1, 31),
        "horizon_days": 7,
        "method": "made up",
        "pool_ids": ("a", "b", "c"),
        "apy_pct": np.array([8.0, 5.0, NAN]),
        "apy_q10_pct": np.array([6.0, NAN, NAN]),
        "apy_q50_pct": np.array([7.5, NAN, NAN]),
        "apy_q90_pct": np.array([9.0, NAN, NAN]),
        "tvl_usd": np.array([100.0, 50.0, NAN]),
        "tvl_q10_usd": np.array([80.0, NAN, NAN]),
        "cold_start": np.array([False, False, True]),
    }
    return Forecast(**{**values, **changes})


def test_the_risk_adjusted_apy_mixes_mean_and_q10() -> None:
    np.testing.assert_allclose(forecast_of().risk_adjusted_apy_pct(0.25), [7.5, 5.0, NAN])


def test_a_pool_without_q10_keeps_its_mean_and_is_marked() -> None:
    forecast = forecast_of()
    assert forecast.risk_adjusted_apy_pct(1.0)[1] == 5.0
    assert forecast.q10_unknown.tolist() == [False, True, False]


@pytest.mark.parametrize("risk_aversion", [-0.1, 1.1, NAN])
def test_risk_aversion_is_a_share(risk_aversion: float) -> None:
    with pytest.raises(ParameterError, match="risk_aversion"):
        forecast_of().risk_adjusted_apy_pct(risk_aversion)


def test_downside_risk_is_relative_and_undefined_without_a_positive_mean() -> None:
    forecast = forecast_of(
        apy_pct=np.array([8.0, 0.0, -2.0]), apy_q10_pct=np.array([6.0, 0.0, -3.0]),
        apy_q50_pct=np.full(3, NAN), apy_q90_pct=np.full(3, NAN),
    )  # fmt: skip
    np.testing.assert_allclose(forecast.downside_risk, [0.25, NAN, NAN])


def test_the_frame_has_the_columns_of_the_forecast_file() -> None:
    frame = forecast_of(model_version="made up(1)").to_frame()
    assert frame.columns.tolist() == [
        "pool_id",
        "exec_date",
        "target_date",
        "pred_global_apy",
        "pred_global_apy_q10",
        "pred_global_apy_q50",
        "pred_global_apy_q90",
        "pred_global_apy_risk_adj",
        "pred_global_tvl",
        "pred_global_tvl_risk_adj",
        "cold_start_flag",
        "instability_group",
        "pred_next_day_instability_group",
        "downside_risk",
        "horizon_days",
        "model_version",
    ]
    first = frame.iloc[0]
    assert first["pool_id"] == "a"
    assert first["exec_date"] == pd.Timestamp("2025-01-31")
    assert first["target_date"] == pd.Timestamp("2025-02-01")
    assert first["pred_global_apy_risk_adj"] == 7.0
    assert first["pred_global_tvl_risk_adj"] == 90.0
    assert first["instability_group"] == "insufficient"
    assert first["model_version"] == "made up(1)"
    assert frame["horizon_days"].tolist() == [7, 7, 7]
    assert frame["pred_global_apy"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"apy_pct": np.zeros(2)}, r"apy_pct has shape \(2,\), expected \(3,\)"),
        ({"instability_group": ("low",)}, "instability_group has shape"),
        ({"apy_q10_pct": np.array([7.6, NAN, NAN])}, "pool a: APY quantiles cross"),
        ({"apy_q90_pct": np.array([7.0, NAN, NAN])}, "pool a: APY quantiles cross"),
        ({"tvl_usd": np.array([1.0, -1.0, NAN])}, "pool b: a TVL is negative"),
    ],
)
def test_a_forecast_that_contradicts_itself_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        forecast_of(**changes)


def test_a_forecast_cannot_be_changed_from_outside() -> None:
    mean = np.array([8.0, 5.0, NAN])
    forecast = forecast_of(apy_pct=mean)
    mean[0] = 99.0
    assert forecast.apy_pct[0] == 8.0
    with pytest.raises(ValueError, match="read-only"):
        forecast.apy_pct[0] = 99.0
