"""``stableyield run``: decide a day, record it, tell people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stableyield.cli.common import (
    ForecastOption,
    JsonOption,
    PercentOption,
    SetOption,
    assignments,
    day_of,
    fixed_gas,
    parameters_of,
)
from stableyield.cli.terminal import console, number, print_json, print_notes, print_path
from stableyield.cli.treasury import DatabaseOption, engine_of, operator, settings_of
from stableyield.errors import InfeasibleError, InputError

if TYPE_CHECKING:
    from contextlib import ExitStack

    from sqlalchemy import Engine

    from stableyield.config import Settings
    from stableyield.pipeline import Outcome
    from stableyield.sources import Source


def run(
    day: Annotated[
        str | None,
        typer.Option(
            metavar="DAY", help="UTC day to decide on; else today, or yesterday until 01:00 UTC."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Decide, but move no book and tell nobody.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Decide a day anew; its bookings are reversed.")
    ] = False,
    market: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Take the data from a market directory, offline."),
    ] = None,
    source_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Ask all providers under this address (a fake one)."),
    ] = None,
    no_ingest: Annotated[
        bool, typer.Option("--no-ingest", help="Ask nobody: decide on what is stored.")
    ] = False,
    balances: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What is really owned, CSV or JSON; checked, then used."),
    ] = None,
    max_difference_pct: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Stop where owned and booked differ by more, share of AUM."
        ),
    ] = 0.01,
    forecast: ForecastOption = "ewma",
    set_: SetOption = None,
    gas_usd: Annotated[
        str | None,
        typer.Option(metavar="A,W,C", help="Fixed gas in USD, instead of the market's."),
    ] = None,
    database: DatabaseOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where each run leaves its files.")
    ] = None,
    confirm_percent: PercentOption = False,
    json_: JsonOption = False,
) -> None:
    """Decide one day: ingest, screen, forecast, allocate, record, report, tell.

    A day is decided once; a run that died is taken up again. Exits with 3 when no plan meets the
    limits, 4 when a provider or the database failed, 5 when the data must not be traded on.
    """
    if sum([market is not None, source_url is not None, no_ingest]) > 1:
        raise InputError(
            "--market, --source-url and --no-ingest exclude each other", remedy="give one of them"
        )
    parameters_of(set_)  # a misspelt name is refused before anything is asked or written
    changes, gas = assignments(set_), fixed_gas(gas_usd)
    chosen = None if day is None else day_of(day, "--day")
    from contextlib import ExitStack

    from stableyield.forecast import forecaster
    from stableyield.pipeline import (
        BalanceFile,
        DayOptions,
        Job,
        MarketDirectory,
        RunRequest,
        notifiers_of,
        run_day,
    )
    from stableyield.pipeline.moments import default_day
    from stableyield.sources import system_clock

    forecaster(forecast)  # as for the parameters
    settings, clock = settings_of(), system_clock()
    engine = engine_of(database, settings)
    with ExitStack() as stack:
        sources: list[Source] = []
        if market is not None:
            sources.append(MarketDirectory(market, confirm_percent))
        elif not no_ingest:
            sources.append(_live(stack, engine, settings, source_url, changes))
        if balances is not None:
            sources.append(BalanceFile(balances))
        job = Job(
            engine,
            out or settings.output_dir,
            tuple(sources),
            notifiers_of(settings),
            operator(),
            clock,
            None if json_ else _show_stage,
        )
        options = DayOptions(
            forecast,
            None if gas is None else (gas.allocation, gas.withdrawal, gas.conversion),
            data_include_us=_includes_us(engine) if no_ingest else market is None,
            max_difference_pct=max_difference_pct,
        )
        request = RunRequest(
            chosen or default_day(clock.utc_now()), dry_run, again, options, changes
        )
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


def _live(
    stack: ExitStack,
    engine: Engine,
    settings: Settings,
    url: str | None,
    changes: dict[str, str],
) -> Source:
    """The live providers, or those under one address."""
    from stableyield.cli.terminal import progress_bar
    from stableyield.pipeline.live import LiveMarket
    from stableyield.sources import HttpClient, HttpSettings, ProviderUrls, ReplyCache

    urls = ProviderUrls() if url is None else ProviderUrls.under(url)
    # a fake provider on this machine needs no manners
    http = HttpSettings() if url is None else HttpSettings(requests_per_second=200.0)
    client = stack.enter_context(HttpClient(http, cache=ReplyCache(settings.cache_dir)))
    progress = stack.enter_context(progress_bar("histories"))
    return LiveMarket(
        engine, client, settings, urls, changes, lambda done, total, _: progress(done, total)
    )


def _includes_us(engine: Engine) -> bool:
    """Whether the stored data contain our positions: as the last run had it."""
    from stableyield.cli.treasury import migrated
    from stableyield.pipeline.options import options_of_last_run

    last = options_of_last_run(migrated(engine))
    return last is None or last.data_include_us


def _show_stage(name: str, seconds: float) -> None:
    screen = console(stderr=True)
    if screen.is_terminal:  # elsewhere the first line on standard error is the error
        screen.print(f"{name:10} {seconds:6.2f} s", style="dim")


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
    print_path(screen, f"run {run_.run_id}: ", outcome.directory / "report.html")
