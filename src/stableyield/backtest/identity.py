"""What a run is made of: parameters, data, code, and the settings of policies and forecasters."""

from __future__ import annotations

import inspect
import platform
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np

from stableyield._version import __version__
from stableyield.backtest.modes import attributes_of
from stableyield.backtest.policy import Policy
from stableyield.backtest.settings import BacktestSettings
from stableyield.config import canonical_json, sha256_of
from stableyield.market.panel import MarketPanel


def key_of(
    panel: MarketPanel, settings: BacktestSettings, policies: Sequence[Policy]
) -> dict[str, Any]:
    """What a run is made of: equal keys, equal runs to the last bit."""
    from stableyield.backtest.tables import code_sha256, library_versions  # noqa: PLC0415 - pandas

    start, end = settings.span(panel)
    return {
        "parameters": settings.parameters.model_dump(mode="json"),
        "data_sha256": panel.sha256,
        "start": start.isoformat(),
        "end": end.isoformat(),
        "aum_usd": settings.aum_usd,
        "token": settings.token,
        "mode": settings.mode.value,
        "cash_flows": [[f.day.isoformat(), f.token, f.amount] for f in sorted(settings.cash_flows)],
        "forecaster": _described(settings.forecaster),
        "gas": {"assumption": settings.gas.assumption, "sha256": sha256_of(repr(settings.gas))},
        "policies": {policy.name: _described(policy) for policy in policies},
        "code_version": __version__,
        "code_sha256": code_sha256(),
        "python": platform.python_version(),
        "libraries": dict(library_versions()),
    }


def _described(thing: Any) -> dict[str, Any]:
    """Class, version, settings and source of a policy or a forecaster."""
    kind = type(thing)
    settings = attributes_of(thing)
    if is_dataclass(thing):  # what it remembers is no setting
        settings = {f.name: getattr(thing, f.name) for f in fields(thing) if f.init}
    return {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "version": str(getattr(thing, "model_version", "")),
        "settings": {name: _plain(value) for name, value in settings.items()},
        "source_sha256": _source_sha256(kind),
    }


def _source_sha256(kind: type) -> str:
    """Of the file of a class that is not of this package, whose files `code_sha256` covers."""
    if kind.__module__.partition(".")[0] == __name__.partition(".")[0]:
        return ""
    try:
        return sha256_of(Path(inspect.getfile(kind)).read_text(encoding="utf-8"))
    except (TypeError, OSError, ValueError):  # typed in a shell: there is no file to compare
        return ""


@singledispatch
def _plain(value: Any) -> Any:
    """A setting in plain values that tell it from another one, as far as it can be told."""
    if hasattr(value, "name"):  # a policy or a forecaster within
        return _described(value)
    return getattr(value, "__qualname__", type(value).__qualname__)


@_plain.register(type(None))
@_plain.register(bool)
@_plain.register(int)
@_plain.register(float)
@_plain.register(str)
def _(value: Any) -> Any:
    return value


@_plain.register(list)
@_plain.register(tuple)
def _(value: Sequence[Any]) -> Any:
    return [_plain(each) for each in value]


@_plain.register(set)
@_plain.register(frozenset)
def _(value: frozenset[Any]) -> Any:
    return sorted((_plain(each) for each in value), key=canonical_json)


@_plain.register(Mapping)
def _(value: Mapping[Any, Any]) -> Any:
    return [[_plain(key), _plain(each)] for key, each in value.items()]


@_plain.register
def _(value: np.ndarray) -> Any:
    return [str(value.dtype), list(value.shape), sha256_of(value.tobytes().hex())]


@_plain.register
def _(value: MarketPanel) -> Any:
    return value.sha256


@_plain.register
def _(value: date) -> Any:
    return value.isoformat()
