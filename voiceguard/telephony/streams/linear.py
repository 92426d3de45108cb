"""Vonage WebSockets and FreeSWITCH's mod_audio_fork and mod_audio_stream: binary 16-bit linear audio.

The first message may be JSON: Vonage says the rate in ``content-type`` and puts the NCCO's ``headers`` beside it;
FreeSWITCH sends whatever metadata its user gave. Each binary message is audio, little-endian; stereo has the
caller on the left. What a text message does not say is taken from the address (``?rate=16000&channels=2``).
"""

from __future__ import annotations

import contextlib
import re

from voiceguard.errors import MalformedStream
from voiceguard.telephony.streams import fields
from voiceguard.telephony.streams.events import AudioChunk, AudioFormat, Event, StreamStart

_CONTENT_TYPE = re.compile(r"\s*(audio/[a-z0-9.+-]{1,20})\s*((?:;[^;]{0,64}){0,4})", re.IGNORECASE)
_RATE = re.compile(r";\s*rate\s*=\s*([0-9]{1,6})\s*(?:;|$)", re.IGNORECASE)


class LinearAdapter:
    """Reads one stream; see :class:`~voiceguard.telephony.streams.events.MessageAdapter`."""

    ends_by_close = True

    def __init__(self, rate_hz: int = 16000, channels: int = 1) -> None:
        self._format = fields.audio_format("l16", rate_hz, channels)
        self._started = False

    def text(self, message: str) -> tuple[Event, ...]:
        """Take the metadata; later texts (DTMF, notes of the switch) say nothing about the audio."""
        if self._started:
            return ()
        said: dict[str, object] = {}
        with contextlib.suppress(MalformedStream):  # FreeSWITCH's metadata may be any text
            said = fields.parse_object(message)
        content_type = said.get("content-type")
        if content_type is not None:
            self._format = _format_of(fields.text(content_type, "content-type"), self._format.channels)
        self._started = True
        start = StreamStart(
            stream_id="",
            call_id=fields.text(fields.first(said, "uuid", "callId", "call_id", "conversation_uuid"), "uuid"),
            parameters=fields.parameters(said),
        )
        return (start,)

    def binary(self, message: bytes) -> tuple[Event, ...]:
        """Take audio; it may begin without metadata, as FreeSWITCH does unless it is told some."""
        if len(message) % self._format.block_bytes:
            raise MalformedStream(
                f"Expected whole samples of {self._format.block_bytes} bytes, got {len(message)} bytes."
            )
        chunk = AudioChunk(self._format, message)
        if self._started:
            return (chunk,)
        self._started = True
        return StreamStart("", ""), chunk


def _format_of(content_type: str, channels: int) -> AudioFormat:
    match = _CONTENT_TYPE.fullmatch(content_type)
    if match is None:
        raise MalformedStream(
            f"Expected a content-type such as audio/l16;rate=16000, got {content_type[:60]!r}."
        )
    rate = _RATE.search(match[2])
    # RFC 3551 has no default rate for L16; Vonage always names it.
    return fields.audio_format(match[1], int(rate[1]) if rate else 16000, channels)
