"""Published families of audio fingerprints, each as keys for one index, to compare with the learned one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.fft
import scipy.ndimage

from voiceguard.audio import RATE_HZ
from voiceguard.fingerprint import compute
from voiceguard.vad import FRAME_S, speech_frames

BIN_S = 0.36
"""Families with a key at every frame store one for each bin of this length."""


class Family(Protocol):
    """A way to make keys."""

    name: str

    def keys(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Make the keys to store and the keys to look up, each of shape (n,), int64, without repeats."""


@dataclass(frozen=True)
class Learned:
    """The fingerprint that VoiceGuard ships."""

    name: str = "learned projection"

    def keys(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`Family`."""
        made = compute(samples, speech_frames(samples))
        return made.keys(), made.query_keys()


@dataclass(frozen=True)
class SubFingerprints:
    """Haitsma and Kalker, "A highly robust audio fingerprinting system", ISMIR 2002: 32 bits a frame.

    Signs of how the difference of neighbouring bands changes from frame to frame; 33 bands in 300-2000 Hz, windows
    of 0.37 s. Stored: the frame of each bin whose weakest bit is the strongest, or every frame. Looked up: every
    frame, and with ``turned`` also with its weakest bits turned over one by one, as the paper proposes.
    """

    name: str = "sub-fingerprints"
    every_frame: bool = False
    turned: int = 1
    hop: int = 160
    window: int = 2960

    def keys(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`Family`."""
        speech = speech_frames(samples)
        if len(samples) < self.window + self.hop:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        frames = np.lib.stride_tricks.sliding_window_view(samples, self.window)[:: self.hop]
        power = np.abs(scipy.fft.rfft(frames * np.hanning(self.window).astype(np.float32), axis=1)) ** 2
        edges = np.geomspace(300, 2000, 34) * self.window / RATE_HZ
        total = np.concatenate([np.zeros((len(power), 1)), np.cumsum(power, axis=1)], axis=1)
        bands = np.diff(total[:, np.rint(edges).astype(int)], axis=1)
        change = np.diff(np.diff(bands, axis=1), axis=0)
        middle = (np.arange(len(change)) * self.hop + self.window / 2) / RATE_HZ / FRAME_S
        spoken = speech[np.minimum(middle.astype(int), len(speech) - 1)]
        change, place = change[spoken], np.flatnonzero(spoken)
        if len(change) == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        values = (change > 0) @ (1 << np.arange(32, dtype=np.int64))
        certainty = np.abs(change) / np.abs(change).mean(axis=0)
        weakest = np.argsort(certainty, axis=1)[:, : self.turned]
        asked = np.concatenate([values, *(values ^ (1 << weakest[:, n]) for n in range(self.turned))])
        if self.every_frame:
            return np.unique(values), np.unique(asked)
        bins = (place * self.hop / RATE_HZ / BIN_S).astype(int)
        order = np.lexsort((-certainty.min(axis=1), bins))
        first = order[np.flatnonzero(np.diff(bins[order], prepend=-1))]
        return np.unique(values[first]), np.unique(asked)


@dataclass(frozen=True)
class Constellation:
    """Wang, "An industrial-strength audio search algorithm", ISMIR 2003: pairs of spectral peaks.

    A key is two peaks' frequencies and the time between them. ``sampled`` keeps one key in so many, by its hash,
    on both sides. With ``triplets`` a key is three frequencies and the ratio of the two times between them, which a
    change of tempo leaves as it is (Six and Leman, "Panako", ISMIR 2014).
    """

    name: str = "constellation"
    sampled: int = 1
    triplets: bool = False
    hop: int = 128
    window: int = 512
    fan: int = 5
    reach: int = 64

    def keys(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`Family`."""
        none = np.zeros(0, np.int64)
        if len(samples) < self.window:
            return none, none
        speech = speech_frames(samples)
        frames = np.lib.stride_tricks.sliding_window_view(samples, self.window)[:: self.hop]
        spectrum = np.abs(scipy.fft.rfft(frames * np.hanning(self.window).astype(np.float32), axis=1))
        level = np.log(spectrum + 1e-6)
        top = (level == scipy.ndimage.maximum_filter(level, (9, 11))) & (level > level.max() - 6)
        top[:, :19] = top[:, 218:] = False
        time, line = np.nonzero(top)
        spoken = speech[np.minimum((time * self.hop + 256) // 80, len(speech) - 1)] if len(speech) else none
        time, line = time[spoken.astype(bool)], line[spoken.astype(bool)]
        values = []
        for ahead in range(1, self.fan + 1):
            step = time[ahead:] - time[:-ahead]
            near = (step > 0) & (step < self.reach)
            if not self.triplets:
                key = (line[:-ahead] << 14) | (line[ahead:] << 6) | step
                values.append(key[near])
                continue
            for more in range(ahead + 1, self.fan + 1):
                far = time[more:] - time[:-more]
                ratio = (16 * step[: len(far)]) // np.maximum(far, 1)
                key = (
                    (line[:-more] << 20) | (line[ahead : ahead + len(far)] << 12) | (line[more:] << 4) | ratio
                )
                values.append(key[near[: len(far)] & (far > step[: len(far)]) & (far < self.reach)])
        keys = np.unique(np.concatenate(values)) if values else none
        mixed = (keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
        keys = keys[mixed % np.uint64(self.sampled) == 0]
        return keys, keys


FAMILIES: tuple[Family, ...] = (
    Learned(),
    SubFingerprints(),
    SubFingerprints("sub-fingerprints, every frame stored", every_frame=True),
    Constellation("peak pairs, one in 12 kept", sampled=12),
    Constellation("peak pairs, all kept"),
    Constellation("peak triplets, one in 24 kept", sampled=24, triplets=True),
    Constellation("peak triplets, all kept", triplets=True),
)
