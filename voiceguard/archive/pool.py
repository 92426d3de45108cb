"""Who does what, and what becomes of a file whose worker dies.

The standard pools break as a whole when one process dies and can't say over which file. Here each worker has
its own files (one, but for a GPU's) and a link of its own, so a death costs these files alone and a new worker
takes the place. Several files of a dead worker are tried again one by one: the guilty one then dies alone.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

from voiceguard.archive.jobs import Job
from voiceguard.archive.links import Crew, Died, Link, Lost
from voiceguard.archive.rows import Scored, failed, for_path
from voiceguard.archive.worker import Done, Hashed, NotReady, Ready
from voiceguard.errors import ModelError, VoiceGuardError

_FILES_PER_WORKER = 5000
"""After so many files a worker is replaced, lest a decoder's leaks add up over days."""
_DEATHS_BEFORE_CRASHED = 2
_LOSSES_BEFORE_CRASHED = 8
"""Of the machine: a file that it was lost over so often is left alone."""
_DEATHS_AT_START = 3
_LOSSES_AT_START = 20


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
class _Task:
    """A file in a worker's hands."""

    job: Job
    sha256: str | None = None

    @property
    def content(self) -> str | None:
        return f"{self.sha256}{self.job.suffix}" if self.sha256 else None


@dataclass(slots=True)
class _Worker:
    link: Link
    ready: bool = False
    tasks: list[_Task] = field(default_factory=list)
    served: int = 0


@dataclass(slots=True)
class _Queue:
    """Jobs by what stands between them and their result."""

    new: Iterator[Job]
    again: deque[Job] = field(default_factory=deque)
    """Jobs that a worker died over, or whose twin did not end with a result: each alone."""
    waiting: dict[str, list[Job]] = field(default_factory=dict)
    """Content that a worker scores at this moment -> other files with the same."""
    deaths: dict[str, int] = field(default_factory=dict)
    losses: dict[str, int] = field(default_factory=dict)
    exhausted: bool = False

    def next(self, most: int) -> list[Job]:
        if self.again:
            return [self.again.popleft()]
        jobs: list[Job] = []
        while len(jobs) < most and not self.exhausted:
            job = next(self.new, None)
            if job is None:
                self.exhausted = True
            else:
                jobs.append(job)
        return jobs

    @property
    def empty(self) -> bool:
        return self.exhausted and not self.again


