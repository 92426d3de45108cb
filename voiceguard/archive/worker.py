"""A worker process: paths in, rows out.

A worker is the only place where bytes from strangers meet decoders, so it is a process that may die. It keeps
to one thread, to a time limit a file that the kernel enforces (a decoder that loops in C heeds nothing else)
and to a memory limit; and it ends when the scan does, however that ends.

Error codes of rows, beside those of :mod:`voiceguard.errors`:

``not_found``, ``not_a_file``, ``unreadable_file``
    The file system does not give the bytes.
``timed_out``
    Screening took longer than the time limit.
``out_of_memory``
    Screening needed more memory than the limit.
``crashed``
    The worker process died over this file, twice.
``internal_error``
    VoiceGuard is at fault; please report it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import resource
import signal
import stat
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voiceguard import __version__
from voiceguard.errors import AudioError, ModelError, RecordingTooLarge

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from voiceguard.archive.rows import Scored
    from voiceguard.screening import Screener


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What one file may cost.

    Attributes
    ----------
    time_s
        Seconds until the kernel ends the worker.
    memory_bytes
        Memory beyond what the loaded detector holds. Kept by Linux alone; macOS has no such limit.
    """

    time_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has loaded the detector."""

    made_by: str
    """VoiceGuard's version and the model's: what determines a result beside the file itself."""


@dataclass(frozen=True, slots=True)
class NotReady:
    """The worker can't load the detector and ends."""

    message: str


@dataclass(frozen=True, slots=True)
class Hashed:
    """The worker has read a file and waits to hear, as a bool, whether to screen it."""

    sha256: str


@dataclass(frozen=True, slots=True)
class Done:
    """A file's result."""

    result: Scored
    last: bool = False
    """Whether the worker ends now, because its memory can't be trusted any more."""


def run(connection: Connection, model_dir: Path | None, limits: WorkerLimits) -> None:
    """Serve paths from ``connection`` until it closes; the body of a worker process."""
    _become_a_worker()
    # Imported only now, since numpy reads the number of threads when it is imported.
    from voiceguard.screening import Screener

    try:
        screener = Screener.load(model_dir)
    except ModelError as error:
        connection.send(NotReady(str(error)))
        return
    _limit_memory(limits.memory_bytes)
    # The scan has gone when the pipe is closed; nobody is left to tell.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        connection.send(Ready(_made_by(screener)))
        while True:
            done = _serve(connection, screener, connection.recv(), limits.time_s)
            if done is not None:
                connection.send(done)
                if done.last:
                    return


def _made_by(screener: Screener) -> str:
    from voiceguard import fingerprint

    record = screener.detector.record
    # Not the name alone: graph, features and thresholds decide too, and a name can be used again.
    digest = hashlib.sha256(repr(record).encode()).hexdigest()[:16]
    return f"voiceguard {__version__}, model {record.id} {digest}, fingerprint {fingerprint.VERSION}"


def _serve(connection: Connection, screener: Screener, path: str, time_s: float) -> Done | None:
    from voiceguard.archive import rows
    from voiceguard.audio import decode
    from voiceguard.screening import deciding_print

    sha256 = None
    try:
        with _time_limit(time_s):
            data = _read(path)
            sha256 = hashlib.sha256(data).hexdigest()
        connection.send(Hashed(sha256))
        if not connection.recv():
            return None
        with _time_limit(time_s):
            recording = decode(data, name=Path(path).name)
            screening = screener.screen_recording(recording)
            found = deciding_print(recording, screening)
            return Done(rows.scored(path, screening, found.to_bytes() if found else None))
    except AudioError as error:
        return Done(rows.failed(path, error.code, str(error), sha256))
    except FileNotFoundError:
        return Done(rows.failed(path, "not_found", "No such file.", sha256))
    except _NotAFile as error:
        return Done(rows.failed(path, "not_a_file", str(error), sha256))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except OSError as error:
        if error.errno == errno.ENOMEM:
            return Done(rows.failed(path, "out_of_memory", _OUT_OF_MEMORY, sha256), last=True)
        message = f"The file can't be read: {error.strerror or error}."
        return Done(rows.failed(path, "unreadable_file", message, sha256))
    except MemoryError:
        return Done(rows.failed(path, "out_of_memory", _OUT_OF_MEMORY, sha256), last=True)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        message = f"{type(error).__name__} at {place}: {error}. Please report this."
        return Done(rows.failed(path, "internal_error", message, sha256))


_OUT_OF_MEMORY = "Screening needs more than the memory limit; cut the recording or raise the limit."


class _NotAFile(Exception):
    """A path that is no regular file."""


def _read(path: str) -> bytes:
    from voiceguard.audio import Limits

    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        os.listdir(path)  # says why the folder can't be listed, which is why it came here
        raise _NotAFile("Expected a file, but this is a folder.")
    if not stat.S_ISREG(status.st_mode):
        raise _NotAFile("Expected a regular file, but this is a pipe, a socket or a device.")
    max_bytes = Limits().max_bytes
    if status.st_size > max_bytes:
        raise RecordingTooLarge(f"Expected at most {max_bytes} bytes, but the file has {status.st_size}.")
    with open(path, "rb") as file:
        return file.read(status.st_size + 1)


def _become_a_worker() -> None:
    # Ctrl-C and a service manager's stop reach the whole process group. The scan decides: a worker that
    # died of them would cost a row.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ[name] = "1"
    # A crash of a decoder is a row, not a core dump of somebody's phone call.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Decoders write to the terminal past Python, into the progress bar.
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    os.close(silence)


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
