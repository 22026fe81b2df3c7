"""When to try again: the arithmetic of backoff, jitter and Retry-After, without any waiting.

Written here rather than taken from a retry library: stamina sleeps by itself and is only made not
to by a switch for the whole process, and its jitter cannot be given a source of numbers.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from stableyield.errors import ParameterError

_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")
_MOST_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently a request is repeated.

    Parameters
    ----------
    attempts : int
        Requests in all, the first one included.
    first_wait_seconds, factor, longest_wait_seconds : float
        The n-th wait is at most ``first * factor ** (n - 1)``, and never above the longest.
    longest_retry_after_seconds : float
        A provider that asks for more patience than this has failed.

    Raises
    ------
    ParameterError
        When a number is out of bounds.
    """

    attempts: int = 5
    first_wait_seconds: float = 0.5
    factor: float = 2.0
    longest_wait_seconds: float = 30.0
    longest_retry_after_seconds: float = 300.0

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= _MOST_ATTEMPTS:
            raise ParameterError(f"attempts {self.attempts} is not within 1..{_MOST_ATTEMPTS}")
        waits = (self.first_wait_seconds, self.longest_wait_seconds)
        if not all(map(math.isfinite, (*waits, self.factor, self.longest_retry_after_seconds))):
            raise ParameterError("waits and the factor of a retry policy are finite numbers")
        if min(waits) < 0.0 or self.longest_retry_after_seconds < 0.0:
            raise ParameterError("waits of a retry policy are not negative")
        if not 1.0 <= self.factor <= 10.0:
            raise ParameterError(f"factor {self.factor} is not within 1..10")


def backoff_seconds(policy: RetryPolicy, failures: int, draw: float) -> float:
    """The wait after the ``failures``-th failed attempt in a row: half fixed, half jitter.

    Parameters
    ----------
    policy : RetryPolicy
    failures : int
        At least 1.
    draw : float
        In [0, 1).
    """
    ceiling = min(
        policy.longest_wait_seconds,
        policy.first_wait_seconds * policy.factor ** (failures - 1),
    )
    return ceiling * (0.5 + 0.5 * draw)


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """Seconds that a ``Retry-After`` header asks for (RFC 9110: seconds or an HTTP date).

    Never negative; None when there is no header or it cannot be read.
    """
    text = (header or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000": UTC without a place
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def wait_seconds(
    policy: RetryPolicy, failures: int, draw: float, retry_after: float | None
) -> float | None:
    """Seconds until the next attempt; None when there is none.

    Never less than the provider asks for; None as well when it asks for too much.
    """
    if failures >= policy.attempts:
        return None
    if retry_after is None:
        return backoff_seconds(policy, failures, draw)
    if retry_after > policy.longest_retry_after_seconds:
        return None
    return max(retry_after, backoff_seconds(policy, failures, draw))
