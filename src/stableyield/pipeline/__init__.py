"""The daily job: its stages, the books, replay, and telling people (docs/operations.md)."""

from __future__ import annotations

from stableyield.pipeline.daily_run import Outcome, run_day
from stableyield.pipeline.doctor import Check, examine
from stableyield.pipeline.ingest import BalanceFile, MarketDirectory
from stableyield.pipeline.notify import notifiers_of
from stableyield.pipeline.options import DayOptions, RunRequest
from stableyield.pipeline.replay import Replay, replay_run
from stableyield.pipeline.runner import Job
from stableyield.pipeline.treasury import Books, Flow, book_flow, read_books

__all__ = [
    "BalanceFile",
    "Books",
    "Check",
    "DayOptions",
    "Flow",
    "Job",
    "MarketDirectory",
    "Outcome",
    "Replay",
    "RunRequest",
    "book_flow",
    "examine",
    "notifiers_of",
    "read_books",
    "replay_run",
    "run_day",
]
