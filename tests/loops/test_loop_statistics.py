"""Statistics of rates: exact columns, pooled daily values, the cost of rebalancing."""

from __future__ import annotations

import numpy as np
import pytest

from stableyield.errors import ParameterError
from stableyield.loops import (
    LoopRates,
    chain_table,
    pool_table,
    rebalancing_costs,
    spread_summary,
    spread_table,
)
from stableyield.loops.statistics import best_of_each_day, describe
from support.loop_markets import make_rates


def elsewhere(rates: LoopRates, chain: str) -> LoopRates:
    return LoopRates(**{**vars(rates), "chain": chain})


def test_a_pool_is_described_by_its_own_days() -> None:
    supply = np.tile([0.03, 0.09, 0.04], (10, 1))
    supply[:, 1] = np.arange(1, 11) / 100.0
    table = pool_table([make_rates(supply_apr=supply)]).set_index(["asset", "side"])
    row = table.loc[("USDC", "supply")]
    assert row["n_days"] == 10
    assert (row["mean_pct"], row["median_pct"]) == pytest.approx((5.5, 5.5))
    assert (row["max_pct"], row["min_pct"]) == pytest.approx((10.0, 1.0))
    assert (row["p10_pct"], row["p90_pct"]) == pytest.approx((1.9, 9.1))
    assert row["volatility_pct"] == pytest.approx(np.std(np.arange(1, 11), ddof=1))
    assert table.loc[("USDC", "borrow"), "mean_pct"] == pytest.approx(11.0)


def test_a_day_that_is_carried_over_is_not_counted() -> None:
    fresh = np.ones((10, 3), dtype=bool)
    fresh[4:, 1] = False
    table = pool_table([make_rates(is_fresh=fresh)]).set_index(["asset", "side"])
    assert table.loc[("USDC", "supply"), "n_days"] == 4


def test_a_chain_pools_days_and_does_not_average_averages() -> None:
    fresh = np.ones((10, 3), dtype=bool)
    fresh[1:, 1] = False  # one day at 9 %, ten at 3 % and at 4 %
    table = chain_table([make_rates(is_fresh=fresh)]).set_index("side")
    assert table.loc["supply", "n_days"] == 21
    assert table.loc["supply", "mean_pct"] == pytest.approx((9.0 + 30.0 + 40.0) / 21)


def test_nothing_known_is_nan_and_not_zero() -> None:
    row = describe(np.array([np.nan]))
    assert row["n_days"] == 0
    assert np.isnan(row["mean_pct"])


def test_the_spread_is_of_two_assets_in_one_market() -> None:
    rates = make_rates(supply_apr=(0.03, 0.09, 0.04), borrow_apr=(0.06, 0.02, 0.05))
    row = spread_table([rates]).iloc[0]
    assert (row["supply_asset"], row["borrow_asset"]) == ("USDC", "USDT")
    assert row["spread_pct"] == pytest.approx(4.0)


def test_a_day_without_a_pair_has_no_row() -> None:
    borrow = np.tile([0.06, 0.11, 0.05], (10, 1))
    borrow[3] = np.nan
    assert len(spread_table([make_rates(borrow_apr=borrow)])) == 9


def test_the_best_of_each_day_is_taken_per_chain_and_over_all() -> None:
    good, bad = make_rates(), elsewhere(make_rates(supply_apr=(0.01, 0.02, 0.01)), "Other")
    spreads = spread_table([bad, good])
    assert len(best_of_each_day(spreads)) == 20
    assert set(best_of_each_day(spreads, ())["chain"]) == {"Testchain"}
    summary = spread_summary(spreads).set_index("chain")
    assert summary.loc["Other", "days_negative"] == 10
    assert summary.loc["all", "days_negative"] == 0
    assert summary.loc["all", "mean_pct"] == pytest.approx(4.0)


def test_the_notebooks_hourly_rebalancing_costs_five_percent_a_year() -> None:
    table = rebalancing_costs(0.06, 10_000.0).set_index("every")
    assert table.loc["hourly", "transactions_per_year"] == 8760
    assert table.loc["hourly", "share_pct"] == pytest.approx(5.256)
    assert table.loc["daily", "share_pct"] == pytest.approx(0.219)
    assert table.loc["weekly", "cost_usd_per_year"] == pytest.approx(0.06 * 365 / 7)


@pytest.mark.parametrize(("gas", "capital"), [(-1.0, 1e4), (0.06, 0.0)])
def test_rebalancing_of_nothing_is_refused(gas: float, capital: float) -> None:
    with pytest.raises(ParameterError):
        rebalancing_costs(gas, capital)
