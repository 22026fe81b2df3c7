"""What a provider did not give, said so that an operator can act on it, and without keys.

::

    SourceError                      exit 4
    `-- ProviderError                a provider failed: its name, HTTP status and what to do
        |-- PaymentRequiredError     HTTP 402: the route is paid; names the alternatives
        |-- KeyRefusedError          HTTP 401 or 403: the key is missing, wrong or out of quota
        |-- PayloadError             the answer is not in its documented shape: field and row
        `-- RejectedFeedError        an empty or halved feed: nothing of it is used
"""

from __future__ import annotations

from stableyield.errors import SourceError


class ProviderError(SourceError):
    """A provider failed for good: all attempts were used up, or another one would not help.

    Parameters
    ----------
    what, where, remedy, details
        As for every error of this package.
    source : str
        The provider.
    status : int, optional
        HTTP status of the last answer; absent when there was none.
    """

    def __init__(
        self,
        what: str,
        *,
        source: str,
        status: int | None = None,
        where: str = "",
        remedy: str = "",
        details: tuple[str, ...] = (),
    ) -> None:
        self.source = source
        self.status = status
        super().__init__(what, where=where or source, remedy=remedy, details=details)


class PaymentRequiredError(ProviderError):
    """HTTP 402: the provider wants to be paid for this route."""


class KeyRefusedError(ProviderError):
    """HTTP 401 or 403: the provider does not take this key."""


class PayloadError(ProviderError):
    """The answer is not what the provider documents: the field and row are in the message."""


class RejectedFeedError(ProviderError):
    """An empty or halved feed: it says nothing about the pools that are missing from it."""


class TransientReplyError(Exception):
    """An attempt failed in a way that another one may mend; never leaves this package.

    Parameters
    ----------
    error : ProviderError
        What is raised when no attempt is left.
    retry_after_seconds : float, optional
        How long the provider asks to be left alone.
    """

    def __init__(self, error: ProviderError, retry_after_seconds: float | None = None) -> None:
        self.error = error
        self.retry_after_seconds = retry_after_seconds
        super().__init__(error.one_line)
