"""The baselines on 72 real lending pools and vaults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stableyield.domain.pool import Pool
from stableyield.forecast import BASELINES, Evaluation, baseline, evaluate
from stableyield.market.panel import MarketPanel

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
FILE = DATA / "lending_panel.parquet"

SHORT = "ewma_2_days"

pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"{FILE.name} is not in ../shared/data")


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    rows = pd.read_parquet(FILE, columns=["series", "date", "apy", "tvl_usd"])
    rows["date"] = rows["date"].dt.tz_localize(None).dt.normalize()
    apy, tvl = (
        rows.pivot_table(values=value, index="date", columns="series").asfreq("D")
        for value in ("apy", "tvl_usd")
    )
    panel = MarketPanel.build(
        apy.index.to_numpy().astype("datetime64[D]"),
        [Pool(name, "any", "any", "any", ("USD",)) for name in apy.columns],
        {"apy_pct": apy.to_numpy(), "tvl_usd": tvl.to_numpy()},
        [],
        {},
    )
    short = replace(baseline("ewma", half_life_days=2), name=SHORT)
    return evaluate(panel, [*map(baseline, BASELINES), short], horizons=(1, 7, 30))


def score(evaluation: Evaluation, method: str, horizon_days: int) -> pd.Series:
    rows = evaluation.scores.set_index(["method", "horizon_days", "segment"])
    return rows.loc[(method, horizon_days, "all")]


def test_nearly_every_row_is_scored(evaluation: Evaluation) -> None:
    assert score(evaluation, "last", 1)["n"] > 12_000
    assert score(evaluation, "last", 7)["n"] > 11_000
    assert score(evaluation, "last", 30)["n"] > 10_000


@pytest.mark.parametrize(("method", "horizon_days"), [(SHORT, 7), ("ewma", 30)])
def test_ewma_beats_the_last_value(evaluation: Evaluation, method: str, horizon_days: int) -> None:
    assert score(evaluation, method, horizon_days)["skill_vs_last"] > 0.05


def test_ewma_ranks_pools_at_least_as_well_as_the_last_value(evaluation: Evaluation) -> None:
    ewma, last = (score(evaluation, method, 7)["rank_corr"] for method in (SHORT, "last"))
    assert ewma > last > 0.8


@pytest.mark.parametrize("horizon_days", [1, 7])
@pytest.mark.parametrize("method", [*BASELINES, SHORT])
def test_one_outcome_in_ten_falls_below_q10(
    evaluation: Evaluation, method: str, horizon_days: int
) -> None:
    row = score(evaluation, method, horizon_days)
    assert 0.05 <= row["coverage_q10"] <= 0.17
    assert 0.83 <= row["coverage_q90"] <= 0.95


def test_spikes_are_where_averaging_pays(evaluation: Evaluation) -> None:
    rows = evaluation.scores.set_index(["method", "horizon_days", "segment"])["skill_vs_last"]
    assert rows[SHORT, 7, "spike"] > 0.2
    assert np.abs(rows[SHORT, 7, "calm"]) < 0.1
