from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.conftest import STARTED_AT, Api, problem_of, running, unlike
from voiceguard.store.keys import Scope


def test_a_posted_call_comes_back_with_its_screening(api: Api, clip: bytes) -> None:
    response = api.post(
        clip,
        {
            "started_at": "2026-03-01T15:05:00+01:00",
            "caller": "+1 (202) 555-0123",
            "callee": "+12025550188",
            "carrier_call_id": "a84b4c76e66710@pc33",
            "attestation": "TN-Validation-Passed-A",
            "upstream_provider": "Gateway Telecom",
            "recording_basis": "voicemail",
            "remote_channel": 0,
        },
    )
    assert response.status_code == 201
    call = response.json()
    assert response.headers["location"] == f"/v1/calls/{call['id']}"
    assert (call["caller"], call["callee"]) == ("+12025550123", "+12025550188")
    assert call["started_at"] == STARTED_AT
    assert call["attestation"] == {"level": "A", "verification": "passed", "origid": None, "notes": []}
    assert call["announcement"] is None
    screening = call["screening"]
    assert screening["sha256"] == hashlib.sha256(clip).hexdigest()
    assert screening["codec"] == "g711_ulaw"
    assert screening["verdict"] in ("human", "synthetic", "inconclusive")
    assert len(screening["channels"][0]["windows"]) > 3
    assert api.get(response.headers["location"]).json() == call


def test_only_the_start_of_a_call_must_be_known(api: Api, short_clip: bytes) -> None:
    call = api.post(short_clip).json()
    assert call["caller"] is None
    assert call["screening"]["verdict"] == "inconclusive"
    assert call["screening"]["reason"] in ("no_speech", "too_little_speech")


def test_each_sample_is_screened_by_its_own_format(api: Api, audio_samples: Path) -> None:
    for path in sorted(audio_samples.glob("human-*")):
        response = api.post(path.read_bytes(), filename=path.name)
        assert response.status_code == 201, path.name


