"""What commands share: option types, assignments, progress, printing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stableyield.errors import InputError, ParameterError

if TYPE_CHECKING:
    from rich.console import Console

    from stableyield.config import AllocationParameters
    from stableyield.domain.costs import GasCosts
    from stableyield.market.panel import MarketPanel

MarketOption = Annotated[
    Path, typer.Option("--market", help="Market directory (see docs/formats.md).")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A parameter; may be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
ParOption = Annotated[
    bool,
    typer.Option(
        "--assume-par", help="Take plain dollar coins without any price at 1 USD; reported."
    ),
]
PercentOption = Annotated[
    bool,
    typer.Option("--confirm-percent", help="APY columns with low values really are percent."),
]


def console(*, stderr: bool = False) -> Console:
    """Where people read: the width of the terminal, or 100 columns."""
    from rich.console import Console

    probe = Console(stderr=stderr)
    return probe if probe.is_terminal else Console(stderr=stderr, width=100)


def assignments(pairs: Sequence[str] | None) -> dict[str, str]:
    """``NAME=VALUE`` texts as a mapping.

    Raises
    ------
    ParameterError
        When a text has no ``=`` or a name occurs twice.
    """
    result: dict[str, str] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise ParameterError(f"--set {pair!r} has no '='", remedy="write --set name=value")
        if name in result:
            raise ParameterError(f"--set gives {name!r} twice", remedy="give it once")
        result[name.strip()] = value.strip()
    return result


def parameters_of(pairs: Sequence[str] | None) -> AllocationParameters:
    """The default parameters with assignments applied."""
    from stableyield.config import AllocationParameters

    return AllocationParameters().with_overrides(assignments(pairs))


def day_of(text: str | None, name: str) -> date | None:
    """A day as YYYY-MM-DD.

    Raises
    ------
    InputError
        When the text is no such day.
    """
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"{name} {text!r} is not a day", remedy="write it as YYYY-MM-DD"
        ) from error


def fixed_gas(text: str | None) -> GasCosts | None:
    """Gas in USD as ``ALLOCATION,WITHDRAWAL,CONVERSION``.

    Raises
    ------
    InputError
        When the text is not three numbers.
    """
    from stableyield.domain.costs import GasCosts

    if text is None:
        return None
    try:
        allocation, withdrawal, conversion = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"--gas-usd {text!r} is not three numbers",
            remedy="write allocation,withdrawal,conversion in USD, for example 5,5,8",
        ) from error
    return GasCosts(allocation, withdrawal, conversion)


def load_market(directory: Path, *, assume_par: bool, confirm_percent: bool) -> MarketPanel:
    """The market in a directory."""
    from stableyield.market.files import read_market

    return read_market(directory, assume_par=assume_par, confirm_percent=confirm_percent)


def print_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(value, indent=1, allow_nan=False))


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error; nothing where that is not a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("[progress.description]{task.description}", BarColumn())
    screen = console(stderr=True)
    with Progress(
        *columns,
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=screen,
        disable=not screen.is_terminal,
    ) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
