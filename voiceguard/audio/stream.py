"""What a decoder hands over: facts of the recording, then blocks of samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np


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
