"""Loops over samples and frames, compiled by numba: one process at a time.

numba keeps the machine code in files. Two processes that fill those files at the same moment can take the same
file name for two functions; from then on every process that loads them crashes. So they lie in a folder of
VoiceGuard's own, under a lock.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])


@contextmanager
def one_compiler() -> Iterator[None]:
    """Wait until no other process compiles, and keep others waiting meanwhile.

    Where the cache folder of the user can't be written, the machine code is this process's and its children's.
    """
    folder = _folder()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.environ["NUMBA_CACHE_DIR"] = str(folder)
        yield


def compiled(*signatures: str) -> Callable[[Function], Function]:
    """Compile a function for the given types of its arguments when it is defined, or load what is kept of it.

    Sums are taken in the order that suits the processor, and numbers taken to be finite.

    Parameters
    ----------
    *signatures : str
        Types of result and arguments as numba writes them, such as ``"float32(float32[::1])"``.
    """

    def _compile(function: Function) -> Function:
        with one_compiler():
            import numba

            return cast(
                "Function", numba.njit(list(signatures), cache=True, nogil=True, fastmath=True)(function)
            )

    return _compile


def _folder() -> Path:
    kept = os.environ.get("NUMBA_CACHE_DIR")
    try:
        folder = Path(kept) if kept else _cache_of_the_user() / "voiceguard" / "numba"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lock").touch()
    except (OSError, RuntimeError):  # there may be no home at all
        folder = Path(tempfile.mkdtemp(prefix="voiceguard-numba-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _cache_of_the_user() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
