"""Many items of one kind, a few at a time; what was fetched is on disk when the rest fails.

Resuming is asking again: items whose answer is in the cache are not asked for a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from threading import Event, Lock
from typing import Generic, TypeVar

from stableyield.sources.failures import (
    KeyRefusedError,
    PaymentRequiredError,
    ProviderError,
)
from stableyield.sources.payload import load_contracts

T = TypeVar("T")


@dataclass(frozen=True)
class BulkOutcome(Generic[T]):
    """What came and what did not, each in the order in which it was asked for.

    Parameters
    ----------
    fetched : mapping of str to object
    failed : mapping of str to ProviderError
    """

    fetched: Mapping[str, T]
    failed: Mapping[str, ProviderError]


@dataclass(frozen=True, slots=True)
class BulkSettings:
    """How a bulk download behaves.

    Parameters
    ----------
    workers : int
        Items under way at once; the client's own bound holds as well.
    give_up_after : int
        Items that may fail one after the other before the provider counts as gone.
    """

    workers: int = 4
    give_up_after: int = 5


def fetch_all(
    items: Sequence[str],
    fetch_one: Callable[[str], T],
    *,
    settings: BulkSettings | None = None,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> BulkOutcome[T]:
    """Fetch every item; one that fails does not stop the others.

    Parameters
    ----------
    items : sequence of str
        Each is fetched once, however often it occurs.
    fetch_one : callable
        Fetches one item, as ``lambda pool_id: source(pool_id).fetch(span)``.
    settings : BulkSettings, optional
    on_progress : callable, optional
        Told the number done, the number in all and the item, in the caller's thread.

    Raises
    ------
    PaymentRequiredError, KeyRefusedError
        At once: every other item would be refused as well.
    ProviderError
        When too many items fail in a row, or all do.
    SourceError
        When answers cannot be kept on disk.
    """
    wanted = tuple(dict.fromkeys(items))
    load_contracts()  # here: imported by several threads at once, pandera deadlocks
    run = _Run(fetch_one, settings or BulkSettings())
    fetched: dict[str, T] = {}
    failed: dict[str, ProviderError] = {}
    executor = ThreadPoolExecutor(run.settings.workers, thread_name_prefix="bulk")
    try:
        futures = {executor.submit(run.fetch, item): item for item in wanted}
        for future in as_completed(futures):
            item = futures[future]
            try:
                fetched[item] = future.result()
            except _StoppedError:
                continue
            except ProviderError as error:
                failed[item] = error
            if on_progress is not None:
                on_progress(len(fetched) + len(failed), len(wanted), item)
    finally:
        run.stop.set()
        executor.shutdown(wait=True, cancel_futures=True)
    if run.refusal is not None:
        raise run.refusal
    if run.last_failure is not None and (run.is_gone or not fetched):
        raise _all_gone(run.last_failure, len(fetched), len(wanted)) from run.last_failure
    return BulkOutcome(
        {item: fetched[item] for item in wanted if item in fetched},
        {item: failed[item] for item in wanted if item in failed},
    )


class _StoppedError(Exception):
    """An item was not asked for, as there is no point in asking any more."""


class _Run(Generic[T]):
    """What the workers of one download know of each other."""

    def __init__(self, fetch_one: Callable[[str], T], settings: BulkSettings) -> None:
        self.settings = settings
        self.stop = Event()
        self.refusal: ProviderError | None = None
        self.last_failure: ProviderError | None = None
        self.is_gone = False
        self._fetch_one = fetch_one
        self._lock = Lock()
        self._in_a_row = 0

    def fetch(self, item: str) -> T:
        """One item, unless all was stopped."""
        if self.stop.is_set():
            raise _StoppedError
        try:
            found = self._fetch_one(item)
        except ProviderError as error:
            self._failed(error)
            raise
        with self._lock:
            self._in_a_row = 0
        return found

    def _failed(self, error: ProviderError) -> None:
        with self._lock:
            self._in_a_row += 1
            self.last_failure = error
            if isinstance(error, (PaymentRequiredError, KeyRefusedError)):
                self.refusal = error
            self.is_gone = self.is_gone or self._in_a_row >= self.settings.give_up_after
            if self.is_gone or self.refusal is not None:
                self.stop.set()


def _all_gone(error: ProviderError, n_fetched: int, n_wanted: int) -> ProviderError:
    return ProviderError(
        f"stopped with {n_fetched} of {n_wanted} items: {error.what}",
        source=error.source,
        status=error.status,
        where=error.where,
        remedy="run again later: what came is kept and is not asked for again",
        details=error.details,
    )
