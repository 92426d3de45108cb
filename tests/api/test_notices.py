"""Notices, reports and cases over HTTP: what a provider can do with its own, and with another's nothing."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Api, problem_of, running, unlike
from voiceguard.enforcement import cases as acts
from voiceguard.enforcement import notices as posting
from voiceguard.enforcement.exports import FIELDS
from voiceguard.enforcement.notices import Office
from voiceguard.evidence.verify import verify
from voiceguard.store import audit, keys, providers, schema
from voiceguard.store.engine import reading, writing
from voiceguard.store.keys import Scope
from voiceguard.store.notices import Kind, Notice
from voiceguard.store.providers import NewContact, NewProvider

NOW = dt.datetime(2026, 3, 2, 9, tzinfo=dt.UTC)


class World:
    """An API with a case about a flagged call, and two providers with keys."""

    def __init__(self, api: Api, audio: bytes) -> None:
        self.api, self.engine = api, api.engine
        self.gate, self.other = (
            api.key(Scope.NOTICES, Scope.CALLS_READ, carrier=name)
            for name in ("Gateway One", "Other Telecom")
        )
        answer = api.post(
            audio,
            {"caller": "+12025550101", "callee": "+13035550142", "upstream_provider": "=Gateway One"},
        )
        assert answer.status_code == 201, answer.text
        self.call_id = answer.json()["id"]
        self.office = Office.of(api.settings)
        carrier = keys.find(self.engine, self.gate, NOW)
        assert carrier is not None
        with writing(self.engine) as connection:
            self.provider = providers.add(
                connection,
                NewProvider("Gateway One", carrier_id=carrier.carrier_id),
                now=NOW,
                actor="user_1",
            )

    def notice(self, kind: Kind = Kind.TRACEBACK, *, send: bool = True) -> Notice:
        how: dict[str, Any] = {"actor": "user_1", "now": NOW}
        case = acts.open_case(self.engine, "Bail scam", [self.call_id], owner_id=None, **how)
        drafted = posting.draft(self.engine, self.office, case.id, self.provider.id, kind, **how)
        return posting.send(self.engine, self.office, drafted.id, **how) if send else drafted

    def act(self, notice: Notice, what: str, said: dict[str, Any] | None = None, key: str = "") -> Any:
        return self.api.client.post(
            f"/v1/notices/{notice.id}/{what}",
            content=json.dumps(said) if said is not None else b"",
            headers=self.api.auth(key or self.gate),
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, audio_samples: Path) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("api"), webhook_allow_private=True) as api:
        api.client.app.state.service.__dict__["clock"] = lambda: NOW  # type: ignore[attr-defined]
        yield World(api, (audio_samples / "synthetic-hibari-heart-flac.flac").read_bytes())


def test_a_provider_reads_acknowledges_and_answers(world: World) -> None:
    notice = world.notice()
    listed = world.api.get("/v1/notices?limit=1", key=world.gate).json()
    assert [one["id"] for one in listed["data"]] == [notice.id]
    read = world.api.get(f"/v1/notices/{notice.id}", key=world.gate).json()
    assert (read["state"], read["late"], read["calls"]) == ("sent", False, 1)
    assert read["due_at"] == "2026-03-03T09:00:00Z"
    assert "appears to be a synthetic voice" in read["body"]
    assert world.act(notice, "acknowledge").json()["state"] == "acknowledged"
    assert world.act(notice, "acknowledge").json()["acknowledged_at"] == "2026-03-02T09:00:00Z"
    answered = world.act(notice, "answer", {"upstream_provider": "Blue Mesa", "action_taken": "Blocked it."})
    assert answered.json()["answer"] == {"upstream_provider": "Blue Mesa", "action_taken": "Blocked it."}
    again = world.act(notice, "answer", {"customer": "x"})
    assert (again.status_code, problem_of(again)) == (409, "notice_error")
    disputed = world.act(world.notice(), "dispute", {"reason": "They consented."}).json()
    assert (disputed["state"], disputed["answer"]) == ("disputed", {"comment": "They consented."})


@pytest.mark.parametrize(
    "said", [{}, {"comment": "x"}, {"customer": "x", "declined_reason": "y"}, {"price": 1}, {"customer": ""}]
)
def test_an_answer_that_says_nothing_is_refused(world: World, said: dict[str, Any]) -> None:
    refused = world.act(world.notice(), "answer", said)
    assert (refused.status_code, problem_of(refused)) == (422, "invalid_request")


def test_another_providers_notice_is_not_found(world: World) -> None:
    notice, draft = world.notice(), world.notice(send=False)
    for path in ("", "/calls", "/evidence"):
        for one, key in ((notice, world.other), (draft, world.gate), (notice, world.api.key(Scope.NOTICES))):
            answer = world.api.get(f"/v1/notices/{one.id}{path}", key=key)
            assert (answer.status_code, problem_of(answer)) == (404, "not_found")
    for what, said in (("acknowledge", None), ("answer", {"customer": "x"}), ("dispute", {"reason": "x"})):
        answer = world.act(notice, what, said, world.other)
        assert (answer.status_code, problem_of(answer)) == (404, "not_found")
    assert world.api.get("/v1/notices", key=world.other).json()["data"] == []
    refused = world.api.get("/v1/notices", key=world.api.key(Scope.CALLS_READ))
    assert (refused.status_code, problem_of(refused)) == (403, "insufficient_scope")


def test_the_list_of_calls_has_the_fields_of_a_traceback(world: World) -> None:
    notice = world.notice()
    (row,) = world.api.get(f"/v1/notices/{notice.id}/calls", key=world.gate).json()["data"]
    assert tuple(row) == FIELDS
    assert (row["calling_tn"], row["called_tn"]) == ("+12025550101", "+13035550142")
    assert row["call_datetime"] == "2026-03-01T14:05:00Z"
    assert row["reason"].startswith("The recording appears to be a synthetic voice; score +")
    answer = world.api.get(f"/v1/notices/{notice.id}/calls?format=csv", key=world.gate)
    (cells,) = csv.DictReader(io.StringIO(answer.text))
    assert cells == row | {"upstream_provider": "'=Gateway One"}  # no formula for the spreadsheet
    with reading(world.engine) as connection:
        last = audit.rows_of(connection, [notice.id])[-1].fields
    assert (last["action"], last["data"]["sha256"]) == (
        "notice.exhibits_fetched",
        audit.digest(answer.content),
    )


def test_links_in_the_notice_open_without_a_key_until_they_end(world: World, tmp_path: Path) -> None:
    notice = world.notice()
    calls, evidence = (
        address.removeprefix(world.api.settings.public_url)
        for address in re.findall(r"<(http://[^>]+)>", notice.body)
    )
    assert world.api.client.get(calls).text.startswith(",".join(FIELDS))
    package = world.api.client.get(evidence)
    assert package.status_code == 200, package.text
    (tmp_path / "package.zip").write_bytes(package.content)
    steps = list(verify(tmp_path / "package.zip", key=world.office.key.public))
    assert {step.state for step in steps} <= {"ok", "left out"}, steps
    altered = world.api.client.get(calls.replace("signature=", "signature=A"))
    assert (altered.status_code, problem_of(altered)) == (403, "invalid_link")
    service = world.api.client.app.state.service  # type: ignore[attr-defined]
    service.__dict__["clock"] = lambda: NOW + dt.timedelta(days=15)
    try:
        over = world.api.client.get(calls)
    finally:
        service.__dict__["clock"] = lambda: NOW
    assert (over.status_code, problem_of(over)) == (410, "link_expired")


def test_a_reported_call_is_followed_to_the_end_of_its_case(world: World, short_clip: bytes) -> None:
    with writing(world.engine) as connection:
        providers.add_contact(connection, None, NewContact("Own", email="own@x.example"), actor="user_1")
    said = {"note": "Asked for bail money.", "urgent": True, "caller": "+12025550199"}
    audio = unlike(short_clip, 77)
    posted = world.api.post(audio, said, key=world.gate, path="/v1/reports", Idempotency_Key='"r1"')
    assert posted.status_code == 201, posted.text
    report = posted.json()
    assert (report["progress"], report["urgent"]) == ("received", True)
    again = world.api.post(audio, said, key=world.gate, path="/v1/reports", Idempotency_Key='"r1"')
    assert again.json()["id"] == report["id"]
    with reading(world.engine) as connection:
        paged = connection.execute(schema.case_schema.messages.select()).all()
        waiting = connection.execute(schema.reviews.select()).all()
    assert [one.address for one in paged if one.purpose.startswith("report_")] == ["own@x.example"]
    assert "asked" in {one.why for one in waiting}
    path = posted.headers["location"]
    assert world.api.get(path, key=world.other).status_code == 404
    how: dict[str, Any] = {"actor": "user_1", "now": NOW}
    case = acts.open_case(world.engine, "Reported", [report["call_id"]], owner_id=None, **how)
    assert world.api.get(path, key=world.gate).json()["progress"] == "in_case"
    acts.close(world.engine, case.id, "referred", "To the state.", **how)
    (listed,) = world.api.get("/v1/reports", key=world.gate).json()["data"]
    assert (listed["progress"], listed["outcome"]) == ("closed", "referred")
    assert world.api.get("/v1/reports", key=world.other).json()["data"] == []


def test_the_agencys_own_systems_read_every_case(world: World) -> None:
    notice = world.notice()
    key = world.api.key(Scope.CASES_READ, carrier="The agency")
    (listed,) = world.api.get("/v1/cases?state=noticed&limit=1", key=key).json()["data"]
    assert (listed["number"], listed["waiting"]) == (notice.case_number, 1)
    case = world.api.get(f"/v1/cases/{listed['id']}", key=key).json()
    assert [one["number"] for one in case["notices_sent"]] == [notice.number]
    assert [one["action"] for one in case["history"]] == ["opened", "notice_drafted", "notice_sent"]
    for path in ("/v1/cases", f"/v1/cases/{listed['id']}"):
        refused = world.api.get(path, key=world.gate)
        assert (refused.status_code, problem_of(refused)) == (403, "insufficient_scope")
    assert world.api.get("/v1/cases/case_x", key=key).status_code == 404
