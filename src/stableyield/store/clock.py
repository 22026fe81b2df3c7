"""Moments and days as the database keeps them.

A moment is a UTC time of microseconds that the caller gives; nothing here asks a clock. Revisions
keep moments as integers (microseconds since 1970) and days as integers (days since 1970), which
both engines compare and read fast; the views show them as times and dates.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import DateTime, String
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from stableyield.errors import InputError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ISO = "%Y-%m-%dT%H:%M:%S.%fZ"  # of one width, so that texts sort as moments do


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970 of a moment that knows its time zone.

    Raises
    ------
    InputError
        When the time zone is missing.
    """
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise InputError(
            f"the moment {moment.isoformat()} has no time zone",
            remedy="give UTC, as datetime(..., tzinfo=UTC)",
        )
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The UTC moment of microseconds since 1970."""
    return _EPOCH + micros * _MICROSECOND


def to_day_number(day: date) -> int:
    """Days since 1970."""
    return day.toordinal() - _EPOCH.toordinal()


class Moment(TypeDecorator[datetime]):
    """A UTC moment in the tables that people read: timestamptz, or ISO 8601 text on SQLite."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column type of the engine."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(27))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """What the driver gets."""
        if value is None:
            return None
        moment = from_micros(to_micros(value))
        return moment.strftime(_ISO) if dialect.name == "sqlite" else moment

    def process_result_value(
        self,
        value: Any,
        dialect: Dialect,  # noqa: ARG002 - the value says it
    ) -> datetime | None:
        """What the caller gets: always UTC."""
        if value is None:
            return None
        if isinstance(value, str):
            return datetime.strptime(value, _ISO).replace(tzinfo=UTC)
        return from_micros(to_micros(value))
