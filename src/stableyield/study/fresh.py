"""A new policy or forecaster for each run, from an object, a class or a function."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import TypeVar, cast

from stableyield.errors import ParameterError
from stableyield.market.panel import MarketPanel
from stableyield.study.own_market import refuse_own_market

Made = TypeVar("Made")


class CopyError(ParameterError):
    """An object cannot be copied: that says nothing of what it sees."""


def fresh(maker: Made | Callable[..., Made], panel: MarketPanel) -> Made:
    """A new policy or forecaster, that remembers nothing of another run.

    Raises
    ------
    ParameterError
        When a class or a function needs anything but a market, or anything holds a market that
        it was not given here: that market would be the same in every run.
    CopyError
        When an object cannot be copied.
    """
    refuse_own_market(maker)
    is_made = not inspect.isclass(maker) and any(
        hasattr(maker, verb) for verb in ("decide", "forecast")
    )
    if is_made or not callable(maker):
        return _copied(cast("Made", maker))
    name = getattr(maker, "__name__", type(maker).__name__)
    needed = [each for each in inspect.signature(maker).parameters.values() if _is_needed(each)]
    wants_market = len(needed) == 1 and _is_market(needed[0])
    if needed and not wants_market:
        raise ParameterError(
            f"{name} needs {', '.join(each.name for each in needed)}",
            remedy="give an object, or a function of no argument, or of the panel, that makes one",
        )
    if wants_market:
        return maker(panel)
    made = maker()
    refuse_own_market(made)
    return made


def _copied(made: Made) -> Made:
    try:
        return copy.deepcopy(made)
    except Exception as error:
        raise CopyError(
            f"{type(made).__name__} cannot be copied: {type(error).__name__}: {error}",
            remedy="give its class, or a function that makes one",
        ) from error


def _is_needed(parameter: inspect.Parameter) -> bool:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and parameter.kind not in variadic


def _is_market(parameter: inspect.Parameter) -> bool:
    named = parameter.name in ("panel", "market")
    return parameter.kind is not inspect.Parameter.KEYWORD_ONLY and (
        named or "MarketPanel" in str(parameter.annotation)
    )
