"""Streams as they come over the wire: recorded messages of each protocol, and mutated ones."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from voiceguard.telephony.streams import (
    AsteriskAdapter,
    AudioSocketAdapter,
    Event,
    LinearAdapter,
    MessageAdapter,
    PcmAdapter,
    TwilioAdapter,
)

FOLDER = Path(__file__).parent / "recorded"
Message = str | bytes

ADAPTERS: dict[str, Callable[[], MessageAdapter | AudioSocketAdapter]] = {
    "twilio": TwilioAdapter,
    "telnyx": TwilioAdapter,
    "exotel": TwilioAdapter,
    "plivo": TwilioAdapter,
    "vonage": LinearAdapter,
    "freeswitch": LinearAdapter,
    "asterisk-text": AsteriskAdapter,
    "asterisk-json": AsteriskAdapter,
    "pcm": PcmAdapter,
    "audiosocket": AudioSocketAdapter,
}
"""The adapter of each recorded stream."""


def recorded(name: str) -> list[Message]:
    """Return a recorded stream's messages: each line is one, what isn't JSON stands behind ``$``."""
    return [_message(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]


def _message(line: str) -> Message:
    said = json.loads(line)
    if "$binary" in said:
        return base64.b64decode(said["$binary"])
    return str(said.get("$text", line))


def feed(adapter: MessageAdapter | AudioSocketAdapter, message: Message) -> list[Event]:
    """Give an adapter one message."""
    if isinstance(adapter, AudioSocketAdapter):
        return list(adapter.feed(message if isinstance(message, bytes) else message.encode()))
    return list(adapter.text(message) if isinstance(message, str) else adapter.binary(message))


def mutated(name: str, seed: int, count: int) -> Iterator[list[Message]]:
    """Yield ``count`` streams whose messages were damaged; the same ones for the same seed."""
    rng = random.Random(f"{name}-{seed}")
    original = recorded(name)
    for _ in range(count):
        stream: list[Message] = [message for message in original if rng.random() > 0.1]
        for _ in range(rng.randint(1, 3)):
            if not stream:
                break
            index = rng.randrange(len(stream))
            stream[index : index + 1] = rng.choice(_MUTATIONS)(rng, stream[index])
        yield stream


def _flip(rng: random.Random, message: Message) -> list[Message]:
    data = bytearray(message.encode() if isinstance(message, str) else message)
    for _ in range(rng.randint(1, 4)):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return [data.decode("utf-8", "replace") if isinstance(message, str) else bytes(data)]


def _cut(rng: random.Random, message: Message) -> list[Message]:
    return [message[: rng.randint(0, len(message))]]


def _repeat(rng: random.Random, message: Message) -> list[Message]:
    return [message] * rng.randint(2, 5)


def _other_kind(rng: random.Random, message: Message) -> list[Message]:
    return [message.encode() if isinstance(message, str) else message.decode("utf-8", "replace")]


def _garbage(rng: random.Random, message: Message) -> list[Message]:
    data = rng.randbytes(rng.randint(0, 600))
    return [data if rng.random() < 0.5 else data.decode("latin-1")]


def _nested(rng: random.Random, message: Message) -> list[Message]:
    depth = rng.choice((10, 1000, 5000))
    return [rng.choice(("[", '{"event":', '{"media":{"payload":')) * depth]


def _other_value(rng: random.Random, message: Message) -> list[Message]:
    """Replace the value of one key, at any depth."""
    try:
        said = json.loads(message)
    except (ValueError, RecursionError):
        return _flip(rng, message)
    place = said
    while isinstance(place, dict) and place:
        key = rng.choice(list(place))
        if not isinstance(place[key], dict) or rng.random() < 0.3:
            place[key] = rng.choice(_VALUES)
            break
        place = place[key]
    return [json.dumps(said)]


_VALUES = (
    None,
    True,
    "",
    "0",
    "-1",
    -1,
    1e308,
    2**53 + 1,
    "9" * 30,
    "٣",
    [],
    {},
    {"key": {}},
    "\0",
    "=" * 50,
    "media",
    "start",
    float("nan"),
    "x" * 70_000,
)

_MUTATIONS = (_flip, _flip, _cut, _repeat, _other_kind, _garbage, _nested, _other_value, _other_value)
