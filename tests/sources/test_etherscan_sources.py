from __future__ import annotations

from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from stableyield.errors import ContractError, MissingDataError
from stableyield.sources import (
    GasOracle,
    KeyRefusedError,
    PayloadError,
    ProviderError,
    RejectedFeedError,
    Span,
    WalletBalances,
    gas_table,
    read_balances,
    read_eth_price_export,
    read_gas_export,
)
from stableyield.sources.fake import Answer, Call
from stableyield.sources.gas import eth_of_prices
from stableyield.sources.request import Request
from stableyield.sources.wallet import _token_units, balances_on
from support.provider import TODAY, House, as_json

USDC, DAI = "0xA0b8", "0x6B17"
TOKENS = {USDC: "USDC", DAI: "DAI"}


def ok(result: Any) -> dict[str, Any]:
    return {"status": "1", "message": "OK", "result": result}


def not_ok(result: Any, message: str = "NOTOK") -> dict[str, Any]:
    return {"status": "0", "message": message, "result": result}


def oracle(home: House, gas: Any = None, eth: Any = None) -> pd.DataFrame:
    answers = {
        "gasoracle": ok({"ProposeGasPrice": "2.5"}) if gas is None else gas,
        "ethprice": ok({"ethusd": "3,000.5"}) if eth is None else eth,
    }
    home.provider.otherwise = lambda call: as_json(answers[call.query["action"]])
    source = GasOracle(home.client, SecretStr("k"), f"{home.url}/api")
    return source.fetch(Span.of(TODAY)).tables["gas_daily"]


def holding(address: str, quantity: str, decimals: str = "6") -> dict[str, str]:
    named = {"TokenName": "USDC", "TokenSymbol": "USDC"}
    return {"TokenAddress": address, "TokenQuantity": quantity, "TokenDivisor": decimals, **named}


def wallet(home: House, *pages: Any) -> Any:
    def page(call: Call) -> Answer:
        return as_json(pages[int(call.query["page"]) - 1])

    home.provider.otherwise = page
    source = WalletBalances(home.client, SecretStr("k"), "0xw", TOKENS, f"{home.url}/api")
    return source.fetch(Span.of(TODAY))


def amounts(frame: pd.DataFrame) -> dict[str, float]:
    return dict(zip(frame["token"], frame["amount"], strict=True))


def test_gas_of_today_is_what_a_transaction_pays_with_the_price_of_eth(home: House) -> None:
    (row,) = oracle(home).to_dict("records")
    assert row == {"date": pd.Timestamp(TODAY), "gas_gwei": 2.5, "eth_usd": 3000.5}
    assert {call.query["chainid"] for call in home.provider.calls} == {"1"}
    assert {call.query["apikey"] for call in home.provider.calls} == {"k"}


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ("Invalid API Key", KeyRefusedError),
        ("Sorry, it looks like you are trying to access an API Pro endpoint", KeyRefusedError),
        ("Error! Invalid address format", ProviderError),
        (None, ProviderError),
    ],
)
def test_status_0_in_an_http_200_is_an_error(home: House, result: Any, kind: type) -> None:
    with pytest.raises(ProviderError, match="in an HTTP 200") as caught:
        oracle(home, not_ok(result))
    assert type(caught.value) is kind
    assert len(home.provider.calls) == 1


def test_being_too_fast_is_mended_by_waiting(home: House) -> None:
    home.provider.on(
        "/api", not_ok("Max calls per sec rate limit reached"), ok({"ProposeGasPrice": "2"})
    )
    home.provider.scripts["/api"].append(as_json(ok({"ethusd": "3000"})))
    source = GasOracle(home.client, SecretStr("k"), f"{home.url}/api")
    assert source.fetch(Span.of(TODAY)).tables["gas_daily"]["gas_gwei"].iloc[0] == 2.0
    assert len(home.provider.calls) == 3


