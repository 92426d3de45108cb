"""A worker process: where recordings lie comes in, rows go out.

A worker is the only place where bytes from strangers meet decoders, so it is a process that may die. It keeps
to one thread, to a time limit a file that the kernel enforces (a decoder that loops in C heeds nothing else)
and to a memory limit; and it ends when the scan does, however that ends.

Error codes of rows, beside those of :mod:`voiceguard.errors`:

``not_found``, ``not_a_file``, ``unreadable_file``
    The file system or the store does not give the bytes.
``unreadable_archive``
    The tar or zip file can't be read, or not there.
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
import os
import resource
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voiceguard.errors import VoiceGuardError
from voiceguard.processes import one_thread

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from voiceguard.archive.rows import Scored


class DeviceUnavailable(VoiceGuardError):
    """Scores can't be computed on the device that was asked for."""

    code = "device_unavailable"
    remedy = (
        "Install a torch for your GPU (pytorch.org) and pip install 'voiceguard-screening[train]', or leave "
        "--device out: without a GPU, scores are computed faster without torch."
    )


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
class WorkerSettings:
    """How a worker works.

    Attributes
    ----------
    model_dir
        The detector's folder; None takes the shipped one.
    limits
        What one file may cost.
    device
        Where torch computes scores, such as ``cuda``; None computes them without torch.
    keep_screenings
        Whether results hold all that was found, as an import into the review database needs it.
    """

    model_dir: Path | None
    limits: WorkerLimits
    device: str | None = None
    keep_screenings: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has loaded the detector."""

    made_by: str
    """VoiceGuard's version and the model's: what determines a result beside the file itself."""


@dataclass(frozen=True, slots=True)
class NotReady:
    """The worker can't load the detector and ends."""

    error: VoiceGuardError


@dataclass(frozen=True, slots=True)
class Hashed:
    """The worker has read its files and waits to hear, as a tuple of bool, which of them to screen."""

    found: tuple[str | Scored, ...]
    """Each file's SHA-256, or what there is to say of one that can't be read."""


@dataclass(frozen=True, slots=True)
class Done:
    """The results of the files that were to be screened, in their order."""

    results: tuple[Scored | None, ...]
    """None for a file that it did not come to."""
    last: bool = False
    """Whether the worker ends now, because its memory can't be trusted any more."""


def run(connection: Connection, settings: WorkerSettings) -> None:
    """Serve jobs from ``connection`` until it closes; the body of a worker process."""
    _become_a_worker()
    # Imported only now, since numpy reads the number of threads when it is imported.
    from voiceguard.archive.serve import serve

    # The scan has gone when the pipe is closed; nobody is left to tell.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        serve(connection, settings)


def _become_a_worker() -> None:
    # Ctrl-C and a service manager's stop reach the whole process group. The scan decides: a worker that
    # died of them would cost a row.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    one_thread()
    # A crash of a decoder is a row, not a core dump of somebody's phone call.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Decoders write to the terminal past Python, into the progress bar.
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    os.close(silence)
