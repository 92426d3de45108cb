from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import sqlalchemy as sa

from tests.api.conftest import Api, problem_of, unlike
from voiceguard.api.intake import idempotency_key
from voiceguard.api.problems import Problem
from voiceguard.store import schema


def _count(api: Api) -> int:
    with api.engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(schema.calls)) or 0


def test_a_repeated_request_gets_the_answer_of_the_first(api: Api, clip: bytes) -> None:
    audio, before = unlike(clip, 1), _count(api)
    first = api.post(audio, {"caller": "+12025550123"}, Idempotency_Key='"repeat"')
    again = api.post(audio, {"caller": "+1 202 555 0123"}, Idempotency_Key='"repeat"')
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert _count(api) == before + 1


def test_another_request_with_the_same_key_is_refused(api: Api, short_clip: bytes) -> None:
    api.post(short_clip, Idempotency_Key='"other"')
    for response in (
        api.post(unlike(short_clip, 5), Idempotency_Key='"other"'),
        api.post(short_clip, {"caller": "+12025550123"}, Idempotency_Key='"other"'),
    ):
        assert (response.status_code, problem_of(response)) == (422, "idempotency_key_reused")


def test_a_refused_request_leaves_its_key_free(api: Api, short_clip: bytes) -> None:
    assert api.post(b"no audio", Idempotency_Key='"free"').status_code == 415
    assert api.post(short_clip, Idempotency_Key='"free"').status_code == 201


def test_keys_belong_to_a_carrier(api: Api, short_clip: bytes) -> None:
    first = api.post(short_clip, Idempotency_Key='"mine"')
    other = api.post(short_clip, key=api.key(carrier="Other"), Idempotency_Key='"mine"')
    assert first.json()["id"] != other.json()["id"]


def test_without_a_key_each_post_is_a_call(api: Api, short_clip: bytes) -> None:
    assert api.post(short_clip).json()["id"] != api.post(short_clip).json()["id"]


def test_of_requests_at_once_one_makes_the_call(api: Api, clip: bytes) -> None:
    before, responses = _count(api), []
    together = threading.Barrier(6)

    def _post() -> None:
        together.wait()
        responses.append(api.post(unlike(clip, 99), Idempotency_Key='"at once"'))

    threads = [threading.Thread(target=_post) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {response.status_code for response in responses} <= {201, 409}
    assert len({response.json()["id"] for response in responses if response.status_code == 201}) == 1
    for response in responses:
        if response.status_code == 409:
            assert problem_of(response) == "in_flight"
            assert response.headers["retry-after"] == "1"
    assert _count(api) == before + 1


def test_a_second_answer_that_slipped_past_the_lock_does_not_count(
    api: Api, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As with two processes whose advisory locks were lost with their connection: both pass the first look.
    from voiceguard.api import intake

    first = api.post(clip, Idempotency_Key='"slipped"')
    real, looks = intake._answer_for, []

    def _blind_once(*args: Any) -> Any:
        looks.append(args)
        return None if len(looks) == 1 else real(*args)

    before = _count(api)
    monkeypatch.setattr(intake, "_answer_for", _blind_once)
    again = api.post(clip, Idempotency_Key='"slipped"')
    assert again.content == first.content
    assert len(looks) == 2
    assert _count(api) == before


@pytest.mark.parametrize(
    ("header", "key"),
    [(None, None), ('"a b"', "a b"), ("bare-123", "bare-123"), ('"q\\"q\\\\"', 'q"q\\'), (" x ", "x")],
)
def test_the_header_is_read_as_a_structured_string_or_bare(header: str | None, key: str | None) -> None:
    assert idempotency_key(header) == key


@pytest.mark.parametrize("header", ["", '""', "x" * 256, "\u00fc", "a\x00b", '"'])
def test_other_headers_are_refused(header: str) -> None:
    with pytest.raises(Problem, match="invalid_idempotency_key"):
        idempotency_key(header)


def test_stored_answers_are_json(api: Api, short_clip: bytes) -> None:
    api.post(short_clip, Idempotency_Key='"json"')
    with api.engine.connect() as connection:
        for body in connection.scalars(sa.select(schema.idempotency.c.body)):
            assert json.loads(body)["id"].startswith("call_")
