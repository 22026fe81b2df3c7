"""Backtests on observed markets: every day is verified, and every dollar is found again."""

from __future__ import annotations

import json
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stableyield.backtest import BacktestResult, run_backtest
from stableyield.backtest.benchmarks import benchmarks
from stableyield.market.assemble import assemble
from stableyield.market.layouts import import_market
from stableyield.market.panel import MarketPanel

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not (DATA / "vault_daily.parquet").is_file(), reason="needs the real data in ../shared/data"
)
SOURCES = {
    "vaults": ("vault_daily", "vault_meta"),
    "panel": ("lending_panel",),
    "lend-borrow": ("lend_borrow_daily",),
}
SPANS = {
    "vaults": (date(2024, 1, 1), date(2024, 1, 21)),
    "panel": (date(2024, 9, 1), date(2024, 9, 21)),
    "lend-borrow": (date(2024, 1, 1), date(2024, 1, 14)),
}


@cache
def market(layout: str) -> MarketPanel:
    return assemble(import_market(layout, [DATA / f"{name}.parquet" for name in SOURCES[layout]]))


@cache
def run_of(layout: str) -> BacktestResult:
    start, end = SPANS[layout]
    return run_backtest(market(layout), start=start, end=end, quick=layout == "vaults")


def assert_conserved(result: BacktestResult) -> None:
    """Every column of the log follows from the others, to a tenth of a cent."""
    log = result.daily_log
    for left, right in (
        (log["aum_after"], log["aum_start"] - log["total_fees_usd"]),
        (log["aum_end"], log["aum_after"] + log["yield_usd"] + log["price_usd"]),
        (log["aum_start"].iloc[1:].to_numpy(), log["aum_end"].iloc[:-1].to_numpy()),
    ):
        np.testing.assert_allclose(left, right, rtol=0.0, atol=0.001)
    for _, rows in result.benchmarks.groupby("policy"):
        np.testing.assert_allclose(
            rows["aum_start"].iloc[1:], rows["aum_end"].iloc[:-1], rtol=0.0, atol=0.001
        )


@pytest.mark.parametrize("layout", SOURCES)
def test_a_run_over_an_observed_market_conserves_every_cent(layout: str) -> None:
    result = run_of(layout)
    start, end = SPANS[layout]
    assert len(result.daily_log) == (end - start).days + 1
    policies = {policy.name for policy in benchmarks(market(layout), quick=layout == "vaults")}
    assert set(result.benchmarks["policy"]) == policies
    assert_conserved(result)


@pytest.mark.parametrize("layout", SOURCES)
def test_the_strategy_is_solved_verified_and_invested_on_every_day(layout: str) -> None:
    """The verifier has looked at each plan: it stops the run when it finds something."""
    log = run_of(layout).daily_log
    assert log["solver_status"].iloc[0] == "optimal"
    assert set(log["solver_status"]) <= {"optimal", "data_quality"}
    assert (log["solver_status"] == "data_quality").sum() <= 1
    assert (log["n_positions"] >= 5).all()
    cash = log["allocations_by_pool"].map(lambda text: json.loads(text)["warm_wallet"])
    # the caps of the risk groups leave up to 35 % in cash where all pools are in two groups
    assert (cash < 0.36 * log["aum_after"]).all()


@pytest.mark.parametrize("layout", SOURCES)
def test_what_is_earned_is_what_stablecoins_pay(layout: str) -> None:
    result = run_of(layout)
    log = result.daily_log
    gross_apy = (1.0 + (log["yield_usd"] / log["aum_after"])).prod() ** (365 / len(log)) - 1.0
    assert 0.02 < gross_apy < 0.30
    assert log["total_fees_usd"].sum() < 0.01 * 1e6
    end = result.benchmarks.groupby("policy")["aum_end"].last()
    assert end["idle"] == pytest.approx(1e6, rel=1e-3)
    assert end["equal_weight"] > end["idle"]


@pytest.mark.parametrize("layout", SOURCES)
def test_no_position_is_larger_than_the_pool_allows(layout: str) -> None:
    result, panel = run_of(layout), market(layout)
    rows = result.positions[result.positions["pool_id"] != "warm_wallet"]
    log = result.daily_log.set_index("exec_date")
    size = rows.groupby(["exec_date", "pool_id"])["amount_usd"].sum()
    aum = log["aum_start"].reindex(size.index.get_level_values("exec_date")).to_numpy()
    assert (size.to_numpy() <= 0.25 * 1.1 * aum + 0.01).all()  # the cap and its tolerance
    for (on, pool_id), usd in size.items():
        view = panel.as_of(date.fromisoformat(on))
        recent = view.pool_series.tvl_usd[-8:, view.pool_index[pool_id]]
        known = recent[np.isfinite(recent)]
        # a forecast may be above the last size, and a pool may shrink under a position
        assert usd <= 0.05 * 2.0 * known.max() + 0.01


def test_a_run_from_real_data_is_repeatable() -> None:
    start, end = SPANS["lend-borrow"]
    again = run_backtest(market("lend-borrow"), start=start, end=end)
    for name in ("daily_log", "positions", "transactions", "benchmarks"):
        pd.testing.assert_frame_equal(
            getattr(again, name), getattr(run_of("lend-borrow"), name), check_exact=True
        )


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["vaults", "lend-borrow"])
def test_half_a_year_runs_through(layout: str) -> None:
    result = run_backtest(market(layout), start=date(2024, 1, 1), end=date(2024, 6, 30))
    assert len(result.daily_log) == (182 if layout == "vaults" else 181)
    assert_conserved(result)
    assert result.daily_log["status"].eq("done").all()
