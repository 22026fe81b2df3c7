"""Approved and forbidden names, and the default parameters: what people decide, with its past.

A member of a token list is a symbol, or ``chain:address``, as in `AllocationParameters`. A name
that leaves a list stays in its history, so that a run can be replayed with the lists of its day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from stableyield.errors import InputError
from stableyield.store.reading import read_frame, read_table
from stableyield.store.revisions import write_frame
from stableyield.store.session import Batch, Written

LISTS = ("approved_tokens", "blacklisted_tokens", "approved_protocols", "approved_chains")
_DEFAULTS = "default_allocation_parameters"


def add_to_list(batch: Batch, name: str, members: Iterable[str], *, reason: str = "") -> Written:
    """Put ``members`` on the list ``name``.

    Raises
    ------
    InputError
        When there is no such list, or a member is empty.
    """
    return _write(batch, name, _checked(members, name), reason, is_listed=True)


def remove_from_list(
    batch: Batch, name: str, members: Iterable[str], *, reason: str = ""
) -> Written:
    """Take ``members`` off the list ``name``.

    Raises
    ------
    InputError
        When there is no such list, or one of them is not on it.
    """
    leaving = _checked(members, name)
    listed = _listed(read_table(batch.connection, name), name)
    for member in leaving:
        if member not in listed:
            raise InputError(f"{member!r} is not on {name}", remedy="see the list, check the case")
    return _write(batch, name, leaving, reason, is_listed=False)


def set_list(batch: Batch, name: str, members: Iterable[str], *, reason: str = "") -> None:
    """Make the list ``name`` exactly ``members``.

    Raises
    ------
    InputError
        When there is no such list, or a member is empty.
    """
    wanted = _checked(members, name)
    listed = _listed(read_table(batch.connection, name), name)
    if new := [member for member in wanted if member not in listed]:
        _write(batch, name, new, reason, is_listed=True)
    if leaving := [member for member in listed if member not in set(wanted)]:
        _write(batch, name, leaving, reason, is_listed=False)


def read_lists(engine: Engine, *, known_by: datetime | None = None) -> dict[str, tuple[str, ...]]:
    """Members of every list, sorted, under the names of `AllocationParameters`."""
    return {name: _listed(read_frame(engine, name, known_by=known_by), name) for name in LISTS}


def set_defaults(batch: Batch, values: Mapping[str, Any]) -> Written:
    """Keep default values of parameters, by name; names that are not given stay as they are."""
    frame = pd.DataFrame(
        {"name": list(values), "value": pd.Series(list(values.values()), dtype=object)}
    )
    return write_frame(batch, _DEFAULTS, frame)


def read_defaults(engine: Engine, *, known_by: datetime | None = None) -> dict[str, Any]:
    """Default values of parameters that were set, by name."""
    frame = read_frame(engine, _DEFAULTS, known_by=known_by)
    return dict(zip(frame["name"], frame["value"], strict=True))


def _checked(members: Iterable[str], name: str) -> list[str]:
    if name not in LISTS:
        raise InputError(f"there is no list {name!r}", remedy=f"lists: {', '.join(LISTS)}")
    found = list(dict.fromkeys(members))
    if not all(member.strip() for member in found):
        raise InputError(f"an empty member of {name}", remedy="name a token, protocol or chain")
    return found


def _write(batch: Batch, name: str, members: list[str], reason: str, *, is_listed: bool) -> Written:
    frame = pd.DataFrame({"is_listed": [is_listed] * len(members), "reason": reason or None})
    if name.endswith("_tokens"):
        parts = [member.rpartition(":") for member in members]
        frame["chain"] = pd.Series([chain for chain, _, _ in parts], dtype=object)
        frame["token"] = pd.Series([token for _, _, token in parts], dtype=object)
    else:
        frame[_column(name)] = pd.Series(members, dtype=object)
    return write_frame(batch, name, frame)


def _listed(frame: pd.DataFrame, name: str) -> tuple[str, ...]:
    rows = frame[frame["is_listed"].astype(bool)]
    if name.endswith("_tokens"):
        pairs = zip(rows["chain"], rows["token"], strict=True)
        return tuple(sorted(f"{chain}:{token}" if chain else token for chain, token in pairs))
    return tuple(sorted(rows[_column(name)]))


def _column(name: str) -> str:
    return "protocol" if name == "approved_protocols" else "chain"
