from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import sqlalchemy as sa

from tests.api.conftest import Api, problem_of
from voiceguard.evidence.verify import verify
from voiceguard.store import audit, keys, retention, schema
from voiceguard.store.engine import reading
from voiceguard.store.keys import Scope
from voiceguard.store.recordings import Recordings


def _rows(api: Api, about: str) -> list[dict[str, object]]:
    with reading(api.engine) as connection:
        return [row.fields for row in audit.rows_of(connection, [about])]


def test_a_carrier_gets_a_package_of_its_call(api: Api, short_clip: bytes, tmp_path: Path) -> None:
    call_id = api.post(short_clip, {"caller": "+12025550123"}).json()["id"]
    response = api.get(f"/v1/calls/{call_id}/evidence")
    assert (response.status_code, response.headers["content-type"]) == (200, "application/zip")
    sha256 = hashlib.sha256(response.content).digest()
    assert response.headers["etag"] == f'"{sha256.hex()}"'
    assert response.headers["repr-digest"] == f"sha-256=:{base64.b64encode(sha256).decode()}:"
    assert response.headers["content-length"] == str(len(response.content))
    path = tmp_path / "package.zip"
    path.write_bytes(response.content)
    assert {one.state for one in verify(path)} == {"ok", "left out"}
    made = _rows(api, call_id)[-1]
    assert made["action"] == "evidence.made"
    assert made["data"]["package_sha256"] == sha256.hex()  # type: ignore[index]
    with reading(api.engine) as connection:
        assert made["actor"] in connection.scalars(sa.select(schema.api_keys.c.id)).all()


def test_other_carriers_calls_and_deleted_ones_are_not_packed(api: Api, short_clip: bytes) -> None:
    call_id = api.post(short_clip[:-2]).json()["id"]
    path = f"/v1/calls/{call_id}/evidence"
    other = api.key(carrier="Second Telecom")
    response = api.get(path, key=other)
    assert (response.status_code, problem_of(response)) == (404, "not_found")
    response = api.get(path, key=api.key(Scope.CALLS_WRITE))
    assert (response.status_code, problem_of(response)) == (403, "insufficient_scope")
    recordings = Recordings(api.settings.recordings_url, api.settings.data_dir)
    retention.delete_call(api.engine, recordings, call_id, actor="retention", reason="test")
    response = api.get(path)
    assert (response.status_code, problem_of(response)) == (410, "call_deleted")
    assert [row["action"] for row in _rows(api, call_id)] == [
        "call.received",
        "call.screened",
        "call.deleted",
    ]


def test_a_recording_that_is_missing_is_a_problem(api: Api, short_clip: bytes) -> None:
    answer = api.post(short_clip[:-4]).json()
    for path in api.recordings_folder.rglob(answer["screening"]["sha256"]):
        path.unlink()
    response = api.get(f"/v1/calls/{answer['id']}/evidence")
    assert (response.status_code, problem_of(response)) == (404, "recording_missing")


def test_every_fetch_of_audio_is_in_the_log_with_its_bytes(api: Api, short_clip: bytes) -> None:
    call_id = api.post(short_clip[:-6]).json()["id"]
    path = f"/v1/calls/{call_id}/audio"
    etag = api.get(path, headers={"Range": "bytes=10-19"}).headers["etag"]
    assert api.get(path, headers={"If-None-Match": etag}).status_code == 304
    api.get(path)
    fetched = [row["data"]["bytes"] for row in _rows(api, call_id) if row["action"] == "call.audio_fetched"]  # type: ignore[index]
    assert fetched == [[10, 20], [0, len(short_clip) - 6]]


def test_webhooks_leave_their_mark_without_their_address(api: Api) -> None:
    key = api.key(Scope.WEBHOOKS_WRITE, Scope.WEBHOOKS_READ)
    with reading(api.engine) as connection:
        prefix = key[:11]
        key_id = connection.scalar(sa.select(schema.api_keys.c.id).where(schema.api_keys.c.prefix == prefix))
    posted = {"url": "https://93.184.216.34/hook?token=hidden-token", "events": ["call.flagged"]}
    made = api.client.post("/v1/webhooks", json=posted, headers=api.auth(key)).json()
    place = f"/v1/webhooks/{made['id']}"
    api.client.patch(place, json={"enabled": False}, headers=api.auth(key))
    api.client.post(f"{place}/rotate-secret", headers=api.auth(key))
    api.client.delete(place, headers=api.auth(key))
    with reading(api.engine) as connection:
        rows = audit.rows_of(connection, [made["id"]])
    assert [(row.fields["actor"], row.fields["action"]) for row in rows] == [
        (key_id, "webhook.created"),
        (key_id, "webhook.changed"),
        (key_id, "webhook.secret_rotated"),
        (key_id, "webhook.deleted"),
    ]
    assert not any("hidden-token" in row.entry or made["secret"] in row.entry for row in rows)


def test_a_start_writes_how_it_runs_and_the_end_seals_the_log(start: object, short_clip: bytes) -> None:
    api: Api = start(timestamp_url=None)  # type: ignore[operator]
    (row,) = _rows(api, audit.SERVICE)
    data: dict[str, object] = row["data"]  # type: ignore[assignment]
    assert {"model", "flag_threshold", "signing_key", "settings", "packages"} <= set(data)
    assert str(api.settings.data_dir) not in str(data)
    assert keys.well_formed(api.secret)
    assert api.secret not in str(data)
