"""Notices: drafted, sent, answered; the chain of providers; a traceback to its origin; the clock."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from tests.enforcement.bureau import Bureau
from voiceguard.enforcement import cases as acts
from voiceguard.enforcement import chain, hotline, links, templates
from voiceguard.enforcement import notices as posting
from voiceguard.enforcement.chain import Part
from voiceguard.enforcement.notices import NoticeError
from voiceguard.enforcement.templates import TemplateError
from voiceguard.store import cases, endpoints, exhibits, messages, notices, outbox, providers, schema
from voiceguard.store.engine import reading, writing
from voiceguard.store.notices import Kind, State
from voiceguard.store.providers import NewContact
from voiceguard.store.recordings import Recordings

ALWAYS = NewContact("Night desk", email="night@gate.example")
SECOND = NewContact("Second", email="second@gate.example")
NOBODY = NewContact("Weekend", email="weekend@gate.example", days="0000011")


@pytest.fixture
def bureau(engine: sa.Engine, tmp_path: Path) -> Bureau:
    with writing(engine) as connection:
        connection.execute(sa.insert(schema.carriers).values(id="carrier_1", name="First Telecom"))
        connection.execute(sa.insert(schema.carriers).values(id="carrier_2", name="Gateway One"))
    return Bureau(engine, Recordings(str(tmp_path / "recordings"), tmp_path / "data"))


def _mails(bureau: Bureau) -> list[tuple[str, str]]:
    with reading(bureau.engine) as connection:
        table = schema.case_schema.messages
        rows = connection.execute(sa.select(table.c.address, table.c.subject).order_by(table.c.seq))
        return [(row.address, row.subject) for row in rows]


def test_a_notice_says_what_the_audio_supports_and_cites_rule_and_evidence(bureau: Bureau) -> None:
    case = bureau.case(bureau.call(), bureau.call(b"another", score=6.0))
    gate = bureau.provider("Gate *One*", email="abuse@gate.example")
    for kind in Kind:
        notice = bureau.sent(case, gate, kind)
        assert "appears to be a synthetic voice" in notice.body
        assert "FCC 24-17" in notice.body
        assert "illegal voice" not in notice.body
        assert r"Gate \*One\*" in notice.body
        assert "{{" not in notice.body + notice.subject
        assert f"http://bureau.example/links/notices/{notice.id}/evidence?" in notice.body
        assert notice.due_at == bureau.now + dt.timedelta(hours=notice.hours)
    assert bureau.state(case) is cases.State.NOTICED
    assert [address for address, _ in _mails(bureau)] == ["abuse@gate.example"] * 4


def test_nobody_is_accused_of_what_was_not_found(bureau: Bureau) -> None:
    case = bureau.case(bureau.call(score=-4.0))
    gate = bureau.provider("Gate", email="abuse@gate.example")
    with pytest.raises(NoticeError, match="flagged or confirmed"):
        bureau.draft(case, gate)


def test_a_notice_that_reaches_nobody_is_not_sent(bureau: Bureau) -> None:
    notice = bureau.draft(bureau.case(bureau.call()), bureau.provider("Gate"))
    with pytest.raises(NoticeError, match="e-mail address or an API key"):
        bureau.send(notice)
    assert bureau.read(notice).state is State.DRAFT


def test_sent_twice_goes_out_once(bureau: Bureau) -> None:
    gate = bureau.provider("Gate", email="abuse@gate.example", carrier_id="carrier_2")
    with writing(bureau.engine) as connection:
        endpoints.add(
            connection,
            carrier_id="carrier_2",
            url="https://gate.example",
            events=("notice.sent",),
            now=bureau.now,
        )
    notice = bureau.draft(bureau.case(bureau.call()), gate)
    bureau.send(notice)
    with pytest.raises(NoticeError, match="is sent"):
        bureau.send(notice)
    assert len(_mails(bureau)) == 1
    (event,) = outbox.claim(bureau.engine, bureau.now, room={}, limit=9, each=9)
    assert b'"type":"notice.sent"' in event.body
    assert notice.id.encode() in event.body
    assert b"+1" not in event.body


def test_an_answer_is_given_once_and_must_say_something(bureau: Bureau) -> None:
    notice = bureau.sent(bureau.case(bureau.call()), bureau.provider("Gate", email="a@gate.example"))
    for said, wrong in (
        ({}, "Expected an answer with"),
        ({"comment": "hello"}, "Expected an answer with"),
        ({"customer": "x", "declined_reason": "y"}, "either an answer or"),
        ({"price": "x"}, "Expected the fields"),
        ({"comment": "x" * 4001}, "at most 4000"),
    ):
        with pytest.raises(NoticeError, match=wrong):
            bureau.answer(notice, **said)
    answered = bureau.answer(notice, action_taken=" Closed the trunk. ")
    assert (answered.state, answered.answer) == (State.ANSWERED, {"action_taken": "Closed the trunk."})
    with pytest.raises(NoticeError, match="is answered"):
        bureau.answer(notice, action_taken="again")
    assert acts.CaseError  # the case follows
    assert bureau.state(_case(bureau, notice)) is cases.State.ANSWERED


def _case(bureau: Bureau, notice: notices.Notice) -> cases.Case:
    with reading(bureau.engine) as connection:
        return cases.by_seq(connection, notice.case_seq)


def test_a_case_with_a_waiting_notice_is_not_closed(bureau: Bureau) -> None:
    case = bureau.case(bureau.call())
    notice = bureau.sent(case, bureau.provider("Gate", email="a@gate.example"))
    how = {"actor": "user_1", "now": bureau.now}
    with pytest.raises(acts.CaseError, match=notice.number):
        acts.close(bureau.engine, case.id, "stopped", "Done.", **how)
    posting.withdraw(bureau.engine, notice.id, "Sent to the wrong one.", **how)
    assert bureau.state(case) is cases.State.OPEN
    acts.close(bureau.engine, case.id, "stopped", "Done.", **how)


def test_a_traceback_walks_three_hops_to_the_origin(bureau: Bureau) -> None:
    """Terminating First Telecom ← Transit ← Gateway One ← Blue Mesa, whose customer it was."""
    call = bureau.call(upstream_provider="Transit", attestation={"level": "C", "origid": "gw-1"})
    case = bureau.case(call)
    transit = bureau.provider("Transit", email="noc@transit.example")
    bureau.provider("Gateway One", email="noc@gateway.example", origids=("GW-1",))
    hop = bureau.answer(bureau.sent(case, transit), upstream_provider="gateway one")
    for said in ({"upstream_provider": "Blue Mesa", "upstream_origid": "bm-7"}, {"customer": "Dial LLC"}):
        following = posting.draft_next(bureau.engine, bureau.office, hop.id, actor="user_1", now=bureau.now)
        assert following.call_ids == (call,)
        with writing(bureau.engine) as connection:
            found = providers.get(connection, following.provider_id)
            assert found is not None
            values = {**found.__dict__, "email": found.email or "noc@mesa.example"}
            known = {name: values[name] for name in providers.NewProvider.__dataclass_fields__}
            providers.change(connection, found.id, providers.NewProvider(**known), actor="user_1")
        hop = bureau.answer(bureau.send(following), **said)
    with reading(bureau.engine) as connection:
        walked = posting.trail(connection, hop)
        path = chain.chain(
            exhibits.of_case(connection, case.seq),
            providers.every(connection),
            notices.of_case(connection, case.seq),
        )
    assert [one.provider for one in walked] == ["Transit", "Gateway One", "Blue Mesa"]
    assert [(one.part, one.name, one.basis) for one in path] == [
        (Part.ORIGINATING, "Blue Mesa", walked[2].number),
        (Part.GATEWAY, "Gateway One", "signed the calls"),
        (Part.TRANSIT, "Blue Mesa", walked[1].number),
        (Part.TRANSIT, "Gateway One", walked[0].number),
        (Part.TRANSIT, "Transit", "named by the carrier"),
        (Part.TERMINATING, "First Telecom", "posted the calls"),
    ]
    assert path[1].attestations == {"C": 1}
    with pytest.raises(NoticeError, match="names the provider before"):
        posting.draft_next(bureau.engine, bureau.office, hop.id, actor="user_1", now=bureau.now)


def test_a_traceback_in_a_circle_is_told(bureau: Bureau) -> None:
    case = bureau.case(bureau.call())
    hop = bureau.answer(bureau.sent(case, bureau.provider("A", email="a@a.example")), upstream_provider="A")
    with pytest.raises(NoticeError, match="a circle"):
        posting.draft_next(bureau.engine, bureau.office, hop.id, actor="user_1", now=bureau.now)


def test_the_clock_pages_reminds_and_escalates_each_once(bureau: Bureau) -> None:
    gate = bureau.provider("Gate", NOBODY, ALWAYS, SECOND, email="abuse@gate.example")
    with writing(bureau.engine) as connection:
        providers.add_contact(connection, None, NewContact("Own", email="own@bureau.example"), actor="user_1")
    bureau.now = dt.datetime(2026, 3, 2, 9, tzinfo=dt.UTC)  # a Monday
    notice = bureau.sent(bureau.case(bureau.call()), gate, urgent=True)
    paged: list[str] = []

    def _at(**span: float) -> list[str]:
        bureau.forward(**span)
        hotline.tick(bureau.engine, bureau.now)
        hotline.tick(bureau.engine, bureau.now)  # a second process
        mails = [address for address, _ in _mails(bureau)]
        new = mails[len(paged) :]
        paged[:] = mails
        return [address.partition("@")[0] for address in new]

    assert _at(minutes=0) == ["abuse", "night"]  # the notice itself, then who is on duty
    assert _at(minutes=14) == []
    assert _at(minutes=1) == ["second"]
    posting.acknowledge(bureau.engine, notice.id, actor="key_1", now=bureau.now)
    assert _at(minutes=30) == []  # acknowledged: nobody else is paged
    assert _at(hours=12) == ["night", "abuse"]  # half of the time is gone
    assert _at(hours=10) == ["night"]
    assert not bureau.read(notice).late(bureau.now)
    assert _at(hours=2) == ["second", "abuse", "own"]
    assert bureau.read(notice).late(bureau.now)
    assert _mails(bureau)[-1][1].startswith("LATE")
    bureau.answer(notice, action_taken="Closed.")
    assert _at(days=5) == []
    with reading(bureau.engine) as connection:
        history = cases.history(connection, notice.case_seq)
    assert [one.action for one in history].count("notice_paged") == 5


def test_a_service_that_stood_still_does_each_step_once(bureau: Bureau) -> None:
    gate = bureau.provider("Gate", ALWAYS, email="abuse@gate.example")
    notice = bureau.sent(bureau.case(bureau.call()), gate)
    bureau.forward(days=30)
    assert hotline.tick(bureau.engine, bureau.now) == len(hotline.steps(notice)) == 6
    assert hotline.tick(bureau.engine, bureau.now) == 0
    assert bureau.read(notice).next_step_at is None


@pytest.mark.parametrize(
    ("days", "hours", "at", "on"),
    [
        ("1111111", (0, 24), "2026-03-02T00:00", True),
        ("1111100", (8, 17), "2026-03-02T08:00", True),
        ("1111100", (8, 17), "2026-03-02T17:00", False),
        ("1111100", (8, 17), "2026-03-01T12:00", False),
        ("1000000", (22, 6), "2026-03-02T23:00", True),
        ("1000000", (22, 6), "2026-03-03T05:59", True),
        ("1000000", (22, 6), "2026-03-03T06:00", False),
        ("1000000", (22, 6), "2026-03-02T05:00", False),
    ],
)
def test_who_is_on_duty(days: str, hours: tuple[int, int], at: str, on: bool) -> None:
    contact = providers.Contact("N", days=days, from_minute=hours[0] * 60, to_minute=hours[1] * 60)
    assert contact.on_duty(dt.datetime.fromisoformat(at + "+00:00")) is on


def test_templates_keep_their_versions(bureau: Bureau) -> None:
    gate = bureau.provider("Gate", email="a@gate.example")
    case = bureau.case(bureau.call())
    first = bureau.draft(case, gate)
    subject, body = templates.shipped(Kind.TRACEBACK)
    how = {"actor": "user_1", "now": bureau.now}
    new = templates.save(bureau.engine, Kind.TRACEBACK, "Where from? {{number}}", body, **how)
    assert (first.template_version, new.version) == (1, 2)
    assert bureau.draft(case, gate).subject.startswith("Where from?")
    with reading(bureau.engine) as connection:
        old = notices.template(connection, Kind.TRACEBACK, 1)
    assert old is not None
    assert (old.subject, old.body) == (subject, body)
    for wrong, said in (
        (body.replace("appears to be", "is"), "appears to be a synthetic voice"),
        (body + "{{fine}}", "got fine"),
        (body.replace("{{evidence_link}}", ""), "cites its evidence"),
    ):
        with pytest.raises(TemplateError, match=said):
            templates.save(bureau.engine, Kind.TRACEBACK, subject, wrong, **how)
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), writing(bureau.engine) as connection:
        connection.execute(sa.text("UPDATE notice_templates SET body = 'x'"))


def test_a_link_opens_its_thing_until_it_ends(bureau: Bureau) -> None:
    key, now = bureau.office.key, bureau.now
    ends = now + dt.timedelta(hours=1)
    address = urlsplit(links.make(key, "https://x.example/", "notice_1", links.What.CALLS, ends))
    query = {name: values[0] for name, values in parse_qs(address.query).items()}
    expires, signature = int(query["expires"]), query["signature"]
    links.check(key.public, "notice_1", links.What.CALLS, expires, signature, now)
    with pytest.raises(links.LinkExpired):
        links.check(key.public, "notice_1", links.What.CALLS, expires, signature, ends)
    for altered in (
        ("notice_2", links.What.CALLS, expires, signature),
        ("notice_1", links.What.EVIDENCE, expires, signature),
        ("notice_1", links.What.CALLS, expires + 1, signature),
        (
            "notice_1",
            links.What.CALLS,
            expires,
            "A" + signature[1:] if signature[0] != "A" else "B" + signature[1:],
        ),
        ("notice_1", links.What.CALLS, expires, "é"),
    ):
        with pytest.raises(links.InvalidLink):
            links.check(key.public, *altered, now)
    assert re.fullmatch(r"/links/notices/notice_1/calls", address.path)


def test_a_message_is_taken_by_one_and_a_killed_sender_leaves_it_or_tells(bureau: Bureau) -> None:
    gate = bureau.provider("Gate", email="a@gate.example")
    case = bureau.case(bureau.call())
    for _ in range(3):
        bureau.sent(case, gate)
    now = bureau.now
    first, second, third = messages.claim(bureau.engine, now, limit=9)
    assert messages.claim(bureau.engine, now, limit=9) == []
    # The first went out; of the second the text was being handed over; of the third nothing had gone.
    assert messages.hand_over(bureau.engine, first, now)
    assert messages.record(bureau.engine, first, now) is messages.State.SENT
    assert messages.hand_over(bureau.engine, second, now)
    later = now + messages.LEASE
    (again,) = messages.claim(bureau.engine, later, limit=9)
    assert again.id == third.id
    assert not messages.hand_over(bureau.engine, third, later)  # its first sender lives after all: too late
    with reading(bureau.engine) as connection:
        ((stuck, notice_id),) = messages.stuck(connection, limit=5)
    assert (stuck.id, stuck.state, notice_id is not None) == (second.id, messages.State.UNCERTAIN, True)
    with writing(bureau.engine) as connection:
        assert messages.again(connection, second.id, now=later) is not None
    assert [one.id for one in messages.claim(bureau.engine, later, limit=9)] == [second.id]
