"""What providers answered, word for word, with its hash."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, insert, select

from stableyield.errors import MissingDataError
from stableyield.store.failures import StoreError, shown
from stableyield.store.schema import RAW_PAYLOADS
from stableyield.store.session import Batch, Written, reading

_LEVEL = 1  # of compression: JSON shrinks to a sixth at 90 MB/s; level 6 gains little for its time


@dataclass(frozen=True, slots=True)
class Payload:
    """One answer of a provider.

    Parameters
    ----------
    source, request : str
        The provider, and what was asked of it, without any key.
    sha256 : str
        Of the body.
    fetched_at : datetime
        When this body came first.
    n_bytes : int
        Of the body.
    """

    source: str
    request: str
    sha256: str
    fetched_at: datetime
    n_bytes: int


def write_payload(batch: Batch, source: str, request: str, body: bytes) -> Payload:
    """Keep ``body``; an answer that is there already is not kept twice.

    Parameters
    ----------
    batch : Batch
    source : str
        The provider.
    request : str
        What was asked, without any key.
    body : bytes
        As it came.
    """
    batch.begin_table(RAW_PAYLOADS.name)
    sha256 = hashlib.sha256(body).hexdigest()
    table = RAW_PAYLOADS.c
    known = batch.connection.scalar(
        select(table.fetched_at).where(
            table.source == source, table.request == request, table.sha256 == sha256
        )
    )
    if known is None:
        batch.connection.execute(
            insert(RAW_PAYLOADS).values(
                source=source,
                request=request,
                sha256=sha256,
                fetched_at=batch.at,
                n_bytes=len(body),
                body_zlib=zlib.compress(body, _LEVEL),
            )
        )
    batch.audit(RAW_PAYLOADS.name, Written(1, int(known is None), 0, sha256))
    return Payload(source, request, sha256, known or batch.at, len(body))


def payloads(engine: Engine, source: str, request: str | None = None) -> tuple[Payload, ...]:
    """What ``source`` answered, the oldest first."""
    table = RAW_PAYLOADS.c
    query = select(
        table.source, table.request, table.sha256, table.fetched_at, table.n_bytes
    ).where(table.source == source)
    if request is not None:
        query = query.where(table.request == request)
    with reading(engine, "the answers of providers") as connection:
        rows = connection.execute(query.order_by(table.fetched_at, table.request, table.sha256))
        return tuple(Payload(*row) for row in rows)


def read_payload(engine: Engine, sha256: str) -> bytes:
    """The body with that hash, word for word.

    Raises
    ------
    MissingDataError
        When there is none.
    StoreError
        When it is not any more what it was.
    """
    with reading(engine, "an answer of a provider") as connection:
        packed = connection.scalar(
            select(RAW_PAYLOADS.c.body_zlib).where(RAW_PAYLOADS.c.sha256 == sha256).limit(1)
        )
    if packed is None:
        raise MissingDataError(
            f"no answer with sha256 {sha256!r} is kept",
            where=shown(engine.url),
            remedy="list the answers with payloads()",
        )
    try:
        body = zlib.decompress(packed)
    except zlib.error:
        body = b""
    if hashlib.sha256(body).hexdigest() != sha256:
        raise StoreError(
            f"the answer with sha256 {sha256} was damaged",
            where=shown(engine.url),
            remedy="restore the database from a backup",
        )
    return body
