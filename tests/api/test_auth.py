from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest

from tests.api.conftest import Api, problem_of
from voiceguard.store import keys
from voiceguard.store.keys import Scope


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "missing_key"),
        ("Basic dTpw", "missing_key"),
        ("Bearer", "missing_key"),
        ("Bearer nonsense", "invalid_key"),
        ("Bearer vg_AAAAAAAA_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBCCCCCC", "invalid_key"),
    ],
)
def test_without_a_key_nothing_opens(api: Api, header: str | None, code: str) -> None:
    response = api.client.get("/v1/calls", headers={"Authorization": header} if header else {})
    assert (response.status_code, problem_of(response)) == (401, code)
    assert response.headers["www-authenticate"].startswith("Bearer")


def test_an_expired_and_a_revoked_key_say_so(api: Api) -> None:
    now = dt.datetime.now(dt.UTC)
    expired = api.key(expires_at=now - dt.timedelta(seconds=1))
    assert problem_of(api.get("/v1/calls", key=expired)) == "expired_key"
    revoked = api.key()
    assert api.get("/v1/calls", key=revoked).status_code == 200
    keys.revoke(api.engine, revoked[:11], now)
    assert problem_of(api.get("/v1/calls", key=revoked)) == "revoked_key"


def test_a_scope_opens_its_own_routes_only(api: Api, short_clip: bytes) -> None:
    reader, writer = api.key(Scope.CALLS_READ), api.key(Scope.CALLS_WRITE)
    assert problem_of(api.post(short_clip, key=reader)) == "insufficient_scope"
    assert problem_of(api.post(short_clip, "{}", path="/v1/screen", key=reader)) == "insufficient_scope"
    assert problem_of(api.get("/v1/calls", key=writer)) == "insufficient_scope"
    assert api.get("/v1/calls", key=reader).status_code == 200
    assert api.post(short_clip, key=writer).status_code == 201


def test_use_is_noted(api: Api) -> None:
    secret = api.key()
    api.get("/v1/calls", key=secret)
    used = [key for key in keys.all_keys(api.engine) if key.prefix == secret[:11]]
    assert used[0].last_used_at is not None


def test_a_key_that_asks_too_often_is_told_when_to_come_back(start: Callable[..., Api]) -> None:
    api = start(rate_limit="3/hour")
    other = api.key()
    for left in (2, 1, 0):
        response = api.get("/v1/calls")
        assert response.status_code == 200
        assert response.headers["ratelimit-policy"] == '"key";q=3;w=3600'
        assert response.headers["ratelimit"].startswith(f'"key";r={left};t=')
    response = api.get("/v1/calls")
    assert (response.status_code, problem_of(response)) == (429, "rate_limited")
    assert 3590 <= int(response.headers["retry-after"]) <= 3600
    assert response.headers["ratelimit"].startswith('"key";r=0;t=')
    assert api.get("/v1/calls", key=other).status_code == 200
