"""Asterisk's AudioSocket: frames over TCP.

A frame is its kind (one byte), the payload's length (two bytes, big-endian) and the payload. The first holds the
call's UUID; audio is 16-bit linear, little-endian, at the rate that the kind says. Source: the Asterisk
documentation, Configuration/Channel-Drivers/AudioSocket.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator

from voiceguard.errors import MalformedStream
from voiceguard.telephony.streams.events import (
    AudioChunk,
    AudioFormat,
    Encoding,
    Event,
    StreamStart,
    StreamStop,
)

_HANGUP, _UUID, _DTMF, _ERROR = 0x00, 0x01, 0x03, 0xFF
_RATES_HZ = (8000, 12000, 16000, 24000, 32000, 44100, 48000, 96000, 192000)
_FORMATS = {0x10 + index: AudioFormat(Encoding.L16, rate_hz) for index, rate_hz in enumerate(_RATES_HZ)}


class AudioSocketAdapter:
    """Reads one connection."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._started = False
        self._format: AudioFormat | None = None
        self._stopped = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take bytes as they come; yield the events of every frame that they complete.

        Raises
        ------
        MalformedStream
            For a frame that the protocol does not have; the rest can't be read then.
        """
        self._pending += data
        position = 0
        try:
            while not self._stopped and len(self._pending) - position >= 3:
                kind, length = struct.unpack_from(">BH", self._pending, position)
                self._check(kind, length)
                if len(self._pending) - position - 3 < length:
                    break
                payload = bytes(self._pending[position + 3 : position + 3 + length])
                position += 3 + length
                event = self._frame(kind, payload)
                if event is not None:
                    yield event
        finally:
            del self._pending[:position]

    def _check(self, kind: int, length: int) -> None:
        """Refuse at once what no payload can mend."""
        if kind not in (_HANGUP, _UUID, _DTMF, _ERROR) and kind not in _FORMATS:
            raise MalformedStream(f"Expected an AudioSocket frame, got one of kind 0x{kind:02x}.")
        if kind == _UUID and length != 16:
            raise MalformedStream(f"Expected a UUID of 16 bytes, got {length}.")
        if not self._started and kind not in (_UUID, _HANGUP, _ERROR):
            raise MalformedStream(f"Expected the UUID first, got a frame of kind 0x{kind:02x}.")
        if kind in _FORMATS and length % 2:
            raise MalformedStream(f"Expected whole samples of 2 bytes, got {length} bytes.")

    def _frame(self, kind: int, payload: bytes) -> Event | None:
        if kind in _FORMATS:
            if self._format is None:
                self._format = _FORMATS[kind]
            if self._format is not _FORMATS[kind]:
                raise MalformedStream("Expected one sample rate throughout, got another.")
            return AudioChunk(self._format, payload)
        if kind == _UUID:
            if self._started:
                raise MalformedStream("Expected one UUID, got two.")
            self._started = True
            name = str(uuid.UUID(bytes=payload))
            return StreamStart(stream_id=name, call_id=name)
        if kind == _DTMF:
            return None
        self._stopped = True
        return StreamStop("hangup" if kind == _HANGUP else f"error {payload[:4].hex()}")
