"""What every source is and what it hands on: checked tables and where they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from stableyield.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Span:
    """UTC days, both included.

    Raises
    ------
    ParameterError
        When it ends before it starts.
    """

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ParameterError(f"the days {self.first} to {self.last} run backwards")

    @classmethod
    def of(cls, day: date) -> Span:
        """One day."""
        return cls(day, day)

    @property
    def n_days(self) -> int:
        """Number of days."""
        return (self.last - self.first) // timedelta(days=1) + 1

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


@dataclass(frozen=True, slots=True)
class Provenance:
    """One answer of a provider, word for word, and where it came from.

    Parameters
    ----------
    source, endpoint, item : str
        The provider, its route and what was asked about.
    url : str
        Without the key.
    fetched_at : datetime
        UTC moment at which it came; also when it is served from disk later that day.
    body : bytes
    n_rows : int
        Records in it.
    from_cache : bool
    """

    source: str
    endpoint: str
    item: str
    url: str
    fetched_at: datetime
    body: bytes = field(repr=False)
    n_rows: int = 0
    from_cache: bool = False

    @property
    def sha256(self) -> str:
        """Of the body, hexadecimal."""
        return hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True, eq=False)
class Fetched:
    """Checked tables and what they were made from.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        By name: those of docs/formats.md, and ``balances`` (location, token, amount). A table
        without a row in the days asked for is absent.
    provenance : tuple of Provenance
        Every answer, in the order in which they were asked for.
    masked : mapping of str to int
        Values that were made unknown and rows that were left out, by reason.
    examples : tuple of str
        The first of them: field, row and value.
    assumptions : tuple of str
        What had to be assumed, one sentence each.
    """

    tables: Mapping[str, pd.DataFrame]
    provenance: tuple[Provenance, ...]
    masked: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()

    @property
    def provisional_from(self) -> date | None:
        """Rows of this day and later may still change: the day had not ended when they came.

        None when nothing was fetched.
        """
        return min((one.fetched_at.date() for one in self.provenance), default=None)


class Source(Protocol):
    """Something that can be asked for days."""

    @property
    def name(self) -> str:
        """Provider and route, for messages and records."""
        ...

    def fetch(self, span: Span) -> Fetched:
        """The tables for the days of ``span``.

        Raises
        ------
        SourceError
            When the provider fails or its answer cannot be used.
        """
        ...
