"""What is kept of a recording to know it again: :class:`Fingerprint`, its keys and its bytes."""

from __future__ import annotations

import functools
import itertools
import struct
from dataclasses import dataclass

import numpy as np
import scipy.special

from voiceguard.compiled import compiled
from voiceguard.errors import InvalidFingerprint
from voiceguard.fingerprint.bands import HOP_S, log_bands
from voiceguard.fingerprint.music import held_notes
from voiceguard.fingerprint.projections import Projection, pack, projection
from voiceguard.vad import FRAME_S

VERSION = 1
"""Fingerprints of different versions are never compared; a change of any figure here or in the projections
makes a new version."""
CODE_STEP = 2
"""A code every 40 ms of speech."""
CODE_S = CODE_STEP * HOP_S
KEY_BITS = 28
KEY_BIN = 18
"""One key is stored for each 360 ms that hold speech: the one with the widest margins."""
QUERY_BIN = 16
QUERY_KEYS = 300
"""Keys that a short recording looks up: a stored key may differ in the bits with narrow margins, so the
likeliest ways in which it would are looked up too."""
LEAST_QUERY_KEYS = 6
"""Keys looked up for each 320 ms of a long one."""
TURNED_BITS = 4
"""Bits of a key that may differ: those with the narrowest margins."""
KEY_SPEECH_SHARE = 0.5
"""Least share of speech in the second that a key describes."""
MAX_PLACES = 2**20
"""No recording is longer than so many steps of ``CODE_S`` (11 hours)."""
_TABLE_STEPS, _TABLE_END = 256, 6
_HEAD = struct.Struct("<BxHIIII")


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of one recording, about 300 bytes a second of speech.

    Arrays are read-only in effect: equal recordings give equal bytes.
    """

    version: int
    speech_s: float
    """Seconds of speech that the codes describe."""
    places: np.ndarray
    """Shape (codes,), int32, rising: when each code is, in steps of ``CODE_S`` from the recording's start."""
    codes: np.ndarray
    """Shape (codes,), uint64: 64 bits on the 0.4 s around that time."""
    stored_keys: np.ndarray
    """Shape (stored,), int64, 0..2**28 - 1, sorted, each once."""
    wanted_keys: np.ndarray
    """Shape (wanted,), int64, 0..2**28 - 1, sorted, each once."""

    def keys(self) -> np.ndarray:
        """Values to store in the index, shape (stored,), int64: about three a second of speech."""
        return self.stored_keys

    def query_keys(self) -> np.ndarray:
        """Values to look up in the index, shape (wanted,), int64: at most ``QUERY_KEYS`` in up to 16 s."""
        return self.wanted_keys

    def to_bytes(self) -> bytes:
        """Write the fingerprint; equal fingerprints give equal bytes."""
        steps = np.diff(self.places, prepend=np.int32(0))
        long = np.flatnonzero(steps >= 255)
        return b"".join(
            [
                _HEAD.pack(
                    self.version,
                    len(long),
                    len(self.codes),
                    len(self.stored_keys),
                    len(self.wanted_keys),
                    round(self.speech_s * 1000),
                ),
                self.codes.astype("<u8").tobytes(),
                self.stored_keys.astype("<u4").tobytes(),
                self.wanted_keys.astype("<u4").tobytes(),
                np.minimum(steps, 255).astype(np.uint8).tobytes(),
                steps[long].astype("<u4").tobytes(),
            ]
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Fingerprint:
        """Read what :meth:`to_bytes` wrote.

        Raises
        ------
        InvalidFingerprint
            If the bytes are no fingerprint, or one of another version.
        """
        if len(data) < _HEAD.size:
            raise InvalidFingerprint(f"Expected at least {_HEAD.size} bytes; got {len(data)}.")
        version, long_count, code_count, stored_count, wanted_count, speech_ms = _HEAD.unpack_from(data)
        if version != VERSION:
            raise InvalidFingerprint(f"Expected a fingerprint of version {VERSION}; got version {version}.")
        sizes = [8 * code_count, 4 * stored_count, 4 * wanted_count, code_count, 4 * long_count]
        if _HEAD.size + sum(sizes) != len(data):
            raise InvalidFingerprint(
                f"Expected {_HEAD.size + sum(sizes)} bytes by the fingerprint's head; got {len(data)}."
            )
        ends = np.cumsum([_HEAD.size, *sizes])
        codes, *keys, steps, long = (data[start:end] for start, end in itertools.pairwise(ends))
        stored, wanted = (np.frombuffer(part, "<u4").astype(np.int64) for part in keys)
        step = np.frombuffer(steps, np.uint8).astype(np.int64)
        if np.count_nonzero(step == 255) != long_count:
            raise InvalidFingerprint(f"Expected {long_count} long steps by the fingerprint's head.")
        step[step == 255] = np.frombuffer(long, "<u4")
        places = np.cumsum(step)
        if len(places) and (places[-1] >= MAX_PLACES or (step[1:] == 0).any()):
            raise InvalidFingerprint(f"Expected codes at rising times below step {MAX_PLACES}.")
        for part in (stored, wanted):
            if (np.diff(part) <= 0).any() or (part >= 2**KEY_BITS).any():
                raise InvalidFingerprint(f"Expected rising keys below 2**{KEY_BITS}.")
        return cls(
            version,
            speech_ms / 1000,
            places.astype(np.int32),
            np.frombuffer(codes, "<u8").astype(np.uint64),
            stored,
            wanted,
        )


def compute(samples: np.ndarray, speech: np.ndarray) -> Fingerprint:
    """Compute the fingerprint of one channel.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float32, -1..1]
        One channel at 8 kHz.
    speech : np.ndarray [shape=(n // 80,), bool]
        Its speech frames, as :func:`voiceguard.vad.speech_frames` marks them. Only they are described,
        and of them no music.

    Returns
    -------
    Fingerprint
        Without codes and keys where there is less speech than one patch.
    """
    speech = speech & ~held_notes(samples, speech)
    bands = log_bands(samples)
    places, codes = _codes(bands, speech, projection("code"))
    stored, wanted = _keys(bands, speech, projection("key"))
    return Fingerprint(VERSION, round(len(codes) * CODE_S, 3), places, codes, stored, wanted)


def _codes(bands: np.ndarray, speech: np.ndarray, code: Projection) -> tuple[np.ndarray, np.ndarray]:
    """Describe speech every ``CODE_S``: places and codes."""
    starts = np.arange(0, max(len(bands) - code.frames + 1, 0), CODE_STEP)
    starts = starts[_at_middle(speech.astype(np.float32), starts, code) > 0]
    places = ((starts + code.frames // 2) // CODE_STEP).astype(np.int32)
    return places, pack(code.margins(bands, starts) > 0)


def _keys(bands: np.ndarray, speech: np.ndarray, key: Projection) -> tuple[np.ndarray, np.ndarray]:
    """Choose the keys to store and the keys to look up, each sorted and without repeats."""
    starts = np.arange(max(len(bands) - key.frames + 1, 0))
    width = round(key.patch_s / FRAME_S)
    total = np.concatenate([[0], np.cumsum(speech)])
    first = np.minimum(np.rint(starts * (HOP_S / FRAME_S)).astype(int), len(speech))
    share = (total[np.minimum(first + width, len(speech))] - total[first]) / width
    starts = starts[(share >= KEY_SPEECH_SHARE) & (_at_middle(speech.astype(np.float32), starts, key) > 0)]
    if len(starts) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    margins = key.margins(bands, starts)[:, :KEY_BITS]
    certainty = np.abs(margins / key.noises[:KEY_BITS])
    values = pack(margins > 0).astype(np.int64)
    stored = values[_best(certainty.min(axis=1), starts // KEY_BIN, 1)]
    return np.unique(stored), _likely(certainty, values, starts // QUERY_BIN)


def _likely(certainty: np.ndarray, values: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Choose the keys that a copy most likely has stored.

    Parameters
    ----------
    certainty : np.ndarray [shape=(m, KEY_BITS), float32, >= 0]
        How wide the margins of each frame's key are, in standard deviations of what a copy adds.
    values : np.ndarray [shape=(m,), int64]
        The keys.
    bins : np.ndarray [shape=(m,), int, rising]
        Stretch of each frame; every stretch has its share of the keys.
    """
    # Both copies have their noise, so margins differ by sqrt(2) as much.
    wide = certainty / np.float32(np.sqrt(2))
    agree = _log_ndtr(wide)
    weakest = np.argpartition(certainty, TURNED_BITS, axis=1)[:, :TURNED_BITS]
    rows = np.arange(len(values))[:, None]
    turning = scipy.special.log_ndtr(-wide[rows, weakest]) - agree[rows, weakest]
    ways = np.arange(2**TURNED_BITS)[:, None] >> np.arange(TURNED_BITS) & 1
    likely = agree.sum(axis=1)[:, None] + turning @ ways.T
    keys = values[:, None] ^ ((1 << weakest.astype(np.int64)) @ ways.T)
    stretches = len(np.unique(bins))
    chosen = _best(
        likely.ravel(),
        np.repeat(bins, len(ways)),
        max(QUERY_KEYS // stretches, LEAST_QUERY_KEYS),
    )
    return np.unique(keys.ravel()[chosen])


@functools.cache
def _log_ndtr_table() -> np.ndarray:
    return scipy.special.log_ndtr(np.arange(_TABLE_END * _TABLE_STEPS + 1) / _TABLE_STEPS).astype(np.float32)


def _log_ndtr(values: np.ndarray) -> np.ndarray:
    """Log of the normal distribution function of values above 0, to 0.002: a table is enough to rank keys."""
    places = np.minimum(values * np.float32(_TABLE_STEPS) + np.float32(0.5), _TABLE_END * _TABLE_STEPS)
    return _log_ndtr_table()[places.astype(np.int32)]


@compiled("int64[::1](float32[::1], int64[::1], int64)", "int64[::1](float64[::1], int64[::1], int64)")
def _best(worth: np.ndarray, bins: np.ndarray, count: int) -> np.ndarray:
    """Choose the ``count`` most worthy places of each bin, the earlier of equals first; ``bins`` rise."""
    chosen = np.empty(len(worth), np.int64)
    start = end = 0
    for place in range(len(worth)):
        if place > 0 and bins[place] != bins[place - 1]:
            start = end
        if end - start < count:
            end += 1
        elif worth[place] <= worth[chosen[end - 1]]:
            continue
        rank = end - 1
        while rank > start and worth[chosen[rank - 1]] < worth[place]:
            chosen[rank] = chosen[rank - 1]
            rank -= 1
        chosen[rank] = place
    return chosen[:end].copy()


def _at_middle(speech: np.ndarray, starts: np.ndarray, taken: Projection) -> np.ndarray:
    """Look up the speech mask at the middle of the patches that begin at these frames."""
    middle = ((starts + taken.frames / 2) * (HOP_S / FRAME_S)).astype(int)
    return speech[np.minimum(middle, len(speech) - 1)] if len(speech) else np.zeros(len(starts))
