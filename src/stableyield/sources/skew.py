"""Whether this machine's clock agrees with a provider's.

What is fetched counts as known from the moment that this machine's clock says. A clock that is far
ahead would date knowledge into the future, and everything after it would be refused as written in
the past; so it is found out by the first answer, before anything is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from stableyield.errors import InputError

LARGEST_SKEW = timedelta(hours=3)
"""Far above what caches on the way add to an answer's age, far below a day."""


class ClockSkewError(InputError):
    """The machine's clock is far from a provider's."""


def check_skew(headers: Mapping[str, str], now: datetime, where: str) -> None:
    """Compare the moment of an answer with this machine's.

    Parameters
    ----------
    headers : mapping of str to str
        Of the answer. ``Date`` is when it was made; ``Age`` is how many seconds a cache on the way
        has kept it (RFC 9110, 6.6.1; RFC 9111, 5.1). Nothing is checked without a ``Date``.
    now : datetime
        UTC.
    where : str
        Who answered what.

    Raises
    ------
    ClockSkewError
        When the two are more than `LARGEST_SKEW` apart.
    """
    made = _moment(headers.get("date"))
    if made is None:
        return
    age = headers.get("age", "")
    theirs = made + timedelta(seconds=int(age[:9]) if age.isascii() and age.isdigit() else 0)
    if abs(now - theirs) <= LARGEST_SKEW:
        return
    direction = "ahead" if now > theirs else "behind"
    raise ClockSkewError(
        f"the clock of this machine is {abs(now - theirs)} {direction}: it says "
        f"{now:%Y-%m-%d %H:%M:%S} UTC, the provider says {theirs:%Y-%m-%d %H:%M:%S} UTC",
        where=where,
        remedy="set the clock of this machine; nothing of this answer was kept",
    )


def _moment(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    # "-0000" says UTC of an unknown place, and is read as a moment without a time zone
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
