"""The three layouts on observed data: spot values, compounding, causality, round trips."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from stableyield.market.assemble import assemble
from stableyield.market.contracts import check_table
from stableyield.market.files import read_market, write_market
from stableyield.market.layouts import import_market, read_vaults_layout

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not (DATA / "vault_daily.parquet").is_file(), reason="needs the real data in ../shared/data"
)
SOURCES = {
    "panel": ("lending_panel",),
    "vaults": ("vault_daily", "vault_meta"),
    "lend-borrow": ("lend_borrow_daily",),
}
WINDOWS = {
    "panel": ("2024-06-06", "2025-02-28"),
    "vaults": ("2024-01-01", "2024-06-30"),
    "lend-borrow": ("2024-01-01", "2024-06-30"),
}


@cache
def imported(layout):
    return import_market(layout, [DATA / f"{name}.parquet" for name in SOURCES[layout]])


@cache
def raw(name) -> pd.DataFrame:
    return pd.read_parquet(DATA / f"{name}.parquet")


def daily(layout) -> pd.DataFrame:
    return imported(layout).pool_daily.set_index(["pool_id", "date"])


@pytest.mark.parametrize("layout", SOURCES)
@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_a_written_import_reads_back_as_the_same_arrays(layout, file_format, tmp_path):
    write_market(imported(layout), tmp_path / "m", file_format=file_format)
    written = read_market(tmp_path / "m")
    direct = assemble(imported(layout))
    a, b = written.as_of(written.last_day), direct.as_of(direct.last_day)
    assert (written.first_day, a.pools, a.tokens) == (direct.first_day, b.pools, b.tokens)
    for one, other in (
        (a.pool_series, b.pool_series),
        (a.token_series, b.token_series),
        (a.gas, b.gas),
    ):
        for item in fields(one):
            assert_array_equal(getattr(one, item.name), getattr(other, item.name), item.name)


@pytest.mark.parametrize("layout", SOURCES)
def test_the_start_token_and_gas_are_known_on_every_day_of_the_window(layout):
    panel = assemble(imported(layout))
    first, last = (pd.Timestamp(day) for day in WINDOWS[layout])
    view = panel.as_of(last.date())
    inside = view.days >= np.datetime64(first, "D")
    usdc = view.token_series.close_usd[:, view.token_index["USDC"]]
    assert np.isfinite(usdc).all()
    assert np.isfinite(view.gas.gas_gwei[inside] * view.gas.eth_usd[inside]).all()
    takes_usdc = [pool for pool in view.pools if pool.tokens == ("USDC",)]
    assert len(takes_usdc) >= 3


def test_usdc_is_one_token_on_many_chains():
    pools = imported("vaults").pools
    usdc = pools[pools["tokens"] == ("USDC",)]
    assert usdc["chain"].nunique() >= 8


def test_quoted_rates_are_those_of_the_source():
    pools = imported("panel").pools.set_index("pool_id")
    rows = raw("lending_panel")
    rows = rows.assign(
        key=rows["pool_id"].fillna(rows["series"]), day=rows["date"].dt.tz_localize(None)
    ).set_index(["key", "day"])
    ours = daily("panel")
    rows = rows.reindex(ours.index)
    protocol = pools["protocol"].reindex(ours.index.get_level_values(0)).to_numpy()
    aave = np.char.startswith(protocol.astype("U"), "aave")
    base, reward = rows["apy_base"].to_numpy(), rows["apy_reward"].to_numpy()
    expected = np.where(aave, 100 * np.expm1(base / 100), base) + reward
    assert aave.sum() > 3000
    assert_allclose(ours["apy_pct"].to_numpy(), expected, rtol=1e-12)
    assert_allclose(ours["apy_pct"].to_numpy()[~aave], rows["apy"].to_numpy()[~aave], atol=2e-5)
    assert_array_equal(ours["tvl_usd"].to_numpy(), rows["tvl_usd"].to_numpy())


def vault_rows() -> pd.DataFrame:
    """The source's rows beside ours."""
    rows = raw("vault_daily").merge(raw("vault_meta")[["chain", "chain_name", "address", "denom"]])
    rows["pool_id"] = rows["chain_name"] + ":" + rows["address"]
    rows["date"] = rows["date"].dt.tz_localize(None)
    both = rows.merge(imported("vaults").pool_daily, on=["pool_id", "date"], validate="1:1")
    assert len(both) == len(rows)
    return both.sort_values(["pool_id", "date"]).reset_index(drop=True)


