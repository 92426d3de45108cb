"""Ties to the workers of a scan, whatever runs them, and those of this machine."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from voiceguard.archive.worker import Done, Hashed, NotReady, Ready, WorkerSettings, run

_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Died:
    """The worker process has died."""

    exitcode: int | None
    """Negative: the signal that killed it."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The machine that the worker ran on is gone; its files are not at fault."""

    why: str


Message = Ready | NotReady | Hashed | Done | Died | Lost


class Link(ABC):
    """A tie to one worker. It first says Ready or NotReady."""

    @abstractmethod
    def send(self, message: Any, *, answered: bool = True) -> None:
        """Send jobs or flags; ``answered`` says whether the worker will answer. A dead worker hears nothing."""

    @abstractmethod
    def receive(self) -> Message:
        """Return the worker's next message; waits for it."""

    @abstractmethod
    def close(self) -> None:
        """End the worker, if it lives."""

    @abstractmethod
    def kill(self) -> None:
        """End the worker at once, before :meth:`close`."""


class Crew(ABC):
    """Starts workers and listens to them."""

    @abstractmethod
    def start(self) -> Link:
        """Start one more worker."""

    @abstractmethod
    def heard(self, links: Sequence[Link]) -> list[Link]:
        """Wait until one of the workers has something to say, or has died; return those that have."""


class LocalCrew(Crew):
    """Worker processes of this machine, each with a pipe of its own."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

    def start(self) -> Link:
        """Start a process."""
        return LocalLink(self._settings)

    def heard(self, links: Sequence[Link]) -> list[Link]:
        """Wait on the pipes."""
        by_connection = {link.connection: link for link in links if isinstance(link, LocalLink)}
        return [by_connection[found] for found in multiprocessing.connection.wait(list(by_connection))]  # type: ignore[index]


class LocalLink(Link):
    """A worker process and the pipe to it."""

    def __init__(self, settings: WorkerSettings) -> None:
        # Spawned, not forked: a fork would copy this process's threads' locks and its open journal.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self.connection: Connection = ours
        self._process = context.Process(target=run, args=(theirs, settings), daemon=True)
        self._process.start()
        theirs.close()  # so that the pipe closes when the worker dies
        self._died: Died | None = None

    def send(self, message: Any, *, answered: bool = True) -> None:
        """Write into the pipe."""
        with suppress(BrokenPipeError, ConnectionResetError):  # it died; its closed pipe tells
            self.connection.send(message)

    def receive(self) -> Message:
        """Read from the pipe; a closed one means that the worker has died."""
        try:
            message: Message = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.close()
            assert self._died is not None
            return self._died
        return message

    def close(self) -> None:
        """Close the pipe, which ends a worker that lives, and see it off."""
        if self._died is not None:
            return
        self.connection.close()
        self._process.join(_PATIENCE_S)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        self._died = Died(self._process.exitcode)
        self._process.close()

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._died is None:
            self._process.kill()
