"""Numbers and dates as a treasurer reads them; an unknown number is a dash, never a 0."""

from __future__ import annotations

import math
from datetime import date

DASH = "–"
_MINUS = "\N{MINUS SIGN}"
_NO_BREAK = "\N{NO-BREAK SPACE}"


def _signed(text: str, *, plus: bool) -> str:
    """The text with a true minus sign; no sign before a number that is written as 0."""
    if not any(digit in text for digit in "123456789"):
        return text.lstrip("-")
    if text.startswith("-"):
        return _MINUS + text[1:]
    return f"+{text}" if plus else text


def _known(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def number(value: object, digits: int = 2, *, plus: bool = False) -> str:
    """A plain number with thousands separators."""
    known = _known(value)
    return DASH if known is None else _signed(f"{known:,.{digits}f}", plus=plus)


def usd(value: object, digits: int = 0, *, plus: bool = False) -> str:
    """US dollars: ``$1,234,567``; the sign stands before the dollar."""
    known = _known(value)
    if known is None:
        return DASH
    text = _signed(f"{known:,.{digits}f}", plus=plus)
    sign = text[0] if text[0] in f"+{_MINUS}" else ""
    return f"{sign}${text[len(sign) :]}"


def pct(value: object, digits: int = 2, *, plus: bool = False) -> str:
    """A percentage from a value in percent."""
    known = _known(value)
    return DASH if known is None else number(known, digits, plus=plus) + _NO_BREAK + "%"


def points(value: object, digits: int = 2) -> str:
    """A difference of percentages, signed, in percentage points."""
    known = _known(value)
    return DASH if known is None else number(known, digits, plus=True) + _NO_BREAK + "pp"


def by_unit(value: object, unit: str) -> str:
    """A value in the unit of its `definitions.Definition`."""
    known = _known(value)
    if known is None:
        return DASH
    small = 0.0 < abs(known) < 0.1
    forms = {
        "pct": lambda: pct(value, 3 if small else 2),
        "usd": lambda: usd(value),
        "days": lambda: number(value, 0),
        "bps": lambda: number(value, 1) + _NO_BREAK + "bps",
        "times": lambda: number(value, 1) + "×",
    }
    return forms.get(unit, lambda: number(value))()


def day(value: object) -> str:
    """A day as ``1 Mar 2025``, from a date or its ISO text; other text as it is."""
    if isinstance(value, str):
        try:
            return day(date.fromisoformat(value[:10]))
        except ValueError:
            return value
    if isinstance(value, date):
        return f"{value.day} {value:%b %Y}"
    return DASH
