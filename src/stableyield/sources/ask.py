"""From a question to checked tables: what every JSON source does the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pandas as pd

from stableyield.sources.base import Fetched, Provenance, Span
from stableyield.sources.http import HttpClient, Reply
from stableyield.sources.payload import Cleaning, parse_json
from stableyield.sources.request import Request

SNAPSHOT_SECONDS = 3600.0  # providers refresh what is now every hour


@dataclass(frozen=True)
class Reading:
    """What was read out of one answer.

    Parameters
    ----------
    tables : mapping of str to DataFrame
    n_rows : int
        Records in the answer.
    cleaning : Cleaning
    assumptions : tuple of str
    """

    tables: Mapping[str, pd.DataFrame]
    n_rows: int
    cleaning: Cleaning = field(default_factory=Cleaning)
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Freshness:
    """Which answers from disk will do.

    Parameters
    ----------
    refresh : bool
        None will.
    keep_days : int
        Those of so many UTC days before today. A bulk download that is resumed after midnight
        needs 1.
    """

    refresh: bool = False
    keep_days: int = 0


TODAY = Freshness()


def ask(
    client: HttpClient,
    request: Request,
    read: Callable[[Any, Span, Request], Reading],
    span: Span,
    freshness: Freshness = TODAY,
) -> Fetched:
    """Ask for the history of ``span``: an answer of today will do.

    Raises
    ------
    SourceError
        When the provider fails or ``read`` does not accept its answer.
    """
    return fetched_of([reply_of(client, request, read, span, freshness)])


def reply_of(
    client: HttpClient,
    request: Request,
    read: Callable[[Any, Span, Request], Reading],
    span: Span,
    freshness: Freshness = TODAY,
) -> Reply[Reading]:
    """As `ask`, for a source that needs several answers."""
    return client.fetch(
        request,
        lambda body: read(parse_json(body, request), span, request),
        refresh=freshness.refresh,
        keep_days=freshness.keep_days,
    )


def ask_now(
    client: HttpClient,
    request: Request,
    read: Callable[[Any, date, Request], Reading],
    day: date,
) -> Fetched:
    """Ask for what is now, as of ``day``: an answer from disk will do for an hour.

    Raises
    ------
    SourceError
        When the provider fails or ``read`` does not accept its answer.
    """
    return fetched_of([reply_now(client, request, lambda value: read(value, day, request))])


def reply_now(
    client: HttpClient,
    request: Request,
    read: Callable[[Any], Reading],
    max_age_seconds: float = SNAPSHOT_SECONDS,
) -> Reply[Reading]:
    """As `ask_now`, for a source that needs several answers."""
    return client.fetch(
        request,
        lambda body: read(parse_json(body, request)),
        refresh=max_age_seconds == 0.0,
        max_age_seconds=max_age_seconds,
    )


def fetched_of(replies: Sequence[Reply[Reading]]) -> Fetched:
    """Several answers as one; rows of the same table follow each other."""
    parts: dict[str, list[pd.DataFrame]] = {}
    cleaning = Cleaning()
    assumptions: dict[str, None] = {}
    for reply in replies:
        for name, frame in reply.value.tables.items():
            parts.setdefault(name, []).append(frame)
        for reason, count in reply.value.cleaning.counts.items():
            cleaning.add(reason, count)
        cleaning.examples += reply.value.cleaning.examples
        assumptions |= dict.fromkeys(reply.value.assumptions)
    tables = {
        name: frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
        for name, frames in parts.items()
    }
    return Fetched(
        tables,
        tuple(_provenance(reply) for reply in replies),
        cleaning.counts,
        tuple(cleaning.examples),
        tuple(assumptions),
    )


def _provenance(reply: Reply[Reading]) -> Provenance:
    request = reply.request
    return Provenance(
        request.source,
        request.endpoint,
        request.item,
        request.shown_url,
        reply.fetched_at,
        reply.body,
        reply.value.n_rows,
        reply.from_cache,
    )
