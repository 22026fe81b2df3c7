"""Below httpx's client: where the key goes in, and what httpcore may not log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import local
from urllib.parse import quote

import httpx

from stableyield.sources.request import KEY_PLACE, Request, Secret

SECRET_EXTENSION = "stableyield_secret"  # the name of a request's extension
_HEADER_LOGGERS = ("httpcore.http11", "httpcore.proxy")


class NoEcho(logging.Filter):
    """Drops httpcore's line with the headers of an answer to a request that bore a key."""

    def __init__(self) -> None:
        super().__init__()
        self._keyed = local()

    def install(self) -> None:
        """Have httpcore's lines pass through here; once, however often it is called."""
        for name in _HEADER_LOGGERS:
            logging.getLogger(name).addFilter(self)

    @contextmanager
    def around(self, request: Request) -> Iterator[None]:
        """While ``request`` is under way in this thread."""
        self._keyed.now = request.secret is not None
        try:
            yield
        finally:
            self._keyed.now = False

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a line to drop."""
        if not getattr(self._keyed, "now", False):
            return True
        return not record.getMessage().startswith("receive_response_headers.complete")


NO_ECHO = NoEcho()


class KeyedTransport(httpx.BaseTransport):
    """Puts the key in below the client, where nothing is logged.

    Parameters
    ----------
    inner : BaseTransport
        Sends the request with its key.
    """

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` with the `Secret` that its extension carries, if any."""
        secret: Secret | None = request.extensions.get(SECRET_EXTENSION)
        if secret is None:
            return self._inner.handle_request(request)
        key = secret.value.get_secret_value()
        url, headers = request.url, request.headers.copy()
        if secret.place == "path":
            path = url.raw_path.replace(KEY_PLACE.encode(), quote(key, safe="").encode(), 1)
            url = url.copy_with(raw_path=path)
        elif secret.place == "query":
            url = url.copy_add_param(secret.name, key)
        else:
            headers[secret.name] = key
        others = {
            name: value for name, value in request.extensions.items() if name != SECRET_EXTENSION
        }
        return self._inner.handle_request(
            httpx.Request(
                request.method, url, headers=headers, stream=request.stream, extensions=others
            )
        )

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()
