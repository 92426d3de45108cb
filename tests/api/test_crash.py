"""kill -9 while eight clients post: what got a 201 is there, and nothing is there twice."""

from __future__ import annotations

import collections
import hashlib
import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
import sqlalchemy as sa

from tests.api.conftest import STARTED_AT, unlike
from tests.api.server import Server
from voiceguard.store import keys, schema
from voiceguard.store.keys import Scope
from voiceguard.store.recordings import Recordings

pytestmark = pytest.mark.slow

CLIENTS = 8
ROUNDS = 20
CALL = json.dumps({"started_at": STARTED_AT, "caller": "+12125559876"})


@dataclass
class Ledger:
    """What the clients were promised."""

    audio: bytes
    promised: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By idempotency key: the call's id and the recording's SHA-256."""
    open: list[int] = field(default_factory=list)
    """Numbers that were sent and not answered: to be sent again."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def post(self, client: httpx2.Client, number: int) -> bool:
        """Post recording ``number``; False if the server is gone."""
        audio = unlike(self.audio, number)
        try:
            response = client.post(
                "/v1/calls",
                files={"audio": ("a.wav", audio), "call": (None, CALL, "application/json")},
                headers={"Idempotency-Key": f'"{number}"'},
            )
        except httpx2.TransportError:
            with self.lock:
                self.open.append(number)
            return False
        assert response.status_code in (201, 409, 503), response.text
        with self.lock:
            if response.status_code != 201:
                self.open.append(number)
                return True
            answer = (response.json()["id"], response.json()["screening"]["sha256"])
            assert answer[1] == hashlib.sha256(audio).hexdigest()
            assert self.promised.setdefault(str(number), answer) == answer
        return True


@pytest.fixture
def rounds() -> random.Random:
    return random.Random(20240208)


def test_a_201_is_a_promise(
    engine: sa.Engine, database_url: str, tmp_path: Path, short_clip: bytes, rounds: random.Random
) -> None:
    _, secret = keys.create(engine, "t", carrier="c", scopes=frozenset({Scope.CALLS_READ, Scope.CALLS_WRITE}))
    server = Server(tmp_path, database_url=database_url, rate_limit="1000000/minute")
    ledger, numbers = Ledger(short_clip), iter(range(10**9))

    def _client(until: threading.Event, retries: list[int]) -> None:
        with httpx2.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {secret}"}, timeout=60, trust_env=False
        ) as client:
            while not until.is_set():
                with ledger.lock:
                    number = retries.pop() if retries else next(numbers)
                if not ledger.post(client, number):
                    return

    for round_ in range(ROUNDS):
        server.start()
        with ledger.lock:
            retries, ledger.open = ledger.open, []
        until, before = threading.Event(), len(ledger.promised)
        with ThreadPoolExecutor(CLIENTS) as threads:
            clients = [threads.submit(_client, until, retries) for _ in range(CLIENTS)]
            wanted = before + rounds.randint(1, 12)
            while len(ledger.promised) < wanted and not all(client.done() for client in clients):
                until.wait(0.001)
            until.wait(rounds.uniform(0, 0.05))
            server.kill()
            for client in clients:
                client.result()
        ledger.open += retries
        assert len(ledger.promised) > before, (round_, server.log.read_text()[-2000:])

    server.start()
    with httpx2.Client(
        base_url=server.url, headers={"Authorization": f"Bearer {secret}"}, timeout=60, trust_env=False
    ) as client:
        for number in list(ledger.open):
            assert ledger.post(client, number)
    assert server.stop() == 0

    recordings = Recordings(str(tmp_path / "recordings"), tmp_path)
    with engine.connect() as connection:
        stored = {row.id: row.recording_sha256 for row in connection.execute(sa.select(schema.calls))}
        answers = collections.Counter(connection.scalars(sa.select(schema.idempotency.c.call_id)))
    for call_id, sha256 in ledger.promised.values():
        assert stored[call_id] == sha256
        assert hashlib.sha256(recordings.read(sha256)).hexdigest() == sha256
    assert len(ledger.promised) > ROUNDS
    # Each post had a key, so each call has just one answer, and each key one call.
    assert set(answers) == set(stored)
    assert set(answers.values()) == {1}
    assert len(stored) == len(set(stored.values())) == len(answers)
    assert list(recordings.incoming.iterdir()) == []


def test_sigterm_lets_requests_in_flight_finish(tmp_path: Path, clip: bytes) -> None:
    with Server(tmp_path) as server:
        from voiceguard.store.engine import connect

        engine = connect(f"sqlite:///{tmp_path / 'voiceguard.db'}")
        _, secret = keys.create(engine, "t", carrier="c", scopes=frozenset({Scope.CALLS_WRITE}))
        engine.dispose()
        started = threading.Event()

        def _body() -> Iterator[bytes]:
            yield b'--limit\r\nContent-Disposition: form-data; name="audio"\r\n\r\n' + clip[:1000]
            started.set()
            term.wait()
            yield clip[1000:] + b'\r\n--limit\r\nContent-Disposition: form-data; name="call"\r\n\r\n'
            yield CALL.encode() + b"\r\n--limit--\r\n"

        term = threading.Event()
        with ThreadPoolExecutor(2) as threads:
            answer = threads.submit(
                httpx2.post,
                f"{server.url}/v1/calls",
                content=_body(),
                headers={
                    "Authorization": f"Bearer {secret}",
                    "Content-Type": "multipart/form-data; boundary=limit",
                },
                timeout=60,
            )
            started.wait()
            stopped = threads.submit(server.stop)
            term.set()
            assert answer.result().status_code == 201
            assert stopped.result() == 0
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    (posted,) = (line for line in lines if line.get("route") == "/v1/calls")
    assert (posted["status"], posted["key"]) == (201, secret[:11])
    assert "2125559876" not in server.log.read_text()
    assert secret not in server.log.read_text()
