"""Twilio Media Streams and what is built like it: Telnyx, SignalWire, Plivo, Exotel, Fonoster, Acefone.

JSON text messages ``connected``, ``start``, ``media`` (base64), ``dtmf``, ``mark``, ``stop``; in camelCase or
snake_case, numbers as numbers or as text. Source: twilio.com/docs/voice/media-streams/websocket-messages;
Telnyx says that media may come out of order, hence :class:`~voiceguard.telephony.streams.Assembly`.
"""

from __future__ import annotations

import binascii
from typing import Any

from voiceguard.errors import MalformedStream
from voiceguard.telephony.streams import fields
from voiceguard.telephony.streams.events import (
    AudioChunk,
    AudioFormat,
    Encoding,
    Event,
    StreamStart,
    StreamStop,
)

_STREAM_ID = ("streamSid", "stream_sid", "streamId", "stream_id")
_CALL_ID = ("callSid", "call_sid", "callId", "call_id", "call_control_id", "callControlId")


class TwilioAdapter:
    """Reads one stream; see :class:`~voiceguard.telephony.streams.events.MessageAdapter`."""

    ends_by_close = False

    def __init__(self) -> None:
        self._format: AudioFormat | None = None
        self._stopped = False

    def text(self, message: str) -> tuple[Event, ...]:
        """Take a message."""
        said = fields.parse_object(message)
        event = said.get("event")
        if event == "media":
            chunk = self._media(said)
            return (chunk,) if chunk is not None else ()
        if event == "start":
            return (self._start(said),)
        if event == "stop":
            self._stopped = True
            return (StreamStop(),)
        if not isinstance(event, str):
            raise MalformedStream("Expected a message with an event such as start or media, got none.")
        return ()

    def binary(self, message: bytes) -> tuple[Event, ...]:
        """Refuse: this family's audio comes as text."""
        raise MalformedStream("Expected JSON text messages, got a binary one.")

    def _start(self, said: dict[str, Any]) -> StreamStart:
        if self._format is not None:
            raise MalformedStream("Expected one start message, got two.")
        start = fields.mapping(said.get("start"), "start")
        media = fields.mapping(fields.first(start, "mediaFormat", "media_format"), "start.mediaFormat")
        if media:
            encoding = fields.text(media.get("encoding"), "encoding") or Encoding.PCMU
            rate_hz = fields.number(fields.first(media, "sampleRate", "sample_rate"), "sampleRate")
            self._format = fields.audio_format(
                encoding, rate_hz, fields.number(media.get("channels"), "channels")
            )
        else:
            self._format = AudioFormat(Encoding.PCMU, 8000)
        own = fields.mapping(fields.first(start, "customParameters", "custom_parameters"), "customParameters")
        given = fields.parameters(own, {"caller": start.get("from"), "callee": start.get("to")})
        return StreamStart(
            stream_id=fields.text(fields.first({**said, **start}, *_STREAM_ID), "streamSid"),
            call_id=fields.text(fields.first({**said, **start}, *_CALL_ID), "callSid"),
            parameters=given,
        )

    def _media(self, said: dict[str, Any]) -> AudioChunk | None:
        if self._format is None:
            raise MalformedStream("Expected a start message before media.")
        if self._stopped:
            return None
        media = fields.mapping(said.get("media"), "media")
        payload = media.get("payload")
        if not isinstance(payload, str):
            raise MalformedStream("Expected base64 text as media.payload.")
        try:
            audio = binascii.a2b_base64(payload, strict_mode=True)
        except ValueError:
            raise MalformedStream("Expected base64 text as media.payload, got other characters.") from None
        if len(audio) % self._format.block_bytes:
            raise MalformedStream(
                f"Expected payloads of whole samples ({self._format.block_bytes} bytes), got {len(audio)} bytes."
            )
        order = fields.number(media.get("chunk"), "media.chunk")
        if order is None:
            order = fields.number(fields.first(said, "sequenceNumber", "sequence_number"), "sequenceNumber")
        return AudioChunk(
            format=self._format,
            payload=audio,
            track=_track(media.get("track")),
            number=order,
            time_ms=fields.number(media.get("timestamp"), "media.timestamp"),
        )


def _track(value: Any) -> str:
    name = fields.text(value, "media.track") or "inbound"
    if name not in ("inbound", "outbound", "inbound_track", "outbound_track"):
        raise MalformedStream(f"Expected the track inbound or outbound, got {name[:40]!r}.")
    return name.removesuffix("_track")
