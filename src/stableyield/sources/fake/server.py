"""A small HTTP server on 127.0.0.1 that answers as it is told, faults of transport included."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from stableyield.sources.closing import Closing


@dataclass(frozen=True)
class Call:
    """What a client asked.

    Parameters
    ----------
    method : str
    path : str
        Without the query, unescaped.
    query, headers : mapping of str to str
        Names of headers in lower case.
    body : bytes
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What it gets.

    Parameters
    ----------
    body : bytes
    status : int
    headers : mapping of str to str
        All of them: no ``Date`` is added, for the clock of the play is not this machine's.
    cut_at : int, optional
        The connection is closed after so many bytes of the body, whatever was announced.
    delay_seconds : float
        Nothing is sent before; closing the server ends the wait.
    """

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    delay_seconds: float = 0.0


class LocalServer(Closing):
    """Serves on 127.0.0.1 in threads of its own until it is closed.

    Parameters
    ----------
    respond : callable
        Answers a call; used by several threads at once.
    port : int
        0 takes a free one.
    """

    def __init__(self, respond: Callable[[Call], Answer], port: int = 0) -> None:
        self._closing = threading.Event()
        handler = type("_Handler", (_Handler,), {"respond": staticmethod(respond)})
        handler.closing = self._closing  # type: ignore[attr-defined]
        self._server = _Server(("127.0.0.1", port), handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop serving; calls that are being held are let go."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(self) -> None:
        """Serve until interrupted."""
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a kept-alive connection of a client may be idle for long
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent: clients that hang up are part of the play."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together
    respond: Callable[[Call], Answer]
    closing: threading.Event

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is given
        """Silent: paths hold keys."""

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(self.command, unquote(parts.path), dict(parse_qsl(parts.query)), headers, body)
        answer = type(self).respond(call)
        if answer.delay_seconds and self.closing.wait(answer.delay_seconds):
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body[: answer.cut_at])
        self.wfile.flush()
        if answer.cut_at is not None:
            self.close_connection = True
