"""What is kept of a recording to know it again: :class:`Fingerprint`, its keys and its bytes."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass

import numpy as np

from voiceguard.errors import InvalidFingerprint
from voiceguard.fingerprint.bands import HOP_S, log_bands
from voiceguard.fingerprint.projections import Projection, pack, projection
from voiceguard.vad import FRAME_S

VERSION = 1
"""Fingerprints of different versions are never compared; a change of any figure here or in the projections
makes a new version."""
CODE_STEP = 2
"""A code every 40 ms of speech."""
CODE_S = CODE_STEP * HOP_S
KEY_BITS = 36
KEY_BIN = 16
"""One key is stored for each 320 ms that hold speech: the one with the widest margins."""
QUERY_KEYS = 5
"""Keys a bin that are looked up: those with the widest margins, since the stored one should be among them."""
KEY_SPEECH_SHARE = 0.5
"""Least share of speech in the second that a key describes."""
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
    """Shape (stored,), int64, 0..2**36 - 1, sorted, each once."""
    wanted_keys: np.ndarray
    """Shape (wanted,), int64, as ``stored_keys``, which are among them."""

    def keys(self) -> np.ndarray:
        """Values to store in the index, shape (stored,), int64: about three a second of speech."""
        return self.stored_keys

    def query_keys(self) -> np.ndarray:
        """Values to look up in the index, shape (wanted,), int64: some five times as many."""
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
                _pack_keys(self.wanted_keys),
                np.packbits(np.isin(self.wanted_keys, self.stored_keys)).tobytes(),
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
        sizes = [8 * code_count, 5 * wanted_count, (wanted_count + 7) // 8, code_count, 4 * long_count]
        if _HEAD.size + sum(sizes) != len(data):
            raise InvalidFingerprint(
                f"Expected {_HEAD.size + sum(sizes)} bytes by the fingerprint's head; got {len(data)}."
            )
        ends = np.cumsum([_HEAD.size, *sizes])
        codes, keys, stored, steps, long = (data[start:end] for start, end in itertools.pairwise(ends))
        wanted = _unpack_keys(keys)
        chosen = np.unpackbits(np.frombuffer(stored, np.uint8), count=wanted_count).astype(bool)
        step = np.frombuffer(steps, np.uint8).astype(np.int64)
        if np.count_nonzero(step == 255) != long_count or np.count_nonzero(chosen) != stored_count:
            raise InvalidFingerprint("Expected counts in the fingerprint's head that fit what follows it.")
        step[step == 255] = np.frombuffer(long, "<u4")
        places = np.cumsum(step)
        if len(places) and (places[-1] >= 2**31 or (step[1:] == 0).any()):
            raise InvalidFingerprint("Expected codes at rising times.")
        if (np.diff(wanted) <= 0).any() or (wanted >= 2**KEY_BITS).any():
            raise InvalidFingerprint(f"Expected rising keys below 2**{KEY_BITS}.")
        return cls(
            version,
            speech_ms / 1000,
            places.astype(np.int32),
            np.frombuffer(codes, "<u8").astype(np.uint64),
            wanted[chosen],
            wanted,
        )


def compute(samples: np.ndarray, speech: np.ndarray) -> Fingerprint:
    """Compute the fingerprint of one channel.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float32, -1..1]
        One channel at 8 kHz.
    speech : np.ndarray [shape=(n // 80,), bool]
        Its speech frames, as :func:`voiceguard.vad.speech_frames` marks them. Only they are described.

    Returns
    -------
    Fingerprint
        Without codes and keys where there is less speech than one patch.
    """
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
    width_of = np.abs(margins / key.spreads[:KEY_BITS]).min(axis=1)
    values = pack(margins > 0).astype(np.int64)
    # Within each bin from the widest margin to the narrowest.
    bins = starts // KEY_BIN
    order = np.lexsort((-width_of, bins))
    rank = np.arange(len(order)) - np.searchsorted(bins[order], bins[order])
    return np.unique(values[order[rank == 0]]), np.unique(values[order[rank < QUERY_KEYS]])


def _at_middle(speech: np.ndarray, starts: np.ndarray, taken: Projection) -> np.ndarray:
    """Look up the speech mask at the middle of the patches that begin at these frames."""
    middle = ((starts + taken.frames / 2) * (HOP_S / FRAME_S)).astype(int)
    return speech[np.minimum(middle, len(speech) - 1)] if len(speech) else np.zeros(len(starts))


def _pack_keys(keys: np.ndarray) -> bytes:
    return keys.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :5].tobytes()


def _unpack_keys(data: bytes) -> np.ndarray:
    keys = np.zeros((len(data) // 5, 8), np.uint8)
    keys[:, :5] = np.frombuffer(data, np.uint8).reshape(-1, 5)
    return keys.view("<i8").ravel().astype(np.int64)
