"""The command line: commands are thin, errors are one line with a remedy, exit codes are fixed.

Exit codes: 0 done, 2 bad usage or bad input, 3 infeasible, 4 a source or the database failed,
5 a data-quality stop, 1 a bug, 130 interrupted. Heavy imports stay inside the commands:
``stableyield --help`` must be instant.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from stableyield._version import __version__
from stableyield.cli import (
    allocate,
    backtest,
    causality,
    daily,
    demo,
    forecast,
    ledger,
    loop,
    market,
    report,
    runs,
    scenarios,
    screening,
    study,
)
from stableyield.domain.text import printable
from stableyield.errors import StableyieldError

INTERRUPTED = 130  # 128 + SIGINT, as shells count
# the parser's class of usage errors, whichever package typer takes its parser from
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="stableyield",
    help="Put a stablecoin treasury to work in DeFi and prove what it did.",
    epilog="Exit codes: 0 done, 2 bad usage or input, 3 infeasible, 4 a source failed, "
    "5 a data-quality stop, 1 a bug.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("allocate")(allocate.allocate)
app.command("backtest")(backtest.backtest)
app.command("scenarios")(scenarios.scenarios)
app.command("study")(study.study)
app.command("check-causality")(causality.check_causality)
app.command("report")(report.report)
app.command("screen")(screening.screen)
app.command("icebox")(screening.icebox)
app.command("run")(daily.run)
app.command("runs")(runs.runs)
app.command("replay")(runs.replay)
app.command("quality")(runs.quality)
app.command("doctor")(runs.doctor)
app.add_typer(ledger.app, name="ledger")
app.add_typer(market.app, name="market")
app.add_typer(forecast.app, name="forecast")
app.add_typer(loop.app, name="loop")


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
    """Run the command line on the arguments of this process, and exit."""
    sys.exit(run())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; whatever goes wrong becomes one line on standard error, details after it.

    Parameters
    ----------
    arguments : sequence of str, optional
        Instead of those of this process.

    Returns
    -------
    int
        The exit code.
    """
    try:
        return int(app(arguments, prog_name="stableyield", standalone_mode=False) or 0)
    except StableyieldError as error:
        return _complain(error.one_line, error.details, error.exit_code)
    except _USAGE_ERROR as error:
        return _complain_about_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", (), INTERRUPTED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        what = f"{where}{error.strerror or error} (check the path, its permissions and the disk)"
        return _complain(what, (), 2)
    except Exception as error:  # noqa: BLE001 - the last door: a bug is reported, not hidden
        what = f"{type(error).__name__}: {error} (a bug: please report it with what follows)"
        return _complain(what, tuple(traceback.format_exc().splitlines()), 1)


def _complain_about_usage(error: Any) -> int:
    """The parser's message first, then how the command is used."""
    message = error.format_message()
    if not message:  # no arguments at all: the help has been printed
        return 2
    command = error.ctx.command_path if error.ctx is not None else "stableyield"
    return _complain(message, (f"see: {command} --help",), 2)


def _complain(message: str, details: Sequence[str], exit_code: int) -> int:
    typer.echo(f"error: {printable(' '.join(message.splitlines()))}", err=True)
    for line in details:
        typer.echo(f"  {printable(line)}", err=True)
    return exit_code
