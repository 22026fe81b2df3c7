"""``stableyield report``: render a run's report again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stableyield.cli.common import console


def report(
    directory: Annotated[Path, typer.Argument(help="What `backtest --out` wrote.")],
) -> None:
    """Render the report of a run again from its tables."""
    from stableyield.report import read_run, write_run

    page = write_run(read_run(directory), directory)
    console().print(f"report: {page}", soft_wrap=True)
