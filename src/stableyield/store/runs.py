"""Runs of the daily job: what was started, how far it came, and with which parameters.

A day has at most one live run that is running or done; the database itself refuses a second one.
A run that crashed stays ``running`` and is taken up again under its own id.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

from sqlalchemy import CursorResult, Engine, Row, Select, func, insert, select, update

from stableyield.config import canonical_json, sha256_of
from stableyield.errors import InputError, MissingDataError
from stableyield.store.failures import StoreError, shown
from stableyield.store.schema import ALLOCATION_PARAMETERS, RUN_STAGES, RUNS
from stableyield.store.session import Batch, Written, reading

RunKind = Literal["live", "dry"]
RunStatus = Literal["running", "done", "failed", "superseded"]


@dataclass(frozen=True)
class Run:
    """One run of the daily job.

    Parameters
    ----------
    run_id : str
    exec_date : date
        The day it decides on.
    kind : str
        ``live`` or ``dry``.
    started_at, known_by : datetime
        When it began; the moment whose knowledge its inputs are (see `stableyield.store.market`).
    versions : mapping
        Of this program, of its solver and of the data.
    status : str
        ``running``, ``done``, ``failed`` or ``superseded``.
    finished_at : datetime, optional
    inputs_sha256, parameters_sha256 : str, optional
    error : str, optional
    summary : mapping, optional
    """

    run_id: str
    exec_date: date
    kind: RunKind
    started_at: datetime
    known_by: datetime
    versions: Mapping[str, Any] = field(default_factory=dict)
    status: RunStatus = "running"
    finished_at: datetime | None = None
    inputs_sha256: str | None = None
    parameters_sha256: str | None = None
    error: str | None = None
    summary: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Stage:
    """One stage of a run; a resumed run has further attempts.

    Parameters
    ----------
    stage : str
    attempt : int
        From 1.
    status : str
        ``running``, ``done`` or ``failed``.
    started_at : datetime
    finished_at : datetime, optional
    seconds : float, optional
    detail : mapping, optional
    """

    stage: str
    attempt: int
    status: str
    started_at: datetime
    finished_at: datetime | None = None
    seconds: float | None = None
    detail: Mapping[str, Any] | None = None


def start_run(batch: Batch, run: Run) -> None:
    """Note that ``run`` has begun.

    Raises
    ------
    StoreError
        When the day has a live run already that is running or done.
    """
    batch.begin_table(RUNS.name)
    running = select(RUNS.c.run_id, RUNS.c.status).where(
        RUNS.c.exec_date == run.exec_date,
        RUNS.c.kind == "live",
        RUNS.c.status.in_(("running", "done")),
    )
    other = batch.connection.execute(running).first()
    if run.kind == "live" and other is not None:
        raise StoreError(
            f"{run.exec_date} has the run {other.run_id} already, which is {other.status}",
            where=shown(batch.connection.engine.url),
            remedy="resume it when it is running; supersede it to run the day again",
        )
    batch.connection.execute(insert(RUNS).values(**_values(run)))
    batch.audit(RUNS.name, Written(1, 1, 0, sha256_of(_values(run))), "start")


def finish_run(
    batch: Batch,
    run_id: str,
    status: RunStatus,
    *,
    error: str | None = None,
    summary: Mapping[str, Any] | None = None,
    inputs_sha256: str | None = None,
    parameters_sha256: str | None = None,
) -> None:
    """Note how a running run ended; it cannot end twice.

    Raises
    ------
    StoreError
        When the run is not running.
    """
    values = {
        "status": status,
        "finished_at": batch.at,
        "error": error,
        "summary": None if summary is None else dict(summary),
        "inputs_sha256": inputs_sha256,
        "parameters_sha256": parameters_sha256,
    }
    _change(batch, run_id, "running", values, "finish")


def supersede_run(batch: Batch, run_id: str) -> None:
    """Note that a finished live run no longer counts, so that its day can be run again.

    Raises
    ------
    StoreError
        When the run is not done.
    """
    _change(batch, run_id, "done", {"status": "superseded"}, "supersede")


def read_run(engine: Engine, run_id: str) -> Run:
    """The run with that id.

    Raises
    ------
    MissingDataError
        When there is none.
    """
    found = _runs(engine, select(RUNS).where(RUNS.c.run_id == run_id))
    if not found:
        raise MissingDataError(
            f"there is no run {run_id!r}", where=shown(engine.url), remedy="list the runs"
        )
    return found[0]


def list_runs(
    engine: Engine, *, exec_date: date | None = None, limit: int = 100
) -> tuple[Run, ...]:
    """Runs, the latest first; of one day, if given."""
    query = select(RUNS).order_by(RUNS.c.started_at.desc(), RUNS.c.run_id).limit(limit)
    return _runs(engine, query if exec_date is None else query.where(RUNS.c.exec_date == exec_date))


def live_run_of(engine: Engine, exec_date: date) -> Run | None:
    """The live run of a day that is running or done; None when the day has none."""
    found = list_runs(engine, exec_date=exec_date)
    counting = [run for run in found if run.kind == "live" and run.status in {"running", "done"}]
    return counting[0] if counting else None


def start_stage(batch: Batch, run_id: str, stage: str) -> int:
    """Note that a stage has begun; the number of this attempt, from 1."""
    batch.begin_table(RUN_STAGES.name)
    last = batch.connection.scalar(
        select(func.max(RUN_STAGES.c.attempt)).where(
            RUN_STAGES.c.run_id == run_id, RUN_STAGES.c.stage == stage
        )
    )
    attempt = (last or 0) + 1
    values = {"run_id": run_id, "stage": stage, "attempt": attempt, "status": "running"}
    batch.connection.execute(insert(RUN_STAGES).values(**values, started_at=batch.at))
    batch.audit(RUN_STAGES.name, Written(1, 1, 0, sha256_of(values)), "start")
    return attempt


def finish_stage(
    batch: Batch,
    run_id: str,
    stage: str,
    status: Literal["done", "failed"],
    *,
    seconds: float,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Note how the attempt that is running ended.

    Raises
    ------
    StoreError
        When no attempt is running.
    """
    batch.begin_table(RUN_STAGES.name)
    values = {"status": status, "seconds": seconds, "detail": dict(detail or {})}
    changed: CursorResult[Any] = batch.connection.execute(
        update(RUN_STAGES)
        .values(**values, finished_at=batch.at)
        .where(
            RUN_STAGES.c.run_id == run_id,
            RUN_STAGES.c.stage == stage,
            RUN_STAGES.c.status == "running",
            RUN_STAGES.c.attempt
            == select(func.max(RUN_STAGES.c.attempt))
            .where(RUN_STAGES.c.run_id == run_id, RUN_STAGES.c.stage == stage)
            .scalar_subquery(),
        )
    )
    if not changed.rowcount:
        raise StoreError(
            f"stage {stage!r} of run {run_id!r} is not running",
            where=shown(batch.connection.engine.url),
            remedy="start it first",
        )
    batch.audit(RUN_STAGES.name, Written(1, 0, 1, sha256_of(values)), "finish")


