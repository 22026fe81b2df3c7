"""The error tree.

::

    StableyieldError                 exit 1   anything this package raises on purpose
    |-- InputError (ValueError)      exit 2   what the caller gave is wrong
    |   |-- ParameterError                    a parameter: name, type or bounds
    |   |-- ContractError                     a file or frame breaks its contract
    |   |-- MissingDataError                  a price, rate, gas price or file is unknown
    |   `-- DayOutOfRangeError                a day outside the market's history
    |-- InfeasibleError              exit 3   no plan meets the limits; says which
    |-- SourceError                  exit 4   a provider or the database failed
    |-- DataQualityError             exit 5   a critical finding: stop before trading
    |-- SolverError                  exit 1   the solver failed in a way that is not infeasibility
    `-- IntegrityError               exit 1   an invariant of this package does not hold: a bug
        |-- ConservationError                 money appeared or disappeared
        `-- LookAheadError                    a decision asked for what was not known yet

Every message says what is wrong, where (file, row, day, pool, token) and what to do.
"""

from __future__ import annotations

from typing import ClassVar


class StableyieldError(Exception):
    """Base of all errors of this package.

    Parameters
    ----------
    what : str
        What is wrong, in one line.
    where : str, optional
        File, row, day, pool or token that it is about.
    remedy : str, optional
        What the reader can do.
    details : tuple of str, optional
        Further lines, printed after the first one.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, what: str, *, where: str = "", remedy: str = "", details: tuple[str, ...] = ()
    ) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        self.details = details
        super().__init__(self.one_line)

    @property
    def one_line(self) -> str:
        """The message as one line: where, what, remedy."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head} ({self.remedy})" if self.remedy else head


class InputError(StableyieldError, ValueError):
    """What the caller gave is wrong."""

    exit_code: ClassVar[int] = 2


class ParameterError(InputError):
    """A parameter has an unknown name, a wrong type or a value out of bounds."""


class ContractError(InputError):
    """A file or frame breaks its contract: column, row and value are in the message."""


class MissingDataError(InputError):
    """A price, rate, gas price or file that is needed is unknown."""


class DayOutOfRangeError(InputError):
    """A day lies outside the market's history."""


class InfeasibleError(StableyieldError):
    """No plan meets the limits."""

    exit_code: ClassVar[int] = 3


class SourceError(StableyieldError):
    """A data provider or the database failed."""

    exit_code: ClassVar[int] = 4


class DataQualityError(StableyieldError):
    """A critical finding in the data: nothing may be traded on it."""

    exit_code: ClassVar[int] = 5


class SolverError(StableyieldError):
    """The solver failed in a way that is not infeasibility."""


class IntegrityError(StableyieldError):
    """An invariant of this package does not hold: a bug, never the user's fault."""


class ConservationError(IntegrityError):
    """Money appeared or disappeared."""


class LookAheadError(IntegrityError):
    """A decision asked for something that was not known yet."""
