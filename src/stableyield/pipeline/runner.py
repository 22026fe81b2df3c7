"""Carrying out the stages of a run, one transaction each, with their attempts and seconds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Engine

from stableyield.errors import StableyieldError
from stableyield.pipeline.moments import Moments
from stableyield.pipeline.notify import Notifier
from stableyield.sources import Source, system_clock
from stableyield.sources.clock import Clock
from stableyield.store import (
    Actor,
    Batch,
    RunLock,
    StoreError,
    finish_stage,
    read_stages,
    start_stage,
    writing,
)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What the daily job works with.

    Parameters
    ----------
    engine : Engine
    output_dir : Path
        Where runs leave their files.
    sources : tuple of Source
        Asked in this order; none: what the store has already.
    notifiers : tuple of Notifier
    actor : Actor
    clock : Clock
    on_stage : callable, optional
        Told the name of each stage and its seconds when it is done.
    """

    engine: Engine
    output_dir: Path
    sources: tuple[Source, ...] = ()
    notifiers: tuple[Notifier, ...] = ()
    actor: Actor = field(default_factory=lambda: Actor("daily run", "pipeline"))
    clock: Clock = field(default_factory=system_clock)
    on_stage: Callable[[str, float], None] | None = None


@dataclass(frozen=True)
class StageRunner:
    """Carries out stages of one run.

    Parameters
    ----------
    job : Job
    moments : Moments
    lock : RunLock
    run_id : str
    """

    job: Job
    moments: Moments
    lock: RunLock
    run_id: str

    @property
    def done(self) -> dict[str, Mapping[str, Any]]:
        """Stages that are done, and what was kept of each."""
        stages = read_stages(self.job.engine, self.run_id)
        return {each.stage: each.detail or {} for each in stages if each.status == "done"}

    def carry_out(
        self,
        name: str,
        look: Callable[[], Mapping[str, Any]],
        write: Callable[[Batch], None] | None = None,
    ) -> Mapping[str, Any]:
        """Do the work of a stage, then write and mark it done in one transaction.

        Raises
        ------
        Exception
            Whatever the work raises; the stage is then marked as failed, where that can be
            written.
        """
        with self._writing() as batch:
            start_stage(batch, self.run_id, name)
        started = self.moments.seconds()
        try:
            detail = look()
            self.lock.check()
            with self._writing() as batch:
                if write is not None:
                    write(batch)
                self._finish(batch, name, "done", started, detail)
        except StoreError:
            raise  # the mark could not be written either; the stage is taken up again
        except Exception as error:
            with self._writing() as batch:
                self._finish(batch, name, "failed", started, {"error": one_line(error)})
            raise
        seconds = self.moments.seconds() - started
        _LOG.info("stage %s of run %s done in %.2f s", name, self.run_id, seconds)
        if self.job.on_stage is not None:
            self.job.on_stage(name, seconds)
        return detail

    def _writing(self) -> Any:
        engine, actor = self.job.engine, self.job.actor
        return writing(engine, actor, at=self.moments.now(), run_id=self.run_id)

    def _finish(
        self,
        batch: Batch,
        name: str,
        status: Literal["done", "failed"],
        started: float,
        detail: Mapping[str, Any],
    ) -> None:
        seconds = self.moments.seconds() - started
        finish_stage(batch, self.run_id, name, status, seconds=seconds, detail=detail)


def one_line(error: Exception) -> str:
    """An error as one line."""
    if isinstance(error, StableyieldError):
        return error.one_line
    return f"{type(error).__name__}: {error}"
