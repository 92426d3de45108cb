"""Receiving a recording: the multipart body goes to disk chunk by chunk, hashed on the way, within its caps."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from voiceguard.api.problems import Problem
from voiceguard.errors import RecordingTooLarge
from voiceguard.store.recordings import Upload

MAX_CALL_BYTES = 256 * 1024
"""Most bytes of the part ``call``; the longest part of it is a SIP Identity header or a few."""
_MAX_OVERHEAD_BYTES = MAX_CALL_BYTES + 64 * 1024
_MAX_PARTS = 8
_WRITE_BYTES = 256 * 1024
"""Bytes gathered before a thread writes them: a hop to a thread costs more than a small write."""


@dataclass(frozen=True)
class Form:
    """What came beside the audio, which is in the `Upload`."""

    call: bytes | None
    """The part ``call``."""
    filename: str | None
    """The audio's file name, as the client says: a hint for formats without a header."""


def check_length(request: Request, max_audio_bytes: int) -> int:
    """Return the length that the request announces, 0 if none; refuse a body that can't fit."""
    announced = int(request.headers.get("content-length") or 0)  # the server has checked that it is a number
    if announced > max_audio_bytes + _MAX_OVERHEAD_BYTES:
        raise RecordingTooLarge(f"Expected a recording of at most {max_audio_bytes} bytes, got {announced}.")
    return announced


async def receive(request: Request, upload: Upload, *, max_audio_bytes: int, timeout_s: float) -> Form:
    """Read the request's body, the part ``audio`` into ``upload``.

    Raises
    ------
    Problem, RecordingTooLarge, RecordingsUnavailable, StorageFull
        The body is malformed, too slow, too large, or can't be written.
    """
    parts = _Parts(request, max_audio_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                parts.feed(chunk)
                if len(parts.audio) >= _WRITE_BYTES:
                    await asyncio.to_thread(upload.write, parts.take())
            parts.finish()
            await asyncio.to_thread(upload.write, parts.take())
    except TimeoutError:
        raise Problem(
            "upload_too_slow",
            f"Expected the whole body within {timeout_s:g} s.",
            headers={"Connection": "close"},
        ) from None
    return Form(parts.call, parts.filename)


class _Parts:
    """The state of one body on its way through the parser."""

    def __init__(self, request: Request, max_audio_bytes: int) -> None:
        kind, options = parse_options_header(request.headers.get("content-type"))
        if kind != b"multipart/form-data":
            raise Problem("unsupported_media_type", "Expected multipart/form-data with a part named audio.")
        boundary = options.get(b"boundary")
        if not boundary:
            raise Problem("malformed_request", "Expected a boundary in Content-Type, got none.")
        self.audio = bytearray()
        self.filename: str | None = None
        self._max_audio_bytes = max_audio_bytes
        self._audio_bytes = 0
        self._body_bytes = 0
        self._call = bytearray()
        self._seen: list[str] = []
        self._part = ""
        self._ended = False
        self._field = bytearray()
        self._value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._headers.clear,
                    "on_header_field": self._on_field,
                    "on_header_value": self._on_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers,
                    "on_part_data": self._on_data,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise Problem("malformed_request", f"Expected a usable boundary: {error}.") from error

    @property
    def call(self) -> bytes | None:
        return bytes(self._call) if "call" in self._seen else None

    def feed(self, chunk: bytes) -> None:
        self._body_bytes += len(chunk)
        if self._body_bytes > self._max_audio_bytes + _MAX_OVERHEAD_BYTES:
            raise RecordingTooLarge(
                f"Expected a recording of at most {self._max_audio_bytes} bytes, got more."
            )
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise Problem("malformed_request", f"Expected multipart/form-data: {error}.") from error

    def take(self) -> bytearray:
        """Hand over the audio gathered so far."""
        audio, self.audio = self.audio, bytearray()
        return audio

    def finish(self) -> None:
        if not self._ended:
            raise Problem("malformed_request", "Expected the closing boundary, but the body ended before it.")
        if "audio" not in self._seen:
            raise missing("audio", "Expected a part named audio that holds the recording.")

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._part = options.get(b"name", b"").decode("utf-8", "replace")
        if self._part in ("audio", "call") and self._part in self._seen:
            raise Problem("malformed_request", f"Expected one part named {self._part}, got two.")
        self._seen.append(self._part)
        if len(self._seen) > _MAX_PARTS:
            raise Problem("malformed_request", f"Expected at most {_MAX_PARTS} parts, got more.")
        if self._part == "audio" and b"filename" in options:
            self.filename = options[b"filename"].decode("utf-8", "replace")[:255]

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._part == "audio":
            self._audio_bytes += end - start
            if self._audio_bytes > self._max_audio_bytes:
                raise RecordingTooLarge(
                    f"Expected a recording of at most {self._max_audio_bytes} bytes, got more."
                )
            self.audio += memoryview(data)[start:end]
        elif self._part == "call":
            self._call += data[start:end]
            if len(self._call) > MAX_CALL_BYTES:
                raise Problem(
                    "request_too_large", f"Expected at most {MAX_CALL_BYTES} bytes in the part call."
                )

    def _on_end(self) -> None:
        self._ended = True


def missing(part: str, message: str) -> Problem:
    """Return the problem for a part that is not there."""
    return Problem("invalid_request", message, errors=[{"at": part, "message": message}])
