"""The daily job: ingest, screen, forecast, allocate, record, report, tell.

A run begins when its inputs are known: migration and ingest come before it, each whole or not at
all, and are noted with it. From then on everything is a function of what was known at that moment,
so a run that dies is taken up again where it stopped and decides the same. A day is decided once;
one run at a time; the plan, its bookings and the mark that they are there are one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stableyield.config import sha256_of
from stableyield.errors import InputError
from stableyield.pipeline.ingest import newest_pool_rows, write_fetched
from stableyield.pipeline.moments import Moments, check_day, check_fresh, check_not_behind
from stableyield.pipeline.notify import tell
from stableyield.pipeline.options import RunRequest, from_kept, kept_values, parameters_of_day
from stableyield.pipeline.page import directory_of, write_files
from stableyield.pipeline.record import undo_run
from stableyield.pipeline.runner import Job, StageRunner, one_line
from stableyield.pipeline.stages import DECISION, RECORD, Going
from stableyield.pipeline.summary import failure_message, message_of, steps_of
from stableyield.pipeline.unfinished import close_unfinished, finish_done
from stableyield.pipeline.work import DayWork
from stableyield.sources import Span
from stableyield.sources.skew import ClockSkewError
from stableyield.store import (
    LISTS,
    BusyError,
    Run,
    RunLock,
    StoreError,
    finish_run,
    finish_stage,
    live_run_of,
    migrate,
    read_frame,
    read_parameters,
    read_plan,
    read_run,
    read_stages,
    run_lock,
    start_run,
    start_stage,
    write_parameters,
    writing,
)
from stableyield.store.runs import RunKind

LOCK = "daily"
_PACKAGES = ("numpy", "pandas", "highspy", "lightgbm", "sqlalchemy")


@dataclass(frozen=True)
class Outcome:
    """What became of a request.

    Parameters
    ----------
    run : Run
    plan : dict
        The plan file's content.
    directory : Path
        Where the files of the run are.
    was_done : bool
        The day had been decided before, and nothing was changed.
    was_resumed : bool
        An earlier process had begun the run.
    warnings : tuple of str
    """

    run: Run
    plan: Mapping[str, Any]
    directory: Path
    was_done: bool = False
    was_resumed: bool = False
    warnings: tuple[str, ...] = ()


def run_day(job: Job, request: RunRequest) -> Outcome:
    """Decide a day, or say that it has been decided.

    Parameters
    ----------
    job : Job
    request : RunRequest

    Raises
    ------
    InputError
        For a day to come or one before the last that was booked, wrong parameters, or data that
        break a contract.
    ClockSkewError
        When the clock of this machine is behind the store, or so far ahead of the data that it may
        be wrong; nothing is written then.
    BusyError
        When another run is under way.
    SourceError, StoreError
        When a provider or the database fails; after a failure of the database the run is taken up
        again by the next call.
    DataQualityError
        When the data must not be traded on.
    InfeasibleError, SolverError
        When there is no plan and ``on_failure`` is ``raise``.
    """
    moments = Moments(job.clock)
    check_day(request.day, moments.now())
    journey = _Journey(job, request, moments)
    try:
        journey.note("migrate", lambda: {"ran": list(migrate(job.engine, at=moments.now()))})
        with run_lock(job.engine, LOCK, job.actor, at=moments.now()) as lock:
            check_not_behind(job.engine, moments.now())
            return journey.under(lock)
    except BusyError:
        raise  # the run that is under way will tell
    except Exception as error:
        journey.tell_failure(error)
        raise


@dataclass
class _Journey:
    """One call of `run_day`: where it is, for the message that it failed."""

    job: Job
    request: RunRequest
    moments: Moments
    stage: str = "start"
    run_id: str | None = None
    noted: list[tuple[str, float, Mapping[str, Any]]] = field(default_factory=list)

    def note(self, name: str, work: Any) -> None:
        """Do what comes before the run, and remember how long it took."""
        self.stage = name
        started = self.moments.seconds()
        detail = work()
        self.noted.append((name, self.moments.seconds() - started, detail))
        if self.job.on_stage is not None:
            self.job.on_stage(*self.noted[-1][:2])

    def under(self, lock: RunLock) -> Outcome:
        """What is done while the lock is held."""
        engine, day, is_dry = self.job.engine, self.request.day, self.request.is_dry
        live = None if is_dry else live_run_of(engine, day)
        if live is not None and live.status == "done" and not self.request.again:
            return self._outcome(live.run_id, was_done=True)
        close_unfinished(self.job, self.moments, except_day=None if is_dry else day)
        resumed = live is not None and live.status == "running"
        run = live if resumed and live is not None else self._begin(live)
        self.run_id = run.run_id
        self._decide(StageRunner(self.job, self.moments, lock, run.run_id), run)
        return self._outcome(run.run_id, was_resumed=resumed)

    # --- before the run -------------------------------------------------------------------------

    def _begin(self, done: Run | None) -> Run:
        """Fetch what the day needs, and begin the run with it."""
        job, request = self.job, self.request
        self.stage = "start"
        self._check_order(done)
        try:
            self.note("ingest", self._ingest)
            self.stage = "start"
            parameters = parameters_of_day(job.engine, request.overrides)
        except (StoreError, ClockSkewError):
            raise  # of a clock that is wrong nothing may get into the store, not even a failure
        except Exception as error:
            self._keep_failure(error, done)
            raise
        moment = self.moments.now()
        values = kept_values(parameters, request.options)
        lists = {name: getattr(parameters, name) for name in LISTS}
        run = self._new_run()
        with writing(job.engine, job.actor, at=moment, run_id=run.run_id) as batch:
            if done is not None:
                undo_run(batch, job.engine, done.run_id, request.day)
            start_run(batch, run)
            write_parameters(batch, run.run_id, values, lists)
            for name, seconds, detail in self.noted:
                start_stage(batch, run.run_id, name)
                finish_stage(batch, run.run_id, name, "done", seconds=seconds, detail=detail)
        return run

    def _new_run(self) -> Run:
        moment = self.moments.now()
        kind: RunKind = "dry" if self.request.is_dry else "live"
        day = self.request.day
        identity = sha256_of([str(day), kind, moment.isoformat()])
        return Run(f"{day:%Y%m%d}-{identity[:10]}", day, kind, moment, moment, versions())

    def _check_order(self, done: Run | None) -> None:
        """Refuse a day before one that is booked already.

        Raises
        ------
        InputError
            When a later day has been decided.
        """
        if self.request.is_dry:
            return
        day = self.request.day
        rows = read_frame(self.job.engine, "daily_balances", first=day + timedelta(days=1))
        rows = rows[(rows["basis"] == "booked") & (rows["amount"] > 0.0)]
        if len(rows):
            again = "again " if done is not None else ""
            raise InputError(
                f"{day} cannot be decided {again}any more: the books are at "
                f"{rows['date'].max():%Y-%m-%d}",
                where=f"day {day}",
                remedy="decide a later day, or look at this one with --dry-run",
            )

    def _ingest(self) -> Mapping[str, Any]:
        """Fetch from every source, then write everything in one transaction."""
        day = self.request.day
        fetched = [(source.name, source.fetch(Span.of(day))) for source in self.job.sources]
        newest = newest_pool_rows(self.job.engine, [tables for _, tables in fetched])
        if newest is not None:
            check_fresh(newest, day, self.moments.now())
        found: dict[str, Any] = {}
        with writing(self.job.engine, self.job.actor, at=self.moments.now()) as batch:
            for name, tables in fetched:
                found[name] = write_fetched(batch, tables, day).to_dict()
        return {"sources": found}

    def _keep_failure(self, error: Exception, done: Run | None) -> None:
        """Keep a run that failed before it began, so that the list of runs shows it."""
        run = self._new_run()
        if done is not None:  # the day keeps the run that it has
            run = replace(run, kind="dry")
        self.run_id = run.run_id
        at = self.moments.now()
        with writing(self.job.engine, self.job.actor, at=at, run_id=run.run_id) as batch:
            start_run(batch, run)
            start_stage(batch, run.run_id, self.stage)
            detail = {"error": one_line(error)}
            finish_stage(batch, run.run_id, self.stage, "failed", seconds=0.0, detail=detail)
            finish_run(batch, run.run_id, "failed", error=one_line(error))

    # --- the run ----------------------------------------------------------------------------------

    def _decide(self, runner: StageRunner, run: Run) -> None:
        going = _going(self.job, run)
        done = runner.done
        for stage in DECISION:
            if stage.name in done:
                continue
            self.stage = stage.name
            try:
                runner.carry_out(stage.name, partial(stage.look, going), stage.writer(going))
            except StoreError:
                raise  # the run stays as it is, and is taken up again
            except Exception as error:
                self._fail(run, error)
                raise
        self._after(runner, run)

    def _fail(self, run: Run, error: Exception) -> None:
        at = self.moments.now()
        with writing(self.job.engine, self.job.actor, at=at, run_id=run.run_id) as batch:
            finish_run(batch, run.run_id, "failed", error=one_line(error))

    def _after(self, runner: StageRunner, run: Run) -> None:
        """Report and tell; what fails here does not undo a decision, it is a warning."""
        done = runner.done
        summary = dict(done[RECORD]["summary"])
        warnings = list(summary["warnings"])
        told = {**summary, "warnings": warnings}  # grows with them
        stored = read_plan(self.job.engine, run.run_id)
        for name, work in (
            ("report", lambda: self._report(run, summary)),
            ("notify", lambda: self._tell(run, told, stored)),
        ):
            if name in done or (name == "notify" and run.kind == "dry"):
                continue
            self.stage = name
            try:
                detail = runner.carry_out(name, work)
            except StoreError:
                raise  # the run is taken up again
            except Exception as error:  # noqa: BLE001 - kept as a warning of the run
                warnings.append(f"{name} failed: {one_line(error)}")
            else:
                warnings += list(detail.get("failed", ()))
        at = self.moments.now()
        with writing(self.job.engine, self.job.actor, at=at, run_id=run.run_id) as batch:
            finish_done(batch, run.run_id, told)

    def _report(self, run: Run, summary: Mapping[str, Any]) -> Mapping[str, Any]:
        stored, stages = (
            read_plan(self.job.engine, run.run_id),
            read_stages(self.job.engine, run.run_id),
        )
        page = write_files(directory_of(self.job.output_dir, run), run, summary, stored, stages)
        return {"page": str(page)}

    def _tell(self, run: Run, summary: Mapping[str, Any], stored: Any) -> Mapping[str, Any]:
        steps = steps_of(stored.document, stored.problem)
        text = message_of(run.run_id, run.exec_date, summary, steps)
        subject = f"stableyield {run.exec_date}: {summary['decision']}"
        failed = tell(self.job.notifiers, subject, text)
        return {"told": [each.name for each in self.job.notifiers], "failed": list(failed)}

    def tell_failure(self, error: Exception) -> None:
        """Tell that the run failed: by file always, and in every other way that is set up."""
        text = failure_message(self.request.day, self.run_id, self.stage, error)
        if not self.request.is_dry:
            tell(self.job.notifiers, f"stableyield {self.request.day}: FAILED", text)
        try:
            directory = self.job.output_dir / f"{self.request.day}"
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "failed.txt").write_text(text, encoding="utf-8")
        except OSError as problem:
            error.add_note(f"the message of the failure was not written: {problem}")

    def _outcome(
        self, run_id: str, *, was_done: bool = False, was_resumed: bool = False
    ) -> Outcome:
        run = read_run(self.job.engine, run_id)
        return Outcome(
            run,
            read_plan(self.job.engine, run_id).document,
            directory_of(self.job.output_dir, run),
            was_done=was_done,
            was_resumed=was_resumed,
            warnings=tuple((run.summary or {}).get("warnings", ())),
        )


def _going(job: Job, run: Run) -> Going:
    values, lists = read_parameters(job.engine, run.run_id)
    parameters, options = from_kept(values, lists)
    work = DayWork(job.engine, run.exec_date, run.known_by, parameters, options)
    ingest = next(
        (
            each.detail or {}
            for each in read_stages(job.engine, run.run_id)
            if each.stage == "ingest"
        ),
        {},
    )
    notes = tuple(
        note for source in ingest.get("sources", {}).values() for note in source["assumptions"]
    )
    return Going(run.run_id, run.kind == "dry", work, notes)


def versions() -> dict[str, str]:
    """Versions of what decides: this program and the packages that compute."""
    found = {}
    for name in ("stableyield", *_PACKAGES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
