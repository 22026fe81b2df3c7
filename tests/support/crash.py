"""A process that dies at the n-th thing that it does to the database."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from stableyield.store import connect, live_run_of
from support.databases import later
from support.treasury import DAY, TickingClock, Treasury


def watch(engine: Engine, told: Callable[[int], None]) -> None:
    """Tell the number of each statement and commit, before it is carried out."""
    done = [0]

    def _count(*_: Any) -> None:
        done[0] += 1
        told(done[0])

    event.listen(engine, "before_cursor_execute", _count)
    event.listen(engine, "commit", _count)


def run_until(url: str, directory: str, n: int, hour: int) -> None:
    """Run a day, again if it is done, and die by kill -9 before the n-th statement or commit."""
    engine = connect(url)
    done = live_run_of(engine, DAY)

    def die(count: int) -> None:
        if count == n:
            os.kill(os.getpid(), signal.SIGKILL)

    watch(engine, die)
    Treasury(engine, Path(directory), TickingClock(later(hour))).run(again=done is not None)
