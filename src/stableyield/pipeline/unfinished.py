"""How runs end, and those that a process left behind when it died."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from stableyield.config import sha256_of
from stableyield.pipeline.moments import Moments
from stableyield.pipeline.runner import Job
from stableyield.pipeline.stages import RECORD
from stableyield.store import (
    Batch,
    finish_run,
    list_runs,
    read_parameters,
    read_stages,
    writing,
)


def finish_done(batch: Batch, run_id: str, summary: Mapping[str, Any]) -> None:
    """Note that a run is done, with its summary and the hashes of what it decided on."""
    values, lists = read_parameters(batch.connection.engine, run_id)
    finish_run(
        batch,
        run_id,
        "done",
        summary=summary,
        inputs_sha256=summary["inputs_sha256"],
        parameters_sha256=sha256_of([values, {name: list(each) for name, each in lists.items()}]),
    )


def close_unfinished(job: Job, moments: Moments, *, except_day: date | None) -> tuple[str, ...]:
    """Close runs that nobody will take up again; their ids.

    One whose plan is recorded is done, but for its report. One that had recorded nothing has done
    nothing, and is closed as failed. Call it while the lock is held: nothing is running then.

    Parameters
    ----------
    job : Job
    moments : Moments
    except_day : date, optional
        The live run of this day is about to be taken up.
    """
    left = [
        run
        for run in list_runs(job.engine)
        if run.status == "running" and (run.kind == "dry" or run.exec_date != except_day)
    ]
    for run in left:
        stages = read_stages(job.engine, run.run_id)
        recorded = [each for each in stages if each.stage == RECORD and each.status == "done"]
        with writing(job.engine, job.actor, at=moments.now(), run_id=run.run_id) as batch:
            if not recorded:
                error = "the process that ran it ended before anything was decided"
                finish_run(batch, run.run_id, "failed", error=error)
                continue
            summary = dict((recorded[-1].detail or {})["summary"])
            warnings = [*summary["warnings"], "its process ended before it reported"]
            finish_done(batch, run.run_id, {**summary, "warnings": warnings})
    return tuple(run.run_id for run in left)
