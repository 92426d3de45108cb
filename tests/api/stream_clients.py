"""Clients that stream a recording as each kind of switch does."""

from __future__ import annotations

import base64
import io
import json
import socket
import struct
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
from websockets.sync.client import ClientConnection, connect

Message = str | bytes


@dataclass(frozen=True)
class Audio:
    """One channel of a recording as it is on the wire, and as the file that says the same."""

    samples: np.ndarray
    rate_hz: int

    @property
    def ulaw(self) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, self.samples, self.rate_hz, format="RAW", subtype="ULAW")
        return file.getvalue()

    @property
    def l16(self) -> bytes:
        return self.samples.astype("<i2").tobytes()

    def wav(self, subtype: str) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, self.samples, self.rate_hz, format="WAV", subtype=subtype)
        return file.getvalue()


def frames(data: bytes, size: int) -> Iterator[bytes]:
    """Cut into frames; the last one may be shorter."""
    return (data[start : start + size] for start in range(0, len(data), size))


def twilio(audio: Audio, parameters: dict[str, str] | None = None) -> Iterator[Message]:
    stream = {"streamSid": "MZ00000000000000000000000000000001"}
    start = {
        "accountSid": "AC1",
        "callSid": "CA00000000000000000000000000000001",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": parameters or {},
        **stream,
    }
    yield json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})
    yield json.dumps({"event": "start", "sequenceNumber": "1", "start": start, **stream})
    number = 0
    for number, frame in enumerate(frames(audio.ulaw, 160), 1):
        media = {
            "track": "inbound",
            "chunk": str(number),
            "timestamp": str(20 * number),
            "payload": base64.b64encode(frame).decode(),
        }
        yield json.dumps({"event": "media", "sequenceNumber": str(number + 1), "media": media, **stream})
    yield json.dumps({"event": "stop", "sequenceNumber": str(number + 2), "stop": {}, **stream})


def telnyx(audio: Audio) -> Iterator[Message]:
    """The same in snake_case, each pair of media messages swapped."""
    stream = {"stream_id": "32de0dea-53cb-4b21-89a4-9e1819c043bc"}
    start = {
        "call_control_id": "v3:1",
        "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
    }
    yield json.dumps({"event": "connected", "version": "1.0.0"})
    yield json.dumps({"event": "start", "sequence_number": "1", "start": start, **stream})
    media = [
        json.dumps(
            {
                "event": "media",
                "sequence_number": str(number + 1),
                "media": {
                    "track": "inbound",
                    "chunk": str(number),
                    "timestamp": str(20 * number),
                    "payload": base64.b64encode(frame).decode(),
                },
                **stream,
            }
        )
        for number, frame in enumerate(frames(audio.ulaw, 160), 1)
    ]
    for index in range(1, len(media) - 1, 2):
        media[index], media[index + 1] = media[index + 1], media[index]
    yield from media
    yield json.dumps({"event": "stop", "sequence_number": "9999", "stop": {}, **stream})


def vonage(audio: Audio) -> Iterator[Message]:
    yield json.dumps(
        {
            "event": "websocket:connected",
            "content-type": f"audio/l16;rate={audio.rate_hz}",
            "caller": "+447700900000",
        }
    )
    yield from frames(audio.l16, audio.rate_hz // 50 * 2)


def freeswitch(audio: Audio) -> Iterator[Message]:
    """Stereo at the rate in the address: the caller on the left, silence on the right."""
    both = np.stack([audio.samples, np.zeros_like(audio.samples)], axis=1).astype("<i2").tobytes()
    yield json.dumps({"uuid": "8f3c6b2e-4a57-4d0c-9a56-3c2c9b1f7a11", "remote_channel": 0})
    yield from frames(both, audio.rate_hz // 50 * 4)


def asterisk_text(audio: Audio) -> Iterator[Message]:
    yield (
        "MEDIA_START connection_id:c1 channel:WebSocket/c1/0x7f1c80008a40 channel_id:1700000000.1 format:ulaw "
        "optimal_frame_size:160 ptime:20"
    )
    yield from frames(audio.ulaw, 160)


def asterisk_json(audio: Audio) -> Iterator[Message]:
    said = {
        "event": "MEDIA_START",
        "connection_id": "c1",
        "channel": "WebSocket/c1/0x7f1c80008a40",
        "channel_id": "1700000000.1",
        "format": f"slin{audio.rate_hz // 1000}" if audio.rate_hz != 8000 else "slin",
        "optimal_frame_size": 320,
        "ptime": 20,
        "channel_variables": {"caller": "+12025550123"},
    }
    yield json.dumps(said)
    yield from frames(audio.l16, audio.rate_hz // 50 * 2)


def plain(audio: Audio, **start: Any) -> Iterator[Message]:
    yield json.dumps({"event": "start", "encoding": "l16", "rate_hz": audio.rate_hz, **start})
    yield from frames(audio.l16, 1001)
    yield json.dumps({"event": "stop"})


def audiosocket(port: int, name: uuid.UUID, audio: Audio, *, hangup: bool = True) -> None:
    """Stream over TCP as Asterisk does, and wait until the server has hung up."""
    kind = {8000: 0x10, 12000: 0x11, 16000: 0x12}[audio.rate_hz]
    data = b"\x01\x00\x10" + name.bytes
    data += b"".join(
        struct.pack(">BH", kind, len(frame)) + frame for frame in frames(audio.l16, audio.rate_hz // 50 * 2)
    )
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(data + (b"\x00\x00\x00" if hangup else b""))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1024):
            pass


@dataclass
class Streams:
    """Where streams go, and the key that opens it."""

    port: int
    secret: str

    def open(self, path: str, *, key: str | None = None, **options: Any) -> ClientConnection:
        headers = options.pop("additional_headers", {"Authorization": f"Bearer {key or self.secret}"})
        return connect(
            f"ws://127.0.0.1:{self.port}/v1/streams/{path}",
            additional_headers=headers,
            compression=None,
            proxy=None,
            open_timeout=60,
            **options,
        )

    def stream(self, path: str, messages: Iterator[Message], **options: Any) -> list[dict[str, Any]]:
        """Send a whole stream and read its events; a protocol without a stop message ends by closing."""
        events: list[dict[str, Any]] = []
        with self.open(path, **options) as connection:
            last: Message = b""
            for last in messages:
                connection.send(last)
            if isinstance(last, bytes):
                connection.close()
                return events
            for message in connection:
                events.append(json.loads(message))
        return events


Client = Callable[[Audio], Iterator[Message]]
