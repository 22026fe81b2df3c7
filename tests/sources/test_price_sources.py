from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from stableyield.errors import ParameterError
from stableyield.sources import (
    CandlePrices,
    CoinCloses,
    Fetched,
    KeyRefusedError,
    PayloadError,
    ProviderError,
    Span,
    StablecoinCloses,
)
from stableyield.sources.prices import _closing_days
from support.provider import TODAY, House, as_json

SPAN = Span(date(2024, 3, 8), TODAY)
CMC = "/v2/cryptocurrency/ohlcv/historical"


def at(day: str, time: str = "00:00:00") -> int:
    return int(datetime.fromisoformat(f"{day}T{time}+00:00").timestamp())


def closes(home: House, rows: list[Any]) -> Fetched:
    home.provider.on("/stablecoinprices", rows)
    return StablecoinCloses(home.client, base_url=home.url).fetch(SPAN)


def coins(home: House, points: list[Any], coin: str = "ethereum:0xa") -> Fetched:
    document = {"coins": {coin: {"symbol": "X", "prices": points}}}
    home.provider.otherwise = lambda call: as_json(document)
    return CoinCloses(home.client, {"ethereum:0xa": "USDC"}, home.url).fetch(SPAN)


def candle(day: str, **usd: Any) -> dict[str, Any]:
    values = {"open": 1.0, "high": 1.01, "low": 0.99, "close": 1.0, "volume": 1, "market_cap": 5e10}
    return {"time_close": f"{day}T23:59:59.999Z", "quote": {"USD": {**values, **usd}}}


def candles(home: House, quotes: list[Any], wrap: Callable[[Any], Any] = lambda x: x) -> Fetched:
    coin = {"id": 1, "symbol": "USDC", "quotes": quotes}
    status = {"error_code": 0, "error_message": None}
    home.provider.on(CMC, {"status": status, "data": wrap(coin)})
    return CandlePrices(home.client, SecretStr("k"), {"1": "USDC"}, home.url).fetch(SPAN)


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


@pytest.mark.parametrize(
    "wrap", [lambda x: x, lambda x: {"1": x}, lambda x: {"USDC": [x]}], ids=["id", "map", "list"]
)
def test_candles_are_dated_by_the_day_that_they_close(
    home: House, wrap: Callable[[Any], Any]
) -> None:
    prices = candles(home, [candle("2024-03-07"), candle("2024-03-08", low=0.9)], wrap)
    (row,) = prices.tables["prices_daily"].to_dict("records")
    assert row["date"] == pd.Timestamp("2024-03-08")
    assert (row["low_usd"], row["high_usd"], row["market_cap_usd"]) == (0.9, 1.01, 5e10)
    assert home.provider.calls[0].query["time_start"] == "2024-03-07"
    assert home.provider.calls[0].headers["x-cmc_pro_api_key"] == "k"


def test_a_market_cap_of_zero_is_unknown(home: House) -> None:
    row = candles(home, [candle("2024-03-08", market_cap=0)]).tables["prices_daily"].iloc[0]
    assert np.isnan(row["market_cap_usd"])


@pytest.mark.parametrize("wrong", [{"low": 1.005}, {"high": 0.995}])
def test_a_candle_that_does_not_hold_its_close_loses_low_and_high(
    home: House, wrong: dict[str, float]
) -> None:
    fetched = candles(home, [candle("2024-03-08", **wrong)])
    row = fetched.tables["prices_daily"].iloc[0]
    assert np.isnan(row[["low_usd", "high_usd"]].astype(float)).all()
    assert row["close_usd"] == 1.0
    assert fetched.masked == {"candles whose low or high is impossible": 1}


def test_an_error_code_in_an_http_200_is_an_error(home: House) -> None:
    status = {"error_code": 1006, "error_message": "Your plan doesn't include this"}
    home.provider.on(CMC, {"status": status})
    with pytest.raises(ProviderError, match="error 1006: Your plan"):
        CandlePrices(home.client, SecretStr("k"), {"1": "USDC"}, home.url).fetch(SPAN)


def test_without_a_key_nothing_is_asked(home: House) -> None:
    with pytest.raises(KeyRefusedError, match="STABLEYIELD_CMC_KEY"):
        CandlePrices(home.client, None, {"1": "USDC"}, home.url).fetch(SPAN)
    assert not home.provider.calls
