from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.api.conftest import Api, problem_of
from tests.webhooks.receiver import Answer, Received, Receiver
from voiceguard.api.webhooks import MAX_WEBHOOKS
from voiceguard.store import outbox, schema
from voiceguard.store.engine import writing
from voiceguard.store.keys import Scope
from voiceguard.store.outbox import EventType

URL = "https://hooks.invalid/in"  # a name that never resolves: nothing is sent
PATIENCE_S = 60
BOTH = ["call.screened", "call.flagged"]


@pytest.fixture
def key(api: Api, request: pytest.FixtureRequest) -> str:
    """A key of a carrier that only this test has."""
    return api.key(Scope.WEBHOOKS_READ, Scope.WEBHOOKS_WRITE, carrier=request.node.nodeid[-190:])


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def _send(api: Api, method: str, path: str, key: str, json: Any = None) -> Any:
    return api.client.request(method, f"/v1/webhooks{path}", headers=api.auth(key), json=json)


def _create(api: Api, key: str, **body: Any) -> dict[str, Any]:
    response = _send(api, "POST", "", key, {"url": URL, **body})
    assert response.status_code == 201, response.text
    return dict(response.json())


def _emit(api: Api, webhook: dict[str, Any], count: int) -> list[str | None]:
    """Write events as screenings do."""
    with writing(api.engine) as connection:
        carrier = connection.execute(
            schema.webhook_endpoints.select().where(schema.webhook_endpoints.c.id == webhook["id"])
        ).one()
        return [
            outbox.enqueue(connection, EventType.CALL_SCREENED, carrier.carrier_id, {"n": n})
            for n in range(count)
        ]


def test_the_secret_is_shown_once(api: Api, key: str) -> None:
    response = _send(api, "POST", "", key, {"url": URL + "#x"})
    created = response.json()
    assert (response.status_code, response.headers["location"]) == (201, f"/v1/webhooks/{created['id']}")
    assert created["secret"].startswith("whsec_")
    assert (created["url"], created["events"], created["disabled_at"]) == (URL, BOTH, None)
    read = _send(api, "GET", f"/{created['id']}", key)
    assert read.json() == {name: value for name, value in created.items() if name != "secret"}
    assert created["secret"] not in _send(api, "GET", "", key).text


def test_webhooks_are_listed_page_by_page(api: Api, key: str) -> None:
    made = [_create(api, key)["id"] for _ in range(5)]
    seen, cursor = [], None
    for _ in range(3):
        query = "?limit=2" + (f"&cursor={cursor}" if cursor else "")
        page = _send(api, "GET", query, key).json()
        seen += [one["id"] for one in page["data"]]
        cursor = page["next_cursor"]
    assert (seen, cursor) == (made[::-1], None)


def test_a_webhook_can_be_changed_disabled_and_enabled(api: Api, key: str) -> None:
    path = f"/{_create(api, key)['id']}"
    changed = _send(
        api, "PATCH", path, key, {"url": "https://example.org/", "events": ["call.flagged"]}
    ).json()
    assert (changed["url"], changed["events"]) == ("https://example.org/", ["call.flagged"])
    disabled = _send(api, "PATCH", path, key, {"enabled": False}).json()
    assert (disabled["url"], disabled["disabled_reason"]) == (
        "https://example.org/",
        "disabled by its carrier",
    )
    response = _send(api, "POST", f"{path}/test", key)
    assert (response.status_code, problem_of(response)) == (409, "webhook_disabled")
    enabled = _send(api, "PATCH", path, key, {"enabled": True, "url": None}).json()
    assert (enabled["disabled_at"], enabled["disabled_reason"]) == (None, None)
    assert _send(api, "PATCH", path, key, {}).json() == enabled


