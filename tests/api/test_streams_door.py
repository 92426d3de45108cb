"""Who may stream, and what is read of what they say."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from tests.api.conftest import running
from voiceguard.api.streams.about import printable, read_about
from voiceguard.store import keys
from voiceguard.store.engine import connect
from voiceguard.store.keys import Scope

PATH = "/v1/streams/pcm?caller=%2B12025550123"


def signature(token: str, address: str) -> str:
    return base64.b64encode(hmac.new(token.encode(), address.encode(), hashlib.sha1).digest()).decode()


def test_twilios_signature_stands_for_a_key(tmp_path: Path) -> None:
    with running(tmp_path / "first") as api:
        secret = api.key(Scope.STREAMS)
        prefix = secret[:11]
        database = api.settings.database_url
    settings: dict[str, Any] = {"database_url": database, "twilio_auth_tokens": {prefix: "token"}}
    with running(tmp_path / "second", **settings) as api:
        for address, opens in ((f"wss://testserver{PATH}", True), (f"wss://elsewhere{PATH}", False)):
            headers = {"X-Twilio-Signature": signature("token", address)}
            if not opens:
                with (
                    pytest.raises(WebSocketDenialResponse) as refused,
                    api.client.websocket_connect(PATH, headers=headers),
                ):
                    pass
                assert refused.value.status_code == 401
                continue
            with api.client.websocket_connect(PATH, headers=headers) as socket:
                socket.send_text(json.dumps({"event": "start"}))
                assert socket.receive_json()["event"] == "start"
                socket.send_text(json.dumps({"event": "stop"}))
                assert socket.receive_json() == {
                    "event": "end",
                    "ended": "stop",
                    "complete": True,
                    "audio_s": 0.0,
                    "call_id": None,
                    "screening": None,
                }
                with pytest.raises(WebSocketDisconnect) as closed:
                    socket.receive_json()
                assert (closed.value.code, closed.value.reason) == (1000, "stop")
        engine = connect(database)
        assert keys.revoke(engine, prefix, dt.datetime.now(dt.UTC))
        engine.dispose()
        headers = {"X-Twilio-Signature": signature("token", f"wss://testserver{PATH}")}
        with (
            pytest.raises(WebSocketDenialResponse) as refused,
            api.client.websocket_connect(PATH, headers=headers),
        ):
            pass
        assert refused.value.status_code == 401


def test_one_stream_more_than_may_be_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, stream_max=2, stream_max_per_key=1) as api:
        headers = {"Authorization": f"Bearer {api.key(Scope.STREAMS)}"}
        start = json.dumps({"event": "start"})
        with api.client.websocket_connect(PATH, headers=headers) as first:
            first.send_text(start)
            assert first.receive_json()["event"] == "start"
            with api.client.websocket_connect(PATH, headers=headers) as second:
                second.send_text(start)
                assert second.receive_json()["code"] == "too_many_streams"
            other = {"Authorization": f"Bearer {api.key(Scope.STREAMS)}"}
            with api.client.websocket_connect(PATH, headers=other) as third:
                third.send_text(start)
                assert third.receive_json()["event"] == "start"
                with (
                    pytest.raises(WebSocketDenialResponse) as refused,
                    api.client.websocket_connect(PATH, headers=other),
                ):
                    pass
                assert refused.value.status_code == 503


def test_fields_are_read_leniently_and_earlier_sources_win() -> None:
    about = read_about(
        "CA1",
        {
            "caller": "+12025550123",
            "callee": "client:bob",
            "key": "vg_secret",
            "unknown": "x",
            "remote_channel": "1",
        },
        {"caller": "+12025550199", "recording_basis": "consent"},
    )
    call = about.call
    assert (call.caller, call.callee, call.carrier_call_id) == ("+12025550123", None, "CA1")
    assert (call.recording_basis, call.remote_channel) == ("consent", 1)
    assert [note.split(":")[0] for note in about.notes] == ["callee"]
    assert "vg_secret" not in str(about)


@pytest.mark.parametrize("value", ["\0", "x" * 5000, "\ud800", "٣", "-1"])
def test_no_field_keeps_a_call_out(value: str) -> None:
    names = (
        "caller",
        "callee",
        "carrier_call_id",
        "identity",
        "attestation",
        "recording_basis",
        "remote_channel",
    )
    about = read_about(value, dict.fromkeys(names, value))
    assert about.call.started_at is not None


def test_what_is_stored_of_a_strangers_words_is_printable() -> None:
    assert printable("a\0b\ud800ć") == "a\ufffdb\ufffdć"
