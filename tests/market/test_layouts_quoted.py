"""Aggregator charts and lend/borrow history: which number is which, and nothing is filled in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from stableyield.errors import ContractError
from stableyield.market.layouts import read_lend_borrow_layout, read_panel_layout
from stableyield.market.layouts.projects import pool_kind, rate_convention
from stableyield.market.layouts.symbols import resolve_symbol


def panel(**changes) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "series": ["aave", "steak", "fluid"],
            "pool_id": ["uuid-1", "uuid-2", None],
            "project": ["aave-v3", "morpho-blue", "fluid-lending"],
            "chain": ["Ethereum", "Base", "Base"],
            "symbol": ["USDE", "STEAKUSDC", "USDT"],
            "date": pd.to_datetime(["2024-06-06"] * 3, utc=True),
            "tvl_usd": [10, 20, 30],
            "apy": [10.5, 7.0, 9.0],
            "apy_base": [10.0, 4.0, 5.0],
            "apy_reward": [0.5, 3.0, 4.0],
        }
        | changes
    )


def lend_borrow(**changes) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "market_id": ["m", "m", "n"],
            "protocol": ["aave-v3"] * 3,
            "chain": ["Ethereum"] * 3,
            "symbol": ["USDC", "USDC", "sUSD"],
            "date": pd.to_datetime(["2024-01-01", "2024-01-05", "2024-01-01"], utc=True),
            "supplied_usd": [100.0, 110.0, 5.0],
            "borrowed_usd": [80.0, 70.0, 6.0],
            "supply_apr_pct": [3.0, 4.0, 5.0],
            "borrow_apr_pct": [4.0, 5.0, np.nan],
            "supply_apr_last_pct": [3.5, 3.9, 6.0],
            "available_usd": [20.0, 40.0, -1.0],
            "n_fresh": [24, 3, 1],
        }
        | changes
    )


def test_an_apr_becomes_an_apy_and_an_apy_stays():
    daily = read_panel_layout(panel()).pool_daily
    assert_allclose(daily["apy_base_pct"], [100.0 * np.expm1(0.10), 4.0, 5.0])


def test_the_total_is_base_plus_reward_where_both_are_known():
    daily = read_panel_layout(panel()).pool_daily
    assert_allclose(daily["apy_pct"], daily["apy_base_pct"] + daily["apy_reward_pct"])
    assert_array_equal(daily["apy_reward_pct"], [0.5, 3.0, 4.0])


def test_a_missing_reward_is_nothing_only_if_the_total_says_so():
    rows = panel(apy=[10.5, 4.0, 9.0], apy_reward=[np.nan, np.nan, 4.0])
    daily = read_panel_layout(rows).pool_daily
    assert_array_equal(daily["apy_reward_pct"], [np.nan, 0.0, 4.0])
    assert_allclose(daily["apy_pct"].iloc[0], 100.0 * np.expm1(0.105))


def test_charts_without_base_and_reward_have_the_total_only():
    daily = read_panel_layout(panel().drop(columns=["apy_base", "apy_reward"])).pool_daily
    assert daily["apy_base_pct"].isna().all()
    assert_allclose(daily["apy_pct"].iloc[1], 7.0)


def test_an_unknown_convention_is_flagged():
    text = " ".join(read_panel_layout(panel()).assumptions)
    assert "apy_base of aave-v3 is an APR" in text
    assert "Whether apy_base of fluid-lending is APR or APY is not known" in text


@pytest.mark.parametrize(
    ("project", "convention"),
    [
        ("aave-v2", "simple"),
        ("aave", "simple"),
        ("spark", "simple"),
        ("sparklend", "simple"),
        ("compound-v3", "simple"),
        ("compound-v2", "unknown"),
        ("morpho-blue", "compounded"),
        ("morpho-aave", "compounded"),
        ("spark-savings", "compounded"),
        ("euler-v1", "unknown"),
        ("euler-v2", "compounded"),
        ("venus-core-pool", "compounded"),
        ("fluid-lending", "unknown"),
    ],
)
def test_conventions_are_those_of_the_projects(project, convention):
    assert rate_convention(project) == convention


@pytest.mark.parametrize(
    ("project", "kind"),
    [
        ("aave-v3", "lending"),
        ("sparklend", "lending"),
        ("compound-v2", "lending"),
        ("radiant-v1", "lending"),
        ("silo-v2", "lending"),
        ("benqi-lending", "lending"),
        ("venus-core-pool", "lending"),
        ("spark-savings", "vault"),
        ("fluid-lending", "vault"),
        ("morpho-v1", "vault"),
        ("ethena-usde", "vault"),
        ("morpho-compound", "unknown"),
    ],
)
def test_what_a_tvl_measures_is_known_by_project(project, kind):
    assert pool_kind(project) == kind


@pytest.mark.parametrize(
    "project",
    [
        *("aavegotchi", "sparkswap", "spark-liquidity-layer", "compounder", "compound-v3x"),
        *("eulerswap", "fluid-dex", "skydrome", "benqi-staked-avax", "venus-flux", "-v3", ""),
    ],
)
def test_a_name_that_only_begins_like_a_known_one_is_unknown(project):
    assert rate_convention(project) == "unknown"
    assert pool_kind(project) == "unknown"


def test_a_savings_vault_of_a_lender_is_a_vault_that_quotes_apy():
    rows = panel(project=["spark-savings", "sparklend", "spark-v2"])
    daily = read_panel_layout(rows).pool_daily
    assert_allclose(daily["apy_base_pct"], [10.0, 100.0 * np.expm1(0.04), 100.0 * np.expm1(0.05)])
    assert_array_equal(daily["deposits_usd"], [10.0, np.nan, np.nan])
    assert_array_equal(daily["available_usd"], [np.nan, 20.0, 30.0])


@pytest.mark.parametrize("column", ["project", "chain", "symbol"])
def test_a_row_that_does_not_say_which_pool_it_is_is_named(column):
    with pytest.raises(ContractError, match=rf"panel, row 2: column '{column}' holds nan: empty"):
        read_panel_layout(panel(**{column: ["aave-v3", " ", "USDC"]}))


def test_lending_tvl_is_cash_and_vault_tvl_is_deposits():
    daily = read_panel_layout(panel()).pool_daily
    assert_array_equal(daily["available_usd"], [10.0, np.nan, np.nan])
    assert_array_equal(daily["deposits_usd"], [np.nan, 20.0, 30.0])


def test_a_pool_id_that_names_one_series_is_used_and_else_the_series():
    pools = read_panel_layout(panel()).pools
    assert pools["pool_id"].tolist() == ["fluid", "uuid-1", "uuid-2"]
    shared = read_panel_layout(panel(pool_id=["x", "x", None])).pools
    assert shared["pool_id"].tolist() == ["aave", "fluid", "steak"]
    absent = read_panel_layout(panel().drop(columns="pool_id")).pools
    assert absent["pool_id"].tolist() == ["aave", "fluid", "steak"]


@pytest.mark.parametrize(
    ("symbol", "tokens", "found"),
    [
        ("USDC", ("USDC",), "spelling"),
        ("USDC.E", ("USDC.e",), "spelling"),
        ("USDe", ("USDe",), "spelling"),
        ("USDE", ("USDe",), "spelling"),
        ("SUSDE", ("sUSDe",), "spelling"),
        ("SDAI", ("sDAI",), "spelling"),
        ("BBUSDC", ("USDC",), "curated vault"),
        ("STEAKUSDTLITE", ("USDT",), "curated vault"),
        ("GTDAICORE", ("DAI",), "curated vault"),
        ("USUALUSDC+", ("USDC",), "curated vault"),
        ("MC.EUSDC", ("USDC",), "curated vault"),
        ("RE7CRVUSD", ("crvUSD",), "curated vault"),
        ("USDC-USDT", ("USDC", "USDT"), "pair"),
        ("PT-SUSDE-27FEB2025", ("PT-SUSDE-27FEB2025",), "unresolved"),
        ("STKCVXCRVUSDCWBTCWETH-MORPHO", ("STKCVXCRVUSDCWBTCWETH-MORPHO",), "unresolved"),
        ("SUSDC", ("SUSDC",), "unresolved"),
        ("WETH", ("WETH",), "unresolved"),
        ("GTSUSDS", ("GTSUSDS",), "unresolved"),
    ],
)
def test_symbols_are_resolved_by_closed_rules(symbol, tokens, found):
    resolved = resolve_symbol(symbol)
    assert (resolved.tokens, resolved.found) == (tokens, found)


def test_guessed_and_unresolved_symbols_are_listed():
    rows = panel(symbol=["PT-SUSDE-27FEB2025", "STEAKUSDC", "USDT"])
    text = " ".join(read_panel_layout(rows).assumptions)
    assert "taken as the dollar in their name: STEAKUSDC." in text
    assert "stay without a price: PT-SUSDE-27FEB2025." in text


def test_a_panel_without_its_key_is_refused():
    with pytest.raises(ContractError, match="panel: column 'series' is missing"):
        read_panel_layout(panel().drop(columns="series"))


def test_the_last_reading_is_known_and_the_mean_is_earned():
    daily = read_lend_borrow_layout(lend_borrow()).pool_daily
    assert_allclose(daily["apy_pct"], 100.0 * np.expm1([0.035, 0.039, 0.06]))
    assert_allclose(daily["return_1d"], np.expm1(np.array([0.03, 0.04, 0.05]) / 365.0))


def test_days_without_a_row_stay_without_one():
    daily = read_lend_borrow_layout(lend_borrow()).pool_daily
    assert daily.loc[daily["pool_id"] == "m", "date"].dt.day.tolist() == [1, 5]


def test_cash_is_the_tvl_and_negative_cash_is_unknown():
    tables = read_lend_borrow_layout(lend_borrow())
    assert_array_equal(tables.pool_daily["tvl_usd"], [20.0, 40.0, np.nan])
    assert_array_equal(tables.pool_daily["deposits_usd"], [100.0, 110.0, 5.0])
    assert tables.masked == {"negative available_usd": 1}


def test_rows_carried_over_without_a_reading_are_left_out():
    tables = read_lend_borrow_layout(lend_borrow(n_fresh=[24, 0, 1]))
    assert len(tables.pool_daily) == len(tables.lend_borrow_daily) == 2
    assert tables.masked["rows carried over without a reading"] == 1


def test_the_lend_borrow_table_keeps_apr_and_unknown_borrow_rates():
    table = read_lend_borrow_layout(lend_borrow()).lend_borrow_daily
    assert_array_equal(table["supply_apr_pct"], [3.0, 4.0, 5.0])
    assert_array_equal(table["borrow_apr_pct"], [4.0, 5.0, np.nan])
    assert table["symbol"].tolist() == ["USDC", "USDC", "sUSD"]
