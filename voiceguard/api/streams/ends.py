"""How a stream can end, and the close code that tells its client."""

from __future__ import annotations

from dataclasses import dataclass

NORMAL, UNSUPPORTED, INVALID, POLICY, INTERNAL, RESTART, TRY_LATER = 1000, 1003, 1007, 1008, 1011, 1012, 1013
"""Close codes of RFC 6455, section 7.4.1, and of the registry that it founds."""

CODES = {
    "stop": (NORMAL, "The sender said that the stream ends."),
    "closed": (NORMAL, "The sender closed the connection, which is how its protocol ends a stream."),
    "connection_lost": (RESTART, "The connection broke, or was closed without a stop message."),
    "restart": (RESTART, "The server is being stopped."),
    "malformed_stream": (INVALID, "A message was none of the protocol."),
    "unsupported_stream": (UNSUPPORTED, "The audio is in a coding that can't be screened live."),
    "stream_silent": (POLICY, "No start message, or no audio, came in time."),
    "stream_too_fast": (POLICY, "Audio or messages came much faster than a call speaks."),
    "stream_too_long": (POLICY, "The stream is longer than it may be."),
    "stream_not_read": (POLICY, "The client did not read what it was sent."),
    "invalid_request": (POLICY, "The start message says something that it can't say."),
    "missing_key": (POLICY, "No API key came, neither with the request nor in the start message."),
    "invalid_key": (POLICY, "The API key is unknown."),
    "expired_key": (POLICY, "The API key has expired."),
    "revoked_key": (POLICY, "The API key was revoked."),
    "insufficient_scope": (POLICY, "The API key lacks the scope streams."),
    "rate_limited": (TRY_LATER, "The API key made too many requests."),
    "too_many_streams": (TRY_LATER, "The API key has as many streams as it may."),
    "overloaded": (TRY_LATER, "The server has as many streams as it may."),
    "storage_full": (TRY_LATER, "No space is left to store recordings."),
    "internal_error": (INTERNAL, "VoiceGuard made a mistake; the log has the cause."),
}
"""Every way to end: close code and meaning. The close frame's reason is the name."""

COMPLETE = frozenset({"stop", "closed"})
"""Ends after which nothing is missing."""


@dataclass(frozen=True)
class End:
    """How a stream ended: one of `CODES`, and what was expected and what came."""

    code: str
    detail: str = ""

    @property
    def complete(self) -> bool:
        """Whether the sender ended the stream as its protocol does."""
        return self.code in COMPLETE

    @property
    def close_code(self) -> int:
        """Close code for the WebSocket."""
        return CODES.get(self.code, CODES["internal_error"])[0]


class StreamCut(Exception):
    """Ends a stream before its sender does."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(detail or code)
        self.end = End(code, detail or CODES[code][1])
