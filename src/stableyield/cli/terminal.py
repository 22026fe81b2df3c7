"""What people and programs see: tables, notes and progress for the one, JSON for the other."""

from __future__ import annotations

import json
import math
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from stableyield.errors import IntegrityError

if TYPE_CHECKING:
    from rich.console import Console

PIPE_COLUMNS = 100  # where the output is no terminal and COLUMNS is not set


def console(*, stderr: bool = False) -> Console:
    """Where people read: as wide as the terminal, or 100 columns; names are never markup."""
    from stableyield.cli.screen import Screen

    plain: dict[str, Any] = {"stderr": stderr, "markup": False, "emoji": False, "highlight": False}
    probe = Screen(**plain)
    if probe.is_terminal:
        return probe
    return Screen(**plain, width=shutil.get_terminal_size((PIPE_COLUMNS, 24)).columns)


@dataclass(frozen=True)
class Column:
    """A column of a printed table.

    Parameters
    ----------
    heading : str
    is_number : bool
        Numbers stand on the right.
    may_fold : bool
        Whether cells may be broken over lines where the terminal is narrow; others are not.
    """

    heading: str
    is_number: bool = False
    may_fold: bool = False


def print_table(
    screen: Console, title: str, columns: Sequence[Column], rows: Iterable[Sequence[str]]
) -> None:
    """A table without side borders: 80 columns are enough for it, and its lines can be copied."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        header_style="bold",
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
    )
    for column in columns:
        table.add_column(
            column.heading,
            justify="right" if column.is_number else "left",
            no_wrap=not column.may_fold,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*row)
    screen.print(title, style="bold", soft_wrap=True)
    screen.print(table)
    screen.print()


def print_notes(screen: Console, label: str, sentences: Iterable[str], style: str = "") -> None:
    """Sentences under one another behind their label, the lines of each indented together."""
    for sentence in sentences:
        lines = textwrap.wrap(
            f"{label}: {sentence}",
            screen.width,
            subsequent_indent=" " * (len(label) + 2),
            break_long_words=False,
            break_on_hyphens=False,
        )
        screen.print("\n".join(lines), style=style, soft_wrap=True)


def print_path(screen: Console, label: str, path: object) -> None:
    """A label and a path on one line, whatever the width, so that it can be clicked and copied."""
    screen.print(f"{label}{path}", soft_wrap=True)


def number(value: float | None, digits: int = 2, *, sign: bool = False) -> str:
    """A number with thousands separators, or a dash where there is none; never ``-0.00``."""
    if value is None or not math.isfinite(value):
        return "-"
    rounded = round(value, digits) + 0.0  # turns -0.0 into 0.0
    return f"{rounded:+,.{digits}f}" if sign else f"{rounded:,.{digits}f}"


def print_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """One JSON document on standard output.

    Raises
    ------
    IntegrityError
        When the value holds NaN or infinity, which JSON does not know; nothing is printed then.
    """
    try:
        text = json.dumps(value, indent=1, allow_nan=False)
    except ValueError as error:
        raise IntegrityError(
            f"the result cannot be written as JSON: {error}", remedy="report this as a bug"
        ) from error
    typer.echo(text)


@contextmanager
def working(text: str) -> Iterator[None]:
    """A spinner on standard error for what has no steps; nothing where that is no terminal."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield
        return
    with screen.status(text):
        yield


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, gone when done; nothing where that is no terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    screen = console(stderr=True)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    ) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
