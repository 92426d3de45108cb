"""WAV headers as recorders really write them: open lengths, lying lengths, missing ends.

libsndfile and FFmpeg each trust some of a header's fields. Here the header is read once, checked against the
bytes that are there, and written anew with only the two chunks that matter, so that neither meets a lie.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from voiceguard.audio.collect import check_layout
from voiceguard.audio.recording import Limits
from voiceguard.errors import DamagedRecording, EmptyRecording, RecordingTooLarge, UnsupportedFormat

_MAX_CHUNKS = 1000
_OPEN_LENGTHS = frozenset({0, 0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0x7FFFFFFE, 0x80000000, 0x7FFFF000})
"""Data lengths that mean "until the end": what Asterisk, SoX and FFmpeg write when they can't seek back."""

_PCM, _MS_ADPCM, _FLOAT, _ALAW, _ULAW, _IMA_ADPCM, _GSM, _G721 = 1, 2, 3, 6, 7, 0x11, 0x31, 0x40
_G726 = frozenset({0x14, 0x45, 0x64})
_EXTENSIBLE = 0xFFFE
_EXTENSIBLE_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")

LIBSNDFILE_TAGS = frozenset({_PCM, _MS_ADPCM, _FLOAT, _ALAW, _ULAW, _IMA_ADPCM, _GSM, _G721})
"""Format tags that libsndfile decodes."""


@dataclass(frozen=True)
class Wav:
    """A WAV file's header, checked against its bytes.

    Attributes
    ----------
    format_tag : int
        Registered coding, with WAVE_FORMAT_EXTENSIBLE resolved.
    rebuilt : bytes
        The same audio behind a truthful header.
    notes : tuple of str
        What was wrong with the original header.
    """

    format_tag: int
    channels: int
    rate_hz: int
    rebuilt: bytes
    notes: tuple[str, ...]


def read_wav(data: bytes, limits: Limits) -> Wav:
    """Read and repair the header of a WAV file (RIFF, RIFX, RF64 or BW64).

    Raises
    ------
    AudioError
        As :func:`~voiceguard.audio.collect.check_layout` says, for channels and sample rate.
    EmptyRecording
        If the header ends the file, or its data chunk is empty.
    DamagedRecording
        If the header is cut off or contradicts itself.
    UnsupportedFormat
        For a bit depth that no recorder writes.
    """
    order = ">" if data.startswith(b"RIFX") else "<"
    fmt, start, declared = _find_chunks(data, order)
    if len(fmt) < 14:
        raise DamagedRecording(f"Expected a WAV format chunk of 14 bytes or more, but it has {len(fmt)}.")
    tag, channels, rate_hz, _, block_bytes = struct.unpack_from(order + "HHIIH", fmt)
    bits = struct.unpack_from(order + "H", fmt, 14)[0] if len(fmt) >= 16 else 8
    if tag == _EXTENSIBLE and len(fmt) >= 40 and fmt[26:40] == _EXTENSIBLE_GUID_TAIL:
        tag = struct.unpack_from(order + "H", fmt, 24)[0]
        fmt = struct.pack(order + "H", tag) + fmt[2:16]
    check_layout(rate_hz, channels, limits)
    fmt, unit_bytes = _truthful_format(order, tag, channels, rate_hz, block_bytes, bits, fmt)

    here = len(data) - start
    length = here if declared is None else min(declared, here)
    length -= length % unit_bytes
    if length == 0:
        raise EmptyRecording(
            f"Expected audio after the WAV header, but of a block of {unit_bytes} bytes {here} are there."
        )
    notes: tuple[str, ...] = ()
    if declared is not None and declared > here:
        notes = (f"The data chunk declares {declared} bytes; {here} are there and were decoded.",)
    if length > 0xFFFFFFFF - 64 - len(fmt):
        raise RecordingTooLarge("Expected a WAV data chunk below 4 GiB.")
    rebuilt = b"".join(
        (
            struct.pack(
                order + "4sI4s", b"RIFX" if order == ">" else b"RIFF", 20 + len(fmt) + length, b"WAVE"
            ),
            struct.pack(order + "4sI", b"fmt ", len(fmt)),
            fmt,
            struct.pack(order + "4sI", b"data", length),
            memoryview(data)[start : start + length],
        )
    )
    return Wav(tag, channels, rate_hz, rebuilt, notes)


