"""The live providers as one source, asked through HTTP from a server on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from pydantic import SecretStr

from stableyield.config import Settings
from stableyield.market.synthetic import SyntheticSettings, UniverseModel, simulate_market
from stableyield.pipeline import Job, Outcome, run_day
from stableyield.pipeline.live import LiveMarket, addresses_of
from stableyield.sources import HttpClient, HttpSettings, ProviderUrls, RetryPolicy
from stableyield.sources.fake import FakeProvider, FakeSettings, LocalServer, MarketDocuments
from stableyield.sources.fake.documents import checked_frames
from stableyield.store import payloads, read_frame
from support.treasury import DAY, Treasury, utc

KEYS = Settings(etherscan_key=SecretStr("etherscan-key"), cmc_key=SecretStr("cmc-key"))
WITH_WALLET = KEYS.model_copy(update={"wallet_address": "0x1"})


@contextmanager
def providers(**settings: object) -> Iterator[tuple[FakeProvider, str]]:
    universe = UniverseModel(late_share=0.0, delisting_hazard=0.0, missing_day_share=0.0)
    last = DAY + timedelta(days=3)
    made = SyntheticSettings(
        seed=5, n_days=50, n_pools=14, first_day=last - timedelta(days=49), universe=universe
    )
    documents = MarketDocuments(checked_frames(simulate_market(made), last))
    provider = FakeProvider(documents, DAY, FakeSettings(**settings))  # type: ignore[arg-type]
    with LocalServer(provider.respond) as server:
        yield provider, server.url


def run_live(treasury: Treasury, url: str, now: datetime, keys: Settings = KEYS) -> Outcome:
    treasury.ticking.moment = now
    clock = treasury.ticking.clock()
    http = HttpSettings(requests_per_second=1000.0, retry=RetryPolicy(attempts=1))
    with HttpClient(http, clock=clock) as client:
        source = LiveMarket(
            treasury.engine, client, keys, ProviderUrls.under(url), treasury.parameters
        )
        job = Job(treasury.engine, treasury.directory, (source,), clock=clock)
        request = treasury.request(now.date(), options={"data_include_us": True})
        return run_day(job, request)


@pytest.fixture
def live(empty: Treasury) -> Treasury:
    empty.ticking.moment = utc(2025, 12, 1, 22)
    empty.parameters |= {"pool_tvl_limit": 0.0, "token_marketcap_limit": 0.0}
    return empty


def test_a_day_is_decided_on_what_the_providers_say(live: Treasury) -> None:
    with providers(wallet={"USDC": 50_000.0}) as (_, url):
        first = run_live(live, url, utc(2025, 12, 1, 23, 30), WITH_WALLET)
        assert first.run.status == "done"
        assert first.plan["aum_before_usd"] == pytest.approx(50_000.0, rel=0.01)
        assert first.plan["transactions"]
    answers = payloads(live.engine, "defillama")
    assert {answer.request.split()[0] for answer in answers} >= {"pools", "chart"}
    assert len(read_frame(live.engine, "lend_borrow_daily"))


@pytest.mark.slow
def test_the_next_day_begins_with_what_the_wallet_shows(live: Treasury) -> None:
    with providers(wallet={"USDC": 50_000.0}) as (provider, url):
        first = run_live(live, url, utc(2025, 12, 1, 23, 30), WITH_WALLET)
        provider.today = DAY + timedelta(days=1)
        provider.settings = replace(provider.settings, wallet=_wallet_after(first))
        second = run_live(live, url, utc(2025, 12, 2, 23, 30), WITH_WALLET)
    assert second.run.status == "done"
    assert second.plan["aum_before_usd"] == pytest.approx(first.plan["aum_after_usd"], rel=0.01)
    assert read_frame(live.engine, "gas_fees_daily")["date"].dt.date.tolist() == [
        DAY,
        DAY + timedelta(days=1),
    ]


def _wallet_after(outcome: Outcome) -> dict[str, float]:
    wallet = {token: row["amount"] for token, row in outcome.plan["wallet"].items()}
    return {"USDC": 0.0, **wallet}


@pytest.mark.slow
def test_what_can_be_done_without_is_a_warning(live: Treasury) -> None:
    live.bring(day=DAY)
    with providers(faults=("/yields/lendBorrow=500",)) as (_, url):
        outcome = run_live(live, url, utc(2025, 12, 1, 23, 30))
    assert any("lending snapshot was not had" in each for each in outcome.warnings)
    assert outcome.run.status == "done"


@pytest.mark.slow
def test_histories_are_fetched_once_and_then_only_of_newcomers(live: Treasury) -> None:
    live.bring(day=DAY)
    with providers() as (provider, url):
        run_live(live, url, utc(2025, 12, 1, 23, 30))
        rows = read_frame(live.engine, "pool_daily").groupby("pool_id")["date"].count()
        assert rows.min() > 40
        n_charts = sum(p.request.startswith("chart ") for p in payloads(live.engine, "defillama"))
        provider.today = DAY + timedelta(days=1)
        run_live(live, url, utc(2025, 12, 2, 23, 30))
        after = sum(p.request.startswith("chart ") for p in payloads(live.engine, "defillama"))
    assert n_charts == after == len(rows)


@pytest.mark.slow
def test_keys_are_in_no_table_and_no_file(live: Treasury, tmp_path: Path) -> None:
    with providers(wallet={"USDC": 50_000.0}) as (_, url):
        outcome = run_live(live, url, utc(2025, 12, 1, 23, 30), WITH_WALLET)
    shown = str(outcome) + "".join(p.read_text() for p in outcome.directory.iterdir())
    shown += str(payloads(live.engine, "etherscan"))
    assert "etherscan-key" not in shown
    assert "cmc-key" not in shown


def test_an_address_with_two_names_is_not_believed() -> None:
    pools = pd.DataFrame(
        {
            "chain": ["Ethereum", "Ethereum", "Base"],
            "tokens": [("USDC", "DAI"), ("FAKE",), ("USDC",)],
            "token_addresses": [("0xA", "0xB"), ("0xb",), ("0xC",)],
        }
    )
    assert addresses_of(pools, "Ethereum") == {"0xa": "USDC"}
