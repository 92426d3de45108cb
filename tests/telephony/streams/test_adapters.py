from __future__ import annotations

import base64
import gc
import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.telephony.streams.messages import ADAPTERS, feed, mutated, recorded
from voiceguard.errors import MalformedStream, SignallingError, UnsupportedStream
from voiceguard.telephony.streams import (
    Assembly,
    AsteriskAdapter,
    AudioChunk,
    AudioFormat,
    AudioSocketAdapter,
    Encoding,
    LinearAdapter,
    PcmAdapter,
    StreamStart,
    StreamStop,
    TwilioAdapter,
)

COUNTING = bytes(range(16))
LINEAR = b"".join(number.to_bytes(2, "little") for number in range(8))
MULAW = AudioFormat(Encoding.PCMU, 8000)
MUTATED_STREAMS = 5_000
"""Of two messages and more each: over 10,000 messages an adapter."""


def events(name: str) -> list:
    adapter = ADAPTERS[name]()
    return [event for message in recorded(name) for event in feed(adapter, message)]


@pytest.mark.parametrize(
    ("name", "audio_format", "first", "stream_id", "call_id", "caller", "stops"),
    [
        (
            "twilio",
            MULAW,
            b"\x7e" * 7,
            "MZ00000000000000000000000000000001",
            "CA00000000000000000000000000000001",
            "+12025550123",
            True,
        ),
        (
            "telnyx",
            AudioFormat(Encoding.PCMA, 8000),
            COUNTING,
            "32de0dea-53cb-4b21-89a4-9e1819c043bc",
            "v2:T02llQxIyaRkhfRKxgAP8nY511EhFLizdvdUKJiSw8d6A9BborherQ",
            "+13122010094",
            True,
        ),
        (
            "exotel",
            AudioFormat(Encoding.L16, 8000),
            LINEAR,
            "c8bd7b1aa4d0eb7f3ee1bd2cbdd54b16",
            "b8bd7b1aa4d0eb7f3ee1bd2cbdd54b17",
            "+912025550123",
            True,
        ),
        (
            "plivo",
            MULAW,
            COUNTING,
            "20170ada-f610-433b-8758-c02a2aab3662",
            "c2a8a1b0-1111-4222-8333-444455556666",
            None,
            True,
        ),
        (
            "vonage",
            AudioFormat(Encoding.L16, 16000),
            LINEAR,
            "",
            "CON-f972836a-550f-45fa-956c-12a2ab5b7d22",
            "+447700900000",
            False,
        ),
        (
            "freeswitch",
            AudioFormat(Encoding.L16, 16000),
            LINEAR,
            "",
            "8f3c6b2e-4a57-4d0c-9a56-3c2c9b1f7a11",
            "+12025550123",
            False,
        ),
        ("asterisk-text", MULAW, COUNTING, "media_connection1", "1700000000.1", None, False),
        (
            "asterisk-json",
            AudioFormat(Encoding.L16, 16000),
            LINEAR,
            "media_connection1",
            "1700000000.1",
            "+12025550123",
            False,
        ),
        (
            "pcm",
            AudioFormat(Encoding.L16, 8000, 2),
            LINEAR[:8],
            "",
            "a84b4c76e66710@pc33",
            "+12025550123",
            True,
        ),
        (
            "audiosocket",
            AudioFormat(Encoding.L16, 8000),
            LINEAR,
            "40325ec2-5efd-4bd3-805f-53576e581d13",
            "40325ec2-5efd-4bd3-805f-53576e581d13",
            None,
            True,
        ),
    ],
)
def test_a_recorded_stream_gives_its_events(name, audio_format, first, stream_id, call_id, caller, stops):
    found = events(name)
    start, chunks = found[0], [event for event in found if isinstance(event, AudioChunk)]
    assert isinstance(start, StreamStart)
    assert (start.stream_id, start.call_id, start.parameters.get("caller")) == (stream_id, call_id, caller)
    assert all(chunk.format == audio_format for chunk in chunks)
    assert chunks[0].payload.startswith(first)
    assert isinstance(found[-1], StreamStop) == stops
    assert len(found) == 1 + len(chunks) + stops


