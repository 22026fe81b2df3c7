"""``stableyield runs``, ``replay``, ``quality``, ``doctor``: looking at what was done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stableyield.cli.common import JsonOption, day_of
from stableyield.cli.terminal import (
    Column,
    console,
    number,
    print_json,
    print_notes,
    print_table,
    working,
)
from stableyield.cli.treasury import DatabaseOption, engine_of, migrated, settings_of
from stableyield.errors import InputError, IntegrityError, SourceError

if TYPE_CHECKING:
    from stableyield.store import Run

_MOST_RUNS = 1000


def runs(
    run_id: Annotated[
        str | None, typer.Argument(metavar="[RUN_ID]", help="Show this run; else list them.")
    ] = None,
    day: Annotated[str | None, typer.Option(metavar="DAY", help="Only of this day.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=_MOST_RUNS, help="The latest so many.")] = 20,
    database: DatabaseOption = None,
    json_: JsonOption = False,
) -> None:
    """List the runs, or show one with its stages."""
    chosen = None if day is None else day_of(day, "--day")
    from stableyield.store import list_runs, read_run, read_stages

    engine = migrated(engine_of(database, settings_of()))
    if run_id is None:
        found = list_runs(engine, exec_date=chosen, limit=limit)
        if json_:
            print_json([_document(each) for each in found])
        else:
            _show_runs(found)
        return
    run, stages = read_run(engine, run_id), read_stages(engine, run_id)
    if json_:
        rows = [
            {
                "stage": each.stage,
                "attempt": each.attempt,
                "status": each.status,
                "seconds": each.seconds,
                "detail": dict(each.detail or {}),
            }
            for each in stages
        ]
        print_json({**_document(run), "versions": dict(run.versions), "stages": rows})
        return
    _show_runs([run])
    columns = [Column(name) for name in ("stage", "attempt", "status")]
    print_table(
        console(),
        "Stages",
        (*columns, Column("seconds", is_number=True)),
        ((each.stage, str(each.attempt), each.status, number(each.seconds)) for each in stages),
    )
    summary = run.summary or {}
    print_notes(console(), "decision", filter(None, [summary.get("decision")]))
    verdicts = [(each.detail or {}).get("verdict") for each in stages if each.stage == "forecast"]
    print_notes(console(), "forecast", filter(None, verdicts[-1:]))
    print_notes(console(), "warning", summary.get("warnings", ()), "yellow")
    print_notes(console(), "error", filter(None, [run.error]), "red")


def _show_runs(found: Any) -> None:
    if not found:
        console().print("no runs")
        return
    columns = [Column(name) for name in ("run", "day", "kind", "status", "began (UTC)")]
    numbers = [Column(name, is_number=True) for name in ("AUM USD", "steps")]
    rows = [
        (
            each.run_id,
            str(each.exec_date),
            each.kind,
            each.status,
            f"{each.started_at:%Y-%m-%d %H:%M}",
            number((each.summary or {}).get("aum_after_usd"), 0),
            str((each.summary or {}).get("n_steps", "-")),
        )
        for each in found
    ]
    print_table(console(), "Runs", (*columns, *numbers), rows)


def _document(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "day": str(run.exec_date),
        "kind": run.kind,
        "status": run.status,
        "started_at": run.started_at.isoformat(),
        "known_by": run.known_by.isoformat(),
        "finished_at": None if run.finished_at is None else run.finished_at.isoformat(),
        "inputs_sha256": run.inputs_sha256,
        "error": run.error,
        "summary": None if run.summary is None else dict(run.summary),
    }


def replay(
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="See stableyield runs.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write both plan files here.")
    ] = None,
    database: DatabaseOption = None,
    json_: JsonOption = False,
) -> None:
    """Decide a run's day once more on what it knew, and compare; nothing is written.

    Exits with 1 when the plan is another one.
    """
    from stableyield.pipeline.replay import replay_run, write_both

    engine = migrated(engine_of(database, settings_of()))
    with working("replaying"):
        found = replay_run(engine, run_id)
    if out is not None:
        write_both(found, out)
    if json_:
        print_json(found.to_dict())
    else:
        same = "the same plan" if found.is_identical else "ANOTHER plan"
        steps = len(found.recorded["transactions"])
        console().print(f"{run_id} replayed: {same}, {steps} transactions", soft_wrap=True)
        console().print(f"inputs {found.recorded['inputs_sha256']}", soft_wrap=True)
        if found.is_identical and found.differences:
            print_notes(console(), "told otherwise", [", ".join(found.differences)])
    notes = [f"{name} was {then}, is {now}" for name, (then, now) in found.other_versions.items()]
    if not json_:
        print_notes(console(), "other version", notes)
    if not found.is_identical:
        raise IntegrityError(
            f"the replay of {run_id} differs in {', '.join(found.differences)}",
            remedy="compare the plan files (--out DIR), and the versions",
            details=tuple(notes),
        )


def quality(
    day: Annotated[
        str | None, typer.Option(metavar="DAY", help="UTC day; else the newest one stored.")
    ] = None,
    database: DatabaseOption = None,
    json_: JsonOption = False,
) -> None:
    """Report on the data that is stored for a day. Exits with 5 when it must not be traded on.

    How the forecaster of its run did lately is shown too, where a run has judged it.
    """
    chosen = None if day is None else day_of(day, "--day")
    from stableyield.pipeline.forecasting import document_of, verdicts_on
    from stableyield.pipeline.looking import quality_of

    engine = migrated(engine_of(database, settings_of()))
    report = quality_of(engine, chosen)
    verdicts = verdicts_on(engine, report.day)
    findings = [
        {"check": each.check, "severity": str(each.severity), "what": str(each)}
        for each in report.findings
    ]
    if json_:
        ages = dict(report.age_days)
        print_json(
            {
                "day": str(report.day),
                "score": report.score,
                "age_days": ages,
                "findings": findings,
                "forecasts": [document_of(each) for each in verdicts],
            }
        )
    else:
        console().print(f"{report.day}: data quality {number(report.score, 0)} of 100")
        for each in findings:
            print_notes(console(), "-", [each["what"]])
        print_notes(console(), "forecast", [each.account for each in verdicts])
    report.raise_if_critical()


def doctor(
    source_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Ask the providers under this address (a fake one)."),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no provider.")] = False,
    database: DatabaseOption = None,
    json_: JsonOption = False,
) -> None:
    """Look at configuration, database, sources, clock and disk; no secret is printed.

    Exits with 4 when something that a run needs does not work.
    """
    if offline and source_url is not None:
        raise InputError("--offline and --source-url exclude each other", remedy="give one")
    from stableyield.pipeline.doctor import examine
    from stableyield.pipeline.looking import probes_of
    from stableyield.sources import (
        HttpClient,
        HttpSettings,
        ProviderUrls,
        RetryPolicy,
        system_clock,
    )

    settings = settings_of()
    urls = ProviderUrls() if source_url is None else ProviderUrls.under(source_url)
    impatient = HttpSettings(retry=RetryPolicy(attempts=1), total_seconds=30.0)
    with HttpClient(impatient) as client:
        probes = {} if offline else probes_of(client, urls, settings)
        checks = examine(engine_of(database, settings), settings, system_clock(), probes)
    if json_:
        print_json([each.__dict__ for each in checks])
    else:
        columns = (Column("what"), Column("verdict"), Column("detail", may_fold=True))
        rows = [(each.what, each.verdict, each.detail) for each in checks]
        print_table(console(), "Doctor", columns, rows)
    if failed := [each for each in checks if each.verdict == "failed"]:
        raise SourceError(
            f"{failed[0].what}: {failed[0].detail}",
            remedy="see docs/operations.md",
            details=tuple(f"{each.what}: {each.detail}" for each in failed[1:]),
        )