def read_stages(engine: Engine, run_id: str) -> tuple[Stage, ...]:
    """Every attempt at every stage of a run, in the order in which they began."""
    table = RUN_STAGES.c
    query = (
        select(RUN_STAGES)
        .where(table.run_id == run_id)
        .order_by(table.started_at, table.stage, table.attempt)
    )
    with reading(engine, "the stages of a run") as connection:
        rows = connection.execute(query).mappings().all()
    return tuple(
        Stage(**{name: value for name, value in row.items() if name != "run_id"}) for row in rows
    )


def write_parameters(
    batch: Batch,
    run_id: str,
    parameters: Mapping[str, Any],
    lists: Mapping[str, Sequence[str]],
) -> Written:
    """Keep every parameter of a run and a snapshot of every list; never changed afterwards.

    Raises
    ------
    InputError
        When the run has other parameters already.
    """
    batch.begin_table(ALLOCATION_PARAMETERS.name)
    rows = [
        {"run_id": run_id, "kind": kind, "name": name, "value": canonical_json(value)}
        for kind, values in (
            ("parameter", parameters),
            ("list", {name: list(members) for name, members in lists.items()}),
        )
        for name, value in sorted(values.items())
    ]
    sha256 = sha256_of([row["value"] for row in rows])
    known = _parameters(batch.connection.execute(_parameters_of(run_id)).all())
    if known is None:
        batch.connection.execute(insert(ALLOCATION_PARAMETERS), rows)
    elif canonical_json(known) != canonical_json((dict(parameters), dict(lists))):
        raise InputError(
            f"run {run_id!r} has other parameters already",
            remedy="resume it with those it began with, or run the day again",
        )
    written = Written(len(rows), 0 if known else len(rows), 0, sha256)
    batch.audit(ALLOCATION_PARAMETERS.name, written)
    return written


def read_parameters(
    engine: Engine, run_id: str
) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """Parameters and lists of a run.

    Raises
    ------
    MissingDataError
        When none were kept.
    """
    with reading(engine, "the parameters of a run") as connection:
        known = _parameters(connection.execute(_parameters_of(run_id)).all())
    if known is None:
        raise MissingDataError(
            f"run {run_id!r} has no parameters", where=shown(engine.url), remedy="list the runs"
        )
    return known


def _parameters_of(run_id: str) -> Select[Any]:
    table = ALLOCATION_PARAMETERS.c
    return select(table.kind, table.name, table.value).where(table.run_id == run_id)


def _parameters(
    rows: Sequence[Row[Any]],
) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]] | None:
    if not rows:
        return None
    ordered = sorted(rows, key=lambda row: (row.kind, row.name))
    return (
        {row.name: json.loads(row.value) for row in ordered if row.kind == "parameter"},
        {row.name: tuple(json.loads(row.value)) for row in ordered if row.kind == "list"},
    )


def _change(
    batch: Batch, run_id: str, was: RunStatus, values: Mapping[str, Any], action: str
) -> None:
    batch.begin_table(RUNS.name)
    changed: CursorResult[Any] = batch.connection.execute(
        update(RUNS).values(**values).where(RUNS.c.run_id == run_id, RUNS.c.status == was)
    )
    if not changed.rowcount:
        raise StoreError(
            f"there is no run {run_id!r} that is {was}",
            where=shown(batch.connection.engine.url),
            remedy="list the runs",
        )
    batch.audit(RUNS.name, Written(1, 0, 1, sha256_of(dict(values))), action)


def _runs(engine: Engine, query: Select[Any]) -> tuple[Run, ...]:
    with reading(engine, "the runs") as connection:
        return tuple(Run(**row) for row in connection.execute(query).mappings())


def _values(run: Run) -> dict[str, Any]:
    values = dict(run.__dict__)
    summary = run.summary
    values["versions"] = dict(run.versions)
    values["summary"] = None if summary is None else dict(summary)
    return values
