"""From a body to columns: the documented shape is demanded, impossible values become unknown.

A field that is missing or of another type means that the provider changed its format: the answer
is refused. A value that is of the right type but cannot be true (NaN, 1e30, a negative TVL) says
nothing: it becomes unknown and is counted, so that one broken pool does not stop a day.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stableyield.errors import ContractError
from stableyield.market.columns import Origin
from stableyield.market.contracts import check_table
from stableyield.sources.base import Span
from stableyield.sources.failures import (
    PayloadError,
    RejectedFeedError,
    TransientReplyError,
)
from stableyield.sources.request import Request

Floats = NDArray[np.float64]
Record = Mapping[str, Any]
Records = Sequence[Record]

_N_EXAMPLES = 5
_DAY_SECONDS = 86_400
_FIRST_YEAR, _LAST_YEAR = 2009, 2100
_FIRST_SECOND, _LAST_SECOND = 1_230_768_000.0, 4_133_980_799.0  # of these years
_CHECKING = Lock()  # pandera does not say that several threads may use a schema
_SHAPE = "the provider changed its format: update stableyield, or report it"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a number can be; anything else is unknown."""

    at_least: float
    at_most: float


APY_PCT = Bounds(-100.0, 1e6)
USD = Bounds(0.0, 1e13)
PRICE_USD = Bounds(1e-12, 1e7)
SHARE = Bounds(0.0, 1.0)


