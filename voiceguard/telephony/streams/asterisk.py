"""Asterisk's chan_websocket: text control and binary media.

The first message is ``MEDIA_START``, as ``MEDIA_START key:value …`` or as a JSON object whose ``event`` it is;
binary messages are media in the channel's format, without RTP headers. Source: the Asterisk documentation,
Configuration/Channel-Drivers/WebSocket.
"""

from __future__ import annotations

from typing import Any

from voiceguard.errors import MalformedStream, UnsupportedStream
from voiceguard.telephony.streams import fields
from voiceguard.telephony.streams.events import MAX_MESSAGE_BYTES, AudioChunk, AudioFormat, Event, StreamStart

_FORMATS = {
    "ulaw": ("pcmu", 8000),
    "alaw": ("pcma", 8000),
    "g722": ("g722", 16000),
    "slin": ("l16", 8000),
    **{
        f"slin{rate_hz // 1000}": ("l16", rate_hz)
        for rate_hz in (12000, 16000, 24000, 32000, 44100, 48000, 96000, 192000)
    },
}


class AsteriskAdapter:
    """Reads one stream; see :class:`~voiceguard.telephony.streams.events.MessageAdapter`."""

    ends_by_close = True

    def __init__(self) -> None:
        self._format: AudioFormat | None = None

    def text(self, message: str) -> tuple[Event, ...]:
        """Take a control message."""
        said = _read(message)
        if said.get("event") != "MEDIA_START":
            return ()  # MEDIA_XOFF, DTMF_END, STATUS, …: about what the channel plays, or keys pressed
        if self._format is not None:
            raise MalformedStream("Expected one MEDIA_START, got two.")
        name = fields.text(said.get("format"), "format")
        if name not in _FORMATS:
            raise UnsupportedStream(
                f"Expected the format ulaw, alaw, g722 or slin, got {name[:40]!r}: set it where the channel is dialled."
            )
        encoding, rate_hz = _FORMATS[name]
        self._format = fields.audio_format(encoding, rate_hz, 1)
        variables = fields.mapping(said.get("channel_variables"), "channel_variables")
        start = StreamStart(
            stream_id=fields.text(said.get("connection_id"), "connection_id"),
            call_id=fields.text(fields.first(said, "channel_id", "channel"), "channel"),
            parameters=fields.parameters(variables),
        )
        return (start,)

    def binary(self, message: bytes) -> tuple[Event, ...]:
        """Take media."""
        if self._format is None:
            raise MalformedStream("Expected MEDIA_START before media.")
        if len(message) % self._format.block_bytes:
            raise MalformedStream(
                f"Expected whole samples of {self._format.block_bytes} bytes, got {len(message)} bytes."
            )
        return (AudioChunk(self._format, message),)


def _read(message: str) -> dict[str, Any]:
    if len(message) > MAX_MESSAGE_BYTES:
        raise MalformedStream(f"Expected messages of at most {MAX_MESSAGE_BYTES} bytes, got {len(message)}.")
    if message.lstrip().startswith("{"):
        return fields.parse_object(message)
    event, *pairs = message.split(maxsplit=fields.MAX_PARAMETERS) or [""]
    if not event.isascii() or not event.replace("_", "").isalnum():
        raise MalformedStream("Expected a control message such as MEDIA_START, got other text.")
    split = (pair.partition(":") for pair in pairs)
    return {"event": event, **{name: value for name, colon, value in split if colon and name != "event"}}
