"""What goes wrong with providers, by name, done to an answer that was right."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from stableyield.errors import ParameterError
from stableyield.sources.fake.server import Answer

Fault = Callable[[Answer], Answer]
_ORDER = re.compile(r"(?P<route>[^=]+)=(?P<fault>[a-z0-9-]+)(\*(?P<times>[0-9]{1,6}))?")
_SLOW_SECONDS = 3600.0


class FaultPlan:
    """Which routes are broken, and for how many calls.

    Parameters
    ----------
    orders : sequence of str
        ``ROUTE=FAULT`` for every call whose path has ROUTE in it, ``ROUTE=FAULT*N`` for the first
        N of them. The first order that still holds counts.

    Raises
    ------
    ParameterError
        When an order cannot be read or names no fault.
    """

    def __init__(self, orders: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        self._left: list[tuple[str, str, float]] = []
        for order in orders:
            self.add(order)

    def add(self, order: str) -> None:
        """One more order."""
        match = _ORDER.fullmatch(order)
        if match is None or match["fault"] not in FAULTS:
            raise ParameterError(
                f"{order!r} is no fault",
                remedy=f"write ROUTE=FAULT or ROUTE=FAULT*N, with one of {', '.join(FAULTS)}",
            )
        times = float(match["times"]) if match["times"] else float("inf")
        with self._lock:
            self._left.append((match["route"], match["fault"], times))

    def apply(self, path: str, answer: Answer) -> Answer:
        """``answer`` as a call of ``path`` gets it."""
        with self._lock:
            for i, (route, fault, times) in enumerate(self._left):
                if route in path and times > 0:
                    self._left[i] = (route, fault, times - 1)
                    return FAULTS[fault](answer)
        return answer


def _status(status: int, **headers: str) -> Fault:
    body = json.dumps({"message": f"the fake provider answers {status}"}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda answer: replace(answer, body=body, status=status, headers=named)


def _on_rows(change: Callable[[list[Any]], list[Any]]) -> Fault:
    """Change the list of rows in the document, wherever it is."""

    def apply(answer: Answer) -> Answer:
        document = json.loads(answer.body)
        if isinstance(document, dict) and isinstance(document.get("data"), list):
            document = {**document, "data": change(document["data"])}
        elif isinstance(document, list):
            document = change(document)
        return replace(answer, body=json.dumps(document).encode())

    return apply


def _first_row(value: Any) -> Fault:
    """Set every number of the first row."""

    def change(rows: list[Any]) -> list[Any]:
        first = {
            name: value
            if isinstance(old, float) or (isinstance(old, int) and name != "date")
            else old
            for name, old in rows[0].items()
        }
        return [first, *rows[1:]]

    return _on_rows(change)


def _without_a_field(rows: list[Any]) -> list[Any]:
    """The last row without its last field that carries a number."""
    last = dict(rows[-1])
    for name in reversed(tuple(last)):
        if isinstance(last[name], float):
            del last[name]
            break
    return [*rows[:-1], last]


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "402": _status(402),
        "401": _status(401),
        "404": _status(404),
        "429": _status(429, Retry_After="1"),
        "500": _status(500),
        "503": _status(503),
        "slow": lambda answer: replace(answer, delay_seconds=_SLOW_SECONDS),
        "cut": lambda answer: replace(answer, cut_at=len(answer.body) // 2),
        "half-json": lambda answer: replace(answer, body=answer.body[: len(answer.body) // 2]),
        "not-json": lambda answer: replace(answer, body=b"<html>Bad gateway</html>"),
        "missing-field": _on_rows(_without_a_field),
        "empty": _on_rows(lambda _: []),
        "half": _on_rows(lambda rows: rows[: max(1, (len(rows) - 1) // 2)]),
        "duplicates": _on_rows(lambda rows: [*rows, *rows]),
        "nulls": _first_row(None),
        "nan": _first_row(float("nan")),
        "huge": _first_row(1e30),
        "negative": _first_row(-1e6),
    }
)
