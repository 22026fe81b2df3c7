"""Checks of where results shall go, before any work is done for them."""

from __future__ import annotations

import os
from pathlib import Path

from stableyield.errors import InputError


def check_out_file(path: Path | None) -> None:
    """Refuse a file that could not be written.

    Raises
    ------
    InputError
        When ``path`` is a directory or a device, or its directory is missing or not writable.
    """
    if path is None:
        return
    if path.is_dir():
        raise InputError(
            "--out is a directory", where=str(path), remedy="name a file, for example in it"
        )
    if path.exists() and not path.is_file():  # a device would be replaced by a plain file
        raise InputError("--out is not a plain file", where=str(path), remedy="name another file")
    if not path.parent.is_dir():
        raise InputError(
            f"there is no directory {path.parent}", where=str(path), remedy="make it first"
        )
    _check_writable(path.parent, path)


def check_out_directory(
    path: Path | None, *, option: str = "--out", for_market: bool = False
) -> None:
    """Refuse a directory that could not be made or written to; missing parents may be made.

    Raises
    ------
    InputError
        When ``path`` or one of its parents is a file, or is not writable, or holds a market and
        is not for one.
    """
    if path is None:
        return
    existing = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not existing.is_dir():
        what = f"{option} is a file" if existing == path else f"{existing} is a file"
        raise InputError(what, where=str(path), remedy="name a directory, it may be a new one")
    if not for_market and any(
        (path / f"pool_daily.{kind}").exists() for kind in ("parquet", "csv")
    ):
        raise InputError(
            f"{option} is a market directory",
            where=str(path),
            remedy="name another: a run's files do not belong among a market's",
        )
    _check_writable(existing, path)


def _check_writable(directory: Path, path: Path) -> None:
    if not os.access(directory, os.W_OK | os.X_OK):
        raise InputError(
            f"no permission to write in {directory}",
            where=str(path),
            remedy="choose another --out, or change the permissions",
        )