@pytest.mark.parametrize("wrong", ["0", "-1", "1e30", "NaN", "", "fast", None, 3])
def test_a_gas_price_that_cannot_be_true_is_an_error(home: House, wrong: Any) -> None:
    if wrong == 3:
        assert oracle(home, ok({"ProposeGasPrice": 3}))["gas_gwei"].iloc[0] == 3.0
        return
    with pytest.raises(PayloadError, match="ProposeGasPrice"):
        oracle(home, ok({"ProposeGasPrice": wrong}))


def test_a_result_that_is_no_object_or_lacks_its_field_is_an_error(home: House) -> None:
    with pytest.raises(PayloadError, match="no object"):
        oracle(home, ok("2.5"))
    with pytest.raises(PayloadError, match="'ethusd' is missing"):
        oracle(home, None, ok({}))


def test_gas_of_another_day_is_not_served(home: House) -> None:
    with pytest.raises(MissingDataError, match="only serves what is now"):
        GasOracle(home.client, SecretStr("k")).fetch(Span.of(date(2020, 1, 1)))


@pytest.mark.parametrize("source", [GasOracle, WalletBalances])
def test_without_a_key_nothing_is_asked(home: House, source: type) -> None:
    arguments = (home.client, None) if source is GasOracle else (home.client, None, "0xw", TOKENS)
    with pytest.raises(KeyRefusedError, match="STABLEYIELD_ETHERSCAN_KEY"):
        source(*arguments).fetch(Span.of(TODAY))


def test_the_daily_exports_become_the_gas_table(tmp_path: Path) -> None:
    gas, eth = tmp_path / "gas.csv", tmp_path / "eth.csv"
    gas.write_text(
        '"Date(UTC)","UnixTimeStamp","Value (Wei)"\n"7/30/2015","1438214400","0"\n'
        '"7/31/2015","1438300800","2500000000"\n'
    )
    eth.write_text('"Date(UTC)","UnixTimeStamp","Value"\n"7/31/2015","1438300800","2.77"\n')
    table = gas_table(read_gas_export(gas), read_eth_price_export(eth)).set_index("date")
    assert list(table.index) == [pd.Timestamp("2015-07-30"), pd.Timestamp("2015-07-31")]
    assert np.isnan(table["gas_gwei"].iloc[0])
    assert tuple(table.iloc[1]) == (2.5, 2.77)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('"x","1438214400","-5"', "line 2.*below 0"),
        ('"x","","5"', "line 2.*no moment"),
        ('"x","1438214400","five"', "line 2.*not a number"),
    ],
)
def test_a_wrong_line_of_an_export_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "gas.csv"
    path.write_text(f'"Date(UTC)","UnixTimeStamp","Value (Wei)"\n{line}\n')
    with pytest.raises(ContractError, match=message):
        read_gas_export(path)


def test_an_export_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gas.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ContractError, match="'UnixTimeStamp' is missing"):
        read_gas_export(path)


def test_the_price_of_eth_can_come_from_a_price_table() -> None:
    day = pd.Timestamp("2024-03-09")
    prices = pd.DataFrame({"token": ["ETH", "DAI"], "date": day, "close_usd": [3000.0, 1.0]})
    gas = pd.Series([2.0], pd.DatetimeIndex([day]))
    table = gas_table(gas, eth_of_prices(prices))
    assert table.to_dict("records") == [{"date": day, "gas_gwei": 2.0, "eth_usd": 3000.0}]


def test_a_token_is_its_address_and_not_what_it_calls_itself(home: House) -> None:
    found = wallet(home, ok([holding(USDC.lower(), "1500000"), holding("0xscam", "999000000")]))
    assert amounts(found.tables["balances"]) == {"DAI": 0.0, "USDC": 1.5}
    assert set(found.tables["balances"]["location"]) == {"wallet"}
    assert found.masked == {"tokens of unknown address": 1}
    assert "0xscam" in found.examples[0]


def test_a_wallet_is_never_served_from_disk(home: House) -> None:
    assert amounts(wallet(home, ok([holding(USDC, "1")])).tables["balances"])["USDC"] == 1e-6
    assert amounts(wallet(home, ok([holding(USDC, "2")])).tables["balances"])["USDC"] == 2e-6


