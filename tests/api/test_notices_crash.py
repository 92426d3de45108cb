"""Kill -9 while 50 notices go out: each mail is delivered once or marked for another try, none is lost."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.api.server import Server
from tests.enforcement.bureau import Bureau
from tests.enforcement.mailbox import Mailbox
from voiceguard.store import messages, migrate, schema
from voiceguard.store.engine import connect, reading, writing
from voiceguard.store.messages import State
from voiceguard.store.recordings import Recordings

pytestmark = pytest.mark.slow
NOTICES = 50
KILLED_AFTER = (1, 17, 34)
PATIENCE_S = 60.0


def _states(engine: sa.Engine) -> dict[str, State]:
    with reading(engine) as connection:
        rows = connection.execute(sa.select(schema.case_schema.messages)).all()
    return {f"<{row.id}@bureau.example>": State(row.state) for row in rows}


def test_no_notice_is_lost_or_sent_twice(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'voiceguard.db'}")
    migrate.upgrade(engine)
    with writing(engine) as connection:
        connection.execute(sa.insert(schema.carriers).values(id="carrier_1", name="First Telecom"))
    bureau = Bureau(engine, Recordings(str(tmp_path / "recordings"), tmp_path))
    bureau.now = dt.datetime.now(dt.UTC)
    case, gate = bureau.case(bureau.call()), bureau.provider("Gate", email="noc@gate.example")
    for _ in range(NOTICES):
        bureau.sent(case, gate)
    with Mailbox() as mailbox:
        settings: dict[str, Any] = {"mail_from": "notices@bureau.example", "smtp_port": mailbox.port}

        def _slowly(_mail: object) -> str:
            time.sleep(0.02)  # so that the kill meets mails in every state
            return "250 taken"

        mailbox.answer = _slowly
        for killed_after in KILLED_AFTER:
            server = Server(tmp_path, **settings)
            with server:
                assert mailbox.wait(killed_after, PATIENCE_S)
                server.kill()
            states = _states(engine)
            taken = mailbox.ids  # once: it may still be taking a mail that was under way
            assert len(taken) == len(set(taken))
            assert set(states) >= set(taken)
            for message_id, state in states.items():
                if state is State.SENT:
                    assert message_id in taken
                elif state is State.PENDING:
                    assert message_id not in taken
            _leases_end(engine)
        with Server(tmp_path, **settings):
            until = time.monotonic() + PATIENCE_S
            while set(_states(engine).values()) - {State.SENT, State.UNCERTAIN}:
                assert time.monotonic() < until, _states(engine)
                time.sleep(0.1)
        assert len(mailbox.ids) == len(set(mailbox.ids))
        uncertain = {one for one, state in _states(engine).items() if state is State.UNCERTAIN}
        assert {one for one, state in _states(engine).items() if state is State.SENT} | uncertain == set(
            _states(engine)
        )
        assert set(_states(engine)) - uncertain <= set(mailbox.ids)
        assert len(_states(engine)) == NOTICES
        # What may have gone out is told, and a person has it sent again.
        with reading(engine) as connection:
            told = messages.stuck(connection, limit=NOTICES)
        assert len(told) == len(uncertain)
    engine.dispose()


def _leases_end(engine: sa.Engine) -> None:
    """Let the time pass that a dead sender's leases last."""
    table = schema.case_schema.messages
    past = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
    with writing(engine) as connection:
        connection.execute(
            sa.update(table).where(table.c.leased_until.is_not(None)).values(leased_until=past)
        )
