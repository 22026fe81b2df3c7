"""Regret and all policies on an observed market."""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from stableyield.backtest import BacktestSettings
from stableyield.backtest.benchmarks import all_benchmarks
from stableyield.backtest.engine import run_policies
from stableyield.market.assemble import assemble
from stableyield.market.layouts import import_market
from stableyield.market.panel import MarketPanel
from stableyield.study.attribution import CAUSES
from stableyield.study.outcome import Outcome
from stableyield.study.regret import regret

PANEL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "lending_panel.parquet"
pytestmark = pytest.mark.skipif(not PANEL.is_file(), reason="needs the real data in ../shared/data")


@cache
def market() -> MarketPanel:
    return assemble(import_market("panel", [PANEL]))


def settings(last: date, **parameters: object) -> BacktestSettings:
    base = BacktestSettings(start=date(2024, 11, 1), end=last, with_benchmarks=False)
    changed = base.parameters.with_overrides(parameters)
    return BacktestSettings(**{**vars(base), "parameters": changed})


def test_regret_of_a_week_adds_up_and_is_lost_to_known_causes() -> None:
    found = regret(market(), settings(date(2024, 11, 6), horizon_days=7), holding_days=(7,))
    assert [part.cause for part in found.parts] == list(CAUSES)
    assert sum(part.usd for part in found.parts) == pytest.approx(found.total.usd, abs=1e-7)
    by_cause = {part.cause: part.usd for part in found.parts}
    assert found.total.usd > 0.0
    assert by_cause["cost"] > 0.0
    assert by_cause["dilution"] > 0.0


def test_every_policy_conserves_every_cent_on_an_observed_market() -> None:
    results = run_policies(market(), settings(date(2024, 11, 8)), all_benchmarks())
    for result in results.values():
        log, outcome = result.daily_log, Outcome.of(result)
        np.testing.assert_allclose(
            log["aum_end"],
            log["aum_start"] - log["total_fees_usd"] + log["yield_usd"] + log["price_usd"],
            rtol=0.0,
            atol=0.001,
        )
        gained = log["aum_end"].iloc[-1] - log["aum_start"].iloc[0]
        assert outcome.profit_usd == pytest.approx(gained, abs=0.001)
    ends = {name: result.daily_log["aum_end"].iloc[-1] for name, result in results.items()}
    assert ends["idle"] == min(ends.values())
