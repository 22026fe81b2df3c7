"""Vault share prices: glitches are unknown, losses are real, and nothing is known early."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from stableyield.errors import ContractError
from stableyield.market.layouts import read_vaults_layout

START = pd.Timestamp("2024-01-01", tz="UTC")


def meta(**changes) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "chain": [1, 10],
            "chain_name": ["Ethereum", "Optimism"],
            "address": ["0xAb", "0xAb"],
            "symbol": ["yvUSDC", None],
            "protocol": ["Yearn", "<protocol not yet identified>"],
            "denom": ["USDC", "USD₮0"],
            "denom_addr": ["0x1", "0x2"],
        }
        | changes
    )


def daily(prices, *, days=None, assets=None, outlier=(), chain=1) -> pd.DataFrame:
    """Rows of one vault; ``outlier`` are positions."""
    n = len(prices)
    return pd.DataFrame(
        {
            "chain": chain,
            "address": "0xAB",
            "date": START + pd.to_timedelta(days if days is not None else range(n), unit="D"),
            "share_price": prices,
            "total_assets": assets if assets is not None else [1e6] * n,
            "outlier": [i in outlier for i in range(n)],
        }
    )


def imported(rows: pd.DataFrame) -> pd.DataFrame:
    return read_vaults_layout(rows, meta()).pool_daily


def test_the_same_address_on_two_chains_is_two_pools():
    rows = pd.concat([daily([1.0, 1.1]), daily([2.0, 2.0], chain=10)])
    tables = read_vaults_layout(rows, meta())
    assert tables.pools["pool_id"].tolist() == ["Ethereum:0xab", "Optimism:0xab"]
    assert tables.pools["tokens"].tolist() == [("USDC",), ("USDT0",)]
    assert tables.pools["symbol"].tolist() == ["yvUSDC", "0xAb"]
    by_pool = tables.pool_daily.groupby("pool_id")["return_1d"].last()
    assert_allclose(by_pool.to_numpy(), [0.1, 0.0])


def test_vaults_without_rows_are_left_out_and_counted():
    tables = read_vaults_layout(daily([1.0]), meta())
    assert len(tables.pools) == 1
    assert "1 vaults of the metadata have no rows" in " ".join(tables.assumptions)


def test_the_apy_is_the_growth_of_the_last_week():
    prices = 1.0005 ** np.arange(10)
    apy_pct = imported(daily(prices))["apy_pct"].to_numpy()
    assert np.isnan(apy_pct[:7]).all()
    assert_allclose(apy_pct[7:], 100.0 * (1.0005**365 - 1.0))


def test_without_a_reading_a_week_ago_an_older_one_counts_for_its_age():
    apy_pct = imported(daily([1.0, 1.01, 1.02], days=[0, 3, 9]))["apy_pct"].to_numpy()
    assert_allclose(apy_pct[2], 100.0 * (1.02 ** (365 / 9) - 1.0))
    too_old = imported(daily([1.0, 1.01], days=[0, 15]))["apy_pct"].to_numpy()
    assert np.isnan(too_old).all()


def test_growth_over_a_gap_is_booked_when_it_is_known():
    rows = imported(daily([1.0, 1.02, 1.03], days=[0, 3, 4]))
    assert rows["date"].dt.day.tolist() == [1, 4, 5]
    assert_allclose(rows["return_1d"].to_numpy()[1:], [0.02, 1.03 / 1.02 - 1.0])


def test_an_outlier_is_unknown_and_the_next_return_ignores_it():
    rows = imported(daily([1.0, 1.001, 1.5, 1.003], outlier=[2]))
    assert np.isnan(rows.loc[2, ["apy_pct", "return_1d", "tvl_usd"]].astype(float)).all()
    assert_allclose(rows["return_1d"].to_numpy()[[1, 3]], [0.001, 1.003 / 1.001 - 1.0])


def test_a_week_that_starts_at_an_outlier_starts_at_the_reading_before_it():
    prices = np.full(10, 1.0)
    prices[2] = 50.0
    prices[9] = 1.002
    apy_pct = imported(daily(prices, outlier=[2]))["apy_pct"].to_numpy()
    assert_allclose(apy_pct[9], 100.0 * (1.002 ** (365 / 8) - 1.0))


def test_a_loss_within_a_day_is_kept():
    assert_allclose(imported(daily([1.0, 0.9]))["return_1d"].to_numpy()[1], -0.1)


def test_a_loss_behind_an_outlier_is_kept_when_assets_fell_with_it():
    rows = daily([1.0, 0.6, 0.6], assets=[1e6, 6e5, 6e5], outlier=[1])
    assert_allclose(imported(rows)["return_1d"].to_numpy()[2], -0.4)


def test_a_price_that_falls_while_assets_stay_counts_shares_anew():
    tables = read_vaults_layout(daily([1e4, 1.0, 1.0, 1.001], outlier=[1]), meta())
    returns = tables.pool_daily["return_1d"].to_numpy()
    assert np.isnan(returns[2])
    assert_allclose(returns[3], 0.001)
    assert tables.masked["returns over a change of share counting"] == 1


def test_nobody_earns_a_jump_of_the_price_behind_an_outlier():
    prices = [1.0, 60.0, 60.0] + [60.06] * 9
    rows = imported(daily(prices, outlier=[1]))
    assert np.isnan(rows["return_1d"].to_numpy()[2])
    # a trailing week that looks back across the jump is unknown too
    assert np.isnan(rows["apy_pct"].to_numpy()[:9]).all()
    assert np.isfinite(rows["apy_pct"].to_numpy()[9:]).all()


def test_a_fall_takes_back_a_jump_that_nobody_was_paid():
    prices = [1.0, 8000.0, 8000.0, 1.01, 1.01]
    rows = daily(prices, assets=[1e6, 8e9, 8e9, 1e6, 1e6], outlier=[1, 3])
    returns = imported(rows)["return_1d"].to_numpy()
    assert_allclose(returns[4], 0.0)
    rows = daily([1.0, 2.0, 2.0, 0.5, 0.5], assets=[4, 8, 8, 2, 2], outlier=[1, 3])
    assert_allclose(imported(rows)["return_1d"].to_numpy()[4], -0.5)


def test_jumps_of_one_vault_are_no_concern_of_the_next():
    first = daily([1.0, 60.0, 60.0], outlier=[1])
    second = daily([1.0, 0.5, 0.5], assets=[2, 1, 1], outlier=[1], chain=10)
    rows = imported(pd.concat([first, second]))
    last = rows.groupby("pool_id")["return_1d"].last()
    assert_allclose(last["Optimism:0xab"], -0.5)


def test_a_glitch_keeps_a_vault_from_being_bought_for_a_month():
    prices = [1.0] * 40
    filtered = imported(daily(prices, outlier=[5]))["is_filtered_out"].to_numpy()
    assert np.flatnonzero(filtered).tolist() == list(range(5, 35))


@pytest.mark.parametrize(("price", "assets"), [(0.0, 1.0), (np.inf, 1.0), (np.nan, 1), (1.0, -1.0)])
def test_unusable_readings_are_masked_and_counted(price, assets):
    rows = daily([1.0, price, 1.0], assets=[1.0, assets, 1.0])
    tables = read_vaults_layout(rows, meta())
    assert tables.masked == {"rows without a usable share price or size": 1}
    assert np.isnan(tables.pool_daily["tvl_usd"].iloc[1])


def test_rows_of_a_vault_without_metadata_are_left_out_and_counted():
    tables = read_vaults_layout(pd.concat([daily([1.0]), daily([1.0], chain=99)]), meta())
    assert tables.masked == {"rows of vaults without metadata": 1}
    assert tables.pool_daily["pool_id"].tolist() == ["Ethereum:0xab"]


def test_two_contracts_of_one_symbol_are_pointed_out():
    one_chain = meta(chain_name=["Optimism", "Optimism"], denom=["USDC", "USDC"])
    text = " ".join(read_vaults_layout(daily([1.0]), one_chain).assumptions)
    assert "USDC on Optimism" in text


def test_a_repeated_row_is_refused():
    with pytest.raises(ContractError, match=r"vault_daily, row 2.*occurs twice"):
        read_vaults_layout(daily([1.0, 1.0], days=[0, 0]), meta())


def test_a_missing_column_names_the_file():
    with pytest.raises(ContractError, match="vault_meta: column 'denom' is missing"):
        read_vaults_layout(daily([1.0]), meta().drop(columns="denom"))


readings = st.lists(
    st.tuples(
        st.floats(min_value=0.5, max_value=2.0),
        st.floats(min_value=0.0, max_value=1e6),
        st.booleans(),
        st.integers(min_value=1, max_value=9),
    ),
    min_size=2,
    max_size=12,
)


def vault_of(rows) -> pd.DataFrame:
    prices, assets, outlier, gaps = (list(column) for column in zip(*rows, strict=True))
    flagged = [i for i, is_outlier in enumerate(outlier) if is_outlier]
    return daily(prices, days=np.cumsum(gaps), assets=assets, outlier=flagged)


@settings(max_examples=40, deadline=None)
@given(rows=readings, cut=st.integers(min_value=1, max_value=11))
def test_no_row_depends_on_later_rows(rows, cut):
    source = vault_of(rows)
    whole = imported(source)
    early = imported(source.iloc[:cut])
    pd.testing.assert_frame_equal(whole.iloc[: len(early)], early)


@settings(max_examples=40, deadline=None)
@given(rows=readings)
def test_returns_compound_to_the_ratio_of_share_prices_that_stand(rows):
    source = vault_of(rows)
    # steps of less than a fifth: no change of share counting
    source["share_price"] = 1.0 + source["share_price"] / 20.0
    stands = ~source["outlier"].to_numpy()
    growth = np.prod(1.0 + imported(source)["return_1d"].dropna().to_numpy())
    prices = source["share_price"].to_numpy()[stands]
    if len(prices):
        assert_allclose(growth, prices[-1] / prices[0], rtol=1e-12)
