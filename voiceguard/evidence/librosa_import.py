"""librosa, imported by one process at a time: it compiles parts of itself by numba."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType

from voiceguard.compiled import one_compiler

_COMPILED = ("librosa.core.pitch", "librosa.core.spectrum", "librosa.feature.spectral", "librosa.util.utils")
"""The modules in use; librosa imports them when a name of theirs is first used, which would be after the lock."""


@functools.cache
def librosa() -> ModuleType:
    """Import librosa and what of it is used; it compiles itself in the first process ever to do so."""
    with one_compiler():
        for name in _COMPILED:
            importlib.import_module(name)
    return importlib.import_module("librosa")
