"""librosa, imported by one process at a time.

librosa compiles parts of itself by numba when it is imported, and numba keeps the machine code in files. Two
processes that fill those files at the same moment can take the same file name for two functions; from then on
every process that loads them crashes. So they lie in a folder of VoiceGuard's own, under a lock.
"""

from __future__ import annotations

import fcntl
import functools
import importlib
import os
import tempfile
from pathlib import Path
from types import ModuleType

_COMPILED = ("librosa.core.pitch", "librosa.core.spectrum", "librosa.feature.spectral", "librosa.util.utils")
"""The modules in use; librosa imports them when a name of theirs is first used, which would be after the lock."""


@functools.cache
def librosa() -> ModuleType:
    """Import librosa and what of it is used; it compiles itself in the first process ever to do so.

    Returns
    -------
    module
        librosa. Where the cache folder of the user can't be written, it is compiled in this process alone.
    """
    folder = _folder()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.environ.setdefault("NUMBA_CACHE_DIR", str(folder))
        for name in _COMPILED:
            importlib.import_module(name)
    return importlib.import_module("librosa")


def _folder() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "voiceguard" / "numba"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lock").touch()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="voiceguard-numba-"))
    return folder
