"""A market that something holds of its own: it is the same in every run, and so is its future."""

from __future__ import annotations

import dis
import functools
import inspect
import sys
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from stableyield.errors import ParameterError
from stableyield.market.frames import MarketFrames
from stableyield.market.panel import MarketPanel, MarketView

MOST_THINGS = 100_000
"""Looked through of one policy; the nearest come first."""

_MARKETS = (MarketPanel, MarketView, MarketFrames)
_PLAIN = (str, bytes, bytearray, int, float, complex, type(None), np.generic)
_WRAPPED = ("__func__", "fget", "fset", "func")
# code of these holds no market of a user's; what their objects hold is looked at all the same
_OTHERS_CODE = sys.stdlib_module_names | {"stableyield"}
_INSTALLED = {"site-packages", "dist-packages"}

Named = tuple[str, Any]


def refuse_own_market(thing: object, *, most: int = MOST_THINGS) -> None:
    """Refuse what holds a market, so that no other future can be put in its place.

    Looked through, the nearest first: attributes and slots, containers, arguments of partials,
    cells of closures, defaults, and the global variables that functions and methods read.

    Parameters
    ----------
    thing : object
        A policy, a forecaster, or what makes one.
    most : int
        How many things are looked through.

    Raises
    ------
    ParameterError
        With the way to the market.
    """
    own = _package(_maker_behind(thing))
    seen: dict[int, object] = {}  # kept, or another thing could get the identity of one of them
    waiting: deque[Named] = deque([(_name_of(thing), thing)])
    while waiting and len(seen) < most:
        name, value = waiting.popleft()
        if isinstance(value, _MARKETS):
            raise ParameterError(
                f"{_name_of(thing)} holds a market of its own, through which it could see the "
                "future",
                where=name,
                remedy="take the panel as an argument, so that other futures can be given: give "
                "a class or a function of the panel",
            )
        if id(value) in seen or isinstance(value, _PLAIN):
            continue
        seen[id(value)] = value
        waiting.extend((f"{name}{way}", held) for way, held in _held(value, own))


def _name_of(thing: object) -> str:
    if isinstance(thing, functools.partial):
        return f"partial({_name_of(thing.func)})"
    return str(getattr(thing, "__name__", type(thing).__name__))


def _held(value: Any, own: str) -> Iterator[Named]:
    """What a thing holds, with the way to it.

    Code of the package ``own`` is looked into, and code that is not installed.
    """
    if isinstance(value, (Mapping, list, tuple, set, frozenset, deque, np.ndarray)):
        yield from _items(value)
    elif isinstance(value, weakref.ref):
        yield "()", value()
    elif isinstance(value, (FunctionType, MethodType)):
        yield from _held_by_code(value, own)
    elif inspect.isclass(value):
        yield from _held_by_class(value, own)
    elif isinstance(value, (property, functools.cached_property, staticmethod, classmethod)):
        yield from ((f".{name}", getattr(value, name, None)) for name in _WRAPPED)
    elif not isinstance(value, (ModuleType, CodeType)):
        yield from _held_by_object(value)


def _items(value: Any) -> Iterator[Named]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield f"[{key!r:.40}]", each
            yield " (a key)", key
    elif not isinstance(value, np.ndarray):
        yield from ((f"[{n}]", each) for n, each in enumerate(value))
    elif value.dtype == object:
        yield from ((f"[{n}]", each) for n, each in enumerate(value.flat))


def _held_by_object(value: Any) -> Iterator[Named]:
    """Attributes, slots, arguments of a partial, what a cache wraps, and the class."""
    yield from _attributes(value)
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            yield f".{name}", getattr(value, name, None)
    if isinstance(value, functools.partial):
        yield from ((f".{name}", getattr(value, name)) for name in ("func", "args", "keywords"))
    yield "", type(value)


def _held_by_class(kind: type, own: str) -> Iterator[Named]:
    """Attributes and methods of a class and its parents, where somebody else wrote them."""
    for parent in kind.__mro__:
        if not _is_others(parent, own):
            yield from ((f".{name}", each) for name, each in vars(parent).items())


def _held_by_code(function: FunctionType | MethodType, own: str) -> Iterator[Named]:
    """The object of a method; cells, defaults and global variables of a function."""
    if isinstance(function, MethodType):
        yield ".__self__", function.__self__
        yield "", function.__func__
        return
    yield from _attributes(function)
    if _is_others(function, own):
        return
    names = function.__code__.co_freevars
    for name, cell in zip(names, function.__closure__ or (), strict=True):
        yield f", its variable {name}", _content(cell)
    yield ", a default", function.__defaults__
    yield ", a default", function.__kwdefaults__
    for name, value in _globals_read(function.__code__, function.__globals__, own):
        yield f", the global variable {name}", value


def _attributes(value: object) -> Iterator[Named]:
    # not `vars`: it would ask a `__getattr__` of the user's
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return
    yield from ((f".{name}", each) for name, each in attributes.items())


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _globals_read(code: CodeType, known: Mapping[str, Any], own: str) -> Iterator[Named]:
    """Global variables that a function reads, and what it reads of modules."""
    for step in dis.get_instructions(code):
        if step.opname not in {"LOAD_GLOBAL", "LOAD_NAME"}:
            continue
        value = known.get(step.argval)
        yield step.argval, value
        if isinstance(value, ModuleType) and not _is_others(value, own):
            inside = vars(value)
            yield from (
                (f"{step.argval}.{name}", inside[name]) for name in code.co_names if name in inside
            )
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _globals_read(inner, known, own)


def _is_others(code: Any, own: str) -> bool:
    """Whether a class, a function or a module is of Python, of this package or an installed one."""
    package = _package(code)
    if package == own and package != "stableyield":
        return False
    file = getattr(sys.modules.get(_module(code)), "__file__", None) or ""
    return package in _OTHERS_CODE or not _INSTALLED.isdisjoint(PurePath(file).parts)


def _maker_behind(thing: Any) -> Any:
    while isinstance(thing, functools.partial):
        thing = thing.func
    return thing if inspect.isclass(thing) or inspect.isroutine(thing) else type(thing)


def _package(code: Any) -> str:
    return _module(code).partition(".")[0]


def _module(code: Any) -> str:
    name = code.__name__ if isinstance(code, ModuleType) else getattr(code, "__module__", None)
    return str(name)
