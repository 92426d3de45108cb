"""Live streams against a real server: every protocol, the verdict while it runs, and what is stored."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile
import soxr
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.api import stream_clients as clients
from tests.api.server import Server
from tests.api.stream_clients import Audio, Streams
from voiceguard.screening import Screener, Screening
from voiceguard.store import keys, migrate
from voiceguard.store.engine import connect
from voiceguard.store.keys import Scope

ALL = frozenset((Scope.STREAMS, Scope.CALLS_READ, Scope.CALLS_WRITE))
WAIT_S = 30.0


class Live(Streams):
    """A server that takes streams, its key, and a look at what it stored."""

    def __init__(self, folder: Path, **settings: object) -> None:
        engine = connect(f"sqlite:///{folder / 'voiceguard.db'}")
        migrate.upgrade(engine)
        self.engine = engine
        super().__init__(0, self.key(*ALL))
        self.audiosocket_port = free_port()
        self.server = Server(folder, audiosocket_port=self.audiosocket_port, **settings)
        self.port = self.server.port

    def key(self, *scopes: Scope) -> str:
        return keys.create(self.engine, "stream", carrier="First Telecom", scopes=frozenset(scopes))[1]

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(
            f"{self.server.url}{path}",
            headers={"Authorization": f"Bearer {self.secret}"},
            trust_env=False,
            timeout=60,
        )

    def post(self, path: str, body: Any) -> httpx2.Response:
        return httpx2.post(
            f"{self.server.url}{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.secret}"},
            trust_env=False,
            timeout=60,
        )

    def newest(self, known: set[str]) -> dict[str, Any]:
        """Wait for a call that is not known yet, and return it."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            for call in self.get("/v1/calls").json()["data"]:
                if call["id"] not in known:
                    return self.get(f"/v1/calls/{call['id']}").json()
        raise AssertionError(f"expected a new call within {WAIT_S} s")

    def known(self) -> set[str]:
        return {call["id"] for call in self.get("/v1/calls").json()["data"]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    live = Live(tmp_path_factory.mktemp("streams"), stream_start_timeout_s=3, stream_idle_timeout_s=3)
    with live.server:
        yield live
    live.engine.dispose()


@pytest.fixture(scope="module")
def screen() -> Callable[[bytes], Screening]:
    screener = Screener.load()
    return lambda wav: screener.screen(wav)


@pytest.fixture(scope="module")
def telephone(audio_samples: Path) -> Audio:
    """A synthetic voice as the telephone carries it: what G.711 has made of it."""
    samples, rate_hz = soundfile.read(audio_samples / "synthetic-kokoro-am_michael-ulaw.wav", dtype="int16")
    return Audio(samples[: 16 * rate_hz], rate_hz)


@pytest.fixture(scope="module")
def wideband(audio_samples: Path) -> Audio:
    samples, rate_hz = soundfile.read(audio_samples / "synthetic-hibari-heart-flac.flac", dtype="float32")
    wide = soxr.resample(samples, rate_hz, 16000)
    return Audio((np.clip(wide, -1, 1) * 32767).astype(np.int16), 16000)


@pytest.mark.parametrize(
    ("path", "client", "codec"),
    [
        ("twilio", clients.twilio, "g711_ulaw"),
        ("twilio", clients.telnyx, "g711_ulaw"),
        ("vonage", clients.vonage, "pcm_s16le"),
        ("vonage?rate=8000&channels=2", clients.freeswitch, "pcm_s16le"),
        ("asterisk", clients.asterisk_text, "g711_ulaw"),
        ("asterisk", clients.asterisk_json, "pcm_s16le"),
        ("pcm", clients.plain, "pcm_s16le"),
    ],
    ids=["twilio", "telnyx", "vonage", "freeswitch", "asterisk-text", "asterisk-json", "pcm"],
)
def test_a_live_recording_has_the_score_of_its_file(live, screen, telephone, path, client, codec):
    known = live.known()
    events = live.stream(path, client(telephone))
    call = live.newest(known)
    expected = screen(telephone.wav("ULAW"))
    found = call["screening"]
    assert found["score"] == pytest.approx(expected.decision.score, abs=1e-3)
    assert found["verdict"] == expected.decision.verdict
    assert (found["codec"], found["container"]) == (codec, "wav")
    assert found["duration_s"] == pytest.approx(16.0)
    assert call["stream"]["complete"] is True
    assert call["stream"]["lost_s"] == 0
    if events:
        assert events[0]["event"] == "start"
        assert events[-1]["event"] == "end"
        assert events[-1]["call_id"] == call["id"]
        assert events[-1]["screening"]["score"] == found["score"]


@pytest.mark.parametrize(
    ("path", "client"),
    [("vonage", clients.vonage), ("asterisk", clients.asterisk_json), ("pcm", clients.plain)],
    ids=["vonage", "asterisk", "pcm"],
)
def test_wideband_too(live, screen, wideband, path, client):
    known = live.known()
    live.stream(path, client(wideband))
    call = live.newest(known)
    expected = screen(wideband.wav("PCM_16"))
    assert call["screening"]["score"] == pytest.approx(expected.decision.score, abs=1e-3)
    assert call["screening"]["rate_hz"] == 16000


@pytest.mark.parametrize("rate_hz", [8000, 16000])
def test_audiosocket_too(live, screen, telephone, wideband, rate_hz):
    audio = {8000: telephone, 16000: wideband}[rate_hz]
    known = live.known()
    answer = live.post("/v1/streams/audiosocket", {"caller": "+12025550123", "carrier_call_id": "pbx-7"})
    assert answer.status_code == 201, answer.text
    name = uuid.UUID(answer.json()["uuid"])
    clients.audiosocket(live.audiosocket_port, name, audio)
    call = live.newest(known)
    expected = screen(audio.wav("PCM_16"))
    assert call["screening"]["score"] == pytest.approx(expected.decision.score, abs=1e-3)
    assert (call["caller"], call["carrier_call_id"]) == ("+12025550123", "pbx-7")
    assert call["stream"]["protocol"] == "audiosocket"
    assert call["stream"]["stream_id"] == str(name)


def test_audiosocket_opens_for_an_announced_uuid_once(live, telephone):
    known = live.known()
    short = Audio(telephone.samples[:16000], 8000)
    clients.audiosocket(live.audiosocket_port, uuid.uuid4(), short)
    assert live.known() == known
    name = uuid.uuid4()
    assert live.post("/v1/streams/audiosocket", {"uuid": str(name)}).status_code == 201
    assert live.post("/v1/streams/audiosocket", {"uuid": str(name)}).status_code == 409
    clients.audiosocket(live.audiosocket_port, name, short, hangup=False)
    assert live.newest(known)["stream"]["ended"] == "closed"
    known = live.known()
    clients.audiosocket(live.audiosocket_port, name, short)
    assert live.known() == known


def test_the_verdict_comes_while_the_caller_talks(live, wideband):
    events: list[dict[str, Any]] = []
    sent_s = verdict_at_s = 0.0
    with live.open("pcm") as connection:
        messages = list(clients.plain(wideband))
        connection.send(messages[0])
        for frame in clients.frames(wideband.l16, 8000):
            connection.send(frame)
            sent_s += 0.25
            while not events or events[-1]["event"] != "verdict":
                try:
                    events.append(json.loads(connection.recv(timeout=0.15)))
                except TimeoutError:
                    break
            if events and events[-1]["event"] == "verdict" and not verdict_at_s:
                verdict_at_s = sent_s
        connection.send(messages[-1])
        events += [json.loads(message) for message in connection]
    verdict = next(event for event in events if event["event"] == "verdict")
    assert verdict["verdict"] == "synthetic"
    assert verdict["revised"] is False
    assert 0 < verdict["speech_s"] <= verdict["audio_s"] < sent_s
    assert verdict_at_s < sent_s
    assert events[-1]["event"] == "end"
    assert events[-1]["call_id"] == verdict["call_id"]


def test_a_dropped_connection_leaves_what_was_received_marked_as_cut(live, screen, telephone):
    known = live.known()
    with live.open("twilio") as connection:
        for message in list(clients.twilio(telephone))[: 2 + 400]:
            connection.send(message)
        connection.socket.shutdown(socket.SHUT_WR)  # no close frame, no stop message
        # Closed with events unread, the socket would reset, and the reset discard what is still on its way.
        with contextlib.suppress(ConnectionClosed):
            while True:
                connection.recv()
    call = live.newest(known)
    assert (call["stream"]["complete"], call["stream"]["ended"]) == (False, "connection_lost")
    assert call["screening"]["duration_s"] == pytest.approx(8.0)
    recording = live.get(f"/v1/calls/{call['id']}/audio").content
    assert recording.endswith(telephone.ulaw[: 400 * 160])
    expected = screen(Audio(telephone.samples[: 8 * 8000], 8000).wav("ULAW"))
    assert call["screening"]["score"] == pytest.approx(expected.decision.score, abs=1e-3)


def test_two_tracks_become_two_channels_and_the_remote_one_decides(live, screen, telephone, audio_samples):
    known = live.known()
    other, _ = soundfile.read(audio_samples / "human-asterisk-en-ulaw.wav", dtype="int16")
    near, far = telephone.ulaw, Audio(other[: len(telephone.samples)], 8000).ulaw
    messages = list(clients.twilio(telephone))
    both = messages[:2]
    for number, (one, two) in enumerate(
        zip(clients.frames(near, 160), clients.frames(far, 160), strict=True), 1
    ):
        for track, frame in (("inbound", one), ("outbound", two)):
            media = {"track": track, "chunk": str(number), "timestamp": str(20 * number)}
            media["payload"] = base64.b64encode(frame).decode()
            both.append(json.dumps({"event": "media", "media": media}))
    live.stream("twilio", iter([*both, messages[-1]]))
    call = live.newest(known)
    assert call["stream"]["tracks"] == ["inbound", "outbound"]
    assert len(call["screening"]["channels"]) == 2
    assert call["screening"]["deciding_channel"] == 0
    assert call["screening"]["score"] == pytest.approx(screen(telephone.wav("ULAW")).decision.score, abs=1e-3)


def test_what_is_lost_is_silence_and_is_counted(live, telephone):
    known = live.known()
    messages = list(clients.twilio(telephone))
    del messages[100:110]
    live.stream("twilio", iter(messages))
    call = live.newest(known)
    assert call["stream"]["lost_s"] == pytest.approx(0.2)
    assert call["screening"]["duration_s"] == pytest.approx(16.0)


def test_what_the_sender_says_of_the_call_is_stored(live, telephone):
    known = live.known()
    short = Audio(telephone.samples[:16000], 8000)
    said = {"caller": "+12025550123", "callee": "anonymous", "recording_basis": "consent", "attestation": "A"}
    events = live.stream("twilio", clients.twilio(short, said))
    call = live.newest(known)
    assert (call["caller"], call["callee"], call["recording_basis"]) == ("+12025550123", None, "consent")
    assert call["attestation"]["level"] == "A"
    assert call["carrier_call_id"] == "CA00000000000000000000000000000001"
    assert [note.split(":")[0] for note in call["stream"]["notes"]] == ["callee"]
    assert events[0]["notes"] == call["stream"]["notes"]


def test_a_key_may_come_in_the_start_message(live, telephone):
    known = live.known()
    short = Audio(telephone.samples[:16000], 8000)
    events = live.stream("twilio", clients.twilio(short, {"key": live.secret}), additional_headers={})
    assert events[-1]["call_id"] == live.newest(known)["id"]


def test_a_key_may_come_as_a_password(live, telephone):
    known = live.known()
    password = base64.b64encode(f"asterisk:{live.secret}".encode()).decode()
    short = Audio(telephone.samples[:16000], 8000)
    live.stream(
        "asterisk", clients.asterisk_text(short), additional_headers={"Authorization": f"Basic {password}"}
    )
    assert live.newest(known)["stream"]["protocol"] == "asterisk"


def closed(
    live: Live, path: str, messages: list[Any], **options: Any
) -> tuple[int, str, list[dict[str, Any]]]:
    """Send messages, then read until the server closes; return code, reason and events."""
    events: list[dict[str, Any]] = []
    with live.open(path, **options) as connection:
        try:
            for message in messages:
                connection.send(message)
            while True:
                events.append(json.loads(connection.recv(timeout=WAIT_S)))
        except ConnectionClosed as error:
            return (error.rcvd.code, error.rcvd.reason, events) if error.rcvd else (1006, "", events)


START = json.dumps({"event": "start", "rate_hz": 8000})


@pytest.mark.parametrize(
    ("path", "messages", "code", "reason"),
    [
        ("twilio", ["{}"], 1007, "malformed_stream"),
        ("twilio", ["[" * 60_000], 1007, "malformed_stream"),
        ("twilio", [b"\0"], 1007, "malformed_stream"),
        ("vonage", [json.dumps({"content-type": "audio/opus"})], 1003, "unsupported_stream"),
        ("asterisk", ["MEDIA_START format:opus"], 1003, "unsupported_stream"),
        ("pcm", [START, START], 1007, "malformed_stream"),
        ("pcm", [START, bytes(60_000), bytes(60_000)] * 20, 1007, "malformed_stream"),
        ("pcm", [START, *[bytes(60_000)] * 20], 1008, "stream_too_fast"),
        ("pcm", [START, *[b"\0\0"] * 8000], 1008, "stream_too_fast"),
        ("pcm", [], 1008, "stream_silent"),
        ("pcm", [START, bytes(1600)], 1008, "stream_silent"),
        ("pcm", [START, bytes(70_000)], 1009, ""),
    ],
)
def test_garbage_floods_and_silence_close_the_one_stream(live, path, messages, code, reason):
    found = closed(live, path, messages)
    assert found[0] == code
    if reason:
        assert found[1] == reason
        errors = [event for event in found[2] if event["event"] == "error"]
        assert [error["code"] for error in errors] == [reason]
        assert errors[0]["detail"]
    assert live.get("/readyz").status_code == 200


def test_without_a_right_key_nothing_is_taken(live, telephone):
    for path, key, status in (
        ("twilio", "vg_wrong", 401),
        ("pcm", live.key(Scope.CALLS_WRITE), 403),
    ):
        with pytest.raises(InvalidStatus) as refused:
            live.open(path, key=key)
        assert refused.value.response.status_code == status
        assert refused.value.response.headers["content-type"] == "application/problem+json"
    start = json.dumps({"event": "start"})
    assert closed(live, "pcm", [start], additional_headers={})[:2] == (1008, "missing_key")
    wrong = json.dumps({"event": "start", "key": "vg_wrong"})
    assert closed(live, "pcm", [wrong], additional_headers={})[:2] == (1008, "invalid_key")


def test_a_stopped_server_stores_what_it_has(tmp_path, telephone):
    live = Live(tmp_path)
    with live.server, live.open("pcm") as connection:
        for message in list(clients.plain(telephone))[:100]:
            connection.send(message)
        name = uuid.UUID(live.post("/v1/streams/audiosocket", {}).json()["uuid"])
        with socket.create_connection(("127.0.0.1", live.audiosocket_port)) as tcp:
            tcp.sendall(b"\x01\x00\x10" + name.bytes + b"\x10\x01\x40" + bytes(320))
            while "voiceguard_streams 2.0" not in live.get("/metrics").text:
                pass
            assert json.loads(connection.recv())["event"] == "start"
            assert live.server.stop() == 0
    with live.server:
        stored = live.get("/v1/calls").json()["data"]
        calls = [live.get(f"/v1/calls/{call['id']}").json() for call in stored]
    assert sorted((call["stream"]["protocol"], call["stream"]["ended"]) for call in calls) == [
        ("audiosocket", "restart"),
        ("pcm", "restart"),
    ]
    assert {call["stream"]["complete"] for call in calls} == {False}
    live.engine.dispose()
