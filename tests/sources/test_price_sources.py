from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stableyield.errors import ParameterError
from stableyield.sources import (
    CoinCloses,
    Fetched,
    PayloadError,
    Span,
    StablecoinCloses,
)
from stableyield.sources.prices import _closing_days
from support.provider import TODAY, House, as_json

SPAN = Span(date(2024, 3, 8), TODAY)


def at(day: str, time: str = "00:00:00") -> int:
    return int(datetime.fromisoformat(f"{day}T{time}+00:00").timestamp())


def closes(home: House, rows: list[Any]) -> Fetched:
    home.provider.on("/stablecoinprices", rows)
    return StablecoinCloses(home.client, base_url=home.url).fetch(SPAN)


def coins(home: House, points: list[Any], coin: str = "ethereum:0xa") -> Fetched:
    document = {"coins": {coin: {"symbol": "X", "prices": points}}}
    home.provider.otherwise = lambda call: as_json(document)
    return CoinCloses(home.client, {"ethereum:0xa": "USDC"}, home.url).fetch(SPAN)


def test_a_stablecoin_record_is_the_close_of_the_day_it_is_dated(home: House) -> None:
    rows: list[Any] = [
        {"date": 0, "prices": {}},
        {"date": at("2024-03-07"), "prices": {"usd-coin": 0.5}},
        {"date": at("2024-03-08"), "prices": {"usd-coin": 0.97, "some-coin": 3.0}},
        {"date": str(at("2024-03-09")), "prices": {"usd-coin": 0.99, "dai": None}},
    ]
    rows[3]["date"] = at("2024-03-09")
    prices = closes(home, rows).tables["prices_daily"]
    assert [f"{day:%m-%d}" for day in prices["date"]] == ["03-08", "03-09"]
    assert list(prices["close_usd"]) == [0.97, 0.99]
    assert set(prices["token"]) == {"USDC"}


@pytest.mark.parametrize("wrong", [0.0, -1.0, 1e30, float("nan")])
def test_an_impossible_price_is_no_price(home: House, wrong: float) -> None:
    fetched = closes(home, [{"date": at("2024-03-08"), "prices": {"usd-coin": wrong}}])
    assert fetched.tables == {}
    assert fetched.masked == {"impossible price": 1}


def test_prices_of_another_shape_are_refused(home: House) -> None:
    with pytest.raises(PayloadError, match="row 1"):
        closes(home, [{"date": at("2024-03-08"), "prices": [1.0]}])
    with pytest.raises(PayloadError, match="'prices' is missing"):
        closes(home, [{"date": at("2024-03-08")}])


def test_coin_points_are_asked_for_at_the_end_of_each_day(home: House) -> None:
    fetched = coins(home, [{"timestamp": at("2024-03-08", "23:58:00"), "price": 0.98}])
    (call,) = home.provider.calls
    assert call.path == "/chart/ethereum:0xa"
    assert call.query == {"start": str(at("2024-03-08", "23:59:59")), "span": "3", "period": "1d"}
    (row,) = fetched.tables["prices_daily"].to_dict("records")
    assert row == {"token": "USDC", "date": pd.Timestamp("2024-03-08"), "close_usd": 0.98}


def test_a_coin_that_is_not_known_or_has_no_points_has_no_rows(home: House) -> None:
    assert coins(home, []).tables == {}
    home.use(cached=False)
    fetched = coins(home, [], coin="base:0xb")
    assert fetched.masked == {"coins that the provider does not know": 1}
    with pytest.raises(ParameterError, match="no coin"):
        CoinCloses(home.client, {}, home.url).fetch(SPAN)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 3 * 86_400))
def test_a_price_never_closes_a_day_that_had_not_ended_long_before_it_or_begun_again(
    seconds: int,
) -> None:
    moment = datetime(2024, 3, 8, tzinfo=UTC) + timedelta(seconds=seconds)
    series = pd.Series([pd.Timestamp(moment).tz_localize(None)]).astype("datetime64[us]")
    day = _closing_days(series).iloc[0]
    ends = [datetime(2024, 3, 8, tzinfo=UTC) + timedelta(days=n) for n in range(5)]
    near = [e for e in ends if timedelta(hours=-6) <= moment - e < timedelta(minutes=15)]
    expected = (near[0] - timedelta(days=1)).date() if near else None
    assert (None if pd.isna(day) else day.date()) == expected