def test_vault_returns_are_the_source_s_wherever_no_outlier_is_near():
    rows = vault_rows()
    behind = rows.groupby("pool_id")["outlier"].shift(fill_value=False)
    calm = rows[~rows["outlier"] & ~behind & rows["ret"].notna()]
    assert len(calm) > 91_000
    assert_allclose(calm["return_1d"], calm["ret"], rtol=1e-9, atol=1e-12)


def test_the_trailing_yield_is_the_source_s_wherever_no_outlier_is_near():
    rows = vault_rows()
    near = rows.groupby("pool_id")["outlier"].transform(lambda s: s.rolling(30, 1).max()) > 0
    both = rows[~near & rows["apy_pct"].notna() & rows["apy_7d_pct"].notna()]
    assert len(both) > 80_000
    close = np.isclose(both["apy_pct"], both["apy_7d_pct"], rtol=1e-4, atol=1e-4)
    assert close.all()


def test_outliers_are_unknown_and_real_losses_are_kept():
    rows = vault_rows()
    masked = rows[rows["outlier"]]
    assert masked[["apy_pct", "return_1d", "tvl_usd"]].isna().all(axis=None)
    # TrueFi's defaulted loans, November 2023
    loss = daily("vaults").loc[
        ("Polygon:0x0d397f4515007ae4822703b74b9922508837a04e", "2023-11-26"), "return_1d"
    ]
    assert -0.47 < loss < -0.46
    assert imported("vaults").pool_daily["return_1d"].max() < 0.2


def test_returns_compound_to_the_ratio_of_share_prices_that_stand():
    rows = vault_rows()
    rows = rows[~rows["outlier"]]
    first = rows.groupby("pool_id")["share_price"].first()
    last = rows.groupby("pool_id")["share_price"].last()
    growth = rows.groupby("pool_id")["return_1d"].apply(lambda r: np.prod(1.0 + r.dropna()))
    # a vault whose counting of shares changed has a return that is unknown
    unknown = rows.groupby("pool_id")["return_1d"].apply(lambda r: r.iloc[1:].isna().sum())
    never = rows.groupby("pool_id")["return_1d"].min() > -0.2
    whole = (unknown == 0) & never
    assert whole.sum() > 290
    assert_allclose(growth[whole], (last / first)[whole], rtol=1e-9)


def test_no_vault_row_depends_on_later_rows():
    rows = raw("vault_daily")
    early = read_vaults_layout(rows[rows["date"] <= "2024-03-31"], raw("vault_meta")).pool_daily
    whole = read_vaults_layout(rows, raw("vault_meta")).pool_daily
    key = ["pool_id", "date"]
    whole = whole[whole["date"] <= "2024-03-31"].sort_values(key).reset_index(drop=True)
    early = early.sort_values(key).reset_index(drop=True)
    pd.testing.assert_frame_equal(whole, early, check_exact=True)


def test_lending_rates_are_the_last_reading_and_returns_the_mean():
    rows = raw("lend_borrow_daily")
    rows = rows.assign(day=rows["date"].dt.tz_localize(None)).set_index(["market_id", "day"])
    ours = daily("lend-borrow")
    rows = rows.reindex(ours.index)
    last = rows["supply_apr_last_pct"].to_numpy() / 100
    assert_allclose(ours["apy_pct"].to_numpy(), 100 * np.expm1(last), rtol=1e-12)
    mean = rows["supply_apr_pct"].to_numpy() / 100
    assert_allclose(ours["return_1d"].to_numpy(), np.expm1(mean / 365), rtol=1e-12, atol=1e-18)
    assert len(imported("lend-borrow").lend_borrow_daily) == len(ours)


def test_prices_of_march_2023_are_observed_and_not_par():
    prices = imported("vaults").prices_daily.set_index(["token", "date"])["close_usd"]
    usdc = prices.loc[("USDC", "2023-03-11")]
    assert usdc < 0.98
    assert prices.loc[("USDC.e", "2023-03-11")] == usdc
    assert prices.loc[("USDC", "2024-03-11")] == 1.0


def test_the_sample_of_a_foreign_forecaster_keeps_the_contract():
    checked = check_table("forecasts", raw("forecasts_2025_12"))
    assert len(checked.frame) == 2261
    assert checked.ignored_columns == ()
