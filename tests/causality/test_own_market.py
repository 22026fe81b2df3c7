"""What brings a market of its own is refused by the check: no other future could be given to it."""

from __future__ import annotations

import copy
import functools
import types
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest

from stableyield.backtest import BacktestSettings
from stableyield.backtest.benchmarks import EqualWeight, Hold, Idle
from stableyield.backtest.clairvoyant import Clairvoyant
from stableyield.backtest.policy import MilpPolicy
from stableyield.errors import LookAheadError, ParameterError
from stableyield.forecast import FORECASTERS, WatchedForecaster, baseline, forecaster
from stableyield.market.assemble import panel_of
from stableyield.market.panel import MarketPanel
from stableyield.study.causality import check_causality
from stableyield.study.fresh import CopyError, fresh
from stableyield.study.own_market import refuse_own_market
from support.markets import day, hand_made, pool, synthetic_frames, synthetic_panel

SETTINGS = BacktestSettings(start=day(40), end=day(43), aum_usd=1e5)
REFUSED = "a market of its own, through which it could see the future"
PANEL = hand_made([pool("a"), pool("b")], 6)
HELPERS = types.ModuleType("helpers_of_a_user")
vars(HELPERS)["panel"] = PANEL


@dataclass(eq=False)
class Holding:
    """A policy with anything in it."""

    inside: Any
    name: Any = "holding"
    more: list[Any] = field(default_factory=list)

    def decide(self, prepared: Any, inputs: Any) -> Any:
        raise AssertionError("the check has to refuse it before it is asked")


class Slotted:
    __slots__ = ("inside",)

    def __init__(self, inside: Any) -> None:
        self.inside = inside


class ByGlobal(EqualWeight):
    """Reads a global variable in a method."""

    def last_day(self) -> Any:
        return max(each for each in [PANEL.last_day])


class ByModule(EqualWeight):
    """Reads a variable of a module."""

    @property
    def last_day(self) -> Any:
        return HELPERS.panel.last_day


class ByClass(EqualWeight):
    """Has it as an attribute of the class."""

    market: ClassVar[MarketPanel] = PANEL


class ByCaching(EqualWeight):
    @functools.cached_property
    def last_day(self) -> Any:
        return PANEL.last_day


def by_default(panel: MarketPanel = PANEL) -> Clairvoyant:
    return Clairvoyant(panel)


def closed_over() -> Callable[[], Clairvoyant]:
    panel = PANEL
    return lambda: Clairvoyant(panel)


def from_another(panel: MarketPanel) -> Clairvoyant:
    """Takes a market, and takes another one instead."""
    return Clairvoyant(HELPERS.panel)


def made_of_nothing() -> Clairvoyant:
    """No market is in reach of the function: it makes one."""
    return Clairvoyant(hand_made([pool("a")], 3))


HOLDERS: dict[str, Any] = {
    "an object": Clairvoyant(PANEL),
    "a closure": closed_over(),
    "a partial": functools.partial(Clairvoyant, PANEL),
    "a keyword of a partial": functools.partial(Clairvoyant, panel=PANEL),
    "a policy within a policy": Hold(Clairvoyant(PANEL)),
    "a maker within a policy": Holding(closed_over()),
    "a bound method": Holding(Clairvoyant(PANEL).decide),
    "a list in a dict": Holding({"markets": [PANEL]}),
    "a key": Holding({PANEL: 1}),
    "a set in a deque": Holding(deque([frozenset({PANEL})])),
    "an array of objects": Holding(np.array([None, PANEL], dtype=object)),
    "a slot": Holding(Slotted(PANEL)),
    "a weak reference": Holding(weakref.ref(PANEL)),
    "a view": Holding(PANEL.as_of(PANEL.last_day)),
    "tables": Holding(synthetic_frames()),
    "a global variable": ByGlobal(),
    "a class with a global variable": ByGlobal,
    "a module's variable": ByModule(),
    "a class attribute": ByClass,
    "a cached property": ByCaching(),
    "a default": by_default,
    "a class of one's own made with it": lambda: Holding(PANEL),
    "another market than the one given": from_another,
    "nothing in reach": made_of_nothing,
}


@pytest.mark.parametrize("name", HOLDERS)
def test_a_market_that_comes_along_is_refused_wherever_it_is_kept(name: str) -> None:
    with pytest.raises(ParameterError, match=REFUSED) as caught:
        fresh(HOLDERS[name], hand_made([pool("a")], 3))
    assert "take the panel as an argument" in caught.value.remedy


def test_the_message_says_where_the_market_is() -> None:
    with pytest.raises(ParameterError) as caught:
        refuse_own_market(Hold(Clairvoyant(PANEL)))
    assert caught.value.where == "Hold.entry.panel"
    with pytest.raises(ParameterError) as caught:
        refuse_own_market(Holding({"markets": [PANEL]}))
    assert caught.value.where == "Holding.inside['markets'][0]"
    with pytest.raises(ParameterError) as caught:
        refuse_own_market(ByGlobal)
    assert caught.value.where == "ByGlobal.last_day, the global variable PANEL"
    with pytest.raises(ParameterError) as caught:
        refuse_own_market(functools.partial(Clairvoyant, panel=PANEL))
    assert caught.value.where == "partial(Clairvoyant).keywords['panel']"