def test_the_key_comes_with_the_parameters():
    for name in ("twilio", "vonage", "pcm"):
        assert events(name)[0].parameters["key"] == "vg_secret"


def test_out_of_order_media_say_their_place():
    chunks = [event for event in events("telnyx") if isinstance(event, AudioChunk)]
    assert [(chunk.number, chunk.time_ms) for chunk in chunks] == [(2, 22), (1, 20)]


def test_freeswitch_may_begin_with_audio():
    start, chunk = LinearAdapter(rate_hz=8000, channels=2).binary(LINEAR)
    assert isinstance(start, StreamStart)
    assert chunk.format == AudioFormat(Encoding.L16, 8000, 2)


def test_plain_audio_may_be_cut_anywhere():
    adapter = PcmAdapter()
    adapter.text('{"event": "start"}')
    pieces = [event for byte in LINEAR for event in adapter.binary(bytes([byte]))]
    assert b"".join(piece.payload for piece in pieces) == LINEAR


@given(st.lists(st.integers(1, 7), max_size=40))
@settings(derandomize=True, max_examples=100)
def test_audiosocket_frames_may_be_cut_anywhere(steps):
    data = b"".join(recorded("audiosocket"))
    adapter, found = AudioSocketAdapter(), []
    for step in steps:
        found += adapter.feed(data[:step])
        data = data[step:]
    found += adapter.feed(data)
    assert [type(event) for event in found] == [StreamStart, AudioChunk, StreamStop]


@pytest.mark.parametrize("kind", range(0x10, 0x19))
def test_audiosocket_knows_every_rate(kind):
    adapter = AudioSocketAdapter()
    (chunk,) = (
        event
        for event in adapter.feed(recorded("audiosocket")[0] + bytes([kind, 0, 2, 1, 0]))
        if isinstance(event, AudioChunk)
    )
    rates = (8000, 12000, 16000, 24000, 32000, 44100, 48000, 96000, 192000)
    assert chunk.format.rate_hz == rates[kind - 0x10]


MEDIA = '{"event":"media","media":{"payload":"AAAA","track":"inbound"}}'
BEGUN = '{"event":"start","start":{}}'


@pytest.mark.parametrize(
    ("adapter", "messages", "error", "says"),
    [
        (TwilioAdapter, [MEDIA], MalformedStream, "before media"),
        (TwilioAdapter, [BEGUN, BEGUN], MalformedStream, "got two"),
        (TwilioAdapter, [b"\0"], MalformedStream, "binary"),
        (TwilioAdapter, ["[]"], MalformedStream, "JSON object"),
        (TwilioAdapter, ["[" * 60_000], MalformedStream, "JSON"),
        (TwilioAdapter, ["{}"], MalformedStream, "event"),
        (TwilioAdapter, [BEGUN, MEDIA.replace("AAAA", "A")], MalformedStream, "base64"),
        (TwilioAdapter, [BEGUN, MEDIA.replace("inbound", "sideways")], MalformedStream, "track"),
        (
            TwilioAdapter,
            ['{"event":"start","start":{"mediaFormat":{"encoding":"OPUS"}}}'],
            UnsupportedStream,
            "OPUS",
        ),
        (
            TwilioAdapter,
            ['{"event":"start","start":{"mediaFormat":{"encoding":"L16","sampleRate":7}}}'],
            UnsupportedStream,
            "rate",
        ),
        (LinearAdapter, [b"\0"], MalformedStream, "whole samples"),
        (LinearAdapter, ['{"content-type":"text/plain"}'], MalformedStream, "content-type"),
        (LinearAdapter, ['{"content-type":"audio/opus;rate=48000"}'], UnsupportedStream, "opus"),
        (AsteriskAdapter, [b"\0"], MalformedStream, "MEDIA_START"),
        (AsteriskAdapter, ["GET / HTTP/1.1"], None, ""),
        (AsteriskAdapter, ["<html>"], MalformedStream, "control message"),
        (AsteriskAdapter, ["MEDIA_START format:opus"], UnsupportedStream, "opus"),
        (PcmAdapter, ['{"event":"stop"}'], MalformedStream, "start"),
        (PcmAdapter, [b"\0\0"], MalformedStream, "start"),
        (AudioSocketAdapter, [b"GET / HTTP/1.1\r\n"], MalformedStream, "0x47"),
        (AudioSocketAdapter, [b"\x10\0\2\0\0"], MalformedStream, "UUID first"),
        (AudioSocketAdapter, [b"\1\0\3abc"], MalformedStream, "16 bytes"),
    ],
)
def test_what_the_protocol_does_not_have_is_refused(adapter, messages, error, says):
    reader = adapter()
    if error is None:
        assert [feed(reader, message) for message in messages] == [[]]
        return
    for message in messages[:-1]:
        feed(reader, message)
    with pytest.raises(error, match=says):
        feed(reader, messages[-1])


