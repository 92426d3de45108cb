from __future__ import annotations

import asyncio
import datetime as dt
import email.utils
import json
import random
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks import Webhook

from tests.webhooks.conftest import Clock
from tests.webhooks.receiver import Answer, Received, Receiver
from voiceguard.api import delivery
from voiceguard.api.delivery import Sender, sending
from voiceguard.errors import DatabaseUnavailable
from voiceguard.store import deliveries, endpoints, outbox
from voiceguard.store.engine import reading, writing
from voiceguard.store.outbox import EventType, State

Add = Callable[..., tuple[str, str]]


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: what differs between databases, test_outbox.py tests."""
    return f"sqlite:///{tmp_path / 'voiceguard.db'}"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def add(engine: sa.Engine, carrier: str, clock: Clock) -> Add:
    """Add an endpoint; return its id and secret."""

    def _add(url: str) -> tuple[str, str]:
        with writing(engine) as connection:
            endpoint, secret = endpoints.add(
                connection, carrier_id=carrier, url=url, events=(EventType.CALL_SCREENED,), now=clock()
            )
        return endpoint.id, secret

    return _add


@pytest.fixture
def emit(engine: sa.Engine, carrier: str, clock: Clock) -> Callable[..., str]:
    def _emit(**data: Any) -> str:
        with writing(engine) as connection:
            event = outbox.enqueue(connection, EventType.CALL_SCREENED, carrier, data, now=clock())
        assert event is not None
        return event

    return _emit


@pytest.fixture
def deliver(engine: sa.Engine, clock: Clock) -> Callable[..., int]:
    """Make one round with a sender of its own; return how many attempts were made."""

    def _deliver(**options: Any) -> int:
        async def _round() -> int:
            sender = Sender(
                engine, **{"allow_private": True, "clock": clock, "rng": random.Random(1), **options}
            )
            try:
                return await sender.deliver_due()
            finally:
                await sender.close(0)

        return asyncio.run(_round())

    return _deliver


def _only(engine: sa.Engine, endpoint: str) -> deliveries.Delivery:
    with reading(engine) as connection:
        (found,) = deliveries.page(connection, endpoint, limit=2)
    return found


def _to_loopback(*found: str) -> Callable[[str, int], Awaitable[list[str]]]:
    async def _resolve(_host: str, _port: int) -> list[str]:
        return list(found or ("127.0.0.1",))

    return _resolve


def test_a_receiver_can_verify_what_it_gets(
    engine: sa.Engine, receiver: Receiver, clock: Clock, add: Add, emit: Any, deliver: Any
) -> None:
    endpoint, secret = add(receiver.url)
    event = emit(call_id="call_1", verdict="synthetic")
    assert deliver() == 1
    (got,) = receiver.requests
    assert got.path == "/hooks"
    assert got.headers["webhook-id"] == event
    assert got.headers["webhook-timestamp"] == str(int(clock().timestamp()))
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("VoiceGuard/")
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    payload = Webhook(secret).verify(got.body, got.headers)
    assert payload["type"] == "call.screened"
    assert payload["data"] == {"call_id": "call_1", "verdict": "synthetic"}
    assert len(got.body) < 20_000
    found = _only(engine, endpoint)
    assert found.state is State.DELIVERED
    assert [(one.status, one.error) for one in found.attempts] == [(204, None)]
    assert deliver() == 0


def test_old_and_new_secret_both_verify_during_the_overlap(
    engine: sa.Engine, carrier: str, receiver: Receiver, clock: Clock, add: Add, emit: Any, deliver: Any
) -> None:
    endpoint, old = add(receiver.url)
    with writing(engine) as connection:
        rotated = endpoints.rotate_secret(connection, endpoint, carrier_id=carrier, now=clock())
    assert rotated is not None
    emit()
    deliver()
    (got,) = receiver.requests
    for secret in (old, rotated[1]):
        Webhook(secret).verify(got.body, got.headers)


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (301, "redirect"),
        (307, "redirect"),
        (400, "status"),
        (404, "status"),
        (500, "status"),
        (503, "status"),
    ],
)
def test_any_answer_but_2xx_is_tried_again_with_the_same_id(
    engine: sa.Engine,
    receiver: Receiver,
    clock: Clock,
    add: Add,
    emit: Any,
    deliver: Any,
    status: int,
    word: str,
) -> None:
    endpoint, _ = add(receiver.url)
    event = emit()
    receiver.answer = lambda _got: Answer(status, {"Location": f"http://127.0.0.1:{receiver.port}/elsewhere"})
    assert deliver() == 1
    found = _only(engine, endpoint)
    assert (found.state, found.attempts[0].status, found.attempts[0].error) == (State.PENDING, status, word)
    receiver.answer = lambda _got: Answer(200)
    clock.forward(7)
    assert deliver() == 1
    assert receiver.ids == [event, event]
    assert {got.path for got in receiver.requests} == {"/hooks"}
    first, second = receiver.requests
    assert first.body == second.body
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("99999999", 86_400), ("date", 600), ("soon", 5), ("-3", 5), ("", 5), ("²", 5)],
)
def test_retry_after_is_honoured_within_bounds(
    engine: sa.Engine,
    receiver: Receiver,
    clock: Clock,
    add: Add,
    emit: Any,
    deliver: Any,
    header: str,
    seconds: int,
) -> None:
    endpoint, _ = add(receiver.url)
    emit()
    if header == "date":
        header = email.utils.format_datetime(clock() + dt.timedelta(seconds=600), usegmt=True)
    receiver.answer = lambda _got: Answer(429, {"Retry-After": header})
    deliver()
    next_at = _only(engine, endpoint).next_attempt_at
    assert next_at is not None
    assert seconds <= (next_at - clock()).total_seconds() <= 1.2 * seconds + 5


def test_410_disables_the_endpoint(
    engine: sa.Engine, carrier: str, receiver: Receiver, add: Add, emit: Any, deliver: Any
) -> None:
    endpoint, _ = add(receiver.url)
    emit()
    receiver.answer = lambda _got: Answer(410)
    deliver()
    assert _only(engine, endpoint).state is State.FAILED
    with reading(engine) as connection:
        found = endpoints.get(connection, endpoint, carrier_id=carrier)
    assert found is not None
    assert found.disabled_reason == "answered 410 Gone"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "127.1", "2130706433", "[::ffff:127.0.0.1]", "0.0.0.0"]
)
def test_nothing_goes_to_an_address_that_is_not_public(
    engine: sa.Engine, receiver: Receiver, add: Add, emit: Any, deliver: Any, host: str
) -> None:
    endpoint, _ = add(f"http://{host}:{receiver.port}/hooks")
    emit()
    assert deliver(allow_private=False) == 1
    assert receiver.requests == []
    assert _only(engine, endpoint).attempts[0].error == "address_not_public"


def test_one_private_address_among_public_ones_refuses_them_all(
    engine: sa.Engine, receiver: Receiver, add: Add, emit: Any, deliver: Any
) -> None:
    endpoint, _ = add(f"https://hooks.example:{receiver.port}/")
    emit()
    deliver(allow_private=False, resolve=_to_loopback("127.0.0.1", "8.8.8.8"))
    assert _only(engine, endpoint).attempts[0].error == "address_not_public"


def test_the_connection_goes_to_the_resolved_address_under_the_endpoints_name(
    engine: sa.Engine, receiver: Receiver, add: Add, emit: Any, deliver: Any
) -> None:
    asked: list[tuple[str, int]] = []

    async def _resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    add(f"http://hooks.example:{receiver.port}/in?x=1")
    emit()
    deliver(resolve=_resolve)
    assert asked == [("hooks.example", receiver.port)]  # once: nobody resolves it again to connect
    (got,) = receiver.requests
    assert (got.headers["host"], got.path) == (f"hooks.example:{receiver.port}", "/in?x=1")


def test_the_next_address_is_tried_where_one_takes_no_connection(
    engine: sa.Engine, receiver: Receiver, add: Add, emit: Any, deliver: Any
) -> None:
    add(f"http://hooks.example:{receiver.port}/")
    emit()
    deliver(resolve=_to_loopback("::1", "127.0.0.1"))
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("url", "word"),
    [("http://127.0.0.1:1/", "connection"), ("http://no-such-host.invalid/", "name_not_found")],
)
def test_an_endpoint_that_is_not_there_is_tried_again(
    engine: sa.Engine, add: Add, emit: Any, deliver: Any, url: str, word: str
) -> None:
    endpoint, _ = add(url)
    emit()
    deliver()
    found = _only(engine, endpoint)
    assert (found.state, found.attempts[0].status, found.attempts[0].error) == (State.PENDING, None, word)


def test_a_silent_endpoint_times_out(
    engine: sa.Engine, add: Add, emit: Any, deliver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint, _ = add(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        emit()
        deliver()
    assert _only(engine, endpoint).attempts[0].error == "timeout"


def test_an_endless_answer_is_not_read(
    engine: sa.Engine, receiver: Receiver, add: Add, emit: Any, deliver: Any
) -> None:
    endpoint, _ = add(receiver.url)
    emit()
    receiver.answer = lambda _got: Answer(200, endless=True)
    deliver()
    assert _only(engine, endpoint).state is State.DELIVERED


def test_an_endless_head_is_broken_off(engine: sa.Engine, add: Add, emit: Any, deliver: Any) -> None:
    async def _flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + b"X-Pad: " + b"x" * 4_000_000)
        writer.close()

    async def _round(sender: Callable[[], Sender]) -> None:
        server = await asyncio.start_server(_flood, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        nonlocal endpoint
        endpoint, _ = add(f"http://127.0.0.1:{port}/")
        emit()
        made = sender()
        async with server:
            assert await made.deliver_due() == 1
        await made.close(0)

    endpoint = ""
    asyncio.run(_round(lambda: Sender(engine, allow_private=True)))
    assert _only(engine, endpoint).attempts[0].error == "connection"


def _tls(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's side of TLS for a certificate of ``name`` that only the client trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "certificate.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=pem)


def test_tls_is_for_the_endpoints_name_though_the_address_is_pinned(
    engine: sa.Engine, add: Add, emit: Any, deliver: Any, tmp_path: Path
) -> None:
    server, client = _tls(tmp_path, "hooks.example")
    names: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: names.append(name)
    with Receiver(tls=server) as receiver:
        good, _ = add(f"https://hooks.example:{receiver.port}/")
        bad, _ = add(f"https://other.example:{receiver.port}/")
        emit()
        deliver(resolve=_to_loopback(), tls=client)
        assert _only(engine, good).state is State.DELIVERED
        assert _only(engine, bad).attempts[0].error == "tls"
        assert sorted(str(name) for name in names) == ["hooks.example", "other.example"]
        assert [got.headers["host"] for got in receiver.requests] == [f"hooks.example:{receiver.port}"]
        unknown, _ = add(f"https://hooks.example:{receiver.port}/")
        emit()
        deliver(resolve=_to_loopback())  # without the test's authority
        assert _only(engine, unknown).attempts[0].error == "tls"


def test_the_background_task_sends_and_finishes_what_is_under_way(
    engine: sa.Engine, receiver: Receiver, add: Add, emit: Any, clock: Clock
) -> None:
    endpoint, _ = add(receiver.url)
    events = [emit(n=n) for n in range(25)]

    async def _serve() -> None:
        loop, all_there = asyncio.get_running_loop(), asyncio.Event()

        def _answer(_got: Received) -> Answer:
            if len(receiver.requests) == len(events):
                loop.call_soon_threadsafe(all_there.set)
            return Answer(200)

        receiver.answer = _answer
        async with sending(Sender(engine, allow_private=True, clock=clock), drain_timeout_s=10):
            await asyncio.wait_for(all_there.wait(), 30)

    asyncio.run(_serve())
    assert sorted(receiver.ids) == sorted(events)
    with reading(engine) as connection:
        found = deliveries.page(connection, endpoint, limit=50)
    assert {one.state for one in found} == {State.DELIVERED}


def test_a_database_that_is_gone_stops_nothing_for_good(
    engine: sa.Engine, receiver: Receiver, add: Add, emit: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(receiver.url)
    event = emit()
    monkeypatch.setattr(delivery, "POLL_S", 0.01)

    async def _serve() -> None:
        loop, there = asyncio.get_running_loop(), asyncio.Event()

        def _answer(_got: Received) -> Answer:
            loop.call_soon_threadsafe(there.set)
            return Answer(200)

        receiver.answer = _answer
        failures = iter((True, True))
        plain = clock.__call__

        def _now() -> dt.datetime:
            if next(failures, False):
                raise DatabaseUnavailable
            return plain()

        async with sending(Sender(engine, allow_private=True, clock=_now), drain_timeout_s=10):
            await asyncio.wait_for(there.wait(), 30)

    asyncio.run(_serve())
    assert receiver.ids == [event]


def test_an_answer_that_breaks_http_is_a_failed_attempt(
    engine: sa.Engine, receiver: Receiver, add: Add, emit: Any, deliver: Any
) -> None:
    endpoint, _ = add(receiver.url)
    emit()
    receiver.answer = lambda _got: Answer(200, {"Bad Header Name": "x"})
    deliver()
    assert _only(engine, endpoint).attempts[0].error == "connection"


def test_bodies_are_json_of_the_three_members(receiver: Receiver, add: Add, emit: Any, deliver: Any) -> None:
    add(receiver.url)
    emit(carrier_call_id="bücher-1")
    deliver()
    assert set(json.loads(receiver.requests[0].body)) == {"type", "timestamp", "data"}
