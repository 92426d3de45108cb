"""What a decoder hands over: facts of the recording, then blocks of samples."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from voiceguard.errors import AudioError, DamagedRecording


@dataclass
class Stream:
    """One recording while it is decoded.

    Attributes
    ----------
    blocks : iterator of np.ndarray [shape=(n, channels), float32]
        Native samples in order, full scale at ±1; blocks are some seconds long, so that caps bite early.
    declared_frames : int or None
        Frames that the header promises; a hint that may lie.
    notes : list of str
        What was odd about the recording; grows while ``blocks`` is drained.
    """

    codec: str
    rate_hz: int
    channels: int
    decoder: str
    blocks: Iterator[np.ndarray]
    declared_frames: int | None = None
    notes: list[str] = field(default_factory=list)


@contextlib.contextmanager
def blame_recording(expected: str) -> Iterator[None]:
    """Turn whatever a decoding library raises into DamagedRecording: on strangers' bytes it may be anything."""
    try:
        yield
    except (AudioError, MemoryError):
        raise
    except Exception as error:
        raise DamagedRecording(f"Expected {expected}, but: {reason(error)}.") from error


def reason(error: Exception) -> str:
    """Return what a library says went wrong, without its file names and numbers."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return str(text).strip().rstrip(".") or type(error).__name__
