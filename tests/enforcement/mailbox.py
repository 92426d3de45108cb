"""A provider's mail server: aiosmtpd on loopback, which keeps what it took."""

from __future__ import annotations

import email
import socket
import threading
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import default
from types import TracebackType
from typing import Any

from aiosmtpd.controller import Controller


class Mailbox:
    """Takes each mail unless `answer` says otherwise; `mails` holds those that it took, in order."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refuse: dict[str, str] = {}
        """Answer to RCPT by address."""
        self.answer: Callable[[EmailMessage], str] = lambda _mail: "250 taken"
        self.arrived = threading.Condition()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    @property
    def ids(self) -> list[str]:
        return [str(mail["message-id"]) for mail in self.mails]

    def wait(self, count: int, timeout_s: float = 60.0) -> bool:
        with self.arrived:
            return self.arrived.wait_for(lambda: len(self.mails) >= count, timeout_s)

    async def handle_RCPT(
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:
        mail = email.message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        said = self.answer(mail)
        if said == "hang up":
            server.transport.close()
            return "421 gone"
        if said.startswith("250"):
            with self.arrived:
                self.mails.append(mail)
                self.arrived.notify_all()
        return said

    def __enter__(self) -> Mailbox:
        self._controller.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._controller.stop()
