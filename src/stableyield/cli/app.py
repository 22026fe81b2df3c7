"""The command line: commands are thin, errors are one line with a remedy, exit codes are fixed.

Exit codes: 0 done, 2 bad usage or bad input, 3 infeasible, 4 a source failed, 5 a data-quality
stop, 1 a bug. Heavy imports stay inside the commands: ``stableyield --help`` must be instant.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from stableyield._version import __version__
from stableyield.cli import allocate, backtest, demo, market, report, screening
from stableyield.errors import StableyieldError

app = typer.Typer(
    name="stableyield",
    help="Put a stablecoin treasury to work in DeFi and prove what it did.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("allocate")(allocate.allocate)
app.command("backtest")(backtest.backtest)
app.command("report")(report.report)
app.command("screen")(screening.screen)
app.command("icebox")(screening.icebox)
app.add_typer(market.app, name="market")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; errors of this package become one line and an exit code."""
    try:
        app()
    except StableyieldError as error:
        _complain(error.one_line, error.details)
        sys.exit(error.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error} (check the path and its permissions)")
        sys.exit(2)


def _complain(message: str, details: tuple[str, ...] = ()) -> None:
    typer.echo(f"error: {message}", err=True)
    for line in details:
        typer.echo(f"  {line}", err=True)
