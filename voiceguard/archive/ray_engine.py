"""The same scan on a Ray cluster: workers are actors' processes on any node, all else stays as it is.

An actor supervises one worker process of its own, with the limits that a worker has on one machine. So a file that
kills its decoder costs a process, as everywhere, and only a node that is lost costs an actor; its files go to other
nodes. Nodes need VoiceGuard, the same detector, and access to the recordings.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError

from voiceguard.archive.links import Crew, Link, LocalLink, Lost, Message
from voiceguard.archive.worker import WorkerSettings


@contextlib.contextmanager
def cluster(settings: WorkerSettings) -> Iterator[RayCrew]:
    """Join the cluster that ``RAY_ADDRESS`` names or that this machine is part of, or start one here."""
    # Ray would report its use to its makers; VoiceGuard talks to nobody.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    joined = not ray.is_initialized()
    if joined:
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield RayCrew(settings)
    finally:
        if joined:
            ray.shutdown()


class RayCrew(Crew):
    """Workers on the nodes of a cluster that this process has joined."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        needs: dict[str, Any] = {"num_cpus": 1, "max_restarts": 0}
        if settings.device is not None and settings.device.startswith("cuda"):
            needs["num_gpus"] = 1
        self._unit = "GPU" if "num_gpus" in needs else "CPU"
        self._supervisor = ray.remote(**needs)(_Supervisor)

    def size(self) -> int:
        """How many workers the cluster has room for, at least 1."""
        return max(int(ray.cluster_resources().get(self._unit, 1)), 1)

    def start(self) -> Link:
        """Start an actor; it waits where the cluster has no room."""
        return RayLink(self._supervisor.remote(self._settings, os.getcwd()))

    def heard(self, links: Sequence[Link]) -> list[Link]:
        """Wait for an answer of an actor, or for its loss."""
        waiting = {
            link.pending: link for link in links if isinstance(link, RayLink) and link.pending is not None
        }
        done, _ = ray.wait(list(waiting), num_returns=1)
        return [waiting[ref] for ref in done]


class RayLink(Link):
    """An actor, and the answer that it owes."""

    def __init__(self, supervisor: Any) -> None:
        self._supervisor = supervisor
        self.pending: Any = supervisor.receive.remote()

    def send(self, message: Any, *, answered: bool = True) -> None:
        """Send to the actor; calls arrive in their order."""
        if answered:
            self.pending = self._supervisor.exchange.remote(message)
        else:
            self._supervisor.tell.remote(message)

    def receive(self) -> Message:
        """Return the answer that is pending."""
        pending, self.pending = self.pending, None
        try:
            message: Message = ray.get(pending)
        except RayActorError as error:
            return Lost(str(error).strip().splitlines()[0])
        return message

    def close(self) -> None:
        """End the actor, and with it its worker, whose pipe closes."""
        ray.kill(self._supervisor)

    def kill(self) -> None:
        """End the actor."""
        ray.kill(self._supervisor)


class _Supervisor:
    """Runs on a node: one worker process and the pipe to it."""

    def __init__(self, settings: WorkerSettings, folder: str) -> None:
        with contextlib.suppress(OSError):  # paths may be relative to where the scan was started
            os.chdir(folder)
        self._link = LocalLink(settings)

    def receive(self) -> Message:
        return self._link.receive()

    def exchange(self, message: Any) -> Message:
        self._link.send(message)
        return self._link.receive()

    def tell(self, message: Any) -> None:
        self._link.send(message)
