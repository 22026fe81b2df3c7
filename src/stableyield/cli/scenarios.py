"""``stableyield scenarios``: a scenario file in, a comparison out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stableyield.cli.common import JsonOption, did_you_mean
from stableyield.cli.outputs import check_out_directory
from stableyield.cli.terminal import (
    Column,
    console,
    number,
    print_json,
    print_notes,
    print_path,
    print_table,
    progress_bar,
    working,
)
from stableyield.errors import ParameterError

if TYPE_CHECKING:
    from stableyield.study import ScenarioResults

# heading, column of the results table, digits
_COLUMNS = (
    ("AUM USD", "total_aum", 0),
    ("alloc %", "allocation_pct", 2),
    ("APY %", "weighted_apy", 2),
    ("cost USD", "total_cost", 2),
    ("pools", "num_pools", 0),
    ("moves", "num_transactions", 0),
    ("s", "solve_time", 3),
)


def scenarios(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Scenario file, TOML (see docs/scenarios.md).")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write tables and figures here.")
    ] = None,
    figure: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Draw this scenario's plan only; may be repeated."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Solve scenarios and compare them.

    A scenario without a plan is a row with its reason. Everything is read and checked before the
    first one is solved.
    """
    check_out_directory(out)
    from stableyield.study import read_scenarios, run_scenarios

    specs = read_scenarios(file)
    names = [spec.name for spec in specs]
    for name in figure or ():
        if name not in names:
            raise ParameterError(
                f"--figure {name!r} is no scenario{did_you_mean(name, names)}",
                remedy=f"{file} has {', '.join(names)}",
            )
    with progress_bar("scenarios") as progress:
        results = run_scenarios(specs, progress=progress)
    if out is not None:
        from stableyield.report.scenario_files import write_scenarios

        with working("drawing and writing"):
            write_scenarios(results, out, figure)
    if json_:
        print_json(_document(results, out))
    else:
        _show(results, out)


def _document(results: ScenarioResults, out: Path | None) -> dict[str, Any]:
    rows = results.table().to_dict("records")
    assumptions = {o.name: list(o.assumptions) for o in results.outcomes if o.assumptions}
    return {
        "scenarios": rows,
        "assumptions": assumptions,
        "out": None if out is None else str(out),
    }


def _show(results: ScenarioResults, out: Path | None) -> None:
    screen = console()
    columns = [
        Column("scenario", may_fold=True),
        *(Column(heading, is_number=True) for heading, _, _ in _COLUMNS),
        Column("status"),
    ]
    print_table(screen, f"{len(results.outcomes)} scenarios", columns, _rows(results))
    for outcome in results.outcomes:
        if outcome.reason:
            print_notes(screen, outcome.name, [outcome.reason], "yellow")
    for assumption in dict.fromkeys(a for o in results.outcomes for a in o.assumptions):
        print_notes(screen, "assumed", [assumption], "dim")
    if out is None:
        screen.print("nothing was written; give --out DIR for tables and figures")
    else:
        print_path(screen, "written to ", out)


def _rows(results: ScenarioResults) -> list[list[str]]:
    """Cells of the table; without a plan there is nothing to compare, and the csv has the book."""
    without_plan = {"total_aum", "solve_time"}
    return [
        [
            outcome.name,
            *(
                number(row[column] if outcome.has_plan or column in without_plan else None, digits)
                for _, column, digits in _COLUMNS
            ),
            row["status"],
        ]
        for row, outcome in zip(results.table().to_dict("records"), results.outcomes, strict=True)
    ]
