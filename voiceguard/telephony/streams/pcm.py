"""The plain socket, for everyone else: one JSON message, then binary audio.

``{"event": "start", "encoding": "l16", "rate_hz": 8000, "channels": 1, "call": {…}}``, then the audio in binary
messages of any length, then ``{"event": "stop"}``. Encodings are ``l16`` (little-endian), ``pcmu``, ``pcma``
and ``g722``.
"""

from __future__ import annotations

from voiceguard.errors import MalformedStream
from voiceguard.telephony.streams import fields
from voiceguard.telephony.streams.events import AudioChunk, AudioFormat, Event, StreamStart, StreamStop


class PcmAdapter:
    """Reads one stream; see :class:`~voiceguard.telephony.streams.events.MessageAdapter`."""

    ends_by_close = False

    def __init__(self) -> None:
        self._format: AudioFormat | None = None
        self._rest = b""

    def text(self, message: str) -> tuple[Event, ...]:
        """Take ``start`` or ``stop``."""
        said = fields.parse_object(message)
        event = said.get("event")
        if event == "stop":
            if self._format is None:
                raise MalformedStream("Expected a start message first, got stop.")
            return (StreamStop(),)
        if event != "start" or self._format is not None:
            raise MalformedStream("Expected one start message, then audio, then stop; got another message.")
        self._format = fields.audio_format(
            fields.text(said.get("encoding"), "encoding") or "l16",
            fields.number(said.get("rate_hz"), "rate_hz"),
            fields.number(said.get("channels"), "channels"),
        )
        call = fields.mapping(said.get("call"), "call")
        start = StreamStart(
            stream_id="",
            call_id=fields.text(call.get("carrier_call_id"), "call.carrier_call_id"),
            parameters=fields.parameters({"key": said["key"]} if "key" in said else {}, call),
        )
        return (start,)

    def binary(self, message: bytes) -> tuple[Event, ...]:
        """Take audio; messages may end inside a sample."""
        if self._format is None:
            raise MalformedStream("Expected a start message first, got audio.")
        whole = self._rest + message
        end = len(whole) - len(whole) % self._format.block_bytes
        self._rest = whole[end:]
        return (AudioChunk(self._format, whole[:end]),) if end else ()
