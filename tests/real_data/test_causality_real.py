"""On observed markets, too, no decision depends on what happened later."""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path

import pytest

from stableyield.backtest import BacktestSettings
from stableyield.backtest.benchmarks import EqualWeight
from stableyield.backtest.clairvoyant import Clairvoyant
from stableyield.backtest.trailing import TopTrailing
from stableyield.forecast import baseline
from stableyield.market.assemble import assemble
from stableyield.market.layouts import import_market
from stableyield.market.panel import MarketPanel
from stableyield.study.causality import check_causality

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (DATA / "vault_daily.parquet").is_file(), reason="needs the real data in ../shared/data"
    ),
]
SOURCES = {"vaults": ("vault_daily", "vault_meta"), "panel": ("lending_panel",)}
SPANS = {
    "vaults": (date(2024, 1, 28), date(2024, 2, 3)),
    "panel": (date(2024, 8, 28), date(2024, 9, 3)),
}


@cache
def market(layout: str) -> MarketPanel:
    return assemble(import_market(layout, [DATA / f"{name}.parquet" for name in SOURCES[layout]]))


def settings(layout: str, forecaster: str = "ewma") -> BacktestSettings:
    start, end = SPANS[layout]
    return BacktestSettings(start=start, end=end, forecaster=baseline(forecaster))


@pytest.mark.parametrize("layout", SOURCES)
@pytest.mark.parametrize("forecaster", ["ewma", "reversion"])
def test_the_strategy_is_causal(layout: str, forecaster: str) -> None:
    report = check_causality(market(layout), settings(layout, forecaster), changes=2)
    report.raise_if_not_causal()
    assert report.n_transactions > 0


@pytest.mark.parametrize("layout", SOURCES)
@pytest.mark.parametrize("policy", [EqualWeight, TopTrailing])
def test_policies_without_a_solver_are_causal(layout: str, policy: type) -> None:
    report = check_causality(market(layout), settings(layout), policy, changes=3)
    report.raise_if_not_causal()
    assert report.n_transactions > 0


@pytest.mark.parametrize("layout", SOURCES)
def test_the_clairvoyant_is_not(layout: str) -> None:
    report = check_causality(market(layout), settings(layout), Clairvoyant, changes=1)
    assert report.leaks