@dataclass
class Cleaning:
    """What was made unknown or left out while an answer was read: counts and first examples."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)

    def add(self, reason: str, count: int, *examples: str) -> None:
        """Count ``count`` values or rows, if there are any."""
        if count:
            self.counts[reason] = self.counts.get(reason, 0) + count
            self.examples += examples[: _N_EXAMPLES - len(self.examples)]


def parse_json(body: bytes, request: Request) -> Any:
    """The JSON in ``body``; a body that was cut off is worth another attempt.

    Raises
    ------
    TransientReplyError
        When it is not JSON.
    """
    try:
        return json.loads(body)
    except ValueError as error:
        at = getattr(error, "pos", getattr(error, "start", len(body)))
        raise TransientReplyError(
            PayloadError(
                f"the answer is not JSON (at {at} of {len(body)} bytes)",
                source=request.source,
                status=200,
                where=request.where,
                remedy="try again later; it was probably cut off",
                details=(f"asked: {request.shown_url}",),
            )
        ) from None


def bad_shape(request: Request, what: str, where: str = "") -> PayloadError:
    """The error of an answer that is not in its documented shape."""
    return PayloadError(
        what,
        source=request.source,
        status=200,
        where=f"{request.where}, {where}" if where else request.where,
        remedy=_SHAPE,
        details=(f"asked: {request.shown_url}",),
    )


def member(value: Any, name: str, request: Request) -> Any:
    """``value[name]`` of a JSON object.

    Raises
    ------
    PayloadError
        When it is no object or has no such field.
    """
    if not isinstance(value, dict):
        raise bad_shape(request, f"an object with {name!r} is wanted, not {shown(value)}")
    if name not in value:
        raise bad_shape(request, f"field {name!r} is missing")
    return value[name]


def records(value: Any, request: Request) -> Records:
    """A list of JSON objects that is not empty.

    Raises
    ------
    PayloadError
        When it is no list, or an item is no object.
    RejectedFeedError
        When it is empty.
    """
    if not isinstance(value, list):
        raise bad_shape(request, f"a list is wanted, not {shown(value)}")
    if not value:
        raise RejectedFeedError(
            "the list is empty: nothing of it is used, and nothing that is known is given up",
            source=request.source,
            status=200,
            where=request.where,
            remedy="try again later, or check the id",
        )
    if set(map(type, value)) != {dict}:
        row = next(i for i, item in enumerate(value) if not isinstance(item, dict))
        raise bad_shape(request, f"an object is wanted, not {shown(value[row])}", f"row {row + 1}")
    return value


def values_of(rows: Records, name: str, request: Request) -> list[Any]:
    """One field of every row; null is None.

    Raises
    ------
    PayloadError
        With the first row that does not have it.
    """
    try:
        return [row[name] for row in rows]
    except KeyError:
        row = next(i for i, item in enumerate(rows) if name not in item)
        raise bad_shape(request, f"field {name!r} is missing", f"row {row + 1}") from None


def texts_of(rows: Records, name: str, request: Request) -> list[str | None]:
    """One text field of every row; empty ones are None.

    Raises
    ------
    PayloadError
        With the first row that has something else there, or nothing at all.
    """
    values = values_of(rows, name, request)
    _need_types(values, (str, type(None)), name, "a text", request)
    return [value.strip() or None if value else None for value in values]


def numbers_of(
    rows: Records,
    name: str,
    request: Request,
    cleaning: Cleaning,
    bounds: Bounds,
    *,
    as_text: bool = False,
) -> Floats:
    """One number field of every row, shape (n_rows,); null and impossible values are NaN.

    Parameters
    ----------
    rows, name, request
    cleaning : Cleaning
        Told of impossible values.
    bounds : Bounds
    as_text : bool
        The provider sends numbers as texts.

    Raises
    ------
    PayloadError
        With the first row that has something else there, or nothing at all.
    """
    values = values_of(rows, name, request)
    kinds = (int, float, type(None), *((str,) if as_text else ()))
    _need_types(values, kinds, name, "a number", request)
    if as_text:
        values = [_number(value, name, row, request) for row, value in enumerate(values)]
    try:
        numbers = np.array(values, dtype=np.float64)
    except OverflowError:  # an integer of more than 308 digits
        numbers = np.array([_or_infinite(value) for value in values], dtype=np.float64)
    given = np.array([value is not None for value in values], dtype=bool)
    possible = (numbers >= bounds.at_least) & (numbers <= bounds.at_most)
    wrong = given & ~possible
    rows_wrong = np.flatnonzero(wrong)
    cleaning.add(
        f"impossible {name}",
        len(rows_wrong),
        *(
            f"{request.where}, row {i + 1}: {name} is {shown(values[i])}"
            for i in rows_wrong[:_N_EXAMPLES].tolist()
        ),
    )
    return np.where(possible, numbers, np.nan)


def moments_of(rows: Records, name: str, request: Request) -> pd.Series[Any]:
    """One moment field of every row (ISO 8601 or Unix seconds), UTC without a time zone.

    Raises
    ------
    PayloadError
        With the first row whose moment is missing, cannot be read or is not within 2009..2100.
    """
    values = values_of(rows, name, request)
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return _from_seconds(np.array(values, dtype=np.float64), name, request)
    if all(isinstance(value, str) and value.strip().isdecimal() for value in values):
        return _from_seconds(np.array(list(map(float, values))), name, request)
    _need_types(values, (str,), name, "a moment", request)
    texts = pd.Series(values, dtype="str")
    moments = pd.to_datetime(texts, utc=True, errors="coerce", format="ISO8601")
    if (bad := np.flatnonzero(~moments.dt.year.between(_FIRST_YEAR, _LAST_YEAR))).size:
        what = f"{name} is {shown(values[bad[0]])}: not a moment in ISO 8601 within 2009..2100"
        raise bad_shape(request, what, f"row {bad[0] + 1}")
    return moments.dt.tz_localize(None).astype("datetime64[us]")


def in_span(frame: pd.DataFrame, span: Span, fetched_on: date, cleaning: Cleaning) -> pd.DataFrame:
    """The rows of the days asked for; none that is dated after the day of its fetch."""
    days = frame["date"].dt.floor("D")
    ahead = days > pd.Timestamp(fetched_on)
    cleaning.add("rows dated after the day they came", int(ahead.sum()))
    wanted = days.between(pd.Timestamp(span.first), pd.Timestamp(span.last)) & ~ahead
    found: pd.DataFrame = frame[wanted]
    return found.reset_index(drop=True)


def checked(
    table: str,
    frame: pd.DataFrame,
    request: Request,
    cleaning: Cleaning,
    *,
    confirm_percent: bool = True,
) -> dict[str, pd.DataFrame]:
    """``{table: frame}`` by its contract; empty when there are no rows.

    Raises
    ------
    PayloadError
        When it breaks the contract: column, row and value are in the message.
    """
    if frame.empty:
        return {}
    try:
        with _CHECKING:
            found = check_table(table, frame, Origin(table), confirm_percent=confirm_percent)
    except ContractError as error:
        raise bad_shape(request, error.what, error.where) from error
    cleaning.add("earlier readings of the same day", found.n_dropped)
    return {table: found.frame}


def load_contracts() -> None:
    """Import what checks tables, in the thread that calls; for callers that start others."""
    import pandera.pandas  # noqa: F401, PLC0415 - slow to import


def seconds_of(day: date, *, end: bool = False) -> int:
    """Unix seconds of the first, or the last, second of ``day``."""
    first = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    return first + _DAY_SECONDS - 1 if end else first


def shown(value: object) -> str:
    """A value for a message, cut where it is long."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _need_types(
    values: Sequence[Any], kinds: tuple[type, ...], name: str, wanted: str, request: Request
) -> None:
    if set(map(type, values)) <= set(kinds):
        return
    row = next(i for i, value in enumerate(values) if type(value) not in kinds)
    what = f"{name} is {shown(values[row])}: {wanted} is wanted"
    raise bad_shape(request, what, f"row {row + 1}")


def _number(value: Any, name: str, row: int, request: Request) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return float(value.replace(",", ""))
    except ValueError:
        what = f"{name} is {shown(value)}: a number is wanted"
        raise bad_shape(request, what, f"row {row + 1}") from None


def _or_infinite(value: Any) -> float:
    try:
        return math.nan if value is None else float(value)
    except OverflowError:
        return math.inf


def _from_seconds(seconds: Floats, name: str, request: Request) -> pd.Series[Any]:
    outside = ~((seconds >= _FIRST_SECOND) & (seconds <= _LAST_SECOND))
    if outside.any():
        row = int(outside.argmax())
        what = f"{name} is {seconds[row]:.15g}: not seconds since 1970 within 2009..2100"
        raise bad_shape(request, what, f"row {row + 1}")
    return pd.Series(pd.to_datetime((seconds * 1e6).astype("int64"), unit="us"))
