"""Mails, to a real mail server on loopback: what comes out there, and how a failure is told."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog

from tests.enforcement.bureau import Bureau
from tests.enforcement.mailbox import Mailbox
from tests.webhooks.receiver import Answer, Receiver
from voiceguard.api.delivery import Sender
from voiceguard.api.post import Post
from voiceguard.enforcement import notices as acts
from voiceguard.settings import Settings
from voiceguard.store import messages, schema
from voiceguard.store.engine import reading, writing
from voiceguard.store.messages import Message, State
from voiceguard.store.providers import NewContact
from voiceguard.store.recordings import Recordings


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: what differs between databases, test_notices.py tests."""
    return f"sqlite:///{tmp_path / 'voiceguard.db'}"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as running:
        yield running


@pytest.fixture
def bureau(engine: sa.Engine, tmp_path: Path) -> Bureau:
    with writing(engine) as connection:
        connection.execute(sa.insert(schema.carriers).values(id="carrier_1", name="First Telecom"))
    return Bureau(engine, Recordings(str(tmp_path / "recordings"), tmp_path / "data"))


def _round(bureau: Bureau, mailbox: Mailbox, tmp_path: Path, **more: Any) -> int:
    settings = Settings(
        data_dir=tmp_path,
        agency="Büro für Anrufe",
        **{"mail_from": "notices@bureau.example", "smtp_port": mailbox.port, **more},
    )

    async def _go() -> int:
        sender = Sender(bureau.engine, allow_private=True, clock=lambda: bureau.now)
        post = Post(bureau.engine, settings, sender, lambda: bureau.now)
        try:
            return await post.round()
        finally:
            post.close()
            await sender.close(0)

    return asyncio.run(_go())


def _messages(bureau: Bureau) -> list[Message]:
    with reading(bureau.engine) as connection:
        seqs = connection.scalars(sa.select(schema.case_schema.notices.c.seq)).all()
        return [one for seq in seqs for one in messages.of_notice(connection, seq)]


def test_a_notice_by_mail_is_what_was_sent(bureau: Bureau, mailbox: Mailbox, tmp_path: Path) -> None:
    gate = bureau.provider("Gate", email="noc@gate.example")
    notice = bureau.sent(bureau.case(bureau.call()), gate)
    assert _round(bureau, mailbox, tmp_path) == 1
    (mail,) = mailbox.mails
    (message,) = _messages(bureau)
    assert mail["from"] == "Büro für Anrufe <notices@bureau.example>"
    assert (mail["to"], mail["subject"]) == ("noc@gate.example", notice.subject)
    assert mail["message-id"] == f"<{message.id}@bureau.example>"
    body = mail.get_content().replace("\r\n", "\n")
    assert body.startswith(notice.body)
    assert f"/v1/notices/{notice.id}/acknowledge" in body
    assert message.state is State.SENT
    assert _round(bureau, mailbox, tmp_path) == 0


def test_without_a_mail_server_mails_wait(bureau: Bureau, mailbox: Mailbox, tmp_path: Path) -> None:
    bureau.sent(bureau.case(bureau.call()), bureau.provider("Gate", email="noc@gate.example"))
    assert _round(bureau, mailbox, tmp_path, mail_from=None) == 0
    assert _round(bureau, mailbox, tmp_path) == 1


@pytest.mark.parametrize(
    ("refused", "at_text", "state", "error"),
    [
        ("451 busy", "250 taken", State.PENDING, "451 busy"),
        ("550 no such user", "250 taken", State.FAILED, "550 no such user"),
        (None, "452 full", State.PENDING, "452 full"),
        (None, "554 spam", State.FAILED, "554 spam"),
        (None, "hang up", State.UNCERTAIN, "connection"),
    ],
)
def test_a_refusal_is_told(
    bureau: Bureau,
    mailbox: Mailbox,
    tmp_path: Path,
    refused: str | None,
    at_text: str,
    state: State,
    error: str,
) -> None:
    mailbox.refuse = {"noc@gate.example": refused} if refused else {}
    mailbox.answer = lambda _mail: at_text
    bureau.sent(bureau.case(bureau.call()), bureau.provider("Gate", email="noc@gate.example"))
    assert _round(bureau, mailbox, tmp_path) == 1
    (message,) = _messages(bureau)
    assert (message.state, mailbox.mails) == (state, [])
    assert message.error is not None
    assert message.error.startswith(error)
    # Tried again by itself only where nothing can have gone out.
    mailbox.refuse, mailbox.answer = {}, lambda _mail: "250 taken"
    bureau.forward(hours=1)
    _round(bureau, mailbox, tmp_path)
    assert len(mailbox.mails) == (1 if state is State.PENDING else 0)


def test_a_server_that_is_away_costs_nothing_but_time(bureau: Bureau, tmp_path: Path) -> None:
    bureau.sent(bureau.case(bureau.call()), bureau.provider("Gate", email="noc@gate.example"))
    away = Mailbox()  # never started
    for _ in range(3):
        assert _round(bureau, away, tmp_path) == 1
        bureau.forward(hours=1)
    (message,) = _messages(bureau)
    assert (message.state, message.attempts) == (State.PENDING, 3)
    with away:
        _round(bureau, away, tmp_path)
        assert len(away.mails) == 1


def test_the_next_contact_is_paged_by_webhook_when_the_clock_has_run_out(
    bureau: Bureau, mailbox: Mailbox, tmp_path: Path
) -> None:
    with Receiver() as first, Receiver() as second:
        first.answer = lambda _got: Answer(503)
        gate = bureau.provider(
            "Gate",
            NewContact("First", webhook=first.url),
            NewContact("Second", webhook=second.url),
            email="noc@gate.example",
        )
        notice = bureau.sent(bureau.case(bureau.call()), gate, urgent=True)
        _round(bureau, mailbox, tmp_path)
        assert (len(first.requests), len(second.requests)) == (1, 0)
        acts.acknowledge(bureau.engine, notice.id, actor="key_1", now=bureau.now)
        bureau.now = (notice.due_at or bureau.now) + dt.timedelta(seconds=1)
        while _round(bureau, mailbox, tmp_path):
            pass
        assert b'"subject":"LATE: ' in second.requests[-1].body
        # The first one's webhook failed: it comes again under the same id.
        assert len(set(first.ids)) < len(first.ids)
    assert [str(mail["subject"]).partition(":")[0] for mail in mailbox.mails][-1] == "LATE"