def _find_chunks(data: bytes, order: str) -> tuple[bytes, int, int | None]:
    """Return the format chunk, where the data starts, and its declared length (None: until the end)."""
    fmt = b""
    long_length: int | None = None
    position = 12
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            break
        kind, size = struct.unpack_from(order + "4sI", data, position)
        body = position + 8
        if kind == b"data" and fmt:
            if size == 0xFFFFFFFF and long_length is not None:
                size = long_length
            if size == 0 and _only_chunks_follow(data, body, order):
                raise EmptyRecording("Expected audio after the WAV header, but its data chunk is empty.")
            return fmt, body, None if size in _OPEN_LENGTHS else size
        if kind == b"fmt " and body + size > len(data):
            raise DamagedRecording(
                f"Expected a WAV format chunk of {size} bytes, but the file ends after {len(data) - body}."
            )
        if kind == b"fmt ":
            fmt = data[body : body + min(size, 1024)]
        elif kind == b"ds64" and size >= 16 and body + 16 <= len(data):
            long_length = struct.unpack_from("<Q", data, body + 8)[0]
        position = body + size + size % 2
    if fmt:
        raise EmptyRecording("Expected audio after the WAV header, but the file has no data chunk.")
    raise DamagedRecording(
        f"Expected a WAV header with a format chunk before the data, but the {len(data)} bytes hold none."
    )


def _only_chunks_follow(data: bytes, position: int, order: str) -> bool:
    """Whether whole chunks fill the rest, so that a data chunk of length 0 means no audio."""
    for _ in range(_MAX_CHUNKS):
        if position >= len(data) - 1:
            return True
        if position + 8 > len(data) or not data[position : position + 4].isascii():
            return False
        size = struct.unpack_from(order + "I", data, position + 4)[0]
        position += 8 + size + size % 2
        if position > len(data) + 1:
            return False
    return False


def _truthful_format(
    order: str, tag: int, channels: int, rate_hz: int, block_bytes: int, bits: int, fmt: bytes
) -> tuple[bytes, int]:
    """Return the format chunk to decode by, and the bytes of the smallest piece that can be decoded."""
    extra = b""
    if tag in (_PCM, _FLOAT):
        # Left-justified samples (12 bits in 2 bytes, say) read as those of the whole word.
        depth = block_bytes // channels if block_bytes % channels == 0 else (bits + 7) // 8
        if depth not in ((4, 8) if tag == _FLOAT else (1, 2, 3, 4)):
            depth = (bits + 7) // 8
        if depth not in ((4, 8) if tag == _FLOAT else (1, 2, 3, 4)):
            raise UnsupportedFormat(
                f"Expected {'32 or 64' if tag == _FLOAT else '8, 16, 24 or 32'} bits a sample, "
                f"but the WAV header says {bits} bits and {block_bytes} bytes for {channels} channels."
            )
        block_bytes, bits = depth * channels, depth * 8
    elif tag in (_ALAW, _ULAW):
        block_bytes, bits = channels, 8
    elif tag == _IMA_ADPCM:
        if block_bytes <= 4 * channels:
            raise DamagedRecording(
                f"Expected IMA ADPCM blocks over {4 * channels} bytes, but got {block_bytes}."
            )
        bits, extra = 4, struct.pack(order + "HH", 2, (block_bytes - 4 * channels) * 2 // channels + 1)
    elif tag == _GSM:
        block_bytes, bits, extra = 65, 0, struct.pack(order + "HH", 2, 320)
    elif tag in _G726 and 2 <= bits <= 5 and channels == 1:
        # FFmpeg takes the code size from the byte rate, which some recorders leave at the decoded one.
        return fmt[:8] + struct.pack(order + "I", rate_hz * bits // 8) + fmt[12:], 1
    else:
        return fmt, 1
    byte_rate = min(rate_hz * block_bytes, 0xFFFFFFFF)
    core = struct.pack(order + "HHIIHH", tag, channels, rate_hz, byte_rate, min(block_bytes, 0xFFFF), bits)
    return core + extra, block_bytes
