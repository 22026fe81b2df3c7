"""The scenario file: TOML, read strictly.

Unknown keys are errors: a misspelt override must not be a scenario that silently is the baseline.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stableyield.config import AllocationParameters
from stableyield.errors import ContractError, InputError, ParameterError
from stableyield.study.scenario import (
    Market,
    MarketDay,
    MockMarket,
    ProblemFile,
    Scenario,
    check_names,
)

_MARKETS = ("problem", "market", "mock")
_SHARED = ("parameters", *_MARKETS)


def read_scenarios(path: Path | str) -> tuple[Scenario, ...]:
    """The scenarios of a file, in its order.

    Parameters
    ----------
    path : Path or str
        TOML file, see docs/scenarios.md. Paths in it are relative to its directory.

    Raises
    ------
    InputError
        When the file cannot be read, is not TOML, holds an unknown key, a wrong value or a name
        twice; the message names file, scenario and key. Problem files and market directories are
        not opened here.
    """
    path = Path(path)
    document = _toml(path)
    _check_keys(document, ("defaults", "scenario"), str(path), "")
    defaults = _table(document.get("defaults", {}), str(path), "defaults")
    _check_keys(defaults, _SHARED, str(path), "defaults")
    rows = document.get("scenario", [])
    if not isinstance(rows, list) or not rows:
        raise ContractError(
            "there is no scenario", where=str(path), remedy="add a [[scenario]] with a name"
        )
    scenarios = tuple(
        _scenario(row, defaults, path, number) for number, row in enumerate(rows, start=1)
    )
    check_names(scenarios)
    return scenarios


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=str(path), remedy="check the path"
        ) from error
    except ValueError as error:  # TOMLDecodeError, or bytes that are not UTF-8
        raise InputError(f"is not TOML: {error}", where=str(path)) from error


def _scenario(row: Any, defaults: Mapping[str, Any], path: Path, number: int) -> Scenario:
    where = f"{path}: scenario {number}"
    row = _table(row, where, "scenario")
    name = row.get("name")
    if not isinstance(name, str) or not name:
        raise ContractError(f"name is {name!r}", where=where, remedy='write name = "..."')
    where = f"{path}: scenario {name!r}"
    _check_keys(row, ("name", *_SHARED), where, "")
    shared = _table(defaults.get("parameters", {}), str(path), "defaults.parameters")
    own = _table(row.get("parameters", {}), where, "parameters")
    _check_parameter_names(shared, f"{path}: defaults.parameters")
    _check_parameter_names(own, where)
    market = _market(row, defaults, path.parent, where)
    return Scenario(name, market, {**shared, **own}, origin=str(path))


def _market(
    row: Mapping[str, Any], defaults: Mapping[str, Any], directory: Path, where: str
) -> Market:
    """The scenario's market; what a table of the same kind has in the defaults is taken over."""
    given = row if any(key in row for key in _MARKETS) else defaults
    kinds = [key for key in _MARKETS if key in given]
    if len(kinds) != 1:
        raise ContractError(
            f"has {len(kinds)} markets" + (f" ({', '.join(kinds)})" if kinds else ""),
            where=where,
            remedy=f"give one of {', '.join(_MARKETS)}, here or in [defaults]",
        )
    kind = kinds[0]
    if kind == "problem":
        return ProblemFile(path=directory / _text(given["problem"], where, "problem"))
    values = {
        **_table(defaults.get(kind, {}), where, f"defaults.{kind}"),
        **_table(row.get(kind, {}), where, kind),
    }
    if kind == "market" and "directory" in values:
        values["directory"] = directory / _text(values["directory"], where, "market.directory")
    try:
        return (MockMarket if kind == "mock" else MarketDay).model_validate(values)
    except ValidationError as error:
        raise _market_error(error, kind, where) from error


def _market_error(error: ValidationError, kind: str, where: str) -> ContractError:
    lines = []
    for problem in error.errors():
        key = ".".join([kind, *(str(part) for part in problem["loc"])])
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown key {key!r}")
        elif problem["type"] == "missing":
            lines.append(f"key {key!r} is missing")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{key}: {message}, got {problem['input']!r}"[:300])
    return ContractError(
        lines[0], where=where, remedy="see docs/scenarios.md", details=tuple(lines[1:])
    )


def _check_parameter_names(values: Mapping[str, Any], where: str) -> None:
    """Refuse unknown names at once; values are checked with the problem's own parameters."""
    unknown = {k: v for k, v in values.items() if k not in AllocationParameters.model_fields}
    try:
        AllocationParameters.from_mapping(unknown)
    except ParameterError as error:
        raise ParameterError(
            error.what, where=where, remedy=error.remedy, details=error.details
        ) from error


def _check_keys(row: Mapping[str, Any], known: Iterable[str], where: str, table: str) -> None:
    for key in row:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            name = f"{table}.{key}" if table else key
            hint = f", did you mean {close[0]!r}?" if close else ""
            raise ContractError(
                f"unknown key {name!r}{hint}",
                where=where,
                remedy=f"known keys: {', '.join(known)}; parameters go into the parameters table",
            )


def _table(value: Any, where: str, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ContractError(
            f"{key} must be a table, is {value!r}"[:300],
            where=where,
            remedy="see docs/scenarios.md",
        )
    return value


def _text(value: Any, where: str, key: str) -> str:
    if not isinstance(value, str) or not value:
        raise ContractError(f"{key} must be a path, is {value!r}"[:300], where=where)
    return value
