"""How a day begins: what the money of the day is, and what a policy remembers of earlier days."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from stableyield.backtest.policy import Policy, Remembering
from stableyield.domain.portfolio import Book, price_of
from stableyield.errors import InputError
from stableyield.market.panel import MarketView


class Mode(StrEnum):
    """What carries over from one day to the next.

    ``portfolio``: wallet and positions; what a treasury lives through. ``independent``: nothing;
    every day starts from the same AUM in one token, which measures the selection alone.
    ``compounded``: the AUM, as if everything had been sold for one token without costs; it pays
    the costs of entry on every day and is kept for comparison.

    A policy remembers earlier days only where its positions do: in the other two modes it starts
    each day as it was given.
    """

    PORTFOLIO = "portfolio"
    INDEPENDENT = "independent"
    COMPOUNDED = "compounded"

    @property
    def assumption(self) -> str | None:
        """What a reader of a run in this mode must know of it."""
        return _ASSUMPTIONS.get(self)


_ASSUMPTIONS = {
    Mode.INDEPENDENT: (
        "mode independent: every day starts from the same AUM in cash and nothing carries over; "
        "this measures the selection of pools, not what a treasury would have earned"
    ),
    Mode.COMPOUNDED: (
        "mode compounded: every day starts in cash with the AUM of the day before, sold for "
        "nothing, and pays the costs of entry again; kept for comparison with simple backtests"
    ),
}


def mode_of(name: str) -> Mode:
    """A mode by its name.

    Raises
    ------
    InputError
        When there is none of that name.
    """
    known = [mode.value for mode in Mode]
    if name not in known:
        raise InputError(f"no mode is called {name!r}", remedy=f"choose one of {', '.join(known)}")
    return Mode(name)


def book_of_day(
    mode: Mode, view: MarketView, carried: tuple[Book, float], start: tuple[str, float]
) -> Book:
    """The book that a day begins with.

    Parameters
    ----------
    mode : Mode
    view : MarketView
        Of the exec day.
    carried : (Book, float)
        What the day before ended with, and its AUM in USD.
    start : (str, float)
        The start token, and the AUM in USD of a day that nothing carries over to.

    Raises
    ------
    MissingDataError
        When the money has to be in the start token, and that has no price on the day.
    """
    book, aum_usd = carried
    token, start_usd = start
    if mode is Mode.PORTFOLIO:
        return book
    money_usd = start_usd if mode is Mode.INDEPENDENT else aum_usd
    price = price_of(token, view.prices_usd, f"start token on {view.day}")
    return Book({token: money_usd / price})


def memory_of(policy: Policy) -> dict[str, Any] | None:
    """What a policy remembers; None for one that has no memory to tell of."""
    return policy.state() if isinstance(policy, Remembering) else None


def remind(policy: Policy, memory: Mapping[str, Any] | None) -> None:
    """Give a policy back what `memory_of` said of it."""
    if memory is not None and isinstance(policy, Remembering):
        policy.restore(memory)


def untold_memory(policy: Policy, at_start: Mapping[str, Any]) -> str | None:
    """An attribute that a policy changed without having a way to tell of it, if there is one.

    Parameters
    ----------
    policy : Policy
    at_start : mapping of str to value
        `attributes_of` the policy before its first day.
    """
    if isinstance(policy, Remembering):
        return None
    now = attributes_of(policy)
    return next((name for name in sorted(now) if _differs(now[name], at_start.get(name))), None)


def _differs(now: object, then: object) -> bool:
    """Whether an attribute was replaced, or a collection changed in place."""
    if isinstance(then, _Kept):
        return now is not then.itself or now != then.content
    return now is not then


@dataclass(frozen=True)
class _Kept:
    """A collection and what was in it."""

    itself: object
    content: object


def kept(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes to be compared with later ones."""
    return {
        name: _Kept(value, copy.deepcopy(value)) if isinstance(value, _COLLECTIONS) else value
        for name, value in attributes.items()
    }


def attributes_of(policy: Policy) -> dict[str, Any]:
    """The attributes of a policy, without what it only caches."""
    return {
        name: value
        for name, value in getattr(policy, "__dict__", {}).items()
        if not isinstance(getattr(type(policy), name, None), cached_property)
    }


_COLLECTIONS = (list, dict, set, bytearray, deque)
