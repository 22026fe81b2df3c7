"""A table that breaks its contract is refused with file, column, row and value."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from stableyield.errors import ContractError
from stableyield.market.columns import Origin
from stableyield.market.contracts import check_frames, check_table
from stableyield.market.frames import MarketFrames

CSV = Origin("table.csv", is_csv=True)


def pools(**changes) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "pool_id": ["a", "b"],
            "symbol": ["USDC", "USDC-DAI"],
            "chain": ["Ethereum", "Base"],
            "protocol": ["aave-v3", "curve"],
            "tokens": ['["USDC"]', '["USDC", "DAI"]'],
        }
        | changes
    )


def pool_daily(**changes) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "pool_id": ["a", "a", "b"],
            "date": ["2024-01-01", "2024-01-02", "2024-01-02"],
            "apy_pct": [4.0, 5.0, 6.0],
            "tvl_usd": [1e6, 1e6, 2e6],
        }
        | changes
    )


def prices(**changes) -> pd.DataFrame:
    return pd.DataFrame(
        {"token": ["USDC", "DAI"], "date": ["2024-01-01"] * 2, "close_usd": [1.0, 0.999]} | changes
    )


def forecasts(**changes) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "pool_id": ["a", "a"],
            "exec_date": ["2024-01-01", "2024-01-01"],
            "target_date": ["2024-01-02", "2024-01-02"],
            "pred_global_apy": [4.0, 5.0],
            "pred_global_tvl": [1e6, 2e6],
        }
        | changes
    )


def lend_borrow(**changes) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "market_id": ["m"],
            "chain": ["Ethereum"],
            "protocol": ["aave-v3"],
            "symbol": ["USDC"],
            "date": ["2024-01-01"],
            "supply_apr_pct": [3.0],
            "borrow_apr_pct": [np.nan],
        }
        | changes
    )


def gas(**changes) -> pd.DataFrame:
    return pd.DataFrame({"date": ["2024-01-01"], "gas_gwei": [20.0], "eth_usd": [2300.0]} | changes)


VIOLATIONS = {
    "negative TVL": ("pool_daily", pool_daily(tvl_usd=[1.0, -3.0, 1.0]), "line 3", "tvl_usd", "-3"),
    "APY below -100 %": (
        "pool_daily",
        pool_daily(apy_pct=[1.0, 2.0, -100.5]),
        "line 4",
        "apy_pct",
        "-100.5",
    ),
    "infinite APY": ("pool_daily", pool_daily(apy_pct=[np.inf, 1, 1]), "line 2", "apy_pct", "inf"),
    "infinite optional": (
        "pool_daily",
        pool_daily(deposits_usd=[1.0, 1.0, np.inf]),
        "line 4",
        "deposits_usd",
        "inf",
    ),
    "text for a number": (
        "pool_daily",
        pool_daily(apy_pct=["4", "n/a?", "5"]),
        "line 3",
        "apy_pct",
        "n/a?",
    ),
    "unparsable date": (
        "pool_daily",
        pool_daily(date=["2024-01-01", "01.02.24", "2024-01-02"]),
        "line 3",
        "date",
        "01.02.24",
    ),
    "date in another century": (
        "pool_daily",
        pool_daily(date=["1970-01-01", "2024-01-01", "2024-01-02"]),
        "line 2",
        "date",
        "1970",
    ),
    "unix seconds for a date": (
        "pool_daily",
        pool_daily(date=[1704067200] * 3),
        "line 2",
        "date",
        "1704067200",
    ),
    "missing pool_id": (
        "pool_daily",
        pool_daily(pool_id=["a", None, "b"]),
        "line 3",
        "pool_id",
        "nan",
    ),
    "blank pool_id": ("pool_daily", pool_daily(pool_id=["a", " ", "b"]), "line 3", "pool_id", ""),
    "missing date": (
        "pool_daily",
        pool_daily(date=["2024-01-01", None, "2024-01-02"]),
        "line 3",
        "date",
        "NaT",
    ),
    "duplicate (pool_id, date)": (
        "pool_daily",
        pool_daily(pool_id=["a", "a", "a"], date=["2024-01-01", "2024-01-02", "2024-01-01"]),
        "line 4",
        "pool_id, date",
        "2024-01-01",
    ),
    "return below -100 %": (
        "pool_daily",
        pool_daily(return_1d=[0.0, -1.01, 0.0]),
        "line 3",
        "return_1d",
        "-1.01",
    ),
    "neither true nor false": (
        "pool_daily",
        pool_daily(is_filtered_out=["true", "0", "maybe"]),
        "line 4",
        "is_filtered_out",
        "maybe",
    ),
    "price of zero": ("prices_daily", prices(close_usd=[1.0, 0.0]), "line 3", "close_usd", "0"),
    "duplicate (token, date)": (
        "prices_daily",
        prices(token=["USDC", "USDC"]),
        "line 3",
        "token, date",
        "USDC",
    ),
    "negative gas": ("gas_daily", gas(gas_gwei=[-1.0]), "line 2", "gas_gwei", "-1"),
    "ETH price of zero": ("gas_daily", gas(eth_usd=[0.0]), "line 2", "eth_usd", "0"),
    "LTV above 1": ("lend_borrow_daily", lend_borrow(ltv=[80.0]), "line 2", "ltv", "80"),
    "malformed JSON": ("pools", pools(tokens=['["USDC"]', "[USDC"]), "line 3", "tokens", "[USDC"),
    "JSON text": ("pools", pools(tokens=['["USDC"]', '"USDC"']), "line 3", "tokens", "USDC"),
    "JSON of numbers": ("pools", pools(tokens=["[1]", '["USDC"]']), "line 2", "tokens", "[1]"),
    "JSON object": ("pools", pools(tokens=['{"a": 1}', '["USDC"]']), "line 2", "tokens", "a"),
    "no tokens": ("pools", pools(tokens=['["USDC"]', "[]"]), "line 3", "tokens", "[]"),
    "token twice": ("pools", pools(tokens=['["A", "A"]', '["B"]']), "line 2", "tokens", "A"),
    "shares that do not sum to 1": (
        "pools",
        pools(token_shares=["[1.0]", "[0.5, 0.6]"]),
        "line 3",
        "token_shares",
        "0.6",
    ),
    "shares of other tokens": (
        "pools",
        pools(token_shares=["[1.0]", "[1.0]"]),
        "line 3",
        "token_shares",
        "1.0",
    ),
    "unknown kind": ("pools", pools(kind=["lending", "bank"]), "line 3", "kind", "bank"),
    "listed backwards": (
        "pools",
        pools(listed_from=["2024-02-01", None], listed_until=["2024-01-01", None]),
        "line 2",
        "listed_until",
        "2024-01-01",
    ),
    "duplicate pool_id": ("pools", pools(pool_id=["a", "a"]), "line 3", "pool_id", "a"),
}


@pytest.mark.parametrize("case", sorted(VIOLATIONS))
def test_a_violation_names_file_row_column_and_value(case):
    table, frame, row, column, value = VIOLATIONS[case]
    with pytest.raises(ContractError) as caught:
        check_table(table, frame, CSV)
    message = caught.value.one_line
    assert "table.csv" in message
    assert f"{row}:" in message
    assert f"'{column}'" in message
    assert value in message
    assert caught.value.remedy


def test_rows_of_a_parquet_file_are_named_by_their_number():
    with pytest.raises(ContractError, match=r"t\.parquet, row 2: column 'tvl_usd' holds -3\.0"):
        check_table("pool_daily", pool_daily(tvl_usd=[1.0, -3.0, 1.0]), Origin("t.parquet"))


def test_the_first_violation_leads_and_the_others_are_details():
    bad = pool_daily(tvl_usd=[1.0, -1.0, -2.0], apy_pct=[1.0, 1.0, -200.0])
    with pytest.raises(ContractError, match="line 3") as caught:
        check_table("pool_daily", bad, CSV)
    assert len(caught.value.details) == 2
    assert all("line 4" in detail for detail in caught.value.details)


def test_many_violations_are_counted_instead_of_listed():
    n = 20
    bad = pool_daily(
        pool_id=["a"] * n,
        date=pd.date_range("2024-01-01", periods=n),
        apy_pct=[4.0] * n,
        tvl_usd=[-1.0] * n,
    )
    with pytest.raises(ContractError) as caught:
        check_table("pool_daily", bad, CSV)
    assert caught.value.details[-1] == "and 14 more"


@pytest.mark.parametrize("column", ["pool_id", "date", "apy_pct", "tvl_usd"])
def test_a_missing_column_is_named_with_what_the_table_needs(column):
    with pytest.raises(ContractError, match=f"column '{column}' is missing") as caught:
        check_table("pool_daily", pool_daily().drop(columns=column), CSV)
    assert "pool_id, date, apy_pct, tvl_usd" in caught.value.remedy


def test_a_table_without_rows_is_refused():
    with pytest.raises(ContractError, match="no rows"):
        check_table("pool_daily", pool_daily().iloc[:0], CSV)


def test_unknown_columns_are_ignored_and_listed():
    checked = check_table("pool_daily", pool_daily(note=["x", "y", "z"], APY=[1, 2, 3]))
    assert checked.ignored_columns == ("APY", "note")
    assert list(checked.frame) == ["pool_id", "date", "apy_pct", "tvl_usd"]


def test_missing_values_stay_unknown():
    checked = check_table("pool_daily", pool_daily(apy_pct=[np.nan, 5.0, 6.0], tvl_usd=["", 1, 2]))
    assert np.isnan(checked.frame["apy_pct"].iloc[0])
    assert np.isnan(checked.frame["tvl_usd"].iloc[0])


def test_of_several_readings_of_a_utc_day_the_last_stays():
    readings = pool_daily(
        pool_id=["a", "a", "a"],
        date=["2024-01-01T23:10:00+00:00", "2024-01-01T05:00:00Z", "2024-01-02T01:00:00+02:00"],
        apy_pct=[4.0, 5.0, 6.0],
    )
    checked = check_table("pool_daily", readings)
    # 01:00 in +02:00 is 23:00 UTC of the day before, ten minutes before the first row's reading
    assert checked.frame["date"].tolist() == [pd.Timestamp("2024-01-01")]
    assert checked.frame["apy_pct"].tolist() == [4.0]
    assert checked.n_dropped == 2


def test_two_readings_of_the_same_moment_are_refused():
    twice = pool_daily(pool_id=["a", "a", "b"], date=["2024-01-01T05:00:00Z"] * 3)
    with pytest.raises(ContractError, match="occurs twice"):
        check_table("pool_daily", twice)


@pytest.mark.parametrize(
    "dates",
    [
        [dt.date(2024, 1, 1), dt.date(2024, 1, 2), dt.date(2024, 1, 2)],
        pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-02"]),
        pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-02"], utc=True).as_unit("ns"),
        pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-02"]).tz_localize("Etc/GMT-3")
        + pd.Timedelta(hours=4),
    ],
    ids=["dates", "naive", "utc", "other zone"],
)
def test_dates_in_every_usual_type_become_utc_days(dates):
    checked = check_table("pool_daily", pool_daily(date=dates))
    assert checked.frame["date"].dt.strftime("%d").tolist() == ["01", "02", "02"]
    assert str(checked.frame["date"].dtype) == "datetime64[us]"


def test_flags_are_read_from_words_and_numbers():
    checked = check_table("pools", pools(is_active=["False", ""]))
    assert checked.frame["is_active"].tolist() == [False, True]


def test_lists_may_be_lists_instead_of_json():
    checked = check_table("pools", pools(tokens=[["USDC"], np.array(["USDC", "DAI"])]))
    assert checked.frame["tokens"].tolist() == [("USDC",), ("USDC", "DAI")]


def test_the_last_of_duplicate_forecasts_wins():
    checked = check_table("forecasts", forecasts())
    assert checked.frame["pred_global_apy"].tolist() == [5.0]
    assert checked.n_dropped == 1


@pytest.mark.parametrize(
    ("table", "frame", "column"),
    [
        ("pool_daily", pool_daily(apy_pct=[0.04, 0.05, 0.06]), "apy_pct"),
        ("forecasts", forecasts(pred_global_apy=[0.04, 0.05]), "pred_global_apy"),
        ("lend_borrow_daily", lend_borrow(supply_apr_pct=[0.03]), "supply_apr_pct"),
    ],
)
def test_a_percent_column_of_fractions_is_asked_about(table, frame, column):
    with pytest.raises(ContractError, match=f"{column}.* looks like fractions") as caught:
        check_table(table, frame)
    assert "--confirm-percent" in caught.value.remedy
    assert len(check_table(table, frame, confirm_percent=True).frame) > 0


@pytest.mark.parametrize("share", [0.012, 0.01, 0.002])
def test_risk_adjusted_forecasts_in_fractions_are_asked_about_beside_the_others(share):
    apy_pct = np.linspace(3.0, 9.0, 40)
    columns = {
        "pool_id": [f"p{n}" for n in range(40)],
        "exec_date": "2024-01-01",
        "target_date": "2024-01-02",
        "pred_global_apy": apy_pct,
        "pred_global_tvl": 1e7,
    }
    frame = pd.DataFrame({**columns, "pred_global_apy_risk_adj": share * apy_pct})
    with pytest.raises(
        ContractError, match=r"'pred_global_apy_risk_adj' looks like fractions: .*pred_global_apy"
    ) as caught:
        check_table("forecasts", frame)
    assert "--confirm-percent" in caught.value.remedy
    assert len(check_table("forecasts", frame, confirm_percent=True).frame) == 40


@pytest.mark.parametrize(
    "adjusted", [[3.9, 4.9], [0.4, 0.5], [0.0, 0.0], [np.nan, np.nan], [-2.0, -3.0], [-2.0, 3.0]]
)
def test_a_risk_adjusted_forecast_may_be_low(adjusted):
    check_table("forecasts", forecasts(pred_global_apy_risk_adj=adjusted))


def test_a_low_quantile_is_no_fraction():
    check_table("forecasts", forecasts(pred_global_apy_q10=[0.004, 0.005]))


@pytest.mark.parametrize("target", ["2024-01-01", "2024-01-01T23:59", "2023-12-31"])
def test_a_forecast_of_a_day_that_is_not_after_its_exec_date_is_refused_with_its_row(target):
    frame = forecasts(target_date=["2024-01-02", target])
    with pytest.raises(ContractError, match="not after exec_date") as caught:
        check_table("forecasts", frame, Origin("forecasts.csv", is_csv=True))
    assert caught.value.where == "forecasts.csv, line 3"
    assert "target_date" in caught.value.what


def test_zeros_do_not_make_percent_look_like_fractions():
    check_table("pool_daily", pool_daily(apy_pct=[0.0, 0.0, 6.0]))
    check_table("pool_daily", pool_daily(apy_pct=[0.0, 0.0, 0.0]))


def test_a_daily_row_of_an_unknown_pool_is_refused():
    frames = MarketFrames(pools(), pool_daily(pool_id=["a", "a", "c"]))
    with pytest.raises(ContractError, match=r"2024-01-02: pool_id 'c' is not in pools"):
        check_frames(frames)


def test_frames_are_checked_table_by_table():
    checked = check_frames(MarketFrames(pools(), pool_daily(), prices(), gas(), assumptions=("x",)))
    assert checked.assumptions == ("x",)
    assert checked.forecasts is None
    with pytest.raises(ContractError, match="prices_daily"):
        check_frames(MarketFrames(pools(), pool_daily(), prices(close_usd=[1.0, -1.0])))


READINGS = st.lists(
    st.tuples(st.sampled_from(["b", "a", "A", "ä"]), st.integers(0, 80)), min_size=1, unique=True
)


@settings(max_examples=60, deadline=None)
@given(readings=READINGS, in_order=st.booleans())
def test_of_each_pool_and_day_the_last_reading_stays_in_key_order(readings, in_order):
    if in_order:
        readings = sorted(readings)
    start = pd.Timestamp("2024-01-01")
    frame = pd.DataFrame(
        {
            "pool_id": [pool for pool, _ in readings],
            "date": [start + pd.Timedelta(hours=hour) for _, hour in readings],
            "apy_pct": [float(hour + 1) for _, hour in readings],
            "tvl_usd": 1.0,
        }
    )
    checked = check_table("pool_daily", frame)
    last = {}
    for pool, hour in sorted(readings):
        last[pool, hour // 24] = float(hour + 1)
    keys = sorted(last)
    expected = pd.DataFrame(
        {
            "pool_id": [pool for pool, _ in keys],
            "date": pd.Series([start + pd.Timedelta(days=day) for _, day in keys]).astype(
                "datetime64[us]"
            ),
            "apy_pct": [last[key] for key in keys],
            "tvl_usd": 1.0,
        }
    )
    assert_frame_equal(checked.frame, expected)
    assert (checked.n_dropped, checked.n_rows_in) == (len(frame) - len(keys), len(frame))


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(st.sampled_from("ba"), st.integers(0, 50)), min_size=1))
def test_of_foreign_forecasts_the_last_row_of_the_file_wins(rows):
    start = pd.Timestamp("2024-01-01")
    frame = pd.DataFrame(
        {
            "pool_id": [pool for pool, _ in rows],
            "exec_date": [start + pd.Timedelta(hours=hour) for _, hour in rows],
            "target_date": start + pd.Timedelta(days=9),
            "pred_global_apy": [1.0 + i for i in range(len(rows))],
            "pred_global_tvl": 1.0,
        }
    )
    last = {(pool, hour // 24): 1.0 + i for i, (pool, hour) in enumerate(rows)}
    checked = check_table("forecasts", frame).frame
    assert checked["pred_global_apy"].tolist() == [last[key] for key in sorted(last)]
    assert checked["pool_id"].tolist() == [pool for pool, _ in sorted(last)]


def test_a_table_in_order_is_not_copied():
    frame = pool_daily(date=pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-02"]))
    checked = check_table("pool_daily", frame).frame
    assert np.shares_memory(checked["apy_pct"].to_numpy(), frame["apy_pct"].to_numpy())


def test_what_is_checked_does_not_change_with_what_was_given():
    frame = pool_daily(date=pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-02"]))
    checked = check_table("pool_daily", frame).frame
    frame.loc[0, "apy_pct"] = 99.0
    assert checked["apy_pct"].tolist() == [4.0, 5.0, 6.0]
