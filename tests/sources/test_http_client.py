from __future__ import annotations

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from stableyield.errors import ParameterError
from stableyield.sources import (
    HttpSettings,
    KeyRefusedError,
    PayloadError,
    PaymentRequiredError,
    ProviderError,
    RetryPolicy,
)
from stableyield.sources.fake import Answer, Call
from stableyield.sources.payload import parse_json
from stableyield.sources.request import Request
from stableyield.sources.skew import ClockSkewError
from support.provider import NOON, House, as_json

OK = {"fine": True}


def question(home: House, **changes: Any) -> Request:
    return Request(**{"source": "s", "endpoint": "e", "url": f"{home.url}/e", **changes})


def ask(home: House, request: Request | None = None, **options: Any) -> Any:
    asked = request or question(home)
    return home.client.fetch(asked, lambda body: parse_json(body, asked), **options)


@pytest.mark.parametrize(
    "fault",
    [
        Answer(b"", 500),
        Answer(b"", 503),
        Answer(b"", 429),
        Answer(b'{"fine": true}', cut_at=4),
        Answer(b'{"fine": tr'),
        Answer(b"\xff\xfe not text"),
        Answer(b"no gzip", headers={"Content-Encoding": "gzip"}),
        Answer(b""),
    ],
    ids=["500", "503", "429", "cut off", "half a JSON", "not text", "not packed", "empty"],
)
def test_what_another_attempt_may_mend_is_asked_again(home: House, fault: Answer) -> None:
    home.provider.on("/e", fault, OK)
    assert ask(home).value == OK
    assert len(home.provider.calls) == 2
    assert sum(home.time.slept) == pytest.approx(0.375)  # 0.5 s, of it a quarter jittered away


def dated(moment: datetime, **headers: str) -> Answer:
    return Answer(b'{"fine": true}', headers={"Date": format_datetime(moment), **headers})


@pytest.mark.parametrize(("hours", "direction"), [(-4, "4:00:00 ahead"), (30, "6:00:00 behind")])
def test_a_clock_far_from_the_providers_is_refused_and_nothing_is_kept(
    home: House, hours: int, direction: str
) -> None:
    home.provider.on("/e", dated(NOON + timedelta(hours=hours)), OK)
    with pytest.raises(ClockSkewError, match=f"the clock of this machine is .*{direction}"):
        ask(home)
    assert not ask(home).from_cache
    assert len(home.provider.calls) == 2


@pytest.mark.parametrize(
    "answer",
    [
        dated(NOON - timedelta(hours=2)),
        dated(NOON - timedelta(hours=30), Age=str(29 * 3600)),
        Answer(b'{"fine": true}', headers={"Date": "yesterday, or so"}),
        Answer(b'{"fine": true}', headers={"Date": "Mon, 99 Jan 2024 00:00:00 GMT"}),
        dated(NOON, Age="\u00b2"),
        Answer(b'{"fine": true}'),
    ],
    ids=["hours", "kept by a cache", "no date", "no day", "no age", "nothing"],
)
def test_an_answer_of_about_now_or_of_no_moment_is_accepted(home: House, answer: Answer) -> None:
    home.provider.on("/e", answer)
    assert ask(home).value == OK


def test_a_slow_provider_is_left_after_the_read_timeout(home: House) -> None:
    home.provider.on("/e", Answer(b"{}", delay_seconds=3600.0), OK)
    home.use(read_seconds=0.05)
    assert ask(home).value == OK


def test_an_answer_that_trickles_in_is_left_after_the_total_time(home: House) -> None:
    home.provider.on("/e", OK)
    home.use(total_seconds=-1.0)
    with pytest.raises(ProviderError, match="no end after"):
        ask(home)


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_obeyed_and_holds_the_whole_host(home: House, as_date: bool) -> None:
    then = format_datetime(NOON + timedelta(seconds=7), usegmt=True)
    home.provider.on("/e", as_json({}, 429, Retry_After=then if as_date else "7"), OK)
    ask(home)
    assert home.time.seconds == pytest.approx(7.0)


def test_a_provider_that_asks_for_too_much_patience_has_failed(home: House) -> None:
    home.provider.on("/e", as_json({}, 429, Retry_After="86400"))
    with pytest.raises(ProviderError, match="HTTP 429") as caught:
        ask(home)
    assert "left alone for 86400 s" in caught.value.details[-1]
    assert home.time.seconds == 0.0


def test_a_total_failure_names_source_status_and_what_to_do(home: House) -> None:
    home.provider.on("/e", as_json({"message": "out of order"}, 500))
    with pytest.raises(ProviderError) as caught:
        ask(home, question(home, item="p1"))
    error = caught.value
    assert (error.source, error.status, error.exit_code) == ("s", 500, 4)
    assert error.one_line.startswith("s e p1: HTTP 500 (try again later")
    assert any("out of order" in line for line in error.details)
    assert error.details[-1] == "given up after 3 of 3 attempts"
    assert len(home.provider.calls) == 3


