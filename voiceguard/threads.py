"""One thread for each process: processes are how screening scales."""

from __future__ import annotations

import os

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def one_thread() -> None:
    """Keep numerical libraries to one thread, here if they are not loaded yet, and in processes that start later.

    With several screening processes on a machine, more threads only wait for one another.
    """
    for name in _VARIABLES:
        os.environ[name] = "1"
