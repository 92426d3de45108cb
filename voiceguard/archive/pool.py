"""Worker processes that may die, and who does what.

The standard pools break as a whole when one process dies and can't say over which file. Here each worker has
one file at a time and a pipe of its own, so a death costs that file alone and a new worker takes the place.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Self

from voiceguard.archive.journal import Job
from voiceguard.archive.rows import Scored, failed, for_path
from voiceguard.archive.worker import Done, Hashed, NotReady, Ready, WorkerLimits, run
from voiceguard.errors import ModelError, VoiceGuardError

_FILES_PER_WORKER = 5000
"""After so many files a worker is replaced, lest a decoder's leaks add up over days."""
_DEATHS_BEFORE_CRASHED = 2
_DEATHS_AT_START = 3
_PATIENCE_S = 10.0


class WorkersFailed(VoiceGuardError):
    """The worker processes don't start."""

    code = "workers_failed"
    remedy = "Check free memory, or scan with fewer --jobs."


@dataclass(frozen=True, slots=True)
class Outcome:
    """A file that is done.

    Attributes
    ----------
    content
        What the result depends on: the SHA-256 and the extension, which names the codec of a file without a
        header. None when the bytes could not be read.
    """

    job: Job
    content: str | None
    result: Scored


@dataclass(slots=True)
class _Worker:
    process: multiprocessing.process.BaseProcess
    connection: Connection
    ready: bool = False
    job: Job | None = None
    sha256: str | None = None
    served: int = 0

    @property
    def content(self) -> str | None:
        assert self.job is not None
        return f"{self.sha256}{Path(self.job.path).suffix.lower()}" if self.sha256 else None


@dataclass(slots=True)
class _Queue:
    """Jobs by what stands between them and their result."""

    new: Iterator[Job]
    again: deque[Job] = field(default_factory=deque)
    """Jobs that a worker died over, or whose twin did not end with a result."""
    waiting: dict[str, list[Job]] = field(default_factory=dict)
    """Content that a worker scores at this moment -> other files with the same."""
    deaths: dict[str, int] = field(default_factory=dict)
    exhausted: bool = False

    def next(self) -> Job | None:
        if self.again:
            return self.again.popleft()
        job = next(self.new, None)
        self.exhausted = job is None
        return job

    @property
    def empty(self) -> bool:
        return self.exhausted and not self.again


