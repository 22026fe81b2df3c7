"""The stages of a run: what each looks at, and what it writes.

A stage's writes and the mark that it is done are one transaction. What a stage found is not
carried over to a resumed run: it is made again, from the same knowledge (`DayWork`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from stableyield.allocation import checked
from stableyield.pipeline.forecasting import detail_of, warnings_of, write_forecasts
from stableyield.pipeline.paying import whole_document
from stableyield.pipeline.record import (
    Bookings,
    bookings_of,
    write_assessments,
    write_bookings,
    write_decision,
    write_icebox,
)
from stableyield.pipeline.summary import summary_of
from stableyield.pipeline.work import DayWork
from stableyield.store import Batch

Detail = Mapping[str, Any]
RECORD = "record"
BEFORE_THE_RUN = ("migrate", "ingest")
AFTER_THE_RECORD = ("report", "notify")


@dataclass(frozen=True, eq=False)
class Going:
    """A run on its way.

    Parameters
    ----------
    run_id : str
    is_dry : bool
    work : DayWork
    notes : tuple of str
        What the ingest had to assume or did without.
    """

    run_id: str
    is_dry: bool
    work: DayWork
    notes: tuple[str, ...] = ()

    @cached_property
    def bookings(self) -> Bookings:
        """What the record adds to the books."""
        return bookings_of(self.work.engine, self.work, self.run_id, self.work.decision[0])


@dataclass(frozen=True)
class Stage:
    """One stage.

    Parameters
    ----------
    name : str
    look : callable
        Does the work, and gives what is kept of it with the stage.
    write : callable, optional
        Writes what the stage found; not called in a dry run unless ``in_dry``.
    in_dry : bool
    """

    name: str
    look: Callable[[Going], Detail]
    write: Callable[[Batch, Going], None] | None = None
    in_dry: bool = False

    def writer(self, going: Going) -> Callable[[Batch], None] | None:
        """What the stage writes in this run; None: nothing."""
        write = self.write
        if write is None or (going.is_dry and not self.in_dry):
            return None
        return lambda batch: write(batch, going)


def _quality(going: Going) -> Detail:
    report = going.work.quality
    report.raise_if_critical()
    return {
        "score": report.score,
        "findings": [str(finding) for finding in report.findings],
        "age_days": dict(report.age_days),
        "n_pools": len(going.work.view.pools),
    }


def _books(going: Going) -> Detail:
    work = going.work
    today = work.today
    return {
        "days": [str(each.day) for each in work.book_days],
        "aum_usd": today.aum_usd,
        "reconciliation": work.found.to_dict() if work.observed else None,
        "opening": work.is_new,
        "flags": [flag for each in work.book_days for flag in each.flags],
    }


def _prefilter(going: Going) -> Detail:
    found = going.work.prefiltered
    return {
        "n_pools": len(found.pool_ids),
        "n_allowed": int(found.allowed.sum()),
        "rules": dict(found.counts),
    }


def _metrics(going: Going) -> Detail:
    groups, count = np.unique(going.work.prefiltered.risk_groups, return_counts=True)
    return {"groups": dict(zip(map(str, groups.tolist()), count.tolist(), strict=True))}


def _icebox(going: Going) -> Detail:
    icebox = going.work.icebox
    return {
        "iceboxed": sorted(icebox.iceboxed),
        "unjudged": sorted(icebox.unjudged),
        "n_events": len(icebox.events),
    }


def _forecast(going: Going) -> Detail:
    return detail_of(going.work)


def _screen(going: Going) -> Detail:
    found = going.work.prepared.screening
    held = np.flatnonzero(found.is_held).tolist()
    return {
        "n_open": int(found.allowed.sum()),
        "rules": dict(found.counts),
        "held": {found.pool_ids[i]: str(found.states[i]) for i in held},
        "gone": list(found.gone),
    }


def _allocate(going: Going) -> Detail:
    plan, movement = going.work.decision
    return {
        "status": plan.status,
        "method": plan.certificate.method,
        "n_moves": plan.n_moves,
        "solve_seconds": plan.certificate.solve_seconds,
        "inputs_sha256": plan.inputs_sha256,
        "move_rule": movement.to_dict(),
    }


def _verify(going: Going) -> Detail:
    plan = checked(going.work.decision[0])
    return {"violations": 0, "unaccounted_usd": plan.settlement.unaccounted_usd}


def _record(going: Going) -> Detail:
    work = going.work
    plan, movement = work.decision
    more: dict[str, Any] = {
        "inputs_sha256": plan.inputs_sha256,
        "quality_score": work.quality.score,
        "forecast": work.options.forecast,
        "yield_day": None,
        "yield_ytd": None,
    }
    if not going.is_dry:
        results = going.bookings.results
        if len(results):
            more |= {name: float(results[name].iloc[-1]) for name in ("yield_day", "yield_ytd")}
    summary = summary_of(whole_document(plan), movement.to_dict(), _warnings(going), more)
    return {"summary": summary}


def _warnings(going: Going) -> list[str]:
    work = going.work
    plan, movement = work.decision
    found = [*warnings_of(work), *(f"forced out of {pool_id}" for pool_id in movement.exits)]
    found += [each.detail for each in plan.infeasible_because]
    found += [flag for each in work.book_days for flag in each.flags]
    found += list(work.prepared.flags)
    found += [f"observed {token} has no price and is left out" for token in work.unpriced]
    if not work.is_new:
        found += [f"difference: {each}" for each in work.found.differences]
    # "warning" stands before each line where they are shown
    findings = [each for each in work.quality.findings if each.severity != "info"]
    found += [str(each).removeprefix("warning ") for each in findings]
    found += list(work.inputs.forecast.flags)
    return list(dict.fromkeys([*found, *(f"assumed: {note}" for note in going.notes)]))


def _write_record(batch: Batch, going: Going) -> None:
    write_decision(batch, going.run_id, going.work.decision[0])
    if not going.is_dry:
        write_bookings(batch, going.bookings)


def _write_forecasts(batch: Batch, going: Going) -> None:
    write_forecasts(batch, going.work, going.run_id)


DECISION: tuple[Stage, ...] = (
    Stage("quality", _quality),
    Stage("books", _books),
    Stage("prefilter", _prefilter),
    Stage("metrics", _metrics),
    Stage("icebox", _icebox, lambda batch, going: write_icebox(batch, going.work)),
    Stage("forecast", _forecast, _write_forecasts),
    Stage("screen", _screen, lambda batch, going: write_assessments(batch, going.work)),
    Stage("allocate", _allocate),
    Stage("verify", _verify),
    Stage(RECORD, _record, _write_record, in_dry=True),
)
"""Up to the record nothing has been decided; a run that fails in one of these has done nothing."""
