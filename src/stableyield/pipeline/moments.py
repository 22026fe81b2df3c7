"""The moments of one run: the clock's, but never earlier than the one before.

The store refuses to write before its last write. A clock that is set back by seconds while a run
is on its way must not stop it; one that went back between two runs is the operator's to mend, and
the store says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from stableyield.errors import InputError
from stableyield.sources.clock import Clock
from stableyield.sources.defillama import AFTER_MIDNIGHT

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

    def now(self) -> datetime:
        """The UTC moment, or the last one given where the clock has gone back since."""
        self._last = max(self._last, self.clock.utc_now())
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
