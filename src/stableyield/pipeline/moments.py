"""The moments of one run: the clock's, but never earlier than the one before.

The store refuses to write before its last write. A clock that is set back by seconds while a run
is on its way must not stop it; one that went back between two runs is the operator's to mend, and
the store says so. One that jumps far ahead during a run is refused here, before that moment gets
into the store; one that was ahead from the start is found out by the first answer of a provider.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from stableyield.errors import InputError
from stableyield.sources.clock import Clock
from stableyield.sources.defillama import AFTER_MIDNIGHT
from stableyield.sources.skew import LARGEST_SKEW, ClockSkewError

_EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass
class Moments:
    """Gives moments in order.

    Parameters
    ----------
    clock : Clock
    """

    clock: Clock
    _last: datetime = field(default=_EARLIEST, repr=False)
    _last_seconds: float = field(default=0.0, repr=False)

    def now(self) -> datetime:
        """The UTC moment, or the last one given where the clock has gone back since.

        Raises
        ------
        ClockSkewError
            When the clock has gone on by hours more than time has since the last moment.
        """
        moment, seconds = self.clock.utc_now(), self.seconds()
        if self._last is not _EARLIEST:
            ahead = moment - self._last - timedelta(seconds=seconds - self._last_seconds)
            if ahead > LARGEST_SKEW:
                raise ClockSkewError(
                    f"the clock of this machine jumped ahead by {ahead}",
                    where=f"from {self._last:%Y-%m-%d %H:%M} to {moment:%Y-%m-%d %H:%M} UTC",
                    remedy="set the clock, then run again; nothing was written at that moment",
                )
        if moment > self._last:
            self._last, self._last_seconds = moment, seconds
        return self._last

    def seconds(self) -> float:
        """Seconds since any moment, for durations."""
        return self.clock.monotonic()


def default_day(now: datetime) -> date:
    """The UTC day that what providers say now describes: today, or yesterday until 01:00."""
    return (now.astimezone(UTC) - AFTER_MIDNIGHT).date()


def check_day(day: date, now: datetime) -> None:
    """Refuse a day that is still to come.

    Raises
    ------
    InputError
        When ``day`` is after today (UTC).
    """
    if day > now.astimezone(UTC).date():
        raise InputError(
            f"{day} is still to come",
            where=f"now {now:%Y-%m-%d %H:%M} UTC",
            remedy="choose a day that has ended, and check the clock of this machine",
        )
