from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pytest

from stableyield.domain.pool import Pool
from stableyield.forecast import Forecast, baseline, evaluate
from stableyield.market.panel import MarketPanel, MarketView

N_DAYS, N_POOLS = 60, 8


@dataclass(frozen=True)
class Ranked:
    """Says a fixed APY of every pool."""

    name: str
    apy_pct: tuple[float, ...]

    def forecast(self, view: MarketView, horizon_days: int) -> Forecast:
        known = baseline("last").forecast(view, horizon_days)
        said = np.array([self.apy_pct[int(pool_id[1:])] for pool_id in view.pool_ids])
        unknown = np.full(len(said), np.nan)
        return Forecast(
            exec_day=view.day,
            horizon_days=horizon_days,
            method=self.name,
            pool_ids=view.pool_ids,
            apy_pct=np.where(known.is_known, said, np.nan),
            apy_q10_pct=unknown,
            apy_q50_pct=unknown,
            apy_q90_pct=unknown,
            tvl_usd=unknown,
            tvl_q10_usd=unknown,
            cold_start=np.zeros(len(said), dtype=bool),
        )


UPWARDS = Ranked("upwards", tuple(range(1, N_POOLS + 1)))
DOWNWARDS = Ranked("downwards", tuple(range(N_POOLS, 0, -1)))


def panel_of(apy_pct: np.ndarray) -> MarketPanel:
    pools = [Pool(f"p{i}", "USDC", "Ethereum", "test", ("USDC",)) for i in range(apy_pct.shape[1])]
    days = np.datetime64("2024-01-01") + np.arange(len(apy_pct))
    return MarketPanel.build(days, pools, {"apy_pct": apy_pct}, [], {})


def ladder() -> np.ndarray:
    """Pools that pay 1, 2, ... 8 %, always."""
    return np.tile(np.arange(1.0, N_POOLS + 1.0), (N_DAYS, 1))


def test_the_value_of_a_choice_agrees_with_a_hand_computation() -> None:
    found = evaluate(panel_of(ladder()), [UPWARDS, DOWNWARDS], horizons=[7])
    rows = found.decision_value.set_index("method")
    best, worst = rows.loc["upwards"], rows.loc["downwards"]
    # the top five of 1 .. 8 % earn 6 %, the lowest five 3 %, all of them 4.5 %
    assert best["realised_apy_pct"] == pytest.approx(6.0)
    assert worst["realised_apy_pct"] == pytest.approx(3.0)
    assert best["equal_weight_apy_pct"] == pytest.approx(4.5)
    assert best["clairvoyant_apy_pct"] == pytest.approx(6.0)
    assert best["captured"] == pytest.approx(1.0)
    assert worst["captured"] == pytest.approx(-1.0)
    # it promised 8, 7, 6, 5 and 4 % of the pools that paid 1 .. 5 %
    assert worst["promised_apy_pct"] == pytest.approx(6.0)
    assert worst["optimism_points"] == pytest.approx(3.0)


def test_choices_are_a_week_apart_whatever_the_step() -> None:
    for step, gap in ((1, 7), (3, 9), (7, 7), (10, 10)):
        found = evaluate(panel_of(ladder()), [UPWARDS], horizons=[7], step_days=step)
        days = found.decision_weeks["exec_date"].unique()
        assert set(np.diff(days).astype("timedelta64[D]").astype(int)) == {gap}


def test_a_pool_is_chosen_whatever_becomes_of_it() -> None:
    """The pools that will end may be chosen: only the outcome of the others is counted."""
    apy = ladder()
    apy[20:, 7] = np.nan
    start = date(2024, 1, 1) + timedelta(days=18)
    found = evaluate(panel_of(apy), [UPWARDS], horizons=[7], start=start, end=start)
    row = found.decision_value.set_index("method").loc["upwards"]
    assert row["n_unknown"] == 1
    assert row["realised_apy_pct"] == pytest.approx((4 + 5 + 6 + 7) / 4)


def test_fewer_pools_than_are_chosen_are_no_choice() -> None:
    found = evaluate(panel_of(ladder()[:, :4]), [UPWARDS], horizons=[7])
    assert found.decision_value.empty
    assert found.decision_value.columns[0] == "method"


def test_without_a_week_among_the_horizons_there_is_no_decision_value() -> None:
    found = evaluate(panel_of(ladder()), [UPWARDS], horizons=[1])
    assert found.decision_value.empty
    assert "no decision value" in found.notes[-1]


def test_when_all_pools_pay_the_same_the_share_is_undefined() -> None:
    found = evaluate(panel_of(np.full((N_DAYS, N_POOLS), 5.0)), [UPWARDS], horizons=[7])
    row = found.decision_value.set_index("method").loc["upwards"]
    assert np.isnan(row["captured"])
    assert np.isnan(row["captured_low"])


def test_the_interval_contains_the_share() -> None:
    rng = np.random.default_rng(0)
    apy = np.clip(5.0 + np.cumsum(rng.normal(0.0, 0.6, (N_DAYS, N_POOLS)), axis=0), 0.1, None)
    rows = evaluate(panel_of(apy), [baseline("ewma")], horizons=[7]).decision_value
    assert (rows["captured_low"] <= rows["captured"]).all()
    assert (rows["captured"] <= rows["captured_high"]).all()