class Pool:
    """Scores files in worker processes.

    Parameters
    ----------
    jobs
        How many workers at most, at least 1; no more are started than there is work for.
    crew
        Starts the workers.
    time_limit_s
        What one file may take, for the message about one that takes longer.
    at_once
        Files that a worker is given together.
    """

    def __init__(self, jobs: int, crew: Crew, *, time_limit_s: float, at_once: int = 1) -> None:
        self._jobs = jobs
        self._crew = crew
        self._time_limit_s = time_limit_s
        self._at_once = at_once
        self._workers: list[_Worker] = []
        self._deaths_at_start = 0
        self._made_by: str | None = None

    def __enter__(self) -> Self:
        self._spawn()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.link.kill()
        for worker in self._workers:
            worker.link.close()
        self._workers.clear()

    def made_by(self) -> str:
        """Name what determines a result beside the file itself, once the first worker is ready.

        Raises
        ------
        ModelError, DeviceUnavailable
            The detector can't be loaded, or not there.
        WorkersFailed
            Workers die before they have loaded it.
        """
        while self._made_by is None:
            if not self._workers:
                self._spawn()
            worker = self._workers[0]
            message = worker.link.receive()
            if isinstance(message, Ready):
                self._welcome(worker, message)
            else:
                assert not isinstance(message, Hashed | Done), "it has had no file yet"
                self._lose(worker, message)
        return self._made_by

    def score(self, jobs: Iterator[Job], known: Callable[[str], Scored | None]) -> Iterator[Outcome]:
        """Score files, each exactly once, and yield each as it is done, in no particular order.

        Parameters
        ----------
        jobs
            The files. Taken when a worker is free.
        known
            Returns the result that an earlier outcome with the same content had, or None. The caller must
            have taken note of an outcome before it asks for the next.

        Raises
        ------
        ModelError
            A worker of another machine has another detector.
        WorkersFailed
            Workers die before they have loaded the detector.
        """
        queue = _Queue(jobs)
        while True:
            self._hand_out(queue)
            if queue.empty and not any(worker.tasks for worker in self._workers):
                return
            while len(self._workers) < self._jobs and not queue.empty:
                self._spawn()
            for link in self._crew.heard([worker.link for worker in self._workers]):
                worker = next(worker for worker in self._workers if worker.link is link)
                yield from self._hear(worker, queue, known)

    def _hand_out(self, queue: _Queue) -> None:
        for worker in self._workers:
            if worker.ready and not worker.tasks:
                jobs = queue.next(self._at_once)
                if not jobs:
                    return
                worker.tasks = [_Task(job) for job in jobs]
                worker.served += len(jobs)
                worker.link.send(tuple(jobs))

    def _hear(
        self, worker: _Worker, queue: _Queue, known: Callable[[str], Scored | None]
    ) -> Iterator[Outcome]:
        message = worker.link.receive()
        if isinstance(message, Ready):
            self._welcome(worker, message)
        elif isinstance(message, Hashed):
            yield from self._decide(worker, message, queue, known)
        elif isinstance(message, Done):
            tasks, worker.tasks = worker.tasks, []
            for task, result in zip(tasks, message.results, strict=True):
                if result is None:
                    self._try_again(task, queue)
                else:
                    yield from self._finish(task, result, queue)
            if message.last or worker.served >= _FILES_PER_WORKER:
                self._workers.remove(worker)
                worker.link.close()
        else:
            yield from self._mourn(worker, message, queue)

    def _welcome(self, worker: _Worker, message: Ready) -> None:
        if self._made_by not in (None, message.made_by):
            raise ModelError(
                f"Expected workers with one detector, but one has {message.made_by}, and another {self._made_by}."
            )
        self._made_by = message.made_by
        worker.ready = True
        self._deaths_at_start = 0

    def _decide(
        self, worker: _Worker, message: Hashed, queue: _Queue, known: Callable[[str], Scored | None]
    ) -> Iterator[Outcome]:
        """Let the worker go on with each file, unless the same content is known or being scored."""
        flags: list[bool] = []
        outcomes: list[Outcome] = []
        for task, found in zip(worker.tasks, message.found, strict=True):
            go_on = False
            if isinstance(found, Scored):
                outcomes.extend(self._finish(task, found, queue))
            else:
                task.sha256 = found
                content = task.content
                assert content is not None
                twin = known(content)
                if twin is not None:
                    outcomes.append(Outcome(task.job, content, for_path(twin, task.job.path)))
                elif content in queue.waiting:
                    queue.waiting[content].append(task.job)
                else:
                    queue.waiting[content] = []
                    go_on = True
            flags.append(go_on)
        worker.tasks = [task for task, go_on in zip(worker.tasks, flags, strict=True) if go_on]
        worker.link.send(tuple(flags), answered=bool(worker.tasks))
        yield from outcomes

    def _finish(self, task: _Task, result: Scored, queue: _Queue) -> Iterator[Outcome]:
        """Give a file its result, and its twins the same."""
        content = task.content
        queue.deaths.pop(task.job.path, None)
        queue.losses.pop(task.job.path, None)
        yield Outcome(task.job, content, result)
        for twin in queue.waiting.pop(content, []) if content else []:
            yield Outcome(twin, content, for_path(result, twin.path))

    def _mourn(self, worker: _Worker, message: NotReady | Died | Lost, queue: _Queue) -> Iterator[Outcome]:
        """Replace a dead worker; its files are tried once more, or have their result."""
        self._lose(worker, message)
        if len(worker.tasks) > 1:
            for task in worker.tasks:
                self._try_again(task, queue)
            return
        for task in worker.tasks:
            result = self._blame(task.job.path, message, queue, task.sha256)
            if result is not None:
                yield from self._finish(task, result, queue)
            else:
                self._try_again(task, queue)

    def _blame(
        self, path: str, message: NotReady | Died | Lost, queue: _Queue, sha256: str | None
    ) -> Scored | None:
        """Say what became of a file that was alone with a worker; None lets it be tried once more."""
        if isinstance(message, Died) and message.exitcode == -signal.SIGALRM:
            reason = f"Screening took longer than {self._time_limit_s:g} seconds."
            return failed(path, "timed_out", reason, sha256)
        if isinstance(message, Died):
            # Once, it may have died of something else, such as the system running out of memory.
            deaths = queue.deaths[path] = queue.deaths.get(path, 0) + 1
            if deaths >= _DEATHS_BEFORE_CRASHED:
                reason = f"The decoder died over this file, twice ({_cause(message)})."
                return failed(path, "crashed", reason, sha256)
            return None
        losses = queue.losses[path] = queue.losses.get(path, 0) + 1
        if losses >= _LOSSES_BEFORE_CRASHED:
            return failed(path, "crashed", f"{losses} machines were lost over this file.", sha256)
        return None

    def _try_again(self, task: _Task, queue: _Queue) -> None:
        if task.content:
            queue.again.extend(queue.waiting.pop(task.content, []))
        queue.again.appendleft(task.job)

    def _lose(self, worker: _Worker, message: NotReady | Died | Lost) -> None:
        """Take leave of a worker that has died."""
        self._workers.remove(worker)
        worker.link.close()
        if isinstance(message, NotReady):
            raise message.error
        if not worker.ready:
            self._deaths_at_start += 1
            most = _DEATHS_AT_START if isinstance(message, Died) else _LOSSES_AT_START
            if self._deaths_at_start >= most:
                raise WorkersFailed(
                    f"{most} worker processes in a row died before they had loaded the detector"
                    f" ({_cause(message)})."
                )

    def _spawn(self) -> None:
        self._workers.append(_Worker(self._crew.start()))


def _cause(message: Died | Lost) -> str:
    if isinstance(message, Lost):
        return f"their machines were lost: {message.why}"
    if message.exitcode is not None and message.exitcode < 0:
        return signal.Signals(-message.exitcode).name
    return f"exit code {message.exitcode}"
