from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stableyield.sources import (
    BulkSettings,
    PaymentRequiredError,
    PoolHistory,
    PoolKey,
    ProviderError,
    Span,
    fetch_all,
)
from stableyield.sources.fake import Answer, Call
from support.provider import TODAY, House, as_json, chart_row, data

IDS = [f"pool-{i:02d}" for i in range(12)]
ONE_AT_A_TIME = BulkSettings(workers=1)


def history(home: House, pool_id: str) -> int:
    key = PoolKey(pool_id, "morpho-blue", "Ethereum", "USDC")
    return len(PoolHistory(home.client, key, home.url).fetch(Span.of(TODAY)).tables)


def good(call: Call) -> Answer:
    return as_json(data([chart_row(str(TODAY))]))


def test_every_item_is_fetched_once_and_progress_is_told(home: House) -> None:
    home.provider.otherwise = good
    told: list[tuple[int, int]] = []
    outcome = fetch_all(
        [*IDS, *IDS],
        lambda pool_id: history(home, pool_id),
        on_progress=lambda done, total, item: told.append((done, total)),
    )
    assert list(outcome.fetched) == IDS
    assert not outcome.failed
    assert sorted(home.provider.paths) == [f"/chart/{pool_id}" for pool_id in IDS]
    assert told == [(i + 1, 12) for i in range(12)]


def test_an_item_that_fails_does_not_stop_the_others(home: House) -> None:
    home.provider.otherwise = good
    home.provider.on("/chart/pool-03", as_json({}, 404))
    outcome = fetch_all(IDS, lambda pool_id: history(home, pool_id))
    assert len(outcome.fetched) == 11
    assert outcome.failed["pool-03"].status == 404


def test_a_refusal_to_serve_unpaid_stops_all_at_once(home: House) -> None:
    home.provider.otherwise = lambda call: as_json({}, 402)
    with pytest.raises(PaymentRequiredError):
        fetch_all(IDS, lambda pool_id: history(home, pool_id), settings=ONE_AT_A_TIME)
    assert len(home.provider.calls) == 1


def test_a_provider_that_is_gone_is_not_asked_for_every_item(home: House) -> None:
    home.provider.otherwise = lambda call: as_json({}, 404)
    with pytest.raises(ProviderError, match="stopped with 0 of 12 items") as caught:
        fetch_all(
            IDS,
            lambda pool_id: history(home, pool_id),
            settings=BulkSettings(workers=1, give_up_after=3),
        )
    assert len(home.provider.calls) == 3
    assert caught.value.status == 404
    assert "not asked for again" in caught.value.remedy


def test_when_every_item_fails_the_provider_is_gone_however_few_there_are(home: House) -> None:
    home.provider.otherwise = lambda call: as_json({}, 404)
    with pytest.raises(ProviderError, match="stopped with 0 of 2 items"):
        fetch_all(IDS[:2], lambda pool_id: history(home, pool_id))
    assert fetch_all([], lambda pool_id: history(home, pool_id)).fetched == {}


_FIRST_CHECK = """
import sys
from datetime import date
from stableyield.sources import HttpClient, HttpSettings, PoolHistory, PoolKey, Span, fetch_all

url, *items = sys.argv[1:]
client = HttpClient(HttpSettings(1000.0))
span = Span.of(date(2024, 3, 10))
def fetch(item):
    return PoolHistory(client, PoolKey(item, "spark", "Base", "DAI"), url).fetch(span)
assert len(fetch_all(items, fetch).fetched) == len(items)
"""


def test_a_download_in_threads_may_be_the_first_to_check_a_table(home: House) -> None:
    home.provider.otherwise = good
    command = [sys.executable, "-c", _FIRST_CHECK, home.url, *IDS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_bulk_download_that_failed_goes_on_where_it_stopped(home: House) -> None:
    home.provider.otherwise = good
    for pool_id in IDS[5:]:
        home.provider.on(f"/chart/{pool_id}", as_json({}, 404))
    with pytest.raises(ProviderError, match="stopped with 5 of 12"):
        fetch_all(IDS, lambda pool_id: history(home, pool_id), settings=ONE_AT_A_TIME)
    home.provider.scripts.clear()
    home.provider.calls.clear()
    assert len(fetch_all(IDS, lambda pool_id: history(home, pool_id)).fetched) == 12
    assert sorted(home.provider.paths) == [f"/chart/{pool_id}" for pool_id in IDS[5:]]


_PROGRAM = """
import sys
from datetime import datetime, UTC
from pathlib import Path
from stableyield.sources.cache import ReplyCache
from stableyield.sources.clock import Clock
from stableyield.sources.http import HttpClient, HttpSettings
from stableyield.sources.bulk import BulkSettings, fetch_all
from stableyield.sources.request import Request, joined

url, directory, *items = sys.argv[1:]
clock = Clock(lambda: datetime(2024, 3, 10, 12, tzinfo=UTC), lambda: 0.0, lambda _: None, lambda: 0)
client = HttpClient(HttpSettings(1000.0), cache=ReplyCache(Path(directory)), clock=clock)
def fetch(item):
    request = Request("defillama", "chart", joined(url, "chart", item), item)
    return client.fetch(request, lambda body: body)
fetch_all(items, fetch, settings=BulkSettings(workers=2))
"""


def test_a_killed_download_leaves_whole_files_and_goes_on_where_it_stopped(home: House) -> None:
    reached = threading.Event()

    def stop_at_the_eighth(call: Call) -> Answer:
        if call.path == f"/chart/{IDS[7]}":
            reached.set()
            return Answer(good(call).body, delay_seconds=3600.0)
        return good(call)

    home.provider.otherwise = stop_at_the_eighth
    command = [sys.executable, "-c", _PROGRAM, home.url, str(home.cache.directory), *IDS[:8]]
    with subprocess.Popen(command) as process:
        assert reached.wait(60.0)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    kept = whole_files(home)
    assert 6 <= len(kept) <= 7

    home.provider.otherwise = good
    home.provider.calls.clear()
    assert len(fetch_all(IDS, lambda pool_id: history(home, pool_id)).fetched) == 12
    assert {f"/chart/{pool_id}" for pool_id in IDS} - set(home.provider.paths) == {
        f"/chart/{path.parent.name}" for path in kept
    }
    assert len(whole_files(home)) == 12


def whole_files(home: House) -> list[Path]:
    """Answers on disk; each of them is whole."""
    found = list(home.cache.directory.rglob("*.reply"))
    for path in found:
        assert path.read_bytes().partition(b"\n")[2].endswith(b"]}")
    return found
