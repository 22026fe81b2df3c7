"""A key is sent to its provider and is nowhere else: not in errors, logs, reprs or on disk."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from stableyield.errors import ParameterError
from stableyield.sources import (
    CandlePrices,
    Fetched,
    GasOracle,
    LendBorrowHistory,
    PoolKey,
    ProviderError,
    Source,
    Span,
    WalletBalances,
)
from stableyield.sources.fake import Answer, Call
from stableyield.sources.request import Secret
from support.provider import KEY, TODAY, House, as_json

MARKET = PoolKey("p1", "aave-v3", "Ethereum", "USDC")
TO_SOURCE: dict[str, Callable[[House], Source]] = {
    "path": lambda home: LendBorrowHistory(home.client, MARKET, SecretStr(KEY), home.url),
    "header": lambda home: CandlePrices(home.client, SecretStr(KEY), {"1": "USDC"}, home.url),
    "query": lambda home: GasOracle(home.client, SecretStr(KEY), f"{home.url}/api"),
    "paged": lambda home: WalletBalances(home.client, SecretStr(KEY), "0xw", {}, f"{home.url}/api"),
}
FAULTS: dict[str, Callable[[Call], Answer]] = {
    "echo 500": lambda call: as_json({"you": call.path, **call.query, **call.headers}, 500),
    "echo 401": lambda call: as_json({"you": call.path, **call.query, **call.headers}, 401),
    "echo 402": lambda call: as_json({"you": call.path, **call.query, **call.headers}, 402),
    "echo 429": lambda call: as_json({"you": call.path}, 429, Retry_After="1"),
    "echo 200": lambda call: as_json({"status": "0", "message": "NO", "result": f"{call}"}),
    "cut": lambda call: Answer(f"{call}".encode(), cut_at=9),
    "not JSON": lambda call: Answer(f"{call}".encode()),
    "redirect": lambda call: as_json({}, 302, Location=f"http://elsewhere/{call.path}"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", TO_SOURCE)
def test_a_key_is_in_no_error_log_or_repr(
    home: House, caplog: pytest.LogCaptureFixture, place: str, fault: str
) -> None:
    caplog.set_level(logging.DEBUG)
    home.provider.otherwise = FAULTS[fault]
    source = TO_SOURCE[place](home)
    with pytest.raises(ProviderError) as caught:
        source.fetch(Span.of(TODAY))
    assert was_sent(home)
    error = caught.value
    texts = [repr(source), str(error), repr(error), *error.details, error.where, error.remedy]
    texts += traceback.format_exception(error)
    texts += [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    assert caplog.records
    assert not [text for text in texts if KEY in text]


def test_a_key_is_in_no_file_and_no_file_name(home: House, tmp_path: Path) -> None:
    rows = [{"timestamp": f"{TODAY}T01:00:00Z", **dict.fromkeys(FIELDS, 1.0)}]
    home.provider.otherwise = lambda call: as_json({"status": "success", "data": rows})
    fetched = TO_SOURCE["path"](home).fetch(Span.of(TODAY))
    assert was_sent(home)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 1
    assert KEY not in str(files[0])
    assert KEY.encode() not in files[0].read_bytes()
    assert "/KEY/yields/chartLendBorrow/p1" in only_url(fetched)


FIELDS = (
    *("totalSupplyUsd", "totalBorrowUsd", "debtCeilingUsd", "apyBase", "apyReward"),
    *("apyBaseBorrow", "apyRewardBorrow"),
)


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "schlüssel"])
def test_a_key_that_cannot_be_one_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ParameterError, match="STABLEYIELD_X_KEY") as caught:
        Secret(SecretStr(key), "header", "X", "STABLEYIELD_X_KEY")
    assert not key or key not in str(caught.value)


def test_a_key_with_signs_of_a_url_is_masked_in_both_its_forms(home: House) -> None:
    key = "a/b?c&d"
    home.provider.otherwise = lambda call: as_json({"plain": key, "as sent": "a%2Fb%3Fc%26d"}, 401)
    source = LendBorrowHistory(home.client, MARKET, SecretStr(key), home.url)
    with pytest.raises(ProviderError) as caught:
        source.fetch(Span.of(TODAY))
    assert home.provider.paths == [f"/{key}/yields/chartLendBorrow/p1"]
    assert '"plain": "***", "as sent": "***"' in caught.value.details[-1]


def was_sent(home: House) -> bool:
    return any(KEY in f"{call}" for call in home.provider.calls)


def only_url(fetched: Fetched) -> Any:
    (one,) = fetched.provenance
    assert KEY not in f"{fetched} {one}"
    return one.url
