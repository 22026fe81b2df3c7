from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stableyield.errors import InputError, ParameterError
from stableyield.sources.clock import Clock, system_clock
from stableyield.sources.pace import Pace
from stableyield.sources.retry import (
    RetryPolicy,
    backoff_seconds,
    retry_after_seconds,
    wait_seconds,
)

NOW = datetime(2024, 3, 10, 12, 0, tzinfo=UTC)
POLICIES = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 20),
    first_wait_seconds=st.floats(0.0, 10.0),
    factor=st.floats(1.0, 10.0),
    longest_wait_seconds=st.floats(0.0, 120.0),
    longest_retry_after_seconds=st.floats(0.0, 1000.0),
)
DRAWS = st.floats(0.0, 1.0, exclude_max=True)
MOMENTS = st.integers(-20 * 365 * 86_400, 60 * 365 * 86_400).map(
    lambda seconds: NOW + timedelta(seconds=seconds)
)


@settings(deadline=None, max_examples=60)
@given(POLICIES, st.integers(1, 50), DRAWS)
def test_a_backoff_is_between_half_its_ceiling_and_its_ceiling(
    policy: RetryPolicy, failures: int, draw: float
) -> None:
    lowest, wait = (backoff_seconds(policy, failures, d) for d in (0.0, draw))
    assert 0.0 <= lowest <= wait <= min(2.0 * lowest + 1e-9, policy.longest_wait_seconds)


@settings(deadline=None, max_examples=60)
@given(POLICIES, st.integers(1, 49), DRAWS)
def test_without_jitter_each_wait_is_at_least_the_one_before(
    policy: RetryPolicy, failures: int, draw: float
) -> None:
    assert backoff_seconds(policy, failures + 1, draw) >= backoff_seconds(policy, failures, draw)


@settings(deadline=None, max_examples=60)
@given(POLICIES, st.integers(1, 50), DRAWS, st.none() | st.floats(0.0, 5000.0))
def test_nobody_is_asked_earlier_than_it_wants_or_more_often_than_allowed(
    policy: RetryPolicy, failures: int, draw: float, retry_after: float | None
) -> None:
    wait = wait_seconds(policy, failures, draw, retry_after)
    patient = retry_after is None or retry_after <= policy.longest_retry_after_seconds
    assert (wait is None) == (failures >= policy.attempts or not patient)
    if wait is not None:
        assert wait >= (retry_after or 0.0)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**12 - 1))
def test_retry_after_in_seconds_is_read_as_it_is(seconds: int) -> None:
    assert retry_after_seconds(f" {seconds} ", NOW) == seconds


@settings(deadline=None, max_examples=60)
@given(MOMENTS, MOMENTS, st.integers(-12, 12))
def test_retry_after_as_a_date_is_the_time_until_then_in_any_zone(
    now: datetime, then: datetime, hours: int
) -> None:
    then = then.replace(microsecond=0)
    header = format_datetime(then.astimezone(timezone(timedelta(hours=hours))))
    assert retry_after_seconds(header, now) == max(0.0, (then - now).total_seconds())


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=40))
def test_any_other_header_is_no_wait_or_one_that_is_not_negative(header: str) -> None:
    seconds = retry_after_seconds(header, NOW)
    assert seconds is None or seconds >= 0.0


@pytest.mark.parametrize("header", [None, "", "soon", "-5", "1e3", "nan", "²"])
def test_an_unreadable_retry_after_leaves_the_wait_to_us(header: str | None) -> None:
    assert retry_after_seconds(header, NOW) is None


def test_a_date_without_a_zone_is_utc() -> None:
    assert retry_after_seconds("Sun, 10 Mar 2024 12:00:30 -0000", NOW) == 30.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"attempts": 51},
        {"first_wait_seconds": -1.0},
        {"first_wait_seconds": float("nan")},
        {"factor": 0.5},
        {"longest_retry_after_seconds": -1.0},
    ],
)
def test_a_policy_out_of_bounds_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ParameterError):
        RetryPolicy(**wrong)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=60)
@given(
    st.floats(0.1, 100.0),
    st.lists(st.floats(0.0, 5.0), min_size=2, max_size=40),
)
def test_requests_to_a_host_start_an_interval_apart_and_no_later_than_needed(
    rate: float, pauses: list[float]
) -> None:
    pace, now, starts = Pace(rate), 0.0, []
    for pause in pauses:
        now += pause
        starts.append(now + pace.reserve("host", now))
        assert starts[-1] >= now
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert min(gaps) >= 1.0 / rate - 1e-6
    assert pace.reserve("another host", now) == 0.0


def test_a_pause_holds_every_request_to_the_host_and_its_end_is_kept() -> None:
    pace = Pace(2.0, {"slow": 0.5})
    pace.pause("host", 10.0)
    pace.pause("host", 4.0)
    assert [pace.reserve("host", 1.0), pace.reserve("host", 1.0)] == [9.0, 9.5]
    assert [pace.reserve("slow", 0.0), pace.reserve("slow", 0.0)] == [0.0, 2.0]


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_not_positive_is_refused(rate: float) -> None:
    with pytest.raises(ParameterError, match="requests per second"):
        Pace(rate)


def test_a_clock_without_a_time_zone_is_refused() -> None:
    naive = Clock(lambda: datetime(2024, 1, 1), lambda: 0.0, lambda _: None, lambda: 0.0)  # noqa: DTZ001
    with pytest.raises(InputError, match="no time zone"):
        naive.utc_now()


def test_the_clock_of_the_machine_is_in_utc_and_draws_below_one() -> None:
    clock = system_clock()
    assert clock.utc_now().utcoffset() == timedelta(0)
    assert 0.0 <= clock.draw() < 1.0
