"""CoinMarketCap's candles: their days, their errors, and which coin a number stands for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr

from stableyield.errors import MissingDataError, ParameterError
from stableyield.sources import (
    CMC_IDS,
    CandlePrices,
    Fetched,
    KeyRefusedError,
    ProviderError,
    Span,
    candle_ids,
)
from support.provider import TODAY, House

SPAN = Span(date(2024, 3, 8), TODAY)
CMC = "/v2/cryptocurrency/ohlcv/historical"


def candle(day: str, **usd: Any) -> dict[str, Any]:
    values = {"open": 1.0, "high": 1.01, "low": 0.99, "close": 1.0, "volume": 1, "market_cap": 5e10}
    return {"time_close": f"{day}T23:59:59.999Z", "quote": {"USD": {**values, **usd}}}


def candles(home: House, quotes: list[Any], wrap: Callable[[Any], Any] = lambda x: x) -> Fetched:
    coin = {"id": 1, "symbol": "USDC", "quotes": quotes}
    status = {"error_code": 0, "error_message": None}
    home.provider.on(CMC, {"status": status, "data": wrap(coin)})
    return CandlePrices(home.client, SecretStr("k"), {"1": "USDC"}, home.url).fetch(SPAN)


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


def answer(symbol: str) -> dict[str, Any]:
    coin = {"id": 1, "symbol": symbol, "quotes": [candle("2024-03-08")]}
    return {"status": {"error_code": 0, "error_message": None}, "data": coin}


def test_a_coin_of_ones_own_is_asked_for_by_its_number(home: House) -> None:
    home.provider.on(CMC, answer("PYUSD"))
    ids = candle_ids(["PYUSD"], {"PYUSD": "77"})
    fetched = CandlePrices(home.client, SecretStr("k"), ids, home.url).fetch(SPAN)
    assert home.provider.calls[0].query["id"] == "77"
    assert fetched.tables["prices_daily"]["token"].tolist() == ["PYUSD"]
    assert fetched.assumptions == ()


def test_a_number_that_stands_for_another_coin_is_said(home: House) -> None:
    home.provider.on(CMC, answer("WRONG"))
    fetched = CandlePrices(home.client, SecretStr("k"), {"77": "PYUSD"}, home.url).fetch(SPAN)
    assert fetched.assumptions == ("Number 77 of CoinMarketCap is 'WRONG'; it is taken as PYUSD.",)


def test_upper_and_lower_case_do_not_make_another_coin(home: House) -> None:
    home.provider.on(CMC, answer("USDE"))
    fetched = CandlePrices(home.client, SecretStr("k"), {"77": "USDe"}, home.url).fetch(SPAN)
    assert fetched.assumptions == ()


def test_all_known_coins_are_the_shipped_ones_and_ones_own() -> None:
    assert candle_ids() == CMC_IDS
    assert candle_ids(own_ids={"PYUSD": "77"}) == {**CMC_IDS, "77": "PYUSD"}


def test_ones_own_number_of_a_shipped_coin_wins() -> None:
    assert candle_ids(["DAI"], {"DAI": "77"}) == {"77": "DAI"}


def test_a_coin_without_a_number_is_an_error_that_says_how_to_add_it() -> None:
    with pytest.raises(MissingDataError, match="PYUSD, FRAX at CoinMarketCap") as caught:
        candle_ids(["USDC", "PYUSD", "FRAX"])
    assert "candle_ids(tokens, {token: number})" in caught.value.remedy


def test_one_number_is_one_coin() -> None:
    with pytest.raises(ParameterError, match="number 825 is given to USDT and to USDT0"):
        candle_ids(["USDT", "USDT0"], {"USDT0": "825"})


@pytest.mark.parametrize("coin", ["USDe", "", "-5", "3.4", "²"])
def test_a_symbol_is_no_number(home: House, coin: str) -> None:
    with pytest.raises(ParameterError, match="is no CoinMarketCap number"):
        CandlePrices(home.client, SecretStr("k"), {coin: "USDe"}, home.url)
    with pytest.raises(ParameterError, match="is no CoinMarketCap number"):
        candle_ids(["USDe"], {"USDe": coin})
