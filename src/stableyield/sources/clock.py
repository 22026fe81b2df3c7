"""The time that the sources live in: given to them, so that tests need not wait for it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from stableyield.errors import InputError


@dataclass(frozen=True)
class Clock:
    """Where moments, pauses and jitter come from.

    Parameters
    ----------
    now : callable
        The UTC moment, with its time zone.
    monotonic : callable
        Seconds since any moment; never runs backwards.
    sleep : callable
        Waits that many seconds.
    draw : callable
        A random number in [0, 1), for jitter.
    """

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    draw: Callable[[], float]

    def utc_now(self) -> datetime:
        """The moment, in UTC.

        Raises
        ------
        InputError
            When ``now`` gives a moment without a time zone.
        """
        moment = self.now()
        if moment.tzinfo is None:
            raise InputError(
                f"the moment {moment.isoformat()} has no time zone",
                remedy="give UTC, as datetime.now(UTC)",
            )
        return moment.astimezone(UTC)


def system_clock() -> Clock:
    """The machine's clock. Jitter is drawn from its entropy: two machines must not keep step."""
    return Clock(
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
        sleep=time.sleep,
        draw=random.SystemRandom().random,
    )
