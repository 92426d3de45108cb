"""A carrier's side of webhooks: a real HTTP server on loopback that keeps what it got."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any


@dataclasses.dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the receiver answers."""

    status: int = 204
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    endless: bool = False
    """Send body until the client closes."""


class Receiver:
    """Answers each POST as `answer` says; `requests` holds them all, in order."""

    def __init__(
        self, tls: ssl.SSLContext | None = None, family: socket.AddressFamily = socket.AF_INET
    ) -> None:
        self.requests: list[Received] = []
        self.answer: Callable[[Received], Answer] = lambda _received: Answer()
        self._server = _Server(self, tls, family)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    @property
    def ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.requests]

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, owner: Receiver, tls: ssl.SSLContext | None, family: socket.AddressFamily) -> None:
        self.owner = owner
        self.tls = tls
        self.address_family = family
        super().__init__(("127.0.0.1" if family == socket.AF_INET else "::1", 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        with contextlib.suppress(OSError), self.tls.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients here hang up on purpose."""


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        owner = self.server.owner  # type: ignore[attr-defined]
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if len(body) < length:
            return  # the sender was killed half-way
        headers = {name.lower(): value for name, value in self.headers.items()}
        received = Received(self.path, headers, body)
        owner.requests.append(received)
        answer = owner.answer(received)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        while answer.endless:
            self.wfile.write(b"x" * 65536)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""
