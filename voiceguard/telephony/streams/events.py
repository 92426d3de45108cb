"""What every adapter gives, whatever the protocol."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Protocol

MAX_MESSAGE_BYTES = 65_536
"""Largest message of any protocol: Asterisk's are at most 65 500 bytes, most are below 1000."""


class Encoding(enum.StrEnum):
    """How a stream's samples are coded."""

    PCMU = "pcmu"
    PCMA = "pcma"
    L16 = "l16"
    """16-bit linear, little-endian."""
    G722 = "g722"


@dataclass(frozen=True)
class AudioFormat:
    """Coding of a stream's audio; the same from its first chunk to its last."""

    encoding: Encoding
    rate_hz: int
    channels: int = 1
    """Channels interleaved in each chunk."""

    @property
    def block_bytes(self) -> int:
        """Bytes of the smallest piece that can be cut off: one sample of every channel."""
        return self.channels * (2 if self.encoding is Encoding.L16 else 1)

    @property
    def bytes_per_s(self) -> int:
        """Bytes a second; G.722 packs two samples of 16 kHz into a byte (RFC 3551, section 4.5.2)."""
        samples = self.rate_hz // 2 if self.encoding is Encoding.G722 else self.rate_hz
        return samples * self.block_bytes


@dataclass(frozen=True)
class StreamStart:
    """The stream begins: who it is, and what its sender says of the call."""

    stream_id: str
    """The protocol's own id, empty where it has none."""
    call_id: str
    """The sender's id of the call, empty where it has none."""
    parameters: dict[str, str] = field(default_factory=dict)
    """What the sender says of the call, by the names of the API's part ``call``; and ``key``."""


@dataclass(frozen=True)
class AudioChunk:
    """A piece of audio."""

    format: AudioFormat
    payload: bytes
    track: str = ""
    """``inbound`` or ``outbound`` where the protocol tells them apart."""
    number: int | None = None
    """Place in the order of sending; None where the transport keeps the order."""
    time_ms: int | None = None
    """Time since some moment before the call; None where the protocol has no clock."""


@dataclass(frozen=True)
class StreamStop:
    """The sender says that the stream ends."""

    reason: str = ""


Event = StreamStart | AudioChunk | StreamStop


class MessageAdapter(Protocol):
    """An adapter for a WebSocket protocol.

    Each method takes one message and returns its events: none if it has nothing for us, one as a rule. Both raise
    ``MalformedStream`` for what the protocol does not allow and ``UnsupportedStream`` for audio in a coding
    that can't be screened; after that, the adapter is of no further use.
    """

    ends_by_close: bool
    """Whether closing the connection is how a sender ends a stream; else a message must say so first."""

    def text(self, message: str) -> tuple[Event, ...]:
        """Take a text message."""

    def binary(self, message: bytes) -> tuple[Event, ...]:
        """Take a binary message."""
