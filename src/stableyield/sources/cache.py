"""Answers on disk, one file each, by provider, route, item and the UTC day they came on.

A small cache of our own: hishel keys by the full URL, which for one provider holds the key, and
knows freshness by HTTP headers but not by UTC day.

Each file is one line of JSON (what was asked and when, the sha256 of the body) and the body, word
for word. It is written beside its place and moved there whole, so that a process that is killed
leaves either all of it or nothing. A file whose body does not have its sha256 is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from stableyield.errors import SourceError
from stableyield.sources.request import Request

_ENDING = ".reply"
_UNFINISHED = ".unfinished"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer from disk.

    Parameters
    ----------
    body : bytes
    fetched_at : datetime
        When it came, UTC.
    """

    body: bytes
    fetched_at: datetime


class ReplyCache:
    """Answers under a directory.

    Parameters
    ----------
    directory : Path
        Created when the first answer is kept.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, request: Request, day: date) -> Path:
        """Where the answer of ``day`` is kept; never outside the directory."""
        place = self.directory / _name(request.source) / _name(request.endpoint)
        return place / _name(request.item or "all") / f"{day}-{request.digest}{_ENDING}"

    def read(self, request: Request, today: date, keep_days: int = 0) -> Kept | None:
        """The newest whole answer from ``keep_days`` before ``today`` on, or None."""
        for age in range(keep_days + 1):
            path = self.path(request, today - timedelta(days=age))
            with contextlib.suppress(FileNotFoundError):
                if kept := _opened(path.read_bytes()):
                    return kept
        return None

    def write(self, request: Request, body: bytes, fetched_at: datetime) -> Path:
        """Keep ``body`` under the UTC day of ``fetched_at``.

        Raises
        ------
        SourceError
            When the directory cannot be written; nothing half-written stays.
        """
        moment = fetched_at.astimezone(UTC)
        path = self.path(request, moment.date())
        about = {
            "fetched_at": moment.isoformat(),
            "sha256": hashlib.sha256(body).hexdigest(),
            "url": request.shown_url,
        }
        try:
            _write_whole(path, json.dumps(about).encode() + b"\n" + body)
        except OSError as error:
            raise SourceError(
                f"an answer cannot be kept: {error.strerror or type(error).__name__}",
                where=str(self.directory),
                remedy="free space or give a directory that may be written, then run again",
            ) from error
        return path

    def remove_before(self, day: date) -> int:
        """Delete answers of days before ``day`` and what killed processes left; their number."""
        gone = [p for p in self.directory.rglob(f"*{_ENDING}") if p.name[:10] < day.isoformat()]
        gone += [
            path
            for path in self.directory.rglob(f"*{_UNFINISHED}")
            if datetime.fromtimestamp(path.stat().st_mtime, UTC).date() < day
        ]
        for path in gone:
            path.unlink(missing_ok=True)
        return len(gone)


def _name(text: str) -> str:
    """A file name for any text: itself where it is plain, else its hash."""
    if _PLAIN_NAME.fullmatch(text):
        return text
    return f"+{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _opened(content: bytes) -> Kept | None:
    head, _, body = content.partition(b"\n")
    try:
        about = json.loads(head)
        fetched_at = datetime.fromisoformat(about["fetched_at"])
        sha256 = about["sha256"]
    except (ValueError, KeyError, TypeError):
        return None
    return Kept(body, fetched_at) if hashlib.sha256(body).hexdigest() == sha256 else None


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(suffix=_UNFINISHED, dir=path.parent)
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
