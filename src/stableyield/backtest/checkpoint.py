"""Stop and go on: an append-only log of days, and a snapshot of the state after some of them.

Now and then (see `Checkpoint.is_due`) ``days.log`` gets a record of the days since: its length and
checksum in hexadecimal, and JSON. Then ``state.json`` is replaced in one step; it says how much of
the log it stands on. Whenever a run is killed, what the log has beyond that, a torn record
included, is cut off and lived through again.

One process at a time: the log is locked while it is open, and the system unlocks it however the
process ends (not on Windows, where nothing is locked).
"""

from __future__ import annotations

import json
import os
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Self

from stableyield.config import canonical_json, sha256_of
from stableyield.errors import InputError

LOG_FILE = "days.log"
STATE_FILE = "state.json"
SAVE_EVERY_DAYS = 30
SAVE_SHARE = 0.02  # of the time of a run may go into saving it
_SAVE_SECONDS = 0.02  # what the first snapshot is taken to cost: two waits for a disk
_HEAD_BYTES = 18  # two times eight digits, each with a space

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint has: blocks of the days so far, and the state after the last of them."""

    n_days: int = 0
    blocks: tuple[Any, ...] = ()
    state: Any = None


@dataclass(eq=False)
class Checkpoint:
    """A directory that a run is saved in while it goes on.

    Parameters
    ----------
    directory : Path
    key : mapping of str to plain values
        What the run is made of; another run may not go on from it.
    save_every : int, optional
        Days between two snapshots; absent: 30, or more where they follow so fast upon each other
        that waiting for the disk would take more than a fiftieth of the run.

    Raises
    ------
    InputError
        When ``save_every`` is not positive, or ``directory`` is a file.
    """

    directory: Path
    key: Mapping[str, Any]
    save_every: int | None = None
    _log: BinaryIO | None = field(default=None, init=False)
    _n_days: int = field(default=0, init=False)
    _save_seconds: float = field(default=_SAVE_SECONDS, init=False)
    _saved_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if self.save_every is not None and self.save_every < 1:
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
            When there is a checkpoint and ``resume`` is False, when another run is using it, when
            it is that of another run (names what differs), or when it is damaged.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        log = (self.directory / LOG_FILE).open("ab")
        try:
            self._lock(log)
            for torn in self.directory.glob(f".{STATE_FILE}.*.tmp"):
                torn.unlink(missing_ok=True)  # a run was killed while it wrote
            snapshot, size = self._read(resume=resume)
            log.truncate(size)  # what no snapshot stands on is lived through again
        except BaseException:
            log.close()
            raise
        self._log, self._n_days = log, snapshot.n_days
        self._saved_at = time.perf_counter()
        return snapshot

    def is_due(self, n_days: int) -> bool:
        """Whether to save, ``n_days`` after the last snapshot."""
        if self.save_every is not None:
            return (self._n_days + n_days) % self.save_every == 0
        return n_days >= SAVE_EVERY_DAYS and self._is_worth_waiting()

    def _is_worth_waiting(self) -> bool:
        """Whether waiting for the disk is little beside the days since the last snapshot."""
        since = time.perf_counter() - self._saved_at
        return since * SAVE_SHARE >= self._save_seconds

    def save(self, n_days: int, block: Any, state: Any) -> None:
        """Add a block of days, and replace the snapshot by the state after the last of them.

        It waits for the disk, except at the end of a run that is lived through again sooner than a
        disk answers. What is not waited for is safe from whatever ends this process; the system
        itself must go on for some seconds.

        Parameters
        ----------
        n_days : int
            In the block.
        block, state : values that JSON keeps
        """
        if self._log is None:
            raise InputError("the checkpoint is not open", remedy="open it first")
        waits = self.save_every is not None or self._is_worth_waiting()
        started = time.perf_counter()
        text = _encode([n_days, block]).encode()
        self._log.write(b"%08x %08x %s\n" % (len(text), zlib.crc32(text), text))
        self._log.flush()
        if waits:
            os.fsync(self._log.fileno())
        self._n_days += n_days
        document = {
            "key": self.key,
            "key_sha256": self._key_sha256,
            "n_days": self._n_days,
            "log_bytes": self._log.tell(),
            "state": state,
        }
        document["checksum"] = _checksum(document)
        write_atomic(self.directory / STATE_FILE, _encode(document).encode(), waits)
        self._saved_at = time.perf_counter()
        if waits:
            self._save_seconds = self._saved_at - started

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()
            self._log = None

    @cached_property
    def _key_sha256(self) -> str:
        return sha256_of(self.key)

    def _lock(self, log: BinaryIO) -> None:
        """Keep every other process out until the log is closed, or this process ends."""
        if sys.platform == "win32":
            return
        import fcntl  # noqa: PLC0415 - not everywhere

        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                "another run is using the checkpoint",
                where=str(self.directory),
                remedy="wait until it is done, or name another directory",
            ) from error

    def _read(self, *, resume: bool) -> tuple[Snapshot, int]:
        """What is there, and the bytes of the log that it stands on."""
        saved = self._read_state()
        if saved is None:
            return Snapshot(), 0
        if not resume:
            raise InputError(
                "there is a checkpoint already",
                where=str(self.directory),
                remedy="resume it, or name another directory",
            )
        size = int(saved["log_bytes"])
        records = tuple(self._read_log(size))
        return Snapshot(saved["n_days"], tuple(block for _, block in records), saved["state"]), size

    def _read_state(self) -> dict[str, Any] | None:
        path = self.directory / STATE_FILE
        if not path.exists():
            return None
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            key = state["key"]
            is_whole = (state["checksum"], state["key_sha256"]) == (
                _checksum(state),
                sha256_of(key),
            )
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise self._damaged(STATE_FILE, str(error)) from error
        if not is_whole:
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
        """The records of the first ``size`` bytes, each checked."""
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


def _checksum(document: Mapping[str, Any]) -> int:
    """Of what the next day depends on; floats are written so that they come back bit by bit."""
    kept = [document["n_days"], document["log_bytes"], document["state"]]
    return zlib.crc32(_encode(kept).encode())


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


def write_atomic(path: Path, content: bytes, waits: bool = True) -> None:
    """Replace a file in one step: a reader, or a crash, sees the old or the new one.

    Without waiting for the disk, that holds for a crash of the process, not of the system.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            if waits:
                os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