def test_the_recording_comes_back_whole_and_in_ranges(api: Api, short_clip: bytes) -> None:
    path = f"/v1/calls/{api.post(short_clip).json()['id']}/audio"
    whole = api.get(path)
    assert whole.content == short_clip
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["content-length"] == str(len(short_clip))
    assert whole.headers["content-type"] == "audio/wav"
    for header, expected in (
        ("bytes=0-99", short_clip[:100]),
        ("bytes=100-", short_clip[100:]),
        ("bytes=-7", short_clip[-7:]),
        ("bytes=0-999999999", short_clip),
    ):
        part = api.get(path, headers={"Range": header})
        assert (part.status_code, part.content) == (206, expected), header
        assert part.headers["content-range"].endswith(f"/{len(short_clip)}")
    for ignored in ("seconds=0-1", "bytes=0-1,5-6", "bytes=5-1", "bytes=-"):
        assert api.get(path, headers={"Range": ignored}).status_code == 200
    beyond = api.get(path, headers={"Range": "bytes=999999999-"})
    assert (beyond.status_code, problem_of(beyond)) == (416, "range_not_satisfiable")
    assert beyond.headers["content-range"] == f"bytes */{len(short_clip)}"
    assert api.get(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304


def test_a_screening_leaves_nothing_behind(api: Api, clip: bytes) -> None:
    before, audio = len(api.recordings), unlike(clip, 71)
    response = api.post(audio, "{}", path="/v1/screen")
    assert response.status_code == 200
    assert response.json()["sha256"] == hashlib.sha256(audio).hexdigest()
    assert len(api.recordings) == before


def test_a_screening_needs_no_call_part(api: Api, short_clip: bytes) -> None:
    response = api.client.post("/v1/screen", files={"audio": ("a.wav", short_clip)}, headers=api.auth())
    assert response.status_code == 200


def test_lists_are_filtered_and_turned_page_by_page(api: Api, short_clip: bytes) -> None:
    key = api.key(carrier="Lists")
    posted = [
        api.post(
            short_clip,
            {"started_at": f"2026-03-0{day}T00:00:00Z", "caller": f"+1202555010{day}"},
            key=key,
        ).json()
        for day in range(1, 6)
    ]
    ids = [call["id"] for call in posted]

    def _listed(query: str) -> list[str]:
        response = api.get(f"/v1/calls?{query}", key=key)
        assert response.status_code == 200, response.text
        return [call["id"] for call in response.json()["data"]]

    assert _listed("") == ids[::-1]
    assert _listed("caller=%2B12025550102") == [ids[1]]
    assert _listed("started_from=2026-03-02T00:00:00Z&started_to=2026-03-04T00:00:00Z") == [ids[2], ids[1]]
    assert _listed("verdict=inconclusive") == ids[::-1]
    assert _listed("verdict=synthetic") == []
    assert _listed("score_from=-5") == []
    assert _listed("campaign=none") == []
    assert _listed(f"carrier={posted[0]['carrier_id']}") == ids[::-1]
    assert _listed("carrier=carrier_other") == []
    seen, cursor = [], ""
    while cursor is not None:
        page = api.get(f"/v1/calls?limit=2{cursor and '&cursor=' + cursor}", key=key).json()
        seen += [call["id"] for call in page["data"]]
        cursor = page["next_cursor"]
    assert seen == ids[::-1]
    assert "channels" not in page["data"][0]["screening"]


def test_a_carrier_sees_its_own_calls_only(api: Api, short_clip: bytes) -> None:
    call_id = api.post(short_clip).json()["id"]
    other = api.key(carrier="Other Telecom")
    for path in (f"/v1/calls/{call_id}", f"/v1/calls/{call_id}/audio"):
        assert problem_of(api.get(path, key=other)) == "not_found"
    assert api.get("/v1/calls", key=other).json()["data"] == []


@pytest.mark.parametrize("call_id", ["call_1", "call_" + "0" * 32, "..%2f", "%00", "\u00fc"])
def test_a_call_nobody_posted_is_not_found(api: Api, call_id: str) -> None:
    assert problem_of(api.get(f"/v1/calls/{call_id}")) == "not_found"


def _base64(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_identity_headers_are_read(api: Api, short_clip: bytes) -> None:
    # The example of RFC 8588 with a signature that nobody checks.
    claims = {
        "attest": "A",
        "dest": {"tn": ["12125551213"]},
        "iat": 1471375418,
        "orig": {"tn": "12155551212"},
        "origid": "123e4567-e89b-12d3-a456-426655440000",
    }
    url = "https://cert.example.org/passport.cer"
    header = {"alg": "ES256", "typ": "passport", "ppt": "shaken", "x5u": url}
    token = f"{_base64(header)}.{_base64(claims)}.{'A' * 86}"
    call = api.post(short_clip, {"identity": f"{token};info=<{url}>"}).json()
    assert call["attestation"]["level"] == "A"
    assert call["attestation"]["origid"] == "123e4567-e89b-12d3-a456-426655440000"
    assert call["passports"][0]["signature"] == "not_checked"
    assert call["passports"][0]["orig"]["numbers"] == ["12155551212"]


def test_a_caller_cannot_keep_a_call_out_by_a_broken_identity_header(api: Api, short_clip: bytes) -> None:
    posted = api.post(short_clip, {"identity": "x.y.z"})
    assert posted.status_code == 201
    call = api.get(f"/v1/calls/{posted.json()['id']}").json()
    assert call["identity"] == "x.y.z"
    assert call["attestation"] is None
    assert "error" in call["passports"][0]


@pytest.fixture(
    params=[pytest.param("postgresql", marks=pytest.mark.postgres), pytest.param("s3", marks=pytest.mark.s3)]
)
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    """An API on PostgreSQL, or with its recordings in a bucket."""
    if request.param == "postgresql":
        from tests.conftest import new_postgres_database

        with new_postgres_database() as url, running(tmp_path, database_url=url) as api:
            yield api
    else:
        url = f"{request.getfixturevalue('s3_url')}/{os.getpid()}"
        with running(tmp_path, recordings_url=url) as api:
            yield api


def test_the_whole_way_on_postgres_and_on_s3(elsewhere: Api, clip: bytes) -> None:
    header = {"Idempotency_Key": '"first"'}
    first = elsewhere.post(clip, **header)
    again = elsewhere.post(clip, **header)
    other = elsewhere.post(clip, {"caller": "+12025550123"}, **header)
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
    assert again.content == first.content
    path = first.headers["location"]
    assert elsewhere.get(path).json() == first.json()
    assert elsewhere.get(f"{path}/audio").content == clip
    assert elsewhere.get(f"{path}/audio", headers={"Range": "bytes=10-19"}).content == clip[10:20]
    assert [call["id"] for call in elsewhere.get("/v1/calls?score_to=100").json()["data"]] == [
        first.json()["id"]
    ]
    assert elsewhere.get("/readyz").status_code == 200
    assert elsewhere.post(clip, key=elsewhere.key(Scope.CALLS_READ)).status_code == 403
