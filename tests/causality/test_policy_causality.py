"""Every policy that claims to be causal decides the same whatever comes; the clairvoyant does not.

The clairvoyant is left out of the sweep by its own label, and a test holds that the label is true.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest

from stableyield.backtest.benchmarks import all_benchmarks
from stableyield.backtest.clairvoyant import Clairvoyant
from stableyield.backtest.engine import run_policies
from stableyield.backtest.policy import MilpPolicy, Policy
from stableyield.backtest.settings import BacktestSettings
from stableyield.market.panel import MarketPanel
from support.markets import day, synthetic_panel, with_another_future

START, CUTS = 36, (38, 44, 50)


def every_policy(panel: MarketPanel) -> Sequence[Policy]:
    return (MilpPolicy(), *all_benchmarks(), Clairvoyant(panel))


def transactions(
    panel: MarketPanel, policies: Sequence[Policy], last: int
) -> dict[str, pd.DataFrame]:
    """What each policy trades up to and on day number ``last``."""
    settings = BacktestSettings(start=day(START), end=day(last), aum_usd=2e5)
    found = run_policies(panel, settings, policies)
    return {name: result.transactions for name, result in found.items()}


@pytest.fixture(scope="module")
def panel() -> MarketPanel:
    return synthetic_panel(seed=11)


@pytest.fixture(scope="module")
def expected(panel: MarketPanel) -> dict[str, pd.DataFrame]:
    return transactions(panel, every_policy(panel), max(CUTS))


def changed(
    panel: MarketPanel, expected: dict[str, pd.DataFrame], t: int, policies: Sequence[Policy]
) -> set[str]:
    """Names of the policies that trade otherwise up to day ``t`` in a market that differs later."""
    found = transactions(panel, policies, t)
    last = day(t).isoformat()
    return {
        name
        for name, rows in found.items()
        if not rows.reset_index(drop=True).equals(
            expected[name][expected[name]["exec_date"] <= last].reset_index(drop=True)
        )
    }


@pytest.mark.parametrize("t", CUTS)
def test_no_causal_policy_depends_on_the_future(panel, expected, t) -> None:
    other = with_another_future(panel, t, seed=t)
    causal = [p for p in every_policy(other) if getattr(p, "is_causal", True)]
    assert len(causal) == len(every_policy(other)) - 1
    assert changed(other, expected, t, causal) == set()


def test_the_clairvoyant_is_rightly_labelled(panel, expected) -> None:
    """The same sweep accuses it on every cut, and nobody else."""
    for t in CUTS:
        other = with_another_future(panel, t, seed=t)
        assert changed(other, expected, t, every_policy(other)) == {"clairvoyant"}


def test_the_sweep_compares_trades(expected) -> None:
    traded = {name for name, rows in expected.items() if len(rows)}
    assert traded == set(expected) - {"idle"}
    assert len(expected["threshold"]) >= 1
    assert expected["top_k"]["exec_date"].nunique() >= 2
