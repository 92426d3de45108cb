"""Reading what strangers write into JSON messages: bounded, and with an error that says what was wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from voiceguard.errors import MalformedStream, UnsupportedStream
from voiceguard.telephony.streams.events import MAX_MESSAGE_BYTES, AudioFormat, Encoding

MAX_PARAMETERS = 64
MAX_PARAMETER_CHARACTERS = 16_384
"""A SIP Identity header or a few fit."""
MAX_NUMBER = 2**53
RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 192000)
MAX_CHANNELS = 2

_ENCODINGS = {
    "audio/x-mulaw": Encoding.PCMU,
    "audio/mulaw": Encoding.PCMU,
    "audio/pcmu": Encoding.PCMU,
    "mulaw": Encoding.PCMU,
    "ulaw": Encoding.PCMU,
    "pcmu": Encoding.PCMU,
    "audio/x-alaw": Encoding.PCMA,
    "audio/alaw": Encoding.PCMA,
    "audio/pcma": Encoding.PCMA,
    "alaw": Encoding.PCMA,
    "pcma": Encoding.PCMA,
    "audio/l16": Encoding.L16,
    "audio/x-l16": Encoding.L16,
    "audio/x-raw": Encoding.L16,
    "raw/slin": Encoding.L16,
    "base64": Encoding.L16,  # Exotel names the wrapping; inside is 16-bit linear
    "linear16": Encoding.L16,
    "l16": Encoding.L16,
    "slin": Encoding.L16,
    "audio/g722": Encoding.G722,
    "g722": Encoding.G722,
}


def parse_object(message: str) -> dict[str, Any]:
    """Read a JSON object; raise `MalformedStream` if it is none."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise MalformedStream(f"Expected messages of at most {MAX_MESSAGE_BYTES} bytes, got {len(message)}.")
    try:
        found = json.loads(message)
    except (ValueError, RecursionError):
        raise MalformedStream("Expected a JSON object, got text that is no JSON.") from None
    if not isinstance(found, dict):
        raise MalformedStream(f"Expected a JSON object, got {type(found).__name__}.")
    return found


def first(source: Mapping[str, Any], *names: str) -> Any:
    """Return the value of the first of ``names`` that is there, else None."""
    for name in names:
        if name in source:
            return source[name]
    return None


def mapping(value: Any, where: str) -> dict[str, Any]:
    """Return a JSON object that must be one; None gives an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedStream(f"Expected a JSON object as {where}, got {type(value).__name__}.")
    return value


def text(value: Any, where: str) -> str:
    """Return a short text, empty for None; numbers are written out."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise MalformedStream(f"Expected text as {where}, got {type(value).__name__}.")
    return str(value)[:255]


def number(value: Any, where: str) -> int | None:
    """Return a whole number from 0, given as number or as digits; None stays None."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 16:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_NUMBER:
        raise MalformedStream(f"Expected a whole number as {where}, got {str(value)[:40]!r}.")
    return value


def parameters(*sources: Mapping[str, Any]) -> dict[str, str]:
    """Gather what is text, number or truth value from ``sources``; earlier ones win."""
    found: dict[str, str] = {}
    for source in sources:
        for name, value in source.items():
            if isinstance(value, str | int | float) and name not in found:
                found[name] = str(value)[:MAX_PARAMETER_CHARACTERS]
                if len(found) > MAX_PARAMETERS:
                    raise MalformedStream(f"Expected at most {MAX_PARAMETERS} parameters, got more.")
    return found


def audio_format(encoding: str, rate_hz: int | None, channels: int | None) -> AudioFormat:
    """Return the format of that name; raise `UnsupportedStream` for one that can't be screened."""
    known = _ENCODINGS.get(encoding.lower())
    if known is None:
        raise UnsupportedStream(
            f"Expected PCMU, PCMA, G722 or 16-bit linear audio, got {encoding[:40]!r}: choose one of these."
        )
    usual = 16000 if known is Encoding.G722 else 8000
    if known is Encoding.G722:
        rate_hz = usual  # RFC 3551 gives its clock as 8000, though it samples at 16 kHz
    chosen = rate_hz or usual
    if chosen not in RATES_HZ or (known in (Encoding.PCMU, Encoding.PCMA) and chosen > 48000):
        raise UnsupportedStream(f"Expected a usual sample rate from 8000 to 192000 Hz, got {chosen}.")
    if not 1 <= (channels or 1) <= (1 if known is Encoding.G722 else MAX_CHANNELS):
        raise UnsupportedStream(f"Expected 1 or {MAX_CHANNELS} channels (G722: 1), got {channels}.")
    return AudioFormat(known, chosen, channels or 1)
