"""How a process that screens is set up: one thread, and memory that it keeps."""

from __future__ import annotations

import ctypes
import os

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
# Of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_KEPT_BYTES, _KEPT_BLOCK_BYTES = 64 * 2**20, 16 * 2**20


def one_thread() -> None:
    """Keep numerical libraries to one thread, here if they are not loaded yet, and in processes that start later.

    With several screening processes on a machine, more threads only wait for one another.
    """
    for name in _VARIABLES:
        os.environ[name] = "1"


def keep_memory() -> None:
    """Let this process keep up to 64 MB of the memory it frees, for the arrays of the next recording.

    glibc gives megabytes back at once, and gets them page by page again: a fifth of the time that features take.
    Nothing happens with another C library.
    """
    _mallopt((_MMAP_THRESHOLD, _KEPT_BLOCK_BYTES), (_TRIM_THRESHOLD, _KEPT_BYTES))


def keep_all_memory() -> None:
    """Let this process keep all memory that it frees: one that trains asks for the same hundreds of MB each step.

    Nothing happens with another C library.
    """
    _mallopt((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1))


def _mallopt(*options: tuple[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in options:
            mallopt(option, value)
