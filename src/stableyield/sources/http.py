"""The one door to the outside: paced, patient, bounded, and silent about keys.

A request is built without its key. The key is put in by the transport, below httpx's client, so
that no log line, exception or repr of httpx ever holds it. Redirects are not followed: a key is
sent to the host that it was given for and to no other. What remains is a provider that repeats the
key in a header (a redirect does), which httpcore would log: those lines are dropped.
"""

from __future__ import annotations

import logging
import math
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from threading import BoundedSemaphore, Lock
from typing import Generic, TypeVar

import httpx

from stableyield.errors import ParameterError
from stableyield.sources.cache import Kept, ReplyCache
from stableyield.sources.clock import Clock, system_clock
from stableyield.sources.closing import Closing
from stableyield.sources.failures import (
    KeyRefusedError,
    PaymentRequiredError,
    ProviderError,
    TransientReplyError,
)
from stableyield.sources.keyed import NO_ECHO, SECRET_EXTENSION, KeyedTransport
from stableyield.sources.pace import Pace
from stableyield.sources.request import Request
from stableyield.sources.retry import RetryPolicy, retry_after_seconds, wait_seconds
from stableyield.sources.skew import check_skew

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_TRANSIENT = frozenset({408, 425, 429})
_SNIPPET = 200
_MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How a client behaves.

    Parameters
    ----------
    requests_per_second : float
        Of each host.
    host_rates : mapping of str to float
        Other rates, by host.
    concurrent_requests : int
        Under way at once, of each host.
    connect_seconds, read_seconds, total_seconds : float
        Longest wait for a connection, for the next bytes, and for the whole answer.
    largest_body_bytes : int
    retry : RetryPolicy
    proxy : str, optional
        URL of a proxy. None is taken from the environment.
    """

    requests_per_second: float = 2.0
    host_rates: Mapping[str, float] = field(default_factory=dict)
    concurrent_requests: int = 4
    connect_seconds: float = 10.0
    read_seconds: float = 30.0
    total_seconds: float = 120.0
    largest_body_bytes: int = 128 * _MEBIBYTE
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    proxy: str | None = field(default=None, repr=False)  # may hold a password

    def __post_init__(self) -> None:
        if not 1 <= self.concurrent_requests <= 64:
            raise ParameterError(
                f"concurrent_requests {self.concurrent_requests} is not within 1..64"
            )


@dataclass(frozen=True)
class Reply(Generic[T]):
    """An answer that was read and accepted.

    Parameters
    ----------
    value : object
        What the reader made of it.
    request : Request
    body : bytes
    fetched_at : datetime
        UTC.
    from_cache : bool
    """

    value: T
    request: Request
    body: bytes = field(repr=False)
    fetched_at: datetime
    from_cache: bool


class HttpClient(Closing):
    """Asks providers, with manners; may be used by several threads.

    Parameters
    ----------
    settings : HttpSettings, optional
    cache : ReplyCache, optional
        Absent: nothing is kept.
    clock : Clock, optional
        The machine's when absent.
    """

    def __init__(
        self,
        settings: HttpSettings | None = None,
        *,
        cache: ReplyCache | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings or HttpSettings()
        self.clock = clock or system_clock()
        self._cache = cache
        self._pace = Pace(self.settings.requests_per_second, self.settings.host_rates)
        self._places: dict[str, BoundedSemaphore] = {}
        self._lock = Lock()
        self._http = _client(self.settings)
        NO_ECHO.install()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def fetch(
        self,
        request: Request,
        read: Callable[[bytes], T],
        *,
        refresh: bool = False,
        keep_days: int = 0,
        max_age_seconds: float = math.inf,
    ) -> Reply[T]:
        """The answer to ``request``, from disk if it came today, else from the provider.

        Only an answer that ``read`` accepts is kept.

        Parameters
        ----------
        request : Request
        read : callable
            Makes something of the body; raises `TransientReplyError` where another attempt may
            help and `ProviderError` where it would not.
        refresh : bool
            Ask the provider even if it answered today.
        keep_days : int
            How old, in UTC days, an answer from disk may be; 0 is today.
        max_age_seconds : float
            How old it may be besides.

        Raises
        ------
        PaymentRequiredError, KeyRefusedError
            For HTTP 402, and 401 or 403.
        ClockSkewError
            When this machine's clock is far from the provider's.
        ProviderError
            When no attempt is left, or for any other refusal.
        SourceError
            When the answer cannot be kept on disk.
        """
        if not refresh and (kept := self._kept(request, keep_days, max_age_seconds)):
            try:
                return Reply(read(kept.body), request, kept.body, kept.fetched_at, from_cache=True)
            except (TransientReplyError, ProviderError) as error:
                _LOG.info("%s: the answer on disk is not used: %s", request.where, error)
        failures = 0
        while True:
            try:
                body = self._exchange(request)
                fetched_at = self.clock.utc_now()
                value = read(body)
            except TransientReplyError as fault:
                failures += 1
                self._wait_or_give_up(request, fault, failures)
                continue
            if self._cache is not None:
                self._cache.write(request, body, fetched_at)
            return Reply(value, request, body, fetched_at, from_cache=False)

    def _kept(self, request: Request, keep_days: int, max_age_seconds: float) -> Kept | None:
        if self._cache is None:
            return None
        now = self.clock.utc_now()
        kept = self._cache.read(request, now.date(), keep_days)
        if kept is None or (now - kept.fetched_at).total_seconds() > max_age_seconds:
            return None
        return kept

    def _wait_or_give_up(self, request: Request, fault: TransientReplyError, failures: int) -> None:
        policy = self.settings.retry
        wait = wait_seconds(policy, failures, self.clock.draw(), fault.retry_after_seconds)
        if wait is None:
            tried = f"given up after {failures} of {policy.attempts} attempts"
            if fault.retry_after_seconds is not None:
                tried += f"; it asks to be left alone for {fault.retry_after_seconds:.0f} s"
            fault.error.details = (*fault.error.details, tried)
            raise fault.error from None
        _LOG.info("%s; attempt %d in %.1f s", fault, failures + 1, wait)
        if fault.retry_after_seconds is not None:
            self._pace.pause(_host(request), self.clock.monotonic() + wait)
        else:
            self.clock.sleep(wait)

    def _exchange(self, request: Request) -> bytes:
        """One attempt: the body of a 200."""
        host = _host(request)
        # the place first: who waited for one after its moment had come would start in a bunch
        with self._places_of(host), NO_ECHO.around(request):
            if (wait := self._pace.reserve(host, self.clock.monotonic())) > 0.0:
                self.clock.sleep(wait)
            try:
                with self._http.stream(
                    "GET" if request.body is None else "POST",
                    request.url,
                    params=sorted(request.params.items()) or None,
                    json=request.body,
                    extensions={SECRET_EXTENSION: request.secret},
                ) as response:
                    body = self._body(request, response)
                    if response.status_code != httpx.codes.OK:
                        raise self._refusal(request, response, body)
                    check_skew(response.headers, self.clock.utc_now(), request.where)
                    return body
            except httpx.UnsupportedProtocol as error:
                raise _unreachable(request, error) from None
            except httpx.RequestError as error:
                raise TransientReplyError(_unreachable(request, error)) from None

    def _places_of(self, host: str) -> BoundedSemaphore:
        with self._lock:
            places = BoundedSemaphore(self.settings.concurrent_requests)
            return self._places.setdefault(host, places)

    def _body(self, request: Request, response: httpx.Response) -> bytes:
        """All of the body, within the time and size that are allowed."""
        give_up_at = self.clock.monotonic() + self.settings.total_seconds
        parts, n_bytes = [], 0
        for part in response.iter_bytes():
            parts.append(part)
            n_bytes += len(part)
            if n_bytes > self.settings.largest_body_bytes:
                raise ProviderError(
                    f"the answer is larger than {self.settings.largest_body_bytes} bytes",
                    source=request.source,
                    status=response.status_code,
                    where=request.where,
                    remedy="look at what the address serves, or raise largest_body_bytes",
                )
            if self.clock.monotonic() > give_up_at:
                raise httpx.ReadTimeout(f"no end after {self.settings.total_seconds:g} s")
        return b"".join(parts)

    def _refusal(self, request: Request, response: httpx.Response, body: bytes) -> Exception:
        status = response.status_code
        said = request.masked(body[:_SNIPPET].decode("utf-8", "replace")).strip()
        details = (f"asked: {request.shown_url}", *((f"it says: {said}",) if said else ()))
        if status in _TRANSIENT or status >= 500:
            error = ProviderError(
                f"HTTP {status}",
                source=request.source,
                status=status,
                where=request.where,
                remedy="try again later; if it stays, look at the provider's status page",
                details=details,
            )
            header = response.headers.get("Retry-After")
            return TransientReplyError(error, retry_after_seconds(header, self.clock.utc_now()))
        return _final_refusal(request, status, details)


@cache
def _tls() -> ssl.SSLContext:
    """Trust in the certificates that come with httpx; read once, as that takes 50 ms."""
    return httpx.create_ssl_context(trust_env=False)


def _client(settings: HttpSettings) -> httpx.Client:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
    transport = httpx.HTTPTransport(
        verify=_tls(), limits=limits, proxy=settings.proxy, trust_env=False
    )
    return httpx.Client(
        transport=KeyedTransport(transport),
        timeout=httpx.Timeout(settings.read_seconds, connect=settings.connect_seconds, pool=None),
        headers={"User-Agent": "stableyield", "Accept": "application/json, text/csv"},
        follow_redirects=False,
        trust_env=False,
    )


def _host(request: Request) -> str:
    try:
        return httpx.URL(request.url).host
    except httpx.InvalidURL as error:
        raise _unreachable(request, error) from None


def _unreachable(request: Request, error: Exception) -> ProviderError:
    said = request.masked(str(error)) or "no answer"
    return ProviderError(
        f"{type(error).__name__}: {said}",
        source=request.source,
        where=request.where,
        remedy="check the network and the address, then run again",
        details=(f"asked: {request.shown_url}",),
    )


def _final_refusal(request: Request, status: int, details: tuple[str, ...]) -> ProviderError:
    setting = request.secret.setting if request.secret else ""
    kind: type[ProviderError] = ProviderError
    what = f"HTTP {status}"
    remedy = "check the id and the base URL; the provider may have moved the route"
    if status == httpx.codes.PAYMENT_REQUIRED:
        kind, what = PaymentRequiredError, "HTTP 402: this route must be paid for"
        remedy = "; or ".join(request.alternatives) or "get a plan that includes it"
    elif status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        kind = KeyRefusedError
        remedy = f"check the key in {setting} and its plan" if setting else "this needs a key"
    return kind(
        what,
        source=request.source,
        status=status,
        where=request.where,
        remedy=remedy,
        details=details,
    )
