"""The report of a run: one page, and the plan file beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from stableyield.domain.text import shortened
from stableyield.pipeline.summary import label_of, message_of, steps_of
from stableyield.store import Run, Stage, StoredPlan

PAGE, TEXT, PLAN, PROBLEM = "report.html", "summary.txt", "plan.json", "problem.json"


def directory_of(output_dir: Path, run: Run) -> Path:
    """Where a run leaves its files."""
    return output_dir / f"{run.exec_date}" / run.run_id


def write_files(
    directory: Path,
    run: Run,
    summary: Mapping[str, Any],
    stored: StoredPlan,
    stages: Sequence[Stage],
) -> Path:
    """Write plan, problem, text and page of a run; the page's path.

    Raises
    ------
    OSError
        When the files cannot be written.
    """
    from stableyield.report.export import json_bytes, write_atomic  # noqa: PLC0415 - it draws

    directory.mkdir(parents=True, exist_ok=True)
    steps = steps_of(stored.document, stored.problem)
    text = message_of(run.run_id, run.exec_date, summary, steps, n_steps=len(steps))
    write_atomic(directory / PLAN, json_bytes(stored.document))
    write_atomic(directory / PROBLEM, json_bytes(stored.problem))
    write_atomic(directory / TEXT, text.encode())
    page = render(run, summary, stored, stages, steps)
    write_atomic(directory / PAGE, page.encode())
    return directory / PAGE


def render(
    run: Run,
    summary: Mapping[str, Any],
    stored: StoredPlan,
    stages: Sequence[Stage],
    steps: Sequence[str],
) -> str:
    """The page as HTML; everything that comes from data is escaped."""
    template = jinja2.Environment(
        loader=jinja2.PackageLoader("stableyield.pipeline", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("run.html.j2")
    plan, problem = stored.document, stored.problem
    book = [
        (
            label_of(row["pool_id"], problem),
            shortened(row["token"]),
            row["amount"],
            row["amount_usd"],
        )
        for row in plan["positions"]
    ]
    book += [
        ("wallet", shortened(token), row["amount"], row["amount_usd"])
        for token, row in plan["wallet"].items()
    ]
    done = [stage for stage in stages if stage.seconds is not None]
    return (
        template.render(run=run, summary=summary, plan=plan, steps=steps, book=book, stages=done)
        + "\n"
    )
