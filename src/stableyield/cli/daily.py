"""``stableyield run``: decide a day, record it, tell people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stableyield.cli.common import ForecastOption, JsonOption, PercentOption, SetOption
from stableyield.cli.daily_job import Feeds, Wish, job_of, read_changes, read_day, read_gas
from stableyield.cli.terminal import console, number, print_json, print_notes, print_path
from stableyield.cli.treasury import DatabaseOption
from stableyield.errors import InfeasibleError

if TYPE_CHECKING:
    from stableyield.pipeline import Outcome

DayOption = Annotated[
    str | None,
    typer.Option(
        metavar="DAY", help="UTC day to decide on; else today, or yesterday until 01:00 UTC."
    ),
]
DryOption = Annotated[
    bool, typer.Option("--dry-run", help="Decide, but move no book and tell nobody.")
]
AgainOption = Annotated[
    bool, typer.Option("--again", help="Decide a day anew; its bookings are reversed.")
]
DirectoryOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Take the data from a market directory, offline."),
]
UrlOption = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Ask all providers under this address (a fake one)."),
]
NoIngestOption = Annotated[
    bool, typer.Option("--no-ingest", help="Ask nobody: decide on what is stored.")
]
BalancesOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="What is really owned, CSV or JSON; checked, then used."),
]
DifferenceOption = Annotated[
    float,
    typer.Option(
        min=0.0, max=1.0, help="Stop where owned and booked differ by more, share of AUM."
    ),
]
GasOption = Annotated[
    str | None,
    typer.Option(metavar="A,W,C", help="Fixed gas in USD, instead of the market's."),
]
OutOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where each run leaves its files.")
]


def run(
    day: DayOption = None,
    dry_run: DryOption = False,
    again: AgainOption = False,
    market: DirectoryOption = None,
    source_url: UrlOption = None,
    no_ingest: NoIngestOption = False,
    balances: BalancesOption = None,
    max_difference_pct: DifferenceOption = 0.01,
    forecast: ForecastOption = "ewma",
    set_: SetOption = None,
    gas_usd: GasOption = None,
    database: DatabaseOption = None,
    out: OutOption = None,
    confirm_percent: PercentOption = False,
    json_: JsonOption = False,
) -> None:
    """Decide one day: ingest, screen, forecast, allocate, record, report, tell.

    A day is decided once; a run that died is taken up again. Exits with 3 when no plan meets the
    limits, 4 when a provider or the database failed, 5 when the data must not be traded on.
    """
    feeds = Feeds(market, source_url, no_ingest, balances, confirm_percent)
    changes, gas = read_changes(set_), read_gas(gas_usd)
    wish = Wish(read_day(day), dry_run, again, forecast, changes, gas, max_difference_pct)
    from stableyield.pipeline import run_day

    with job_of(wish, feeds, database, out, is_quiet=json_) as (job, request):
        outcome = run_day(job, request)
    if json_:
        print_json(_document(outcome))
    else:
        _show(outcome)
    if outcome.plan["status"] == "infeasible":
        raise InfeasibleError(
            f"no plan meets the limits on {outcome.run.exec_date}: the book is held",
            remedy=f"see {outcome.directory}, relax a limit with --set, or --set on_failure=relax",
            details=tuple(limit["detail"] for limit in outcome.plan["infeasible_because"]),
        )


def _document(outcome: Outcome) -> dict[str, object]:
    run_ = outcome.run
    return {
        "run_id": run_.run_id,
        "day": str(run_.exec_date),
        "kind": run_.kind,
        "status": run_.status,
        "was_done": outcome.was_done,
        "was_resumed": outcome.was_resumed,
        "files": str(outcome.directory),
        **dict(run_.summary or {}),
    }


def _show(outcome: Outcome) -> None:
    screen, run_ = console(), outcome.run
    summary = run_.summary or {}
    if outcome.was_done:
        done = f"{run_.exec_date} was decided before, by run {run_.run_id}; nothing was changed"
        screen.print(done, soft_wrap=True)
    elif outcome.was_resumed:
        screen.print(f"run {run_.run_id} was taken up where it had stopped", soft_wrap=True)
    screen.print(summary["decision"], style="bold", soft_wrap=True)
    screen.print(
        f"AUM {number(summary['aum_before_usd'])} -> {number(summary['aum_after_usd'])} USD, "
        f"costs {number(summary['costs_usd'])}, {summary['n_steps']} steps, expected "
        f"{number(summary['expected_yield_usd'])} USD in {summary['horizon_days']:g} days",
        soft_wrap=True,
    )
    said = [each.partition("assumed: ") for each in outcome.warnings]
    print_notes(screen, "warning", [before for before, _, _ in said if before], "yellow")
    print_notes(screen, "assumed", [after for before, _, after in said if not before], "dim")
    page = outcome.directory / "report.html"
    print_path(screen, f"run {run_.run_id}: ", page if page.is_file() else "no report was written")