def shadowed(PANEL: MarketPanel) -> Clairvoyant:  # noqa: N803 - the name of a global variable
    return Clairvoyant(PANEL)


HONEST: dict[str, Any] = {
    **{each.__name__: each for each in (MilpPolicy, Idle, EqualWeight, Clairvoyant)},
    "an object": Hold(EqualWeight()),
    "a function of the panel": lambda panel: Clairvoyant(panel),  # noqa: PLW0108
    "the name of a global variable": shadowed,
    "a partial": functools.partial(Hold, EqualWeight()),
    "a watched forecaster": WatchedForecaster(baseline("last"), (baseline("ewma"),)),
    **{name: forecaster(name) for name in FORECASTERS},
}


@pytest.mark.parametrize("name", HONEST)
def test_what_holds_no_market_is_not_refused(name: str) -> None:
    refuse_own_market(HONEST[name])


@pytest.mark.parametrize("name", ["ewma", "reversion", "learned"])
def test_a_forecaster_that_was_used_before_holds_no_market(name: str) -> None:
    used = forecaster(name)
    panel = synthetic_panel()
    used.forecast(panel.as_of(panel.last_day), 7)
    refuse_own_market(used)


def test_things_that_hold_each_other_are_looked_through_once() -> None:
    one, other = Holding(None), Holding(None)
    one.inside, other.inside = other, one
    refuse_own_market(one)
    other.more.append(PANEL)
    with pytest.raises(ParameterError, match=REFUSED):
        refuse_own_market(one)


def test_the_search_has_an_end_and_begins_with_what_is_near() -> None:
    many = [[n] for n in range(100)]
    refuse_own_market(Holding([*many, [PANEL]]), most=50)
    for thing, most in ((Holding([*many, [PANEL]]), 200), (Holding(many, name=PANEL), 50)):
        with pytest.raises(ParameterError, match=REFUSED):
            refuse_own_market(thing, most=most)


# --- the check ---


@pytest.mark.parametrize("name", ["a closure", "a partial", "a policy within a policy"])
def test_the_check_refuses_a_clairvoyant_that_brings_its_own_market(name: str) -> None:
    panel = panel_of(synthetic_frames())  # one that nobody has looked at yet
    makers = {
        "a closure": lambda: Clairvoyant(panel),
        "a partial": functools.partial(Clairvoyant, panel),
        "a policy within a policy": Hold(Clairvoyant(panel)),
    }
    with pytest.raises(ParameterError, match=REFUSED):
        check_causality(panel, SETTINGS, makers[name], changes=1)


def test_a_forecaster_with_a_market_of_its_own_is_refused_too() -> None:
    panel = synthetic_panel()

    class Keeping:
        name = "keeping"

        def __init__(self) -> None:
            self.market = panel

        def forecast(self, view: Any, horizon_days: int) -> Any:
            raise AssertionError

    with pytest.raises(ParameterError, match=REFUSED):
        check_causality(panel, SETTINGS, Idle, forecaster=Keeping, changes=1)


@dataclass
class Confessing(EqualWeight):
    """Says of itself that it sees the future, and does not use it."""

    is_causal: ClassVar[bool] = False


def test_what_says_that_it_is_not_causal_is_not_called_causal() -> None:
    report = check_causality(synthetic_panel(), SETTINGS, Confessing, changes=1)
    assert report.leaks == ()
    assert not report.is_causal
    assert report.to_document()["admits_foresight"] is True
    with pytest.raises(LookAheadError, match="says of itself that it is not causal"):
        report.raise_if_not_causal()


# --- copies ---


class CopiedOnce(EqualWeight):
    """Can be copied for the first run only."""

    copies: ClassVar[list[int]] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> EqualWeight:
        self.copies.append(1)
        if len(self.copies) > 1:
            raise RuntimeError("once only")
        return EqualWeight()


def test_an_object_that_cannot_be_copied_again_is_not_accused_of_foresight() -> None:
    with pytest.raises(CopyError, match="CopiedOnce cannot be copied: RuntimeError: once only"):
        check_causality(synthetic_panel(), SETTINGS, CopiedOnce(), changes=1)


def test_a_copy_shares_nothing_with_what_was_given() -> None:
    held = Holding([1])
    copied = fresh(held, PANEL)
    copied.inside.append(2)
    assert held.inside == [1]
    assert copy.copy(held).inside is held.inside


def test_a_market_made_from_the_one_given_is_allowed() -> None:
    def of_its_first_days(panel: MarketPanel) -> Holding:
        return Holding(panel.as_of(panel.first_day))

    assert fresh(of_its_first_days, PANEL).inside.day == PANEL.first_day
    assert fresh(Clairvoyant, PANEL).panel is PANEL
