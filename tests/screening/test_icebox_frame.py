from __future__ import annotations

import pandas as pd
import pytest

from stableyield.config import AllocationParameters
from stableyield.errors import ContractError
from stableyield.screening import IceboxOverride, icebox_from_prices_frame

PARAMETERS = AllocationParameters()
DATES = pd.date_range("2024-01-01", periods=6, freq="D")
CLOSES = [1.0, 0.98, 1.0, 1.0, 1.0, 1.0]


def prices(**changes) -> pd.DataFrame:
    return pd.DataFrame({"token": "USDC", "date": DATES, "close_usd": CLOSES, **changes})


def days(column: pd.Series) -> list[str | None]:
    return [None if pd.isna(value) else value.date().isoformat() for value in column]


def test_prices_daily_gives_one_row_a_stay():
    events = icebox_from_prices_frame(prices(low_usd=0.999), PARAMETERS)
    assert list(events.columns) == [
        *("token", "entered", "left", "by", "low_usd", "close_usd", "peg_usd", "reason")
    ]
    (row,) = events.to_dict("records")
    assert (row["token"], row["by"], row["low_usd"], row["close_usd"], row["peg_usd"]) == (
        *("USDC", "close", 0.999, 0.98, 1.0),
    )
    assert days(events["entered"]) == ["2024-01-02"]
    assert days(events["left"]) == ["2024-01-05"]


def test_each_source_of_a_coin_is_judged_by_itself():
    one = prices().rename(columns={"token": "symbol", "close_usd": "close"})
    frame = pd.concat([one.assign(source="b"), one.assign(source="a", close=1.0)])
    events = icebox_from_prices_frame(frame, PARAMETERS)
    assert events[["token", "source"]].to_numpy().tolist() == [["USDC", "b"]]


def test_a_published_peg_is_used():
    events = icebox_from_prices_frame(prices(token="sDAI", peg_usd=1.05), PARAMETERS)
    assert events["entered"].tolist() == [DATES[0]]
    assert events["left"].isna().all()


def test_timestamps_are_floored_to_their_day_and_the_last_row_counts():
    later = prices(close_usd=1.0, date=DATES + pd.Timedelta(hours=23))
    events = icebox_from_prices_frame(pd.concat([prices(), later]), PARAMETERS)
    assert events.empty
    swapped = icebox_from_prices_frame(pd.concat([later, prices()]), PARAMETERS)
    assert len(swapped) == 1


def test_a_missing_day_is_a_gap_and_not_a_recovery():
    events = icebox_from_prices_frame(prices().drop(index=[3]), PARAMETERS)
    assert days(events["left"]) == ["2024-01-06"]


def test_text_dates_in_another_row_order_give_the_same_events():
    shuffled = prices(date=DATES.strftime("%Y-%m-%d")).iloc[::-1]
    pd.testing.assert_frame_equal(
        icebox_from_prices_frame(shuffled, PARAMETERS),
        icebox_from_prices_frame(prices(), PARAMETERS),
    )


def test_overrides_are_listed_with_their_reason():
    start = DATES[4].date()
    word = IceboxOverride("USDC", True, "audit", expires=start, set_on=start)
    events = icebox_from_prices_frame(prices(close_usd=1.0), PARAMETERS, [word])
    assert events[["by", "reason"]].to_numpy().tolist() == [["override", "audit"]]


def test_a_calm_history_gives_an_empty_table_with_all_columns():
    events = icebox_from_prices_frame(prices(close_usd=1.0), PARAMETERS)
    assert events.empty
    assert {"token", "entered", "left", "by"} <= set(events.columns)


@pytest.mark.parametrize("column", ["token", "date", "close_usd"])
def test_a_missing_column_is_named(column):
    with pytest.raises(ContractError, match=column):
        icebox_from_prices_frame(prices().drop(columns=column), PARAMETERS)


@pytest.mark.parametrize("column", ["token", "date"])
def test_an_empty_key_is_named_with_its_row(column):
    frame = prices()
    frame.loc[2, column] = None
    with pytest.raises(ContractError, match="row 3"):
        icebox_from_prices_frame(frame, PARAMETERS)
