"""Formats that have no magic bytes, told by the headers that repeat in each of their frames."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_MIN_FRAMES = 3
"""Frames in a row that must carry a valid header: one alone may be chance."""

_MP3_KBPS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates by MPEG version (1, or 2 for 2 and 2.5) and layer: ISO/IEC 11172-3 and 13818-3."""

_MP3_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""Sample rates by the header's two version bits."""


_AMR_NB_FRAME_BYTES = (13, 14, 16, 18, 20, 21, 27, 32, 6, 1, 1, 1, 1, 1, 1, 1)
_AMR_WB_FRAME_BYTES = (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 1, 1, 1, 1, 1, 1)
"""Bytes a frame, header included, by frame type (3GPP TS 26.101 and 26.201, octet-aligned storage)."""


def id3_size(data: bytes) -> int:
    """Bytes of the ID3v2 tag at the start, 0 without one (id3.org, ID3v2.4 section 3.1)."""
    if len(data) < 10 or not data.startswith(b"ID3") or any(byte & 0x80 for byte in data[6:10]):
        return 0
    size = (data[6] << 21) | (data[7] << 14) | (data[8] << 7) | data[9]
    return 10 + size + (10 if data[5] & 0x10 else 0)


def is_mp3(data: bytes, start: int = 0) -> bool:
    """Whether MPEG audio frames follow one another from `start`."""
    return _chain(data, start, _mp3_frame_bytes)


def is_adts(data: bytes, start: int = 0) -> bool:
    """Whether ADTS frames of AAC follow one another from `start`."""
    return _chain(data, start, _adts_frame_bytes)


def is_gsm(data: bytes) -> bool:
    """Whether this is raw GSM 06.10: each frame of 33 bytes starts with the nibble 0xD."""
    if len(data) < 33 * _MIN_FRAMES:
        return False
    high = np.frombuffer(data, np.uint8) >> 4 == 0xD
    starts = high[: len(high) // 33 * 33 : 33]
    # Silence in A-law is 0xD5 throughout, so the nibble must be rare elsewhere.
    return bool(starts.all()) and float(high.mean()) < 0.5


def amr_frames(data: bytes) -> int:
    """Count the samples a channel that an AMR file (RFC 4867, section 5) will decode to.

    A frame without speech takes one byte, so a small file may last for hours; counting costs far less than
    decoding.
    """
    wideband = data.startswith(b"#!AMR-WB\n")
    sizes = _AMR_WB_FRAME_BYTES if wideband else _AMR_NB_FRAME_BYTES
    steps = [sizes[header >> 3 & 15] for header in range(256)]
    position, end, count = data.index(b"\n") + 1, len(data), 0
    while position < end:
        position += steps[data[position]]
        count += 1
    return count * (320 if wideband else 160)


def _chain(data: bytes, start: int, frame_bytes: Callable[[bytes], int]) -> bool:
    position = start
    for count in range(_MIN_FRAMES):
        if position >= len(data) and count:
            return position == len(data) or count > 1
        size = frame_bytes(data[position : position + 7])
        if not size:
            return False
        position += size
    return True


def _mp3_frame_bytes(header: bytes) -> int:
    """Length of the MPEG audio frame that `header` starts, 0 if it starts none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    kbps_index, rate_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or kbps_index in (0, 15) or rate_index == 3:
        return 0
    kbps = _MP3_KBPS[(1 if version == 3 else 2, layer)][kbps_index]
    rate_hz = _MP3_RATES_HZ[version][rate_index]
    if layer == 1:
        return (12000 * kbps // rate_hz + padding) * 4
    return (72000 if layer == 3 and version != 3 else 144000) * kbps // rate_hz + padding


def _adts_frame_bytes(header: bytes) -> int:
    """Length of the ADTS frame that `header` starts, 0 if it starts none."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return 0
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return size if size >= 7 else 0
