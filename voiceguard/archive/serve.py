"""What a worker process does, file after file, once it is set up."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from voiceguard.archive.jobs import Job
from voiceguard.archive.packed import ArchiveError
from voiceguard.archive.read import Held, NotAFile, Reader
from voiceguard.archive.rows import Scored, failed
from voiceguard.archive.screen import Prepared, Screen, load
from voiceguard.archive.storage import AddressError
from voiceguard.archive.worker import DeviceUnavailable, Done, Hashed, NotReady, Ready, WorkerSettings
from voiceguard.errors import AudioError, ModelError

_PREPARED_BYTES = 256 << 20
"""Decoded samples of several recordings that wait to be screened together."""


def serve(connection: Connection, settings: WorkerSettings) -> None:
    """Serve jobs from ``connection`` for ever.

    Raises
    ------
    EOFError, BrokenPipeError, ConnectionResetError
        The other end has gone.
    """
    try:
        screen = load(settings.model_dir, settings.device, keep_screenings=settings.keep_screenings)
    except (ModelError, DeviceUnavailable) as error:
        connection.send(NotReady(error))
        return
    if settings.device is None:  # a GPU's driver maps far more than it uses
        _limit_memory(settings.limits.memory_bytes)
    connection.send(Ready(screen.made_by))
    reader = Reader()
    while not _serve_once(connection, screen, reader, settings.limits.time_s):
        reader.forget()


def _serve_once(connection: Connection, screen: Screen, reader: Reader, time_s: float) -> bool:
    """Serve one batch; return whether it was the last."""
    jobs: tuple[Job, ...] = connection.recv()
    read = [_read(reader, job, time_s) for job in jobs]
    connection.send(Hashed(tuple(one if isinstance(one, Scored) else one.sha256 for one in read)))
    wanted = [
        one for one, go_on in zip(read, connection.recv(), strict=True) if go_on and isinstance(one, Held)
    ]
    del read
    if not wanted:
        return False
    results: list[Scored | None] = []
    done = False
    while wanted and not done:
        done = _screen_some(screen, reader, wanted, results, time_s)
    connection.send(Done((*results, *[None] * len(wanted)), last=done))
    return done


def _read(reader: Reader, job: Job, time_s: float) -> Held | Scored:
    try:
        with _time_limit(time_s):
            return reader.read(job)
    except Exception as error:
        return _failed(job.path, error)


def _screen_some(
    screen: Screen, reader: Reader, held: list[Held], results: list[Scored | None], time_s: float
) -> bool:
    """Screen as many of the first files as fit in memory; return whether memory ran out.

    What is done moves from ``held`` to ``results``.
    """
    some: list[Scored | Prepared] = []
    prepared_bytes = 0
    began_at = time.perf_counter()
    while held and prepared_bytes < _PREPARED_BYTES:
        one = held.pop(0)
        try:
            with _time_limit(time_s):
                ready = screen.prepare(one.job, one.sha256, reader.bytes_of(one))
            some.append(ready)
            prepared_bytes += ready.size_bytes
        except Exception as error:
            some.append(_failed(one.job.path, error, one.sha256))
            if _is_out_of_memory(error):
                results += [one if isinstance(one, Scored) else None for one in some]
                return True
    before = len(results)
    last = _finish(screen, some, results, time_s)
    share_s = (time.perf_counter() - began_at) / len(some)
    results[before:] = [one and dataclasses.replace(one, seconds=share_s) for one in results[before:]]
    return last


def _finish(
    screen: Screen, some: list[Scored | Prepared], results: list[Scored | None], time_s: float
) -> bool:
    """Do the rest for files that are prepared; the results go behind those that are there."""
    prepared = [one for one in some if isinstance(one, Prepared)]
    finished: list[Scored | None]
    last = False
    try:
        with _time_limit(time_s):
            finished = list(screen.finish(prepared))
    except Exception as error:
        last = _is_out_of_memory(error)
        # Of several files any may be at fault: each will be tried alone.
        finished = [None] * len(prepared)
        if len(prepared) == 1:
            finished = [_failed(prepared[0].job.path, error, prepared[0].sha256)]
    in_turn = iter(finished)
    results += [one if isinstance(one, Scored) else next(in_turn) for one in some]
    return last


def _failed(path: str, error: Exception, sha256: str | None = None) -> Scored:
    """Make the row of a file that raised ``error``."""
    if isinstance(error, AudioError):
        return failed(path, error.code, str(error), sha256)
    if isinstance(error, FileNotFoundError):
        return failed(path, "not_found", "No such file.", sha256)
    if isinstance(error, NotAFile):
        return failed(path, "not_a_file", str(error), sha256)
    if isinstance(error, ArchiveError):
        return failed(path, "unreadable_archive", str(error), sha256)
    if _is_out_of_memory(error):
        message = "Screening needs more than the memory limit; cut the recording or raise the limit."
        return failed(path, "out_of_memory", message, sha256)
    if isinstance(error, OSError | AddressError):
        said = getattr(error, "strerror", None) or error
        return failed(path, "unreadable_file", f"The file can't be read: {said}.", sha256)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    message = f"{type(error).__name__} at {place}: {error}. Please report this."
    return failed(path, "internal_error", message, sha256)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """End the process by SIGALRM when the block takes longer."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _limit_memory(limit_bytes: int) -> None:
    if sys.platform != "linux":
        return
    held = 0
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            held = int(line.split()[1]) * 1024
    # RLIMIT_DATA counts private writable memory; RLIMIT_AS also what onnxruntime reserves and never uses.
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (held + limit_bytes, hard))
