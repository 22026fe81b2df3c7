"""Replay: the inputs of a run as they were known, the decision made once more, and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from stableyield.allocation import checked
from stableyield.pipeline.daily_run import versions
from stableyield.pipeline.options import from_kept
from stableyield.pipeline.paying import whole_document
from stableyield.pipeline.work import DayWork
from stableyield.store import Run, read_parameters, read_plan, read_run

_NOT_COMPARED = ("solve_seconds", "version")
_DECISIVE = (
    *("inputs_sha256", "status", "transactions", "positions", "wallet"),
    *("aum_before_usd", "aum_after_usd", "costs", "paid_to_owner"),
)
"""What a plan does; the rest says how good it is, and a better proof says that otherwise."""


@dataclass(frozen=True)
class Replay:
    """A run and its replay.

    Parameters
    ----------
    run : Run
    recorded, replayed : dict
        Plan files.
    differences : tuple of str
        Parts of the plan file that are not the same, the decisive ones first.
    other_versions : mapping of package to (then, now)
    """

    run: Run
    recorded: Mapping[str, Any]
    replayed: Mapping[str, Any]
    differences: tuple[str, ...]
    other_versions: Mapping[str, tuple[str, str]]

    @property
    def is_identical(self) -> bool:
        """Whether the plan is the same, transaction by transaction, to the last digit.

        Bounds, proofs and explanations may differ: those of another version of the optimiser do.
        """
        return not set(_DECISIVE) & set(self.differences)

    def to_dict(self) -> dict[str, Any]:
        """For the command line."""
        return {
            "run_id": self.run.run_id,
            "day": str(self.run.exec_date),
            "is_identical": self.is_identical,
            "differences": list(self.differences),
            "inputs_sha256": {
                "recorded": self.recorded["inputs_sha256"],
                "replayed": self.replayed["inputs_sha256"],
            },
            "n_transactions": len(self.recorded["transactions"]),
            "other_versions": {name: list(pair) for name, pair in self.other_versions.items()},
        }


def replay_run(engine: Engine, run_id: str) -> Replay:
    """Decide the day of a run once more, on what it knew; nothing is written.

    Parameters
    ----------
    engine : Engine
    run_id : str

    Raises
    ------
    MissingDataError
        When there is no such run, or it came to no plan.
    StoreError
        When the database fails.
    """
    run = read_run(engine, run_id)
    recorded = read_plan(engine, run_id).document
    parameters, options = from_kept(*read_parameters(engine, run_id))
    work = DayWork(engine, run.exec_date, run.known_by, parameters, options)
    replayed = whole_document(checked(work.decision[0]))
    now = versions()
    return Replay(
        run,
        recorded,
        replayed,
        differences(recorded, replayed),
        {
            name: (str(then), now[name])
            for name, then in run.versions.items()
            if name in now and then != now[name]
        },
    )


def differences(recorded: Mapping[str, Any], replayed: Mapping[str, Any]) -> tuple[str, ...]:
    """What two plan files do not share, the decisive parts first; timings do not count."""
    names = [*_DECISIVE, *sorted({*recorded, *replayed} - {*_DECISIVE, *_NOT_COMPARED})]
    return tuple(name for name in names if recorded.get(name) != replayed.get(name))


def write_both(replay: Replay, directory: Path) -> None:
    """Write both plan files, to be compared by other means."""
    from stableyield.report.export import json_bytes, write_atomic  # noqa: PLC0415 - it draws

    directory.mkdir(parents=True, exist_ok=True)
    write_atomic(directory / "recorded.json", json_bytes(replay.recorded))
    write_atomic(directory / "replayed.json", json_bytes(replay.replayed))
