"""The fake providers serve what the sources read: a market comes back as it went in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr

from stableyield.errors import ParameterError
from stableyield.market.files import write_market
from stableyield.market.frames import MarketFrames
from stableyield.market.synthetic import SyntheticSettings, simulate_market
from stableyield.sources import (
    AaveRates,
    AaveReserve,
    CandlePrices,
    CoinCloses,
    Fetched,
    GasOracle,
    HttpClient,
    LendBorrowHistory,
    LendBorrowSnapshot,
    PayloadError,
    PaymentRequiredError,
    PoolHistory,
    PoolKey,
    PoolUniverse,
    ProviderError,
    ProviderUrls,
    RejectedFeedError,
    Span,
    StablecoinCloses,
    WalletBalances,
)
from stableyield.sources.fake import (
    FAULTS,
    FakeProvider,
    FakeSettings,
    FaultPlan,
    LocalServer,
    MarketDocuments,
    checked_frames,
    token_address,
)
from stableyield.sources.fake.__main__ import main
from stableyield.sources.fake.provider import wallet_of
from support.provider import TODAY, House

KEY = SecretStr("k")
SPAN = Span(TODAY - timedelta(days=20), TODAY)


@pytest.fixture(scope="module")
def market() -> MarketFrames:
    settings = SyntheticSettings(seed=3, n_days=40, n_pools=30, first_day=date(2020, 1, 1))
    return checked_frames(simulate_market(settings), TODAY)


@pytest.fixture(scope="module")
def documents(market: MarketFrames) -> MarketDocuments:
    return MarketDocuments(market)


@pytest.fixture
def provider(documents: MarketDocuments) -> FakeProvider:
    return FakeProvider(documents, TODAY, FakeSettings(wallet={"USDC": 1e6, "DAI": 0.5}))


@pytest.fixture
def urls(provider: FakeProvider) -> Iterator[ProviderUrls]:
    with LocalServer(provider.respond) as server:
        yield ProviderUrls.under(server.url + "/")


def universe(client: HttpClient, urls: ProviderUrls) -> Fetched:
    return PoolUniverse(client, urls.yields, confirm_percent=True).fetch(Span.of(TODAY))


def lending_pool(market: MarketFrames) -> PoolKey:
    pools = market.pools
    row = pools[(pools["protocol"] == "aave-v3") & pools["is_active"]].iloc[0]
    return PoolKey(row["pool_id"], row["protocol"], row["chain"], row["symbol"])


def test_the_universe_comes_back_as_the_market_has_it(
    home: House, urls: ProviderUrls, market: MarketFrames
) -> None:
    found = universe(home.client, urls).tables["pool_daily"].set_index("pool_id")
    wanted = market.pool_daily[market.pool_daily["date"] == pd.Timestamp(TODAY)]
    wanted = wanted.set_index("pool_id")
    assert list(found.index) == sorted(wanted.index)
    for name in ("apy_pct", "apy_base_pct", "tvl_usd"):
        np.testing.assert_allclose(found[name], wanted.loc[found.index, name], rtol=1e-12)


def test_a_history_comes_back_as_the_market_has_it(
    home: House, urls: ProviderUrls, market: MarketFrames
) -> None:
    key = lending_pool(market)
    found = PoolHistory(home.client, key, urls.yields).fetch(SPAN).tables["pool_daily"]
    wanted = market.pool_daily[market.pool_daily["pool_id"] == key.pool_id]
    wanted = wanted[wanted["date"] >= pd.Timestamp(SPAN.first)]
    np.testing.assert_allclose(found["apy_pct"], wanted["apy_pct"], rtol=1e-12)
    assert list(found["date"]) == list(wanted["date"])


def test_lending_rates_of_all_three_sources_agree(
    home: House, urls: ProviderUrls, market: MarketFrames
) -> None:
    key = lending_pool(market)
    token = token_address(key.chain, key.symbol)
    paid = LendBorrowHistory(home.client, key, KEY, urls.pro, urls.yields).fetch(SPAN)
    snapshot = LendBorrowSnapshot(home.client, universe(home.client, urls), urls.yields).fetch(
        Span.of(TODAY)
    )
    last = paid.tables["lend_borrow_daily"].iloc[-1]
    now = snapshot.tables["lend_borrow_daily"].set_index("market_id").loc[key.pool_id]
    reserve = AaveReserve(1, "0xm", token)
    aave = AaveRates(home.client, key, reserve, urls.aave).fetch(SPAN)
    for name in ("supply_apr_pct", "borrow_apr_pct"):
        assert now[name] == pytest.approx(last[name])
        assert np.isfinite(aave.tables["lend_borrow_daily"][name]).all()
    assert last["borrow_apr_pct"] > last["supply_apr_pct"]


def test_the_unpaid_history_is_refused(
    home: House, urls: ProviderUrls, market: MarketFrames
) -> None:
    with pytest.raises(PaymentRequiredError):
        LendBorrowHistory(home.client, lending_pool(market), None, urls.pro, urls.yields).fetch(
            SPAN
        )


def test_prices_and_gas_come_back_as_the_market_has_them(
    home: House, urls: ProviderUrls, market: MarketFrames
) -> None:
    assert market.prices_daily is not None
    assert market.gas_daily is not None
    wanted = market.prices_daily.set_index(["token", "date"])["close_usd"]
    coin = f"base:{token_address('Base', 'USDC')}"
    coins = {"coingecko:ethereum": "ETH", coin: "USDC"}
    tables = [
        StablecoinCloses(home.client, base_url=urls.stablecoins).fetch(SPAN),
        CandlePrices(home.client, KEY, {"825": "USDT"}, urls.cmc).fetch(SPAN),
        CoinCloses(home.client, coins, urls.coins).fetch(SPAN),
    ]
    eth = market.gas_daily.set_index("date")["eth_usd"]
    for fetched in tables:
        prices = fetched.tables["prices_daily"]
        expected = [
            eth.loc[day] if token == "ETH" else wanted.loc[(token, day)]
            for token, day in zip(prices["token"], prices["date"], strict=True)
        ]
        np.testing.assert_allclose(prices["close_usd"], expected, rtol=1e-12)
        assert len(prices) >= SPAN.n_days
    gas = GasOracle(home.client, KEY, urls.etherscan).fetch(Span.of(TODAY)).tables["gas_daily"]
    assert gas["gas_gwei"].iloc[0] == market.gas_daily["gas_gwei"].iloc[-1]


def test_the_wallet_is_what_was_asked_for(home: House, urls: ProviderUrls) -> None:
    tokens = {token_address("Ethereum", name): name for name in ("USDC", "DAI", "USDT")}
    found = WalletBalances(home.client, KEY, "0xw", tokens, urls.etherscan).fetch(Span.of(TODAY))
    assert list(found.tables["balances"]["amount"]) == [0.5, 1e6, 0.0]


def test_the_day_can_be_moved_and_faults_can_be_ordered_while_it_runs(
    home: House, urls: ProviderUrls, provider: FakeProvider
) -> None:
    root = urls.yields.removesuffix("/yields")
    answer = httpx.get(f"{root}/control", params={"today": "2024-03-01", "fault": "pools=empty"})
    assert answer.json()["today"] == "2024-03-01"
    assert provider.today == date(2024, 3, 1)
    with pytest.raises(RejectedFeedError):
        universe(home.client, urls)
    assert httpx.get(f"{root}/control", params={"fault": "pools=flood"}).status_code == 400
    assert httpx.get(f"{root}/nothing").status_code == 404


_REFUSED: dict[str, type[ProviderError]] = {
    "402": PaymentRequiredError,
    "401": ProviderError,
    "404": ProviderError,
    "429": ProviderError,
    "500": ProviderError,
    "503": ProviderError,
    "slow": ProviderError,
    "cut": ProviderError,
    "half-json": PayloadError,
    "not-json": PayloadError,
    "missing-field": PayloadError,
    "empty": RejectedFeedError,
    "half": RejectedFeedError,
}
_CLEANED = {
    "duplicates": "repeated pools",
    "nulls": None,
    "nan": "impossible apy",
    "huge": "impossible apy",
    "negative": "impossible apy",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_refused_or_cleaned_and_counted(
    home: House, documents: MarketDocuments, fault: str
) -> None:
    provider = FakeProvider(documents, TODAY, FakeSettings(faults=[f"pools={fault}"]))
    home.use(read_seconds=0.05)
    with LocalServer(provider.respond) as server:
        n_pools = len(documents.pools(TODAY))
        source = PoolUniverse(
            home.client, ProviderUrls.under(server.url).yields, n_pools, confirm_percent=True
        )
        if fault in _REFUSED:
            with pytest.raises(_REFUSED[fault]):
                source.fetch(Span.of(TODAY))
            return
        fetched = source.fetch(Span.of(TODAY))
    assert len(fetched.tables["pools"]) == n_pools
    reason = _CLEANED[fault]
    assert (not fetched.masked) if reason is None else fetched.masked[reason]


def test_a_fault_for_n_calls_is_over_after_them(home: House, documents: MarketDocuments) -> None:
    provider = FakeProvider(documents, TODAY, FakeSettings(faults=["pools=500*2"]))
    with LocalServer(provider.respond) as server:
        found = universe(home.client, ProviderUrls.under(server.url))
    assert len(found.tables["pools"])


@pytest.mark.parametrize("order", ["pools", "pools=flood", "=500", "pools=500*x"])
def test_an_order_that_is_no_fault_is_refused(order: str) -> None:
    with pytest.raises(ParameterError, match="is no fault"):
        FaultPlan([order])


def test_a_wallet_is_written_as_token_and_amount() -> None:
    assert wallet_of(["USDC=5", "DAI=0.5"]) == {"USDC": 5.0, "DAI": 0.5}
    with pytest.raises(ParameterError, match="TOKEN=AMOUNT"):
        wallet_of(["USDC"])


def test_the_command_says_what_is_wrong_and_exits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "0", "--days", "3", "--fault", "x=y"]) == 2
    assert "is no fault" in capsys.readouterr().err
    assert main(["--market", "nowhere"]) == 2


def test_the_command_serves_a_market_directory_moved_to_a_day(
    home: House, tmp_path: Path, market: MarketFrames
) -> None:
    write_market(market, tmp_path / "market")
    command = [sys.executable, "-m", "stableyield.sources.fake", "--port", "0"]
    command += ["--market", str(tmp_path / "market"), "--today", str(TODAY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            url = line.split()[3]
            found = universe(home.client, ProviderUrls.under(url))
        finally:
            process.terminate()
    n_today = int((market.pool_daily["date"] == pd.Timestamp(TODAY)).sum())
    assert len(found.tables["pools"]) == n_today
