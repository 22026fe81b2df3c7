"""``stableyield report``: render a run's report again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stableyield.cli.common import JsonOption
from stableyield.cli.terminal import console, print_json, print_path, working


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="What `backtest --out` wrote.")],
    json_: JsonOption = False,
) -> None:
    """Render the report of a run again from its tables."""
    from stableyield.report import read_run, write_run

    with working("writing the report"):
        page = write_run(read_run(directory), directory)
    if json_:
        print_json({"report": str(page)})
    else:
        print_path(console(), "report: ", page)
