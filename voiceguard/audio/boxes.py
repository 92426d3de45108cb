"""QuickTime and MP4 files that keep their samples elsewhere."""

from __future__ import annotations

import struct

_TABLE = b"dref" + bytes(4)
_MAX_TABLES = 1000
_MAX_REFERENCES = 100
_SELF_CONTAINED = 1
"""Flag of a data reference that means "in this very file" (ISO/IEC 14496-12, 8.7.2)."""


def points_elsewhere(data: bytes) -> bool:
    """Whether a data reference of this MP4 or QuickTime file names another file or an address.

    FFmpeg is told not to follow such references, but would then play whatever bytes of this file lie at the
    same place.
    """
    position = 0
    for _ in range(_MAX_TABLES):
        position = data.find(_TABLE, position)
        if position < 0:
            return False
        position += len(_TABLE)
        if _has_outside_entry(data, position):
            return True
    return True  # no honest file has so many tracks


def _has_outside_entry(data: bytes, position: int) -> bool:
    if position + 4 > len(data):
        return False
    (count,) = struct.unpack_from(">I", data, position)
    position += 4
    for _ in range(min(count, _MAX_REFERENCES)):
        if position + 12 > len(data):
            return False
        size, kind, version_flags = struct.unpack_from(">I4sI", data, position)
        if kind not in (b"url ", b"urn ", b"alis", b"rsrc") or size < 12:
            return False
        if not version_flags & _SELF_CONTAINED:
            return True
        position += size
    return False