def test_all_pages_of_a_wallet_are_read(home: House) -> None:
    full = [holding(f"0x{i}", "1") for i in range(100)]
    found = wallet(home, ok(full), ok([holding(DAI, "5", "0")]))
    assert amounts(found.tables["balances"])["DAI"] == 5.0
    assert [one.n_rows for one in found.provenance] == [100, 1]


def test_a_wallet_that_never_ends_is_refused(home: House) -> None:
    full = ok([holding(f"0x{i}", "1") for i in range(100)])
    with pytest.raises(RejectedFeedError, match="more than 5000 tokens"):
        wallet(home, *[full] * 60)


def test_an_empty_wallet_holds_nothing(home: House) -> None:
    found = wallet(home, not_ok([], "No tokens found"))
    assert amounts(found.tables["balances"]) == {"DAI": 0.0, "USDC": 0.0}


@pytest.mark.parametrize(
    ("quantity", "decimals"),
    [("-1", "6"), ("1.5", "6"), ("", "6"), ("1", "six"), ("1", "78"), ("1" + "0" * 40, "6")],
)
def test_a_quantity_that_is_no_count_is_an_error(home: House, quantity: str, decimals: str) -> None:
    with pytest.raises(PayloadError, match="row 1"):
        wallet(home, ok([holding(USDC, quantity, decimals)]))


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10**30), st.integers(0, 18))
def test_token_units_are_exact_to_the_last_bit(raw: int, decimals: int) -> None:
    exact = Fraction(raw, 10**decimals)
    if exact > 10**15:
        return
    row = {"TokenQuantity": str(raw), "TokenDivisor": str(decimals)}
    assert _token_units(row, 0, Request("s", "e", "u")) == float(exact)


def test_a_balance_file_is_read_as_csv_and_as_json(tmp_path: Path) -> None:
    as_csv, as_json_file = tmp_path / "b.csv", tmp_path / "b.json"
    as_csv.write_text("\ufefftoken,amount,location\nUSDC,1.5,\nUSDC,2,pool-1\n", encoding="utf-8")
    as_json_file.write_text(
        '{"wallet": {"USDC": 1.5},'
        ' "positions": [{"pool_id": "pool-1", "token": "USDC", "amount": 2}]}'
    )
    frames = [read_balances(as_csv), read_balances(as_json_file)]
    pd.testing.assert_frame_equal(*frames)
    assert list(frames[0]["location"]) == ["wallet", "pool-1"]
    observed = balances_on(frames[0], TODAY)
    assert set(observed["basis"]) == {"observed"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("b.csv", "token,amount\nUSDC,-1\n", "line 2: the amount of USDC"),
        ("b.csv", "token,amount\nUSDC,nan\n", "line 2: the amount of USDC"),
        ("b.csv", "token,amount\nUSDC,1e30\n", "line 2: the amount of USDC"),
        ("b.csv", "token,amount\nUSDC\n", "line 2: the amount of USDC"),
        ("b.csv", "token,amount\n,5\n", "line 2: no token"),
        ("b.csv", "token,amount\nUSDC,1\nUSDC,2\n", "there twice"),
        ("b.csv", "token\nUSDC\n", "'amount' is missing"),
        ("b.json", '{"wallet": {"USDC": true}}', "wallet USDC: the amount"),
        ("b.json", '{"wallet": {"USDC": NaN}}', "wallet USDC: the amount"),
        ("b.json", '{"cash": {}}', "wallet and positions"),
        ("b.json", '{"wallet": []}', "wallet is an object"),
        ("b.json", '{"positions": [{"token": "USDC"}]}', "position 1"),
        ("b.json", "{", "cannot be read"),
    ],
)
def test_a_wrong_balance_file_is_named_with_its_line(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ContractError, match=message):
        read_balances(path)


def test_a_balance_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no such file"):
        read_balances(tmp_path / "b.csv")