def test_a_deleted_webhook_is_gone(api: Api, key: str) -> None:
    path = f"/{_create(api, key)['id']}"
    assert _send(api, "DELETE", path, key).status_code == 204
    for method, below in (("DELETE", ""), ("GET", ""), ("GET", "/deliveries"), ("POST", "/rotate-secret")):
        response = _send(api, method, path + below, key)
        assert (response.status_code, problem_of(response)) == (404, "not_found")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": 7},
        {"url": ""},
        {"url": "http://example.com/"},
        {"url": "https://127.0.0.1/"},
        {"url": "https://[::1]/"},
        {"url": "https://169.254.169.254/latest/meta-data"},
        {"url": "https://user:secret@example.com/"},
        {"url": URL, "events": []},
        {"url": URL, "events": ["call.deleted"]},
        {"url": URL, "events": ["webhook.test"]},
        {"url": URL, "secret": "whsec_mine"},
        [],
        "text",
        None,
    ],
)
def test_what_is_no_webhook_is_refused(api: Api, key: str, body: Any) -> None:
    path = f"/{_create(api, key)['id']}"
    response = _send(api, "POST", "", key, body)
    assert (response.status_code, problem_of(response)) == (422, "invalid_request")
    assert "127.0.0.1" not in response.text
    if isinstance(body, dict) and body and body.get("url") != "":
        response = _send(api, "PATCH", path, key, body)
        assert (response.status_code, problem_of(response)) == (422, "invalid_request")


def test_a_large_body_is_refused_and_never_read_without_a_key(api: Api, key: str) -> None:
    body = b'{"url":"' + b"x" * 20_000
    response = api.client.post("/v1/webhooks", headers=api.auth(key), content=body)
    assert (response.status_code, problem_of(response)) == (413, "request_too_large")
    response = api.client.post("/v1/webhooks", content=body)
    assert (response.status_code, problem_of(response)) == (401, "missing_key")


def test_a_carrier_has_so_many_webhooks_at_most(api: Api, key: str) -> None:
    for _ in range(MAX_WEBHOOKS):
        _create(api, key)
    response = _send(api, "POST", "", key, {"url": URL})
    assert (response.status_code, problem_of(response)) == (409, "too_many_webhooks")


def test_scopes_divide_reading_from_writing(api: Api, key: str) -> None:
    webhook = _create(api, key)
    reader, none = api.key(Scope.WEBHOOKS_READ), api.key(Scope.CALLS_READ, Scope.CALLS_WRITE)
    path = f"/{webhook['id']}"
    writes = [
        ("POST", ""),
        ("PATCH", path),
        ("DELETE", path),
        ("POST", f"{path}/rotate-secret"),
        ("POST", f"{path}/test"),
        ("POST", f"{path}/deliveries/x/replay"),
    ]
    for method, where in writes:
        response = _send(api, method, where, reader, {"url": URL})
        assert (response.status_code, problem_of(response)) == (403, "insufficient_scope")
    for where in ("", path, f"{path}/deliveries"):
        response = _send(api, "GET", where, none)
        assert (response.status_code, problem_of(response)) == (403, "insufficient_scope")


def test_a_carrier_sees_its_own_webhooks_only(api: Api, key: str) -> None:
    webhook = _create(api, key)
    (event,) = _emit(api, webhook, 1)
    path = f"/{webhook['id']}"
    (delivery,) = _send(api, "GET", f"{path}/deliveries", key).json()["data"]
    assert delivery["event_id"] == event
    other = api.key(Scope.WEBHOOKS_READ, Scope.WEBHOOKS_WRITE, carrier="Another Telecom")
    theirs = _create(api, other)
    for method, where in (
        ("GET", path),
        ("PATCH", path),
        ("DELETE", path),
        ("POST", f"{path}/rotate-secret"),
        ("POST", f"{path}/test"),
        ("GET", f"{path}/deliveries"),
        ("POST", f"{path}/deliveries/{delivery['id']}/replay"),
        ("POST", f"/{theirs['id']}/deliveries/{delivery['id']}/replay"),
    ):
        response = _send(api, method, where, other, {})
        assert (response.status_code, problem_of(response)) == (404, "not_found"), (method, where)
    assert [one["id"] for one in _send(api, "GET", "", other).json()["data"]] == [theirs["id"]]
    assert _send(api, "GET", path, key).status_code == 200


