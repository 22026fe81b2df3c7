"""A provider on 127.0.0.1 that answers what a test tells it to, and a clock without waiting."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stableyield.sources import HttpClient, HttpSettings, ReplyCache, RetryPolicy
from stableyield.sources.clock import Clock
from stableyield.sources.fake import Answer, Call, LocalServer

NOON = datetime(2024, 3, 10, 12, 0, tzinfo=UTC)
TODAY = NOON.date()
KEY = "k3y-0f-the-house"


class TestClock:
    """Time that passes only while somebody sleeps; jitter is always a half."""

    __test__ = False

    def __init__(self, start: datetime = NOON) -> None:
        self.start = start
        self.seconds = 0.0
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self.seconds += seconds

    def clock(self) -> Clock:
        return Clock(
            now=lambda: self.start + timedelta(seconds=self.seconds),
            monotonic=lambda: self.seconds,
            sleep=self.sleep,
            draw=lambda: 0.5,
        )


class ScriptedProvider:
    """Answers from a list per path, the last one for ever; remembers every call."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.scripts: dict[str, list[Answer]] = {}
        self.otherwise: Callable[[Call], Answer] | None = None
        self._lock = threading.Lock()

    def on(self, path: str, *answers: Answer | Any) -> None:
        """Answers of ``path``, in order; what is no `Answer` is sent as JSON."""
        self.scripts[path] = [one if isinstance(one, Answer) else as_json(one) for one in answers]

    def respond(self, call: Call) -> Answer:
        with self._lock:
            self.calls.append(call)
            script = self.scripts.get(call.path)
            if script is not None:
                return script.pop(0) if len(script) > 1 else script[0]
        if self.otherwise is not None:
            return self.otherwise(call)
        return as_json({"message": "not in the script"}, 404)

    @property
    def paths(self) -> list[str]:
        return [call.path for call in self.calls]


class House:
    """A provider, its address and a client that asks it on the test's clock."""

    def __init__(self, url: str, provider: ScriptedProvider, time: TestClock, cache: Path) -> None:
        self.url = url
        self.provider = provider
        self.time = time
        self.cache = ReplyCache(cache)
        self.client = self._client({}, cached=True)

    def use(self, *, cached: bool = True, **settings: Any) -> None:
        """Ask through a client of other settings from now on."""
        self.client.close()
        self.client = self._client(settings, cached=cached)

    def _client(self, settings: dict[str, Any], *, cached: bool) -> HttpClient:
        settings = {"requests_per_second": 1000.0, "retry": RetryPolicy(attempts=3), **settings}
        return HttpClient(
            HttpSettings(**settings),
            cache=self.cache if cached else None,
            clock=self.time.clock(),
        )


@contextmanager
def house(cache: Path, start: datetime = NOON) -> Iterator[House]:
    """A running provider and its client; both are closed at the end."""
    provider = ScriptedProvider()
    with LocalServer(provider.respond) as server:
        found = House(server.url, provider, TestClock(start), cache)
        try:
            yield found
        finally:
            found.client.close()


def as_json(document: Any, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(json.dumps(document).encode(), status, named)


def pool_row(pool: str = "p1", **changes: Any) -> dict[str, Any]:
    """A row of ``GET /pools`` with every documented field."""
    row = {
        "chain": "Ethereum",
        "project": "morpho-blue",
        "symbol": "USDC",
        "tvlUsd": 1_000_000.0,
        "apyBase": 4.0,
        "apyReward": None,
        "apy": 4.0,
        "rewardTokens": None,
        "pool": pool,
        "stablecoin": True,
        "predictions": {"predictedClass": "Stable/Up"},
        "poolMeta": None,
        "underlyingTokens": ["0xa0b8"],
    }
    return {**row, **changes}


def chart_row(day: str, apy: float | None = 4.0, **changes: Any) -> dict[str, Any]:
    """A row of ``GET /chart/{pool}`` late on ``day``."""
    row = {
        "timestamp": f"{day}T23:01:02.345Z",
        "tvlUsd": 1_000_000,
        "apy": apy,
        "apyBase": apy,
        "apyReward": None,
        "il7d": None,
        "apyBase7d": None,
    }
    return {**row, **changes}


def data(rows: Sequence[Any]) -> dict[str, Any]:
    return {"status": "success", "data": list(rows)}
