"""Streams as samples: what a cheap look at running audio needs, and the WAV file that a stream becomes."""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from voiceguard.telephony.streams.assembly import silence_of
from voiceguard.telephony.streams.events import AudioFormat, Encoding

CLOCK_RATE_HZ = 8000
_PIECE_BLOCKS = 1 << 18
_TAGS = {Encoding.L16: 1, Encoding.PCMA: 6, Encoding.PCMU: 7, Encoding.G722: 0x028F}
"""WAV format tags (Microsoft's mmreg.h)."""


def peek(audio_format: AudioFormat, payload: bytes) -> np.ndarray:
    """Decode a chunk roughly: for counting speech, never for scoring.

    Parameters
    ----------
    payload : bytes
        Whole blocks.

    Returns
    -------
    np.ndarray [shape=(n,), int16]
        The mean of the channels at about 8 kHz, by leaving samples out. G.722 gives none: it can't be
        decoded without its past.
    """
    if audio_format.encoding is Encoding.G722:
        return np.zeros(0, np.int16)
    if audio_format.encoding is Encoding.L16:
        samples = np.frombuffer(payload, "<i2")
    else:
        samples = _g711_table(audio_format.encoding)[np.frombuffer(payload, np.uint8)]
    if audio_format.channels > 1:
        samples = samples.reshape(-1, audio_format.channels).mean(axis=1).astype(np.int16)
    if audio_format.rate_hz == CLOCK_RATE_HZ:
        return samples
    count = len(samples) * CLOCK_RATE_HZ // audio_format.rate_hz
    return samples[np.arange(count) * audio_format.rate_hz // CLOCK_RATE_HZ]


def wav_header(audio_format: AudioFormat, tracks: int, audio_bytes: int) -> bytes:
    """Return the header of a WAV file that keeps the stream's coding; each track's channels side by side."""
    channels = tracks * audio_format.channels
    bits = {Encoding.L16: 16, Encoding.G722: 4}.get(audio_format.encoding, 8)
    # G.722 has one byte for two samples.
    block = channels * (2 if audio_format.encoding is Encoding.L16 else 1)
    fmt = struct.pack(
        "<HHIIHHH",
        _TAGS[audio_format.encoding],
        channels,
        audio_format.rate_hz,
        audio_format.bytes_per_s * tracks,
        block,
        bits,
        0,
    )
    if audio_format.encoding is Encoding.L16:
        fmt = fmt[:-2]  # PCM has no extension to tell the length of
    return b"".join(
        (
            struct.pack("<4sI4s4sI", b"RIFF", 20 + len(fmt) + audio_bytes, b"WAVE", b"fmt ", len(fmt)),
            fmt,
            struct.pack("<4sI", b"data", audio_bytes),
        )
    )


def wav_pieces(
    audio_format: AudioFormat, tracks: Sequence[BinaryIO], lengths: Sequence[int]
) -> Iterator[bytes]:
    """Yield a WAV file of tracks that are read from where they stand; shorter ones end in silence.

    Parameters
    ----------
    tracks : sequence of binary files
        Each track's audio, in the order of the channels.
    lengths : sequence of int
        Bytes of each, whole blocks.
    """
    longest = max(lengths)
    block = audio_format.block_bytes
    yield wav_header(audio_format, len(tracks), longest * len(tracks))
    step = _PIECE_BLOCKS * block
    for start in range(0, longest, step):
        size = min(step, longest - start)
        read = [
            track.read(min(size, max(0, length - start)))
            for track, length in zip(tracks, lengths, strict=True)
        ]
        if len(read) == 1:
            yield read[0]
            continue
        columns = [np.frombuffer(_filled(audio_format, piece, size), f"V{block}") for piece in read]
        yield np.stack(columns, axis=1).tobytes()


def wav_bytes(audio_format: AudioFormat, tracks: Sequence[bytes]) -> bytes:
    """Return a WAV file of tracks in memory; see :func:`wav_pieces`."""
    files = [io.BytesIO(track) for track in tracks]
    return b"".join(wav_pieces(audio_format, files, [len(track) for track in tracks]))


def _filled(audio_format: AudioFormat, piece: bytes, size: int) -> bytes:
    missing = size - len(piece)
    return piece + silence_of(audio_format, 1.0)[: audio_format.block_bytes] * (
        missing // audio_format.block_bytes
    )


@functools.cache
def _g711_table(encoding: Encoding) -> np.ndarray:
    """Tabulate the expansion of each code (ITU-T G.711), shape (256,), int16."""
    codes = np.arange(256)
    if encoding is Encoding.PCMU:
        codes = codes ^ 0xFF
        magnitude = (((codes & 0x0F) << 3) + 0x84 << ((codes & 0x70) >> 4)) - 0x84
        return np.where(codes & 0x80, -magnitude, magnitude).astype(np.int16)
    codes = codes ^ 0x55
    segment, step = (codes & 0x70) >> 4, (codes & 0x0F) << 4
    magnitude = np.where(segment == 0, step + 8, (step + 0x108) << np.maximum(segment - 1, 0))
    return np.where(codes & 0x80, magnitude, -magnitude).astype(np.int16)