def test_json_that_stays_broken_is_a_payload_error(home: House) -> None:
    home.provider.on("/e", Answer(b"<html>"))
    with pytest.raises(PayloadError, match="not JSON"):
        ask(home)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (402, PaymentRequiredError),
        (401, KeyRefusedError),
        (403, KeyRefusedError),
        (404, ProviderError),
        (301, ProviderError),
    ],
)
def test_a_refusal_is_not_asked_again(home: House, status: int, kind: type) -> None:
    home.provider.on("/e", as_json({}, status, Location=f"{home.url}/elsewhere"))
    with pytest.raises(ProviderError) as caught:
        ask(home)
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert home.provider.paths == ["/e"]  # a redirect would carry a key elsewhere


def test_nobody_listening_is_an_error_that_says_so(home: House) -> None:
    with pytest.raises(ProviderError, match="ConnectError") as caught:
        ask(home, question(home, url="http://127.0.0.1:9/"))
    assert caught.value.status is None


@pytest.mark.parametrize("url", ["gopher://x/", "http://x:port/"])
def test_an_address_that_is_none_is_an_error_at_once(home: House, url: str) -> None:
    with pytest.raises(ProviderError, match=r"UnsupportedProtocol|InvalidURL"):
        ask(home, question(home, url=url))
    assert not home.time.slept


def test_no_more_requests_are_under_way_than_allowed(home: House) -> None:
    under_way, most, lock = 0, 0, threading.Lock()
    both = threading.Barrier(2)

    def respond(call: Call) -> Answer:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        both.wait(30.0)  # there are always two at once, and never a third
        with lock:
            under_way -= 1
        return as_json(OK)

    home.provider.otherwise = respond
    home.use(concurrent_requests=2)
    with ThreadPoolExecutor(6) as executor:
        done = [executor.submit(ask, home, question(home, url=f"{home.url}/{i}")) for i in range(6)]
    assert [one.result().value for one in done] == [OK] * 6
    assert most == 2


def test_an_answer_that_is_too_large_is_not_read_to_its_end(home: House) -> None:
    home.provider.on("/e", Answer(b"[" + b"1," * 50_000 + b"1]"))
    home.use(largest_body_bytes=1000)
    with pytest.raises(ProviderError, match="larger than 1000 bytes"):
        ask(home)


def test_a_packed_answer_is_unpacked(home: House) -> None:
    packed = gzip.compress(b'{"fine": true}')
    home.provider.on("/e", Answer(packed, headers={"Content-Encoding": "gzip"}))
    assert ask(home).value == OK


def test_requests_keep_the_pace_of_two_a_second_by_default(home: House) -> None:
    home.provider.on("/e", OK)
    home.use(cached=False, requests_per_second=HttpSettings().requests_per_second)
    for _ in range(5):
        ask(home)
    assert home.time.seconds == pytest.approx(2.0)


def test_an_answer_of_today_is_served_from_disk(home: House) -> None:
    home.provider.on("/e", OK, {"fine": False})
    first, again = ask(home), ask(home)
    assert (first.from_cache, again.from_cache) == (False, True)
    assert again.value == OK
    assert again.fetched_at == first.fetched_at


@pytest.mark.parametrize(
    ("hours", "options", "asked_again"),
    [
        (11.9, {}, False),
        (12.1, {}, True),
        (12.1, {"keep_days": 1}, False),
        (36.1, {"keep_days": 1}, True),
        (0.0, {"refresh": True}, True),
        (1.1, {"max_age_seconds": 3600.0}, True),
        (0.9, {"max_age_seconds": 3600.0}, False),
    ],
)
def test_how_long_an_answer_on_disk_will_do(
    home: House, hours: float, options: dict[str, Any], asked_again: bool
) -> None:
    home.provider.on("/e", OK)
    ask(home)
    home.time.sleep(hours * 3600.0)
    assert ask(home, **options).from_cache is not asked_again


def test_an_answer_that_the_reader_refuses_is_not_kept(home: House) -> None:
    home.provider.on("/e", OK)
    request = question(home)

    def refuse(body: bytes) -> None:
        raise PayloadError("no", source="s")

    with pytest.raises(PayloadError):
        home.client.fetch(request, refuse)
    assert not ask(home).from_cache


def test_an_answer_on_disk_that_the_reader_refuses_is_fetched_again(home: House) -> None:
    home.provider.on("/e", OK)
    request = question(home)
    home.client.fetch(request, lambda body: body)
    path = home.cache.path(request, NOON.date())
    head, _, _ = path.read_bytes().partition(b"\n")
    home.cache.write(request, b"<html>", NOON)
    assert head
    assert ask(home).value == OK


def test_other_questions_have_other_places_on_disk(home: House) -> None:
    home.provider.on("/e", OK, {"fine": False})
    ask(home, question(home, params={"a": "1"}))
    assert ask(home, question(home, params={"a": "2"})).value == {"fine": False}
    assert ask(home, question(home, body={"a": 1})).from_cache is False


@pytest.mark.parametrize("n", [0, 65])
def test_concurrency_out_of_bounds_is_refused(n: int) -> None:
    with pytest.raises(ParameterError, match="concurrent_requests"):
        HttpSettings(concurrent_requests=n)


def test_a_policy_of_one_attempt_asks_once(home: House) -> None:
    home.provider.on("/e", Answer(b"", 500))
    home.use(retry=RetryPolicy(attempts=1))
    with pytest.raises(ProviderError, match="HTTP 500"):
        ask(home)
    assert len(home.provider.calls) == 1