def test_one_sample_rate_throughout():
    adapter = AudioSocketAdapter()
    with pytest.raises(MalformedStream, match="rate"):
        list(adapter.feed(recorded("audiosocket")[0] + b"\x10\0\2\0\0\x12\0\2\0\0"))


def run(name: str, stream: list) -> str:
    """Feed a stream to its adapter and what comes out to an assembly; say how it ended."""
    adapter, assembly, size = ADAPTERS[name](), Assembly(), 0
    try:
        for message in stream:
            for event in feed(adapter, message):
                if isinstance(event, AudioChunk):
                    size += sum(len(piece) for _, piece in assembly.add(event))
        size += sum(len(piece) for _, piece in assembly.finish())
    except SignallingError as error:
        return error.code if str(error).startswith("Expected ") else repr(error)
    # 600 s of lead and 10 s a gap at the highest rate: what a lying clock may cost at most.
    assert size <= 192_000 * 4 * 1_300
    return "read"


@pytest.mark.parametrize("name", ADAPTERS)
def test_mutated_messages_are_read_or_refused_and_leave_nothing(name):
    messages, outcomes = 0, set()
    for stream in mutated(name, 20240208, 50):
        run(name, stream)  # fills caches
    gc.collect()
    before = sys.getallocatedblocks()
    for stream in mutated(name, 11, MUTATED_STREAMS):
        messages += len(stream)
        outcomes.add(run(name, stream))
    del stream
    gc.collect()
    grown = sys.getallocatedblocks() - before
    assert messages >= 10_000
    assert {"read", "malformed_stream"} <= outcomes <= {"read", "malformed_stream", "unsupported_stream"}
    assert grown < 2000


@given(
    st.sampled_from(sorted(ADAPTERS)),
    st.lists(st.one_of(st.text(max_size=200), st.binary(max_size=200)), max_size=5),
)
@settings(derandomize=True, max_examples=500, deadline=None)
def test_any_messages(name, stream):
    run(name, recorded(name)[:1] + stream)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("streamSid", "sequenceNumber", "start", "media", "stop", "content-type", "format"), values
        ),
    ),
    st.sampled_from(["start", "media", "stop", "MEDIA_START", "websocket:connected"]),
    st.sampled_from(sorted(set(ADAPTERS) - {"audiosocket"})),
)
@settings(derandomize=True, max_examples=500, deadline=None)
def test_any_values(fields, event, name):
    run(name, [json.dumps({**fields, "event": event})])


@given(values, values, values, values)
@settings(derandomize=True, max_examples=500, deadline=None)
def test_any_media(track, chunk, timestamp, payload):
    media = {"track": track, "chunk": chunk, "timestamp": timestamp, "payload": payload}
    run("twilio", [BEGUN, json.dumps({"event": "media", "media": media})])


def test_a_payload_is_what_was_sent():
    adapter = TwilioAdapter()
    adapter.text(BEGUN)
    payload = base64.b64encode(COUNTING).decode()
    (chunk,) = adapter.text(json.dumps({"event": "media", "media": {"payload": payload, "chunk": 7}}))
    assert (chunk.payload, chunk.track, chunk.number, chunk.time_ms) == (COUNTING, "inbound", 7, None)
