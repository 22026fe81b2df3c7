"""Screening on recorded pools: risk groups with known answers, and a walk over a real panel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stableyield.config import AllocationParameters
from stableyield.domain.pool import Pool, PoolState
from stableyield.market.panel import MarketPanel
from stableyield.screening import PoolForecasts, assess, classify, risk_groups, screen

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
GROUPS = SHARED / "golden" / "risk_groups_45.csv"
LENDING = SHARED / "data" / "lending_panel.parquet"
PARAMETERS = AllocationParameters()


@pytest.mark.skipif(not GROUPS.exists(), reason="no ../shared data beside the repository")
def test_the_45_recorded_pools_are_in_their_groups():
    golden = pd.read_csv(GROUPS)
    columns = ("apy_delta_pp", "stddev_apy_7d_pp", "stddev_apy_30d_pp")
    found = classify(*(golden[name].to_numpy(dtype=float) for name in columns), PARAMETERS)
    assert found.tolist() == golden["risk_group"].tolist()
    assert np.bincount(found).tolist() == [0, 34, 7, 4]


@pytest.fixture(scope="module")
def panel() -> MarketPanel:
    if not LENDING.exists():
        pytest.skip("no ../shared data beside the repository")
    frame = pd.read_parquet(LENDING)
    frame["date"] = pd.to_datetime(frame["date"], utc=True).dt.tz_localize(None).dt.floor("D")
    frame["apy_pct"] = frame[["apy_base", "apy_reward"]].sum(axis=1, min_count=1)
    frame = frame.drop_duplicates(["series", "date"], keep="last")
    days = pd.date_range(frame["date"].min(), frame["date"].max(), freq="D")
    names = sorted(frame["series"].unique())
    arrays = {
        name: frame.pivot(index="date", columns="series", values=name)  # noqa: PD010
        .reindex(index=days, columns=names)
        .to_numpy(dtype=float)
        for name in ("apy_pct", "tvl_usd")
    }
    pools = [Pool(name, name, "Ethereum", "recorded", ("USDC",)) for name in names]
    prices = {"close_usd": np.ones((len(days), 1))}
    return MarketPanel.build(
        days.to_numpy().astype("datetime64[D]"), pools, arrays, ["USDC"], prices
    )


def test_every_pool_of_a_real_panel_has_a_state_and_a_group_on_every_tenth_day(panel):
    n_open = 0
    for day in pd.date_range(panel.first_day, panel.last_day, freq="10D"):
        view = panel.as_of(day.date())
        now = PoolForecasts(view.pool_series.apy_pct[-1], view.pool_series.tvl_usd[-1])
        held = view.pool_ids[:3]
        screening = screen(view, PARAMETERS, held=held, forecasts=now)
        assert len(screening.states) == len(view.pools)
        assert all(screening.state_of(pool) is not PoolState.EXCLUDED for pool in held)
        assert 0.0 <= assess(view, held=held).score <= 100.0
        n_open += int(screening.allowed.sum())
    assert n_open > 0


def test_group_1_of_a_real_panel_really_is_calm(panel):
    view = panel.as_of(panel.last_day)
    found = risk_groups(view.pool_series.apy_pct, PARAMETERS)
    calm = found.group == 1
    assert calm.any()
    assert np.nanmax(found.stddev_30d_pp[calm]) <= 2.0 + 1e-9