class Pool:
    """Scores files in worker processes.

    Parameters
    ----------
    jobs
        How many workers at most, at least 1; no more are started than there is work for.
    model_dir
        The detector's folder; None takes the shipped one.
    limits
        What one file may cost.
    """

    def __init__(self, jobs: int, model_dir: Path | None, limits: WorkerLimits) -> None:
        self._jobs = jobs
        self._arguments = (model_dir, limits)
        self._time_limit_s = limits.time_s
        self._workers: list[_Worker] = []
        self._deaths_at_start = 0

    def __enter__(self) -> Self:
        self._spawn()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            self._bury(worker)
        self._workers.clear()

    def made_by(self) -> str:
        """Name what determines a result beside the file itself, once the first worker is ready.

        Raises
        ------
        ModelError
            The detector can't be loaded.
        WorkersFailed
            Workers die before they have loaded it.
        """
        while True:
            if not self._workers:
                self._spawn()
            worker = self._workers[0]
            message = _receive(worker)
            if isinstance(message, Ready):
                worker.ready = True
                self._deaths_at_start = 0
                return message.made_by
            assert message is None or isinstance(message, NotReady), "it has had no file yet"
            self._lose(worker, message)

    def score(self, jobs: Iterator[Job], known: Callable[[str], Scored | None]) -> Iterator[Outcome]:
        """Score files, each exactly once, and yield each as it is done, in no particular order.

        Parameters
        ----------
        jobs
            The files. Taken one at a time, when a worker is free.
        known
            Returns the result that an earlier outcome with the same content had, or None. The caller must
            have taken note of an outcome before it asks for the next.

        Raises
        ------
        WorkersFailed
            Workers die before they have loaded the detector.
        """
        queue = _Queue(jobs)
        while True:
            self._hand_out(queue)
            if queue.empty and not any(worker.job for worker in self._workers):
                return
            while len(self._workers) < self._jobs and not queue.empty:
                self._spawn()
            for connection in wait([worker.connection for worker in self._workers]):
                worker = next(worker for worker in self._workers if worker.connection is connection)
                yield from self._hear(worker, queue, known)

    def _hand_out(self, queue: _Queue) -> None:
        for worker in self._workers:
            if worker.ready and worker.job is None:
                job = queue.next()
                if job is None:
                    return
                worker.job, worker.sha256 = job, None
                worker.served += 1
                with suppress(BrokenPipeError, ConnectionResetError):  # it died; its closed pipe tells
                    worker.connection.send(job.path)

    def _hear(
        self, worker: _Worker, queue: _Queue, known: Callable[[str], Scored | None]
    ) -> Iterator[Outcome]:
        message = _receive(worker)
        if isinstance(message, Ready):
            worker.ready = True
            self._deaths_at_start = 0
        elif isinstance(message, Hashed):
            yield from self._decide(worker, message.sha256, queue, known)
        elif isinstance(message, Done):
            yield from self._finish(worker, message.result, queue)
            if message.last or worker.served >= _FILES_PER_WORKER:
                self._retire(worker)
        else:
            yield from self._mourn(worker, message, queue)

    def _decide(
        self, worker: _Worker, sha256: str, queue: _Queue, known: Callable[[str], Scored | None]
    ) -> Iterator[Outcome]:
        """Let the worker go on, unless the same content is known or being scored."""
        job = worker.job
        assert job is not None
        worker.sha256 = sha256
        content = worker.content
        assert content is not None
        twin = known(content)
        go_on = twin is None and content not in queue.waiting
        with suppress(BrokenPipeError, ConnectionResetError):
            worker.connection.send(go_on)
        if go_on:
            queue.waiting[content] = []
            return
        worker.job = None
        if twin is None:
            queue.waiting[content].append(job)
        else:
            yield Outcome(job, content, for_path(twin, job.path))

    def _finish(self, worker: _Worker, result: Scored, queue: _Queue) -> Iterator[Outcome]:
        """Give the worker's file its result, and its twins the same."""
        job, content = worker.job, worker.content
        assert job is not None
        worker.job = None
        queue.deaths.pop(job.path, None)
        yield Outcome(job, content, result)
        for twin in queue.waiting.pop(content, []) if content else []:
            yield Outcome(twin, content, for_path(result, twin.path))

    def _mourn(self, worker: _Worker, message: NotReady | None, queue: _Queue) -> Iterator[Outcome]:
        """Replace a dead worker; its file is tried once more, or has its result."""
        exitcode = self._lose(worker, message)
        job = worker.job
        if job is None:
            return
        if exitcode == -signal.SIGALRM:
            reason = f"Screening took longer than {self._time_limit_s:g} seconds."
            yield from self._finish(worker, failed(job.path, "timed_out", reason, worker.sha256), queue)
            return
        deaths = queue.deaths[job.path] = queue.deaths.get(job.path, 0) + 1
        if deaths < _DEATHS_BEFORE_CRASHED:
            # Perhaps it died of something else, such as the system running out of memory.
            if worker.content:
                queue.again.extend(queue.waiting.pop(worker.content, []))
            queue.again.appendleft(job)
            return
        reason = f"The decoder died over this file, twice ({_cause(exitcode)})."
        yield from self._finish(worker, failed(job.path, "crashed", reason, worker.sha256), queue)

    def _lose(self, worker: _Worker, message: NotReady | None) -> int | None:
        """Take leave of a worker that has died."""
        self._workers.remove(worker)
        exitcode = self._bury(worker)
        if isinstance(message, NotReady):
            raise ModelError(message.message)
        if not worker.ready:
            self._deaths_at_start += 1
            if self._deaths_at_start >= _DEATHS_AT_START:
                raise WorkersFailed(
                    f"{_DEATHS_AT_START} worker processes in a row died before they had loaded the detector"
                    f" ({_cause(exitcode)})."
                )
        return exitcode

    def _retire(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self._bury(worker)

    def _bury(self, worker: _Worker) -> int | None:
        worker.connection.close()  # a worker that lives ends when its pipe closes
        worker.process.join(_PATIENCE_S)
        if worker.process.exitcode is None:
            worker.process.kill()
            worker.process.join()
        exitcode = worker.process.exitcode
        worker.process.close()
        return exitcode

    def _spawn(self) -> None:
        # Spawned, not forked: a fork would copy this process's threads' locks and its open journal.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=run, args=(theirs, *self._arguments), daemon=True)
        process.start()
        theirs.close()  # so that the pipe closes when the worker dies
        self._workers.append(_Worker(process, ours))


def _receive(worker: _Worker) -> Ready | NotReady | Hashed | Done | None:
    """Return the worker's next message; None when it has died."""
    try:
        message: Ready | NotReady | Hashed | Done = worker.connection.recv()
    except (EOFError, ConnectionResetError):
        return None
    return message


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return signal.Signals(-exitcode).name
    return f"exit code {exitcode}"
