"""Importing a market: prices, gas and sizes in USD beside a layout's rows."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from stableyield.errors import ContractError, MissingDataError, ParameterError
from stableyield.market.files import read_market, write_market
from stableyield.market.layouts import import_market
from stableyield.market.layouts.side_data import prices_of, read_gas, read_stablecoin_prices

DAYS = pd.date_range("2024-01-01", periods=4, tz="UTC")


def stablecoins() -> pd.DataFrame:
    """USDC from a close-only source and from a candle source that ends on the second day."""
    llama = pd.DataFrame(
        {"date": DAYS, "symbol": "USDC", "source": "llama", "close": [0.5, 0.5, 0.5, 0.5]}
    )
    candles = pd.DataFrame(
        {
            "date": DAYS[:2],
            "symbol": "USDC",
            "source": "candles",
            "close": [0.99, 0.998],
            "low": [0.97, 0.99],
            "market_cap": [0.0, 3e10],
        }
    )
    broken = pd.DataFrame(
        {"date": DAYS[:1], "symbol": "LUSD", "source": "llama", "close": [0.8], "low": [np.nan]}
    )
    return pd.concat([llama, candles, broken]).assign(open=np.nan, high=np.nan)


def gas() -> pd.DataFrame:
    return pd.DataFrame(
        {"date": DAYS, "avg_gas_gwei": [0.0, 20, 21, 22], "eth_usd": [np.nan, 2300, 2301, 2302]}
    )


def vault_files(directory) -> list:
    n = len(DAYS)
    vaults = (("0xa", "USDC.e"), ("0xb", "USDM"), ("0xc", "GHO"), ("0xd", "LUSD"))
    daily = pd.concat(
        pd.DataFrame(
            {
                "chain": 1,
                "address": address,
                "date": DAYS,
                "share_price": [1.0, 1.001, 1.002, 1.003],
                "total_assets": [100.0] * n,
                "outlier": False,
            }
        )
        for address, _ in vaults
    )
    meta = pd.DataFrame(
        {
            "chain": 1,
            "chain_name": "Ethereum",
            "address": [address for address, _ in vaults],
            "symbol": "v",
            "protocol": "Yearn",
            "denom": [denom for _, denom in vaults],
        }
    )
    daily.to_parquet(directory / "vault_daily.parquet")
    meta.to_csv(directory / "vault_meta.csv", index=False)
    return [directory / "vault_meta.csv", directory / "vault_daily.parquet"]


@pytest.fixture
def sources(tmp_path):
    files = vault_files(tmp_path)
    stablecoins().to_parquet(tmp_path / "stablecoin_daily.parquet")
    gas().to_parquet(tmp_path / "gas_eth_daily.parquet")
    return files


def closes(frames, token) -> dict[int, float]:
    rows = frames.prices_daily[frames.prices_daily["token"] == token]
    return dict(zip(rows["date"].dt.day, rows["close_usd"], strict=True))


def test_one_source_a_coin_with_lows_before_length():
    table = read_stablecoin_prices(stablecoins())
    usdc = table[table["token"] == "USDC"]
    assert usdc["close_usd"].tolist() == [0.99, 0.998]
    assert_array_equal(usdc["market_cap_usd"], [np.nan, 3e10])


def test_zero_gas_of_the_first_days_is_unknown():
    table = read_gas(gas())
    assert_array_equal(table["gas_gwei"], [np.nan, 20.0, 21.0, 22.0])


def test_observed_prices_come_first_and_par_only_after_them(sources):
    frames = import_market("vaults", sources)
    assert closes(frames, "USDC") == {1: 0.99, 2: 0.998, 3: 1.0, 4: 1.0}
    assert closes(frames, "USDC.e") == closes(frames, "USDC")
    assert closes(frames, "GHO") == dict.fromkeys((1, 2, 3, 4), 1.0)


def test_a_coin_last_seen_off_its_peg_is_not_continued_at_par(sources):
    assert closes(import_market("vaults", sources), "LUSD") == {1: 0.8}


def test_yield_bearing_tokens_get_no_par_price_and_are_listed(sources):
    frames = import_market("vaults", sources)
    assert frames.report.unpriced_tokens == ("USDM",)
    assert closes(frames, "USDM") == {}


def test_every_assumption_is_recorded(sources):
    text = " ".join(import_market("vaults", sources).assumptions)
    assert "8 token-days" in text
    assert "Days by token: GHO 4, USDC 2, USDC.e 2." in text
    assert "USDC.e as USDC" in text
    assert "Gas and ETH prices are from gas_eth_daily.parquet." in text
    assert "Observed token prices are from stablecoin_daily.parquet" in text


def test_without_par_nothing_is_assumed(sources):
    frames = import_market("vaults", sources, assume_par=False)
    assert closes(frames, "USDC") == {1: 0.99, 2: 0.998}
    assert "Par" not in " ".join(frames.assumptions)


def test_sizes_are_in_usd_of_the_day_and_unknown_without_a_price(sources):
    frames = import_market("vaults", sources)
    tvl = frames.pool_daily.set_index("pool_id")["tvl_usd"]
    assert_allclose(tvl["Ethereum:0xa"], [99.0, 99.8, 100.0, 100.0])
    assert tvl["Ethereum:0xb"].isna().all()
    assert_array_equal(tvl["Ethereum:0xd"], [80.0, np.nan, np.nan, np.nan])


def test_a_day_missing_inside_a_source_stays_unknown():
    observed = read_stablecoin_prices(stablecoins())
    observed = observed[(observed["token"] != "USDC") | (observed["date"].dt.day == 2)]
    prices = prices_of(
        ["USDC"], observed, date(2024, 1, 1), date(2024, 1, 3), assume_par=True
    ).table
    assert prices["date"].dt.day.tolist() == [2, 3]


def test_the_token_a_treasury_starts_from_is_priced_even_where_no_pool_takes_it(sources):
    meta = pd.read_csv(sources[0], dtype=str).assign(denom="GHO")
    meta.to_csv(sources[0], index=False)
    assert set(closes(import_market("vaults", sources), "USDC")) == {1, 2, 3, 4}


def test_an_apy_that_nobody_believes_is_unknown_and_counted(tmp_path):
    days = pd.date_range("2024-01-01", periods=9, tz="UTC")
    daily = pd.DataFrame(
        {
            "chain": 1,
            "address": "0xa",
            "date": days,
            "share_price": 1.15 ** np.arange(9),
            "total_assets": 1.0,
            "outlier": False,
        }
    )
    files = vault_files(tmp_path)
    daily.to_parquet(files[1])
    frames = import_market("vaults", files)
    assert frames.pool_daily["apy_pct"].isna().all()
    assert_allclose(frames.pool_daily["return_1d"].iloc[1:], 0.15)
    assert frames.report.masked == {"APY above 1000 %": 2}
    assert "Made unknown: 2 APY above 1000 %." in frames.assumptions
    high = import_market("vaults", files, highest_apy_pct=1e30)
    assert high.pool_daily["apy_pct"].notna().sum() == 2


def test_an_imported_market_is_one_that_can_be_read(sources, tmp_path):
    frames = import_market("vaults", sources)
    write_market(frames, tmp_path / "m")
    panel = read_market(tmp_path / "m")
    assert "source: vault_daily.parquet" in panel.provenance.hashes
    assert set(frames.assumptions) <= set(panel.provenance.assumptions)
    view = panel.as_of(panel.last_day)
    assert_array_equal(view.gas.eth_usd, [np.nan, 2300.0, 2301.0, 2302.0])


def test_named_side_files_go_before_those_beside_the_sources(sources, tmp_path):
    other = stablecoins().assign(close=0.97)
    other.to_csv(tmp_path / "mine.csv", index=False)
    frames = import_market("vaults", sources, prices=tmp_path / "mine.csv")
    assert closes(frames, "USDC")[1] == 0.97
    assert "mine.csv" in " ".join(frames.assumptions)


def test_without_side_files_gas_is_unknown_and_prices_are_par(tmp_path):
    frames = import_market("vaults", vault_files(tmp_path))
    assert frames.gas_daily is None
    assert closes(frames, "USDC.e") == dict.fromkeys((1, 2, 3, 4), 1.0)
    assert "Gas prices are unknown." in frames.assumptions


def test_neither_prices_nor_par_is_an_error(tmp_path):
    with pytest.raises(MissingDataError, match=r"no stablecoin_daily\.parquet beside"):
        import_market("vaults", vault_files(tmp_path), assume_par=False)


def test_a_missing_file_is_named(sources, tmp_path):
    with pytest.raises(MissingDataError, match=r"absent\.parquet: no such file"):
        import_market("vaults", [*sources, tmp_path / "absent.parquet"])
    with pytest.raises(MissingDataError, match=r"gas\.csv: no such file"):
        import_market("vaults", sources, gas=tmp_path / "gas.csv")


def test_vaults_need_both_files(sources):
    with pytest.raises(MissingDataError, match="no daily file"):
        import_market("vaults", sources[:1])
    with pytest.raises(MissingDataError, match="no metadata file"):
        import_market("vaults", sources[1:])


def test_the_wrong_file_for_a_layout_is_named(sources):
    with pytest.raises(ContractError, match="lend_borrow_daily: column 'market_id' is missing"):
        import_market("lend-borrow", sources[1:])


def test_a_layout_without_sources_or_of_another_name_is_refused(sources):
    with pytest.raises(MissingDataError, match="no source files"):
        import_market("panel", [])
    with pytest.raises(ParameterError, match="'excel' is not known"):
        import_market("excel", sources)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "a.xlsx").write_bytes(b"x")
    with pytest.raises(ContractError, match=r"ending in '\.xlsx' are not read"):
        import_market("panel", [tmp_path / "a.xlsx"])


def panel_file(directory, name="panel.csv", **changes):
    rows = {
        "series": "s",
        "project": "aave-v3",
        "chain": "Base",
        "symbol": "USDC",
        "date": ["2024-01-01T05:00:00Z", "2024-01-01T23:00:00Z", "2024-01-02T23:00:00Z"],
        "tvl_usd": [1, 2, 3],
        "apy": [4.0, 5.0, 6.0],
    }
    pd.DataFrame(rows | changes).to_csv(directory / name, index=False)
    return directory / name


def test_of_several_readings_of_a_day_the_last_is_imported(tmp_path):
    frames = import_market("panel", [panel_file(tmp_path)])
    assert frames.pool_daily["tvl_usd"].tolist() == [2.0, 3.0]


def test_a_panel_may_come_in_several_files(tmp_path):
    files = [panel_file(tmp_path), panel_file(tmp_path, "more.csv", series="t")]
    frames = import_market("panel", files)
    assert frames.pools["pool_id"].tolist() == ["s", "t"]
    assert frames.report.rows_in == {"panel.csv": 3, "more.csv": 3}


def test_an_import_of_fractions_is_asked_about(tmp_path):
    path = panel_file(tmp_path, apy=[0.04, 0.05, 0.06])
    with pytest.raises(ContractError, match="looks like fractions"):
        import_market("panel", [path])
    assert len(import_market("panel", [path], confirm_percent=True).pool_daily) == 2