def test_deliveries_are_listed_page_by_page_and_by_state(api: Api, key: str) -> None:
    webhook = _create(api, key)
    path = f"/{webhook['id']}"
    events = _emit(api, webhook, 5)
    seen, cursor = [], None
    for _ in range(3):
        query = "?limit=2" + (f"&cursor={cursor}" if cursor else "")
        page = _send(api, "GET", f"{path}/deliveries{query}", key).json()
        seen += [one["event_id"] for one in page["data"]]
        cursor = page["next_cursor"]
    assert (seen, cursor) == (events[::-1], None)
    pending = _send(api, "GET", f"{path}/deliveries?state=pending", key).json()["data"]
    assert len(pending) == 5
    assert _send(api, "GET", f"{path}/deliveries?state=delivered", key).json()["data"] == []
    for query in ("state=lost", "cursor=x", "limit=0", "limit=201"):
        response = _send(api, "GET", f"{path}/deliveries?{query}", key)
        assert (response.status_code, problem_of(response)) == (422, "invalid_request")


@pytest.mark.parametrize("path", ["/%00", "/x", "/%F0%9F%92%A9", "/" + "x" * 100, "/..", "/%2e%2e%2f"])
def test_odd_ids_are_problems(api: Api, key: str, path: str) -> None:
    for method in ("GET", "DELETE"):
        response = _send(api, method, path, key)
        assert problem_of(response) in ("not_found", "invalid_request", "method_not_allowed")


def test_a_posted_call_reaches_the_receiver_signed(
    start: Callable[..., Api], receiver: Receiver, short_clip: bytes
) -> None:
    api = start(webhook_allow_private=True)
    key = api.key(Scope.WEBHOOKS_READ, Scope.WEBHOOKS_WRITE)
    created = _send(api, "POST", "", key, {"url": receiver.url, "events": ["call.screened"]}).json()
    arrived = threading.Event()

    def _answer(_got: Received) -> Answer:
        arrived.set()
        return Answer(200)

    receiver.answer = _answer
    call = api.post(short_clip, {"caller": "+12025550123"}).json()
    assert arrived.wait(PATIENCE_S)
    (got,) = receiver.requests
    payload = Webhook(created["secret"]).verify(got.body, got.headers)
    assert payload["type"] == "call.screened"
    assert payload["data"]["call_id"] == call["id"]
    assert payload["data"]["verdict"] == call["screening"]["verdict"]
    assert b"2025550123" not in got.body
    # A trial and a replay go the same way, the replay under the event's own id.
    arrived.clear()
    event = _send(api, "POST", f"/{created['id']}/test", key)
    assert (event.status_code, arrived.wait(PATIENCE_S)) == (202, True)
    assert receiver.ids[-1] == event.json()["event_id"]
    arrived.clear()
    listed = _send(api, "GET", f"/{created['id']}/deliveries", key).json()["data"]
    assert [one["type"] for one in listed] == ["webhook.test", "call.screened"]
    replayed = _send(api, "POST", f"/{created['id']}/deliveries/{listed[1]['id']}/replay", key)
    assert (replayed.status_code, arrived.wait(PATIENCE_S)) == (202, True)
    assert replayed.json()["event_id"] == receiver.ids[-1] == receiver.ids[0]
    # Both secrets sign after a rotation.
    arrived.clear()
    rotated = _send(api, "POST", f"/{created['id']}/rotate-secret", key).json()
    assert rotated["secret"] != created["secret"]
    assert rotated["previous_secret_until"] is not None
    _send(api, "POST", f"/{created['id']}/test", key)
    assert arrived.wait(PATIENCE_S)
    for secret in (created["secret"], rotated["secret"]):
        Webhook(secret).verify(receiver.requests[-1].body, receiver.requests[-1].headers)
