"""Loops over samples and frames, compiled by numba: one process at a time.

numba keeps the machine code in files. Two processes that fill those files at the same moment can take the same
file name for two functions; from then on every process that loads them crashes. So they lie in a folder of
VoiceGuard's own, under a lock.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])

_waiting: dict[str, list[tuple[Callable[..., Any], tuple[str, ...]]]] = {}
_one_thread = threading.Lock()


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
    """Have a function compiled for the given types of its arguments, or what is kept of it loaded.

    That is done for all such functions of a module, in their order, when one of them is first called: numba takes
    long to import, and most commands never screen. From then on the module holds the machine code in their place.
    Sums are taken in the order that suits the processor, and numbers taken to be finite.

    Parameters
    ----------
    *signatures : str
        Types of result and arguments as numba writes them, such as ``"float32(float32[::1])"``.
    """

    def _wait(function: Function) -> Function:
        names = function.__globals__

        @functools.wraps(function)
        def _first_call(*arguments: Any) -> Any:
            _compile(function.__module__)
            return names[function.__name__](*arguments)

        _waiting.setdefault(function.__module__, []).append((function, signatures))
        return cast("Function", _first_call)

    return _wait


def _compile(module: str) -> None:
    with _one_thread, one_compiler():
        import numba

        # Another thread may have done it meanwhile.
        for function, signatures in _waiting.pop(module, []):
            jit = numba.njit(list(signatures), cache=True, nogil=True, fastmath=True)
            function.__globals__[function.__name__] = jit(function)


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
