"""The moments of one run: the clock's, but never earlier than the one before.

The store refuses to write before its last write. A clock that is set back by seconds while a run
is on its way must not stop it; one that is behind what the store has already is the operator's to
mend. One that jumps far ahead during a run is refused here, before that moment gets into the
store; one that was ahead from the start is found out by the first answer of a provider, and where
nobody is asked by data, or a last write, that are much older than it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Engine, func, select

from stableyield.errors import InputError
from stableyield.sources.clock import Clock
from stableyield.sources.defillama import AFTER_MIDNIGHT
from stableyield.sources.skew import LARGEST_SKEW, ClockSkewError
from stableyield.store import reading
from stableyield.store.clock import from_micros
from stableyield.store.schema import AUDIT_LOG

MOST_DAYS_WITHOUT_DATA = 7
"""Data of the clock's day that are older than this say as much about the clock as about them."""
MOST_DAYS_WITHOUT_A_WRITE = 31
"""After a longer silence of the store a day that comes from the clock alone is not taken."""
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


def last_write(engine: Engine) -> datetime | None:
    """The moment of the newest write to the store; None before the first one.

    Raises
    ------
    StoreError
        When the database fails.
    """
    with reading(engine, "the audit log") as connection:
        last = connection.scalar(select(func.max(AUDIT_LOG.c.at_micros)))
    return None if last is None else from_micros(last)


def check_not_behind(engine: Engine, now: datetime) -> None:
    """Refuse a clock that is behind what the store has, whichever table that is in.

    Raises
    ------
    ClockSkewError
        When something was written after ``now``.
    """
    last = last_write(engine)
    if last is not None and last > now:
        raise ClockSkewError(
            f"the clock went back: it says {now:%Y-%m-%d %H:%M:%S} UTC, the newest write is of "
            f"{last:%Y-%m-%d %H:%M:%S} UTC",
            where="clock of this machine",
            remedy="set the clock; nothing was written. If it was ahead then, go back to a backup",
        )


def day_of_clock(engine: Engine, clock: Clock) -> date:
    """The day that the clock says, where the store does not make one doubt it.

    Raises
    ------
    ClockSkewError
        When nothing was written for more than `MOST_DAYS_WITHOUT_A_WRITE` days.
    """
    now = clock.utc_now()
    last = last_write(engine)
    if last is not None and now - last > timedelta(days=MOST_DAYS_WITHOUT_A_WRITE):
        raise ClockSkewError(
            f"it is {now:%Y-%m-%d %H:%M} UTC by this machine's clock, and the last write to the "
            f"books was {(now - last).days} days ago, on {last:%Y-%m-%d}",
            where="clock of this machine",
            remedy="set the clock if it is ahead; if it is right, name the day with --day",
        )
    return default_day(now)


def check_fresh(newest: date, day: date, now: datetime) -> None:
    """Refuse to decide a day of which there are no pool rows.

    Parameters
    ----------
    newest : date
        Day of the newest pool rows.
    day : date
        To be decided.
    now : datetime
        UTC.

    Raises
    ------
    ClockSkewError
        When the day is the clock's, and so far from the data that the clock may be ahead.
    InputError
        When the day has no rows for any other reason.
    """
    if newest >= day:
        return
    what = f"the data are stale: the newest pool rows are of {newest}"
    is_of_clock = default_day(now) <= day
    if is_of_clock and (day - newest).days > MOST_DAYS_WITHOUT_DATA:
        raise ClockSkewError(
            f"{what}, and it is {now:%Y-%m-%d %H:%M} UTC by this machine's clock",
            where=f"day {day}",
            remedy="set the clock if it is ahead; else ingest the day first, or choose a day that "
            "is there with --day; nothing was written",
        )
    raise InputError(
        what,
        where=f"day {day}",
        remedy="ingest the day first, or choose a day that is there",
    )
