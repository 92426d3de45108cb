from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.conftest import STARTED_AT, Api, problem_of, unlike

FORM = "multipart/form-data; boundary=limit"
CALL = json.dumps({"started_at": STARTED_AT})


def _body(*parts: tuple[str, bytes], boundary: str = "limit") -> bytes:
    chunks = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + data + b"\r\n"
        for name, data in parts
    ]
    return b"".join(chunks) + f"--{boundary}--\r\n".encode()


def _send(api: Api, body: bytes | Iterator[bytes], content_type: str = FORM) -> Any:
    return api.client.post("/v1/calls", content=body, headers={**api.auth(), "Content-Type": content_type})


@pytest.mark.parametrize(
    ("call", "at"),
    [
        ("{}", "call.started_at"),
        ('{"started_at": "2026-03-01T14:05:00"}', "call.started_at"),
        ('{"started_at": 1772373900}', "call.started_at"),
        ('{"started_at": "0001-01-01T00:00:00+14:00"}', "call.started_at"),
        ('{"started_at": "9999-12-31T23:59:59-14:00"}', "call.started_at"),
        ('{"started_at": "2026-03-01T14:05:00Z", "caller": "2125559876"}', "call.caller"),
        ('{"started_at": "2026-03-01T14:05:00Z", "caller": "+1202"}', "call.caller"),
        ('{"started_at": "2026-03-01T14:05:00Z", "callee": "+12125559876;ext=5"}', "call.callee"),
        ('{"started_at": "2026-03-01T14:05:00Z", "remote_channel": -1}', "call.remote_channel"),
        ('{"started_at": "2026-03-01T14:05:00Z", "remote_channel": true}', "call.remote_channel"),
        (
            '{"started_at": "2026-03-01T14:05:00Z", "upstream_provider": "a\\u0000b"}',
            "call.upstream_provider",
        ),
        ('{"started_at": "2026-03-01T14:05:00Z", "startedAt": ""}', "call.startedAt"),
        ("[]", "call"),
        ("{", "call"),
        ("", "call"),
        ('{"started_at": "\\ud800"}', "call"),
    ],
)
def test_what_a_call_cannot_say_is_named(api: Api, short_clip: bytes, call: str, at: str) -> None:
    response = api.post(short_clip, call)
    assert (response.status_code, problem_of(response)) == (422, "invalid_request")
    assert [error["at"] for error in response.json()["errors"]] == [at]
    assert "2125559876" not in response.text


def test_attestations_that_nobody_knows_are_refused(api: Api, short_clip: bytes) -> None:
    assert problem_of(api.post(short_clip, {"attestation": "Z"})) == "invalid_attestation"


def test_a_channel_the_recording_lacks_is_refused(api: Api, short_clip: bytes) -> None:
    response = api.post(short_clip, {"remote_channel": 1})
    assert (response.status_code, problem_of(response)) == (422, "no_such_channel")


def test_parts_may_come_in_any_order_and_others_are_passed_over(api: Api, short_clip: bytes) -> None:
    body = _body(("call", CALL.encode()), ("note", b"x"), ("audio", short_clip))
    assert _send(api, body).status_code == 201


def test_a_body_in_small_chunks_is_the_same_body(api: Api, short_clip: bytes) -> None:
    body = _body(("audio", short_clip), ("call", CALL.encode()))
    response = _send(api, (body[start : start + 997] for start in range(0, len(body), 997)))
    assert response.status_code == 201


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (_body(("call", CALL.encode())), FORM, "invalid_request"),
        (_body(("audio", b"x")), FORM, "invalid_request"),
        (_body(("audio", b"x"), ("audio", b"y")), FORM, "malformed_request"),
        (_body(("call", b"{}"), ("call", b"{}")), FORM, "malformed_request"),
        (_body(*[("a", b"")] * 9), FORM, "malformed_request"),
        (_body(("audio", b"x"))[:-10], FORM, "malformed_request"),
        (b"", FORM, "malformed_request"),
        (b"no form at all", FORM, "malformed_request"),
        (_body(("audio", b"x")), "multipart/form-data", "malformed_request"),
        (_body(("audio", b"x")), "multipart/form-data; boundary=" + "b" * 300, "malformed_request"),
        (b"{}", "application/json", "unsupported_media_type"),
        (_body(("call", b" " * 300_000)), FORM, "request_too_large"),
        (_body(("audio", b"x"), ("call", CALL.encode())), FORM, "unsupported_format"),
        (_body(("audio", b""), ("call", CALL.encode())), FORM, "empty_recording"),
    ],
)
def test_bodies_that_are_no_upload_are_problems(api: Api, body: bytes, content_type: str, code: str) -> None:
    assert problem_of(_send(api, body, content_type)) == code
    assert list((api.recordings_folder / "incoming").iterdir()) == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 400))
def test_no_damage_to_a_body_is_a_fault_of_ours(api: Api, junk: bytes, start: int, length: int) -> None:
    body = _body(("call", CALL.encode()), ("audio", b"RIFF____WAVEfmt "))
    damaged = body[:start] + junk + body[start + length :]
    assert _send(api, damaged).status_code < 500


def test_an_upload_larger_than_allowed_is_refused_while_it_arrives(start: Callable[..., Api]) -> None:
    api = start(max_upload_bytes=100_000)
    sent = 0

    def _endless() -> Iterator[bytes]:
        nonlocal sent
        yield b'--limit\r\nContent-Disposition: form-data; name="audio"\r\n\r\n'
        for _ in range(100):
            sent += 1
            yield bytes(50_000)

    response = _send(api, _endless())
    assert (response.status_code, problem_of(response)) == (413, "recording_too_large")
    announced = _send(api, _body(("audio", bytes(1_000_000))))
    assert problem_of(announced) == "recording_too_large"
    assert api.recordings == []


def test_a_recording_longer_than_allowed_is_refused(start: Callable[..., Api], short_clip: bytes) -> None:
    api = start(max_duration_s=5.0)
    response = api.post(short_clip)
    assert (response.status_code, problem_of(response)) == (422, "recording_too_long")
    assert api.recordings == []


@pytest.mark.slow
def test_no_mutated_recording_is_a_fault_of_ours(api: Api, audio_samples: Path) -> None:
    rng = random.Random(20240208)
    clips = sorted(path for path in audio_samples.iterdir() if path.suffix not in (".md", ".csv", ""))
    for number in range(2000):
        path = rng.choice(clips)
        audio = bytearray(path.read_bytes()[: rng.choice((60, 2_000, 20_000))])
        for _ in range(rng.randint(1, 20)):
            # Headers are where decoders go wrong: half of the damage is done there.
            place = rng.randrange(min(len(audio), rng.choice((64, len(audio)))))
            kind = rng.randrange(3)
            if kind == 0:
                audio[place] = rng.randrange(256)
            elif kind == 1:
                del audio[place : place + rng.randint(1, 16)]
            else:
                audio[place:place] = rng.randbytes(rng.randint(1, 16))
            if not audio:
                break
        response = api.post(bytes(audio), "{}", path="/v1/screen", filename=path.name)
        assert response.status_code < 500, (number, path.name, response.text)


def test_an_upload_of_some_megabytes_is_read_to_its_end(api: Api) -> None:
    response = api.post(b"no audio" * 1_000_000)
    assert (response.status_code, problem_of(response)) == (415, "unsupported_format")


def test_each_upload_is_one_file(api: Api, short_clip: bytes) -> None:
    before = len(api.recordings)
    api.post(unlike(short_clip, 1))
    api.post(unlike(short_clip, 1))
    api.post(unlike(short_clip, 2))
    assert len(api.recordings) == before + 2
