"""Stop and go on: an append-only log of days, and a snapshot of the state after some of them.

``days.log`` gets one record a day: its length and checksum in hexadecimal, and JSON. Every
``save_every`` days ``state.json`` is replaced in one step; it says how much of the log it stands
on. Whenever a run is killed, what the log has beyond that, a torn record included, is cut off and
lived through again. Floats are written in the shortest form that reads back to the same bits.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

from stableyield.config import canonical_json, sha256_of
from stableyield.errors import InputError

LOG_FILE = "days.log"
STATE_FILE = "state.json"
SAVE_EVERY_DAYS = 30
_HEAD_BYTES = 18  # two times eight digits, each with a space

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint has: the days so far, and the state after the last of them."""

    days: tuple[Any, ...] = ()
    state: Any = None


@dataclass(eq=False)
class Checkpoint:
    """A directory that a run is saved in while it goes on.

    Parameters
    ----------
    directory : Path
    key : mapping of str to plain values
        What the run is made of; another run may not go on from it.
    save_every : int
        Days between two snapshots.

    Raises
    ------
    InputError
        When ``save_every`` is not positive, or ``directory`` is a file.
    """

    directory: Path
    key: Mapping[str, Any]
    save_every: int = SAVE_EVERY_DAYS
    _log: BinaryIO | None = field(default=None, init=False)
    _n_days: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.save_every < 1:
            raise InputError(f"save_every is {self.save_every}", remedy="save every day, or rarer")
        if self.directory.exists() and not self.directory.is_dir():
            raise InputError(
                "the checkpoint is not a directory",
                where=str(self.directory),
                remedy="name another one",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def open(self, *, resume: bool) -> Snapshot:
        """Begin, or go on from what is there.

        Raises
        ------
        InputError
            When there is a checkpoint and ``resume`` is False, when it is that of another run
            (names what differs), or when it is damaged.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        state = self._read_state()
        if state is not None and not resume:
            raise InputError(
                "there is a checkpoint already",
                where=str(self.directory),
                remedy="resume it, or name another directory",
            )
        size = 0 if state is None else int(state["log_bytes"])
        days = () if state is None else tuple(self._read_log(size))
        if state is not None and len(days) != state["n_days"]:
            raise self._damaged(LOG_FILE, f"{len(days)} days, {state['n_days']} are expected")
        log = (self.directory / LOG_FILE).open("ab")
        log.truncate(size)  # what no snapshot stands on is lived through again
        self._log, self._n_days = log, len(days)
        return Snapshot(days, None if state is None else state["state"])

    def append(self, day: Any) -> None:
        """Add the record of a day."""
        text = _encode(day).encode()
        self._file.write(b"%08x %08x %s\n" % (len(text), zlib.crc32(text), text))
        self._n_days += 1

    @property
    def is_due(self) -> bool:
        """Whether the state has to be saved after the days so far."""
        return self._n_days % self.save_every == 0

    def save(self, state: Any) -> None:
        """Replace the snapshot by the state after the last day."""
        self._file.flush()
        os.fsync(self._file.fileno())
        document = {
            "key": self.key,
            "key_sha256": sha256_of(self.key),
            "n_days": self._n_days,
            "log_bytes": self._file.tell(),
            "state": state,
        }
        write_atomic(self.directory / STATE_FILE, _encode(document).encode())

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()
            self._log = None

    @property
    def _file(self) -> BinaryIO:
        if self._log is None:
            raise InputError("the checkpoint is not open", remedy="open it first")
        return self._log

    def _read_state(self) -> dict[str, Any] | None:
        path = self.directory / STATE_FILE
        if not path.exists():
            return None
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            key = state["key"]
            is_whole = {"n_days", "log_bytes", "state"} <= set(state)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise self._damaged(STATE_FILE, str(error)) from error
        if not is_whole or state["key_sha256"] != sha256_of(key):
            raise self._damaged(STATE_FILE, "it is not what was written")
        if differences := tuple(_differences(key, json.loads(canonical_json(self.key)))):
            raise InputError(
                f"the checkpoint is of another run: {differences[0]}",
                where=str(self.directory),
                remedy="resume with what it was made with, or name another directory",
                details=differences[1:],
            )
        return dict(state)

    def _read_log(self, size: int) -> Iterator[Any]:
        """The days of the first ``size`` bytes, each checked."""
        try:
            with (self.directory / LOG_FILE).open("rb") as log:
                content = log.read(size)
        except OSError as error:
            raise self._damaged(LOG_FILE, str(error)) from error
        if len(content) < size:
            raise self._damaged(LOG_FILE, f"{len(content)} bytes, {size} are expected")
        start = 0
        while start < size:
            line = content[start : content.find(b"\n", start) + 1]
            text = line[_HEAD_BYTES:-1]
            if line[:_HEAD_BYTES] != b"%08x %08x " % (len(text), zlib.crc32(text)):
                raise self._damaged(LOG_FILE, f"the record at byte {start} is not what was written")
            yield json.loads(text)
            start += len(line)

    def _damaged(self, name: str, reason: str) -> InputError:
        return InputError(
            f"the checkpoint is damaged: {name}: {reason}",
            where=str(self.directory),
            remedy="delete the directory and begin anew",
        )


def _differences(there: Any, now: Any, path: str = "") -> Iterator[str]:
    """What differs between two keys, one line each."""
    if isinstance(there, dict) and isinstance(now, dict):
        for name in sorted({*there, *now}):
            yield from _differences(there.get(name), now.get(name), f"{path}.{name}".strip("."))
    elif there != now:
        yield f"{path} was {_short(there)}, is {_short(now)}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else canonical_json(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a file in one step: a reader, or a crash, sees the old or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
