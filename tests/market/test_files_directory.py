"""A market directory: what is read back is what was written, or nothing was."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from stableyield.domain.pool import PoolKind
from stableyield.errors import ContractError, MissingDataError
from stableyield.market import files
from stableyield.market.assemble import panel_of
from stableyield.market.files import SourcedFrames, read_frames, read_market, write_market
from stableyield.market.frames import MarketFrames
from stableyield.market.tables import sha256_of


def market(**changes) -> MarketFrames:
    tables = {
        "pools": pd.DataFrame(
            {
                "pool_id": ["b", "a"],
                "symbol": ["USDC-DAI", "USDC"],
                "chain": ["Base", "Ethereum"],
                "protocol": ["curve", "aave-v3"],
                "tokens": [("USDC", "DAI"), ("USDC",)],
                "kind": ["amm", "lending"],
                "token_shares": [(0.25, 0.75), ()],
                "listed_from": [None, "2024-01-01"],
                "is_active": [True, False],
            }
        ),
        "pool_daily": pd.DataFrame(
            {
                "pool_id": ["a", "a", "b"],
                "date": ["2024-01-01", "2024-01-04", "2024-01-03"],
                "apy_pct": [4.1, 5.2, np.nan],
                "tvl_usd": [1e6 / 3.0, 2e6, 3e6],
                "return_1d": [np.nan, -0.01, 0.1 + 0.2],
                "is_filtered_out": [False, True, False],
            }
        ),
        "prices_daily": pd.DataFrame(
            {
                "token": ["USDC", "USDC", "DAI"],
                "date": ["2023-12-31", "2024-01-01", "2024-01-04"],
                "close_usd": [0.99, 1.0001, 0.999],
                "low_usd": [0.98, 0.999, np.nan],
            }
        ),
        "gas_daily": pd.DataFrame(
            {"date": ["2024-01-02"], "gas_gwei": [17.5], "eth_usd": [2345.6]},
        ),
        "assumptions": ("Fees are not counted.",),
    }
    return MarketFrames(**tables | changes)


def arrays_of(panel) -> dict[str, np.ndarray]:
    view = panel.as_of(panel.last_day)
    parts = (view.pool_series, view.token_series, view.gas)
    return {item.name: getattr(part, item.name) for part in parts for item in fields(part)}


def assert_same_market(one, other):
    a, b = one.as_of(one.last_day), other.as_of(other.last_day)
    assert (one.first_day, a.pools, a.tokens) == (other.first_day, b.pools, b.tokens)
    for name, array in arrays_of(one).items():
        assert_array_equal(array, arrays_of(other)[name], err_msg=name)


@pytest.fixture
def directory(tmp_path):
    write_market(market(), tmp_path / "m", file_format="csv")
    return tmp_path / "m"


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_a_written_market_reads_back_the_same(tmp_path, file_format):
    write_market(market(), tmp_path / "deep" / "m", file_format=file_format)
    panel = read_market(tmp_path / "deep" / "m")
    assert_same_market(panel, panel_of(market()))
    assert panel.provenance.assumptions == ("Fees are not counted.",)


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(
        st.floats(min_value=1e-12, max_value=1e15, allow_subnormal=False), min_size=1, max_size=5
    )
)
def test_csv_keeps_every_bit_of_a_number(tmp_path_factory, values):
    directory = tmp_path_factory.mktemp("m")
    daily = pd.DataFrame(
        {
            "pool_id": "a",
            "date": pd.date_range("2024-01-01", periods=len(values)),
            "apy_pct": 5.0,
            "tvl_usd": values,
        }
    )
    write_market(market(pool_daily=daily), directory, file_format="csv")
    assert read_frames(directory).pool_daily["tvl_usd"].tolist() == values


def test_the_days_are_consecutive_and_those_of_the_pools(directory):
    panel = read_market(directory)
    view = panel.as_of(panel.last_day)
    assert (panel.first_day, panel.last_day) == (date(2024, 1, 1), date(2024, 1, 4))
    usdc = view.token_series.close_usd[:, view.token_index["USDC"]]
    # the price of 2023 is cut off, and no price is carried forward
    assert_array_equal(usdc, [1.0001, np.nan, np.nan, np.nan])
    assert_array_equal(view.gas.gas_gwei, [np.nan, 17.5, np.nan, np.nan])


def test_pools_carry_what_their_table_says(directory):
    view = read_market(directory).as_of(date(2024, 1, 4))
    a, b = (view.pools[view.pool_index[name]] for name in "ab")
    assert (a.kind, a.listed_from, a.is_active) == (PoolKind.LENDING, date(2024, 1, 1), False)
    assert (b.tokens, b.token_shares, b.listed_from) == (("USDC", "DAI"), (0.25, 0.75), None)


def test_every_file_has_its_hash_in_the_provenance(directory):
    hashes = read_market(directory).provenance.hashes
    assert hashes["pools.csv"] == sha256_of(directory / "pools.csv")
    assert set(hashes) == {"pools.csv", "pool_daily.csv", "prices_daily.csv", "gas_daily.csv"}


def test_hashes_of_the_sources_survive_being_read_and_written_again(tmp_path):
    frames = market()
    tables = {item.name: getattr(frames, item.name) for item in fields(MarketFrames)}
    write_market(SourcedFrames(**tables, source_sha256={"raw.csv": "12ab"}), tmp_path / "m")
    once = read_frames(tmp_path / "m")
    assert once.source_sha256["source: raw.csv"] == "12ab"
    write_market(once, tmp_path / "n")
    assert read_frames(tmp_path / "n").source_sha256["source: raw.csv"] == "12ab"


@pytest.mark.parametrize("table", ["pools", "pool_daily"])
def test_a_missing_table_is_named(directory, table):
    (directory / f"{table}.csv").unlink()
    with pytest.raises(MissingDataError, match=f"there is no {table} table"):
        read_market(directory)


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(MissingDataError, match="nowhere: no such directory"):
        read_market(tmp_path / "nowhere")


def test_missing_prices_are_an_error_that_names_the_option(directory):
    (directory / "prices_daily.csv").unlink()
    with pytest.raises(MissingDataError, match="--assume-par"):
        read_market(directory)


def test_missing_gas_is_unknown_and_not_zero(directory):
    (directory / "gas_daily.csv").unlink()
    assert np.isnan(read_market(directory).as_of(date(2024, 1, 4)).gas.gas_gwei).all()


def test_par_fills_plain_dollars_without_any_price_and_says_so(tmp_path):
    pools = market().pools.assign(tokens=[("USDC", "GHO"), ("sDAI",)])
    write_market(market(pools=pools), tmp_path / "m")
    panel = read_market(tmp_path / "m", assume_par=True)
    view = panel.as_of(panel.last_day)
    close = view.token_series.close_usd
    assert_array_equal(close[:, view.token_index["GHO"]], np.ones(4))
    # USDC has an observed price: its missing days stay unknown
    assert np.isnan(close[1:, view.token_index["USDC"]]).all()
    assert "sDAI" not in view.tokens
    text = " ".join(panel.provenance.assumptions)
    assert "Par is assumed: GHO have no observed price" in text
    assert "No price is known for: sDAI" in text


@pytest.mark.parametrize(
    "token", ["sDAI", "sUSDe", "sUSDS", "stUSD", "xUSD", "USDM", "UST", "EURC"]
)
def test_par_never_covers_yield_bearing_broken_or_foreign_tokens(tmp_path, token):
    pools = market().pools.assign(tokens=[(token,), (token,)]).drop(columns="token_shares")
    write_market(market(pools=pools, prices_daily=None), tmp_path / "m")
    panel = read_market(tmp_path / "m", assume_par=True)
    assert panel.as_of(panel.last_day).tokens == ()


def test_a_table_in_both_formats_is_an_error(directory):
    write_market(market(), directory.parent / "p")
    (directory.parent / "p" / "pools.parquet").rename(directory / "pools.parquet")
    with pytest.raises(ContractError, match=r"pools is there twice, as pools\.parquet and"):
        read_market(directory)


def test_a_violation_in_a_csv_is_named_by_its_line(directory):
    path = directory / "pool_daily.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], "", *lines[2:]]) + "\n")
    with pytest.raises(ContractError, match=r"pool_daily\.csv, line 3: column 'pool_id'"):
        read_market(directory)


@pytest.mark.parametrize("content", [b"", b'pool_id,date\n"a,1\n', b"a,b\n1,2,3\n1,2,3,4\n"])
def test_an_unreadable_csv_is_named(directory, content):
    (directory / "pool_daily.csv").write_bytes(content)
    with pytest.raises(ContractError, match="pool_daily"):
        read_market(directory)


def test_a_truncated_parquet_file_is_named(tmp_path):
    write_market(market(), tmp_path / "m")
    path = tmp_path / "m" / "pools.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ContractError, match=r"pools\.parquet: cannot be read as parquet"):
        read_market(tmp_path / "m")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"assumptions": "one"}', '{"source_sha256": {"a": 1}}']
)
def test_a_broken_market_json_is_named(directory, text):
    (directory / "market.json").write_text(text)
    with pytest.raises(ContractError, match=r"market\.json"):
        read_market(directory)


def test_names_that_look_like_numbers_or_nothing_stay_names(tmp_path):
    pools = market().pools.assign(pool_id=["007", "NA"], symbol=["1e5", "nan"])
    daily = market().pool_daily.assign(pool_id=["007", "007", "NA"])
    write_market(market(pools=pools, pool_daily=daily), tmp_path / "m", file_format="csv")
    frames = read_frames(tmp_path / "m")
    assert frames.pools["pool_id"].tolist() == ["007", "NA"]
    assert frames.pools["symbol"].tolist() == ["1e5", "nan"]


def test_ignored_columns_and_replaced_rows_are_reported(tmp_path):
    daily = market().pool_daily.assign(
        pool_id="a", date=["2024-01-01T01:00", "2024-01-01T23:00", "2024-01-02"], source="x"
    )
    directory = tmp_path / "m"
    write_market(market(), directory, file_format="csv")
    daily.to_csv(directory / "pool_daily.csv", index=False)
    report = read_frames(directory).report
    assert report.ignored_columns == {"pool_daily": ("source",)}
    assert report.masked == {"pool_daily": 1}
    assert report.rows_in["pool_daily"] == 3
    sentence = "1 rows of pool_daily were replaced by a later row of the same pool_id and date."
    assert sentence in read_market(directory).provenance.assumptions


def test_foreign_forecasts_are_placed_by_exec_date_and_the_last_wins(tmp_path):
    forecasts = pd.DataFrame(
        {
            "pool_id": ["a", "a", "zz", "b"],
            "exec_date": ["2024-01-02", "2024-01-02", "2024-01-02", "2024-01-09"],
            "target_date": ["2024-01-03", "2024-01-03", "2024-01-03", "2024-01-10"],
            "pred_global_apy": [4.0, 5.0, 6.0, 7.0],
            "pred_global_tvl": [1.0, -2.0, 3.0, 4.0],
            "pred_global_apy_q10": [3.0, 4.5, 5.0, 6.0],
        }
    )
    write_market(market(), tmp_path / "m", file_format="csv")
    forecasts.to_csv(tmp_path / "m" / "forecasts.csv", index=False)
    panel = read_market(tmp_path / "m")
    view = panel.as_of(panel.last_day)
    a = view.pool_index["a"]
    assert_array_equal(view.pool_series.forecast_apy_pct[:, a], [np.nan, 5.0, np.nan, np.nan])
    assert_array_equal(view.pool_series.forecast_apy_q10_pct[1, a], 4.5)
    assert np.isnan(view.pool_series.forecast_tvl_usd[1, a])
    text = " ".join(panel.provenance.assumptions)
    assert "1 rows of forecasts were replaced" in text
    assert "1 forecast rows of 1 pools that are not in the market" in text
    assert "1 negative TVL forecasts are taken as unknown" in text


def test_low_percent_is_asked_about_and_can_be_confirmed(tmp_path):
    daily = market().pool_daily.assign(apy_pct=[0.04, 0.05, np.nan])
    write_market(market(pool_daily=daily), tmp_path / "m")
    with pytest.raises(ContractError, match="looks like fractions"):
        read_market(tmp_path / "m")
    panel = read_market(tmp_path / "m", confirm_percent=True)
    assert panel.as_of(panel.first_day).pool_series.apy_pct[0, 0] == 0.04


def test_writing_replaces_an_earlier_market_and_keeps_other_files(directory):
    (directory / "notes.txt").write_text("mine")
    write_market(market(gas_daily=None), directory)
    names = sorted(path.name for path in directory.iterdir())
    tables = ["pool_daily.parquet", "pools.parquet", "prices_daily.parquet"]
    assert names == ["market.json", "notes.txt", *tables]
    assert_same_market(read_market(directory), panel_of(market(gas_daily=None)))


def test_a_market_that_breaks_its_contract_is_not_written(directory):
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    bad = market(pool_daily=market().pool_daily.assign(tvl_usd=-1.0))
    with pytest.raises(ContractError, match="tvl_usd"):
        write_market(bad, directory)
    with pytest.raises(ContractError, match="tvl_usd"):
        write_market(bad, directory.parent / "new")
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    assert [path.name for path in directory.parent.iterdir()] == [directory.name]


def test_a_failure_while_writing_leaves_the_target_as_it_was(directory, monkeypatch):
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    real = files.write_table

    def fails_at_prices(frame, path):
        if path.stem == "prices_daily":
            raise OSError("disk full")
        real(frame, path)

    monkeypatch.setattr(files, "write_table", fails_at_prices)
    with pytest.raises(OSError, match="disk full"):
        write_market(market(), directory, file_format="csv")
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    assert [path.name for path in directory.parent.iterdir()] == [directory.name]


def test_the_same_market_is_written_as_the_same_bytes(tmp_path):
    shuffled = market(pool_daily=market().pool_daily.iloc[::-1])
    write_market(market(), tmp_path / "one", file_format="csv")
    write_market(shuffled, tmp_path / "two", file_format="csv")
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    about = json.loads((tmp_path / "one" / "market.json").read_text())
    assert about["assumptions"] == ["Fees are not counted."]
