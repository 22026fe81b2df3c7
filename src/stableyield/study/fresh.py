"""A new policy or forecaster for each run, from an object, a class or a function."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import TypeVar, cast

from stableyield.errors import ParameterError
from stableyield.market.panel import MarketPanel

Made = TypeVar("Made")


def fresh(maker: Made | Callable[..., Made], panel: MarketPanel) -> Made:
    """A new policy or forecaster, that remembers nothing of another run.

    Raises
    ------
    ParameterError
        When a class or a function needs anything but a market, or an object cannot be copied.
    """
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
    return maker(panel) if wants_market else maker()


def _copied(made: Made) -> Made:
    try:
        return copy.deepcopy(made)
    except TypeError as error:
        raise ParameterError(
            f"{type(made).__name__} cannot be copied: {error}",
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
