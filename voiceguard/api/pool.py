"""Screening in processes of their own: one for each core, and a crash ends one screening only.

A decoder that meets hostile bytes may crash or hang. Each worker is a pool of one process, so that such an
end breaks nobody else's screening; the process is replaced and the server goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import structlog

from voiceguard.api import worker
from voiceguard.audio import Limits
from voiceguard.errors import DamagedRecording, VoiceGuardError
from voiceguard.fingerprint import Fingerprint
from voiceguard.processes import keep_memory, one_thread
from voiceguard.screening import Screening
from voiceguard.streaming import Look

_ATTEMPTS = 2
"""A worker may die for reasons of its own; a second one that dies over the same recording accuses that."""

_T = TypeVar("_T")
_log = structlog.get_logger()


class NoWorker(VoiceGuardError):
    """No screening process came free in time."""

    code = "no_worker"
    remedy = "Come back later; if it lasts, the log says why the processes do not start."


@dataclass(frozen=True)
class _Lane:
    executor: ProcessPoolExecutor
    worker: worker.Worker


class ScreeningPool:
    """Screens files in processes; one event loop's property.

    Parameters
    ----------
    workers
        How many processes.
    model_dir
        Folder of the detector; None is the shipped one.
    limits
        What a recording may cost.
    timeout_s
        Seconds after which a screening's process is killed.
    """

    def __init__(self, workers: int, model_dir: Path | None, limits: Limits, timeout_s: float) -> None:
        self._workers = workers
        self._model_dir = model_dir
        self._limits = limits
        self._timeout_s = timeout_s
        self._idle: asyncio.Queue[_Lane] = asyncio.Queue()
        self._lanes: set[_Lane] = set()
        self._replacing: set[asyncio.Task[None]] = set()
        self.model = ""

    async def start(self) -> None:
        """Start the processes; raise `ModelError` if the detector can't be loaded."""
        one_thread()
        keep_memory()  # this process compares fingerprints
        lanes = await asyncio.gather(*(self._open() for _ in range(self._workers)))
        self.model = lanes[0].worker.model
        for lane in lanes:
            self._idle.put_nowait(lane)

    @property
    def alive(self) -> int:
        """How many processes are ready or at work."""
        return len(self._lanes)

    async def screen(
        self, path: Path, *, name: str | None = None, remote_channel: int | None = None
    ) -> tuple[Screening, float]:
        """Screen a file; return the screening and the seconds it took.

        Raises
        ------
        AudioError
            The recording can't be screened.
        NoWorker
            None of the processes came free.
        """
        return await self._run(worker.screen, str(path), name, remote_channel, self._limits)

    async def screen_and_print(
        self, path: Path, *, name: str | None = None, remote_channel: int | None = None
    ) -> tuple[Screening, Fingerprint | None, float]:
        """Screen a file of a call that is stored, and fingerprint it. Raises as `screen` does."""
        return await self._run(worker.screen_and_print, str(path), name, remote_channel, self._limits)

    async def look(
        self, stream: worker.StreamSoFar, *, remote_channel: int | None = None
    ) -> tuple[Look, float]:
        """Look at a running stream; return what was found and the seconds it took. Raises as `screen` does."""
        return await self._run(worker.look, stream, remote_channel, self._limits)

    async def _run(self, work: Callable[..., _T], *arguments: object) -> _T:
        """Do ``work`` in the next process that comes free."""
        for _ in range(_ATTEMPTS):
            try:
                lane = await asyncio.wait_for(self._idle.get(), timeout=self._timeout_s)
            except TimeoutError:
                raise NoWorker from None
            try:
                future = lane.executor.submit(work, *arguments)
                result = await asyncio.wait_for(
                    asyncio.shield(asyncio.wrap_future(future)), timeout=self._timeout_s
                )
            except TimeoutError:
                self._replace(lane)
                raise DamagedRecording(
                    f"Expected a recording that is screened in {self._timeout_s:g} s, but it was not."
                ) from None
            except BrokenProcessPool:
                _log.error("screening process died", pid=lane.worker.pid)
                self._replace(lane)
            except BaseException:
                self._idle.put_nowait(lane)
                raise
            else:
                self._idle.put_nowait(lane)
                return result
        raise DamagedRecording("Expected a decodable recording, but decoding it crashed twice.")

    async def close(self) -> None:
        """End the processes, also one that is at work."""
        for task in self._replacing:
            task.cancel()
        lanes = list(self._lanes)
        busy = set(lanes)
        while not self._idle.empty():
            busy.discard(self._idle.get_nowait())
        for lane in busy:
            self._end(lane)
        await asyncio.gather(*(asyncio.to_thread(lane.executor.shutdown) for lane in lanes))
        self._lanes.clear()

    async def _open(self) -> _Lane:
        executor = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        try:
            started = await asyncio.wrap_future(executor.submit(worker.start, self._model_dir))
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
        lane = _Lane(executor, started)
        self._lanes.add(lane)
        return lane

    def _end(self, lane: _Lane) -> None:
        self._lanes.discard(lane)
        with contextlib.suppress(ProcessLookupError):
            os.kill(lane.worker.pid, signal.SIGKILL)
        lane.executor.shutdown(wait=False, cancel_futures=True)

    def _replace(self, lane: _Lane) -> None:
        self._end(lane)
        task = asyncio.get_running_loop().create_task(self._open_again())
        self._replacing.add(task)
        task.add_done_callback(self._replacing.discard)

    async def _open_again(self) -> None:
        while True:
            try:
                self._idle.put_nowait(await self._open())
            except (VoiceGuardError, BrokenProcessPool, OSError) as error:
                _log.error("screening process does not start", error=str(error))
                await asyncio.sleep(5)
            else:
                return
