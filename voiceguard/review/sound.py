"""What a browser plays and draws of a recording: a channel as WAV, its outline, its spectrogram."""

from __future__ import annotations

import io
import threading
import wave
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from voiceguard.audio import RATE_HZ, Recording, decode
from voiceguard.store.recordings import Recordings

COLUMNS = 1600
"""More detail along time no screen shows."""
_FRAME = 256
_RANGE_DB = 70.0
_MOST_KEPT_BYTES = 256 << 20


@dataclass(frozen=True)
class Outline:
    """A channel as it is drawn."""

    duration_s: float
    peaks: list[float]
    """Lowest and highest sample of each column in turn, −1..1."""


class Sounds:
    """Decoded recordings, the last ones kept: a player asks for the same one many times."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Recording] = OrderedDict()
        self._lock = threading.Lock()
        self._decoding: dict[str, threading.Lock] = {}

    def recording(self, recordings: Recordings, sha256: str) -> Recording:
        """Return a recording, decoded."""
        with self._lock:
            mine = self._decoding.setdefault(sha256, threading.Lock())
        # A page asks for sound, outline and spectrogram at once: one decodes, the others wait for it.
        with mine:
            with self._lock:
                if sha256 in self._kept:
                    self._kept.move_to_end(sha256)
                    self._decoding.pop(sha256, None)
                    return self._kept[sha256]
            found = decode(recordings.read(sha256))
            with self._lock:
                self._decoding.pop(sha256, None)
                self._kept[sha256] = found
                while len(self._kept) > 1 and sum(map(_size, self._kept.values())) > _MOST_KEPT_BYTES:
                    self._kept.popitem(last=False)
            return found


def _size(recording: Recording) -> int:
    return sum(samples.nbytes for samples in recording.channels)


def as_wav(samples: np.ndarray) -> bytes:
    """Return samples, shape (n,), float32, −1..1, as 16-bit PCM, which every browser plays."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def outline(samples: np.ndarray) -> Outline:
    """Return what the player draws before a single sample has been sent."""
    width = max(-(-len(samples) // COLUMNS), 1)
    padded = np.pad(samples, (0, -len(samples) % width)) if len(samples) else np.zeros(1, np.float32)
    blocks = padded.reshape(-1, width)
    pairs = np.stack([blocks.min(axis=1), blocks.max(axis=1)], axis=1)
    top = float(np.abs(pairs).max()) or 1.0
    return Outline(len(samples) / RATE_HZ, [round(float(one), 3) for one in (pairs / top).ravel()])


def spectrogram(samples: np.ndarray) -> bytes:
    """Return a picture of the spectrum over time: time along, 0 to 4 kHz upwards, 70 dB, as PNG."""
    import matplotlib
    from matplotlib.image import imsave

    if len(samples) < _FRAME:
        samples = np.pad(samples, (0, _FRAME - len(samples)))
    hop = max((len(samples) - _FRAME) // COLUMNS, 40)
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FRAME), axis=1)) ** 2
    level_db = 10 * np.log10(power.T[::-1] + 1e-10)
    top = float(level_db.max())
    out = io.BytesIO()
    imsave(out, level_db, cmap=matplotlib.colormaps["magma"], vmin=top - _RANGE_DB, vmax=top, format="png")
    return out.getvalue()
