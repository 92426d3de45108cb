"""What tests of cases share: calls in the store, providers, an office that sends, a clock that is moved by hand."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from tests.store.conftest import NOW, keep, screening_of
from voiceguard.enforcement import cases as acts
from voiceguard.enforcement import notices as posting
from voiceguard.enforcement.notices import Office
from voiceguard.store import calls, cases, notices, providers, schema
from voiceguard.store.calls import NewCall
from voiceguard.store.cases import Case
from voiceguard.store.engine import reading, writing
from voiceguard.store.notices import Kind, Notice
from voiceguard.store.providers import NewContact, NewProvider, Provider
from voiceguard.store.recordings import Recordings
from voiceguard.store.signing import SigningKey
from voiceguard.verdict import Verdict

HOURS = {Kind.TRACEBACK: 24.0, Kind.CEASE_AND_DESIST: 48.0, Kind.PRESERVATION: 48.0, Kind.TAKEDOWN: 24.0}


@dataclass
class Bureau:
    """An enforcement office at its desk."""

    engine: sa.Engine
    recordings: Recordings
    now: dt.datetime = NOW
    office: Office = field(
        default_factory=lambda: Office("The Bureau", "http://bureau.example", SigningKey.generate(), HOURS)
    )

    def forward(self, **span: float) -> dt.datetime:
        self.now += dt.timedelta(**span)
        return self.now

    def call(self, audio: bytes = b"audio", *, score: float = 8.3, **said: Any) -> str:
        """Store a call; flagged unless its score says otherwise."""
        call = NewCall(
            id=schema.new_id("call"),
            carrier_id="carrier_1",
            started_at=NOW - dt.timedelta(days=1),
            received_at=NOW - dt.timedelta(days=1),
            caller="+12025550101",
            callee="+13035550142",
        )
        call = dataclasses.replace(call, **said)
        verdict = Verdict.SYNTHETIC if score > 3 else Verdict.HUMAN
        screening = screening_of(keep(self.recordings, audio), verdict, score)
        with writing(self.engine) as connection:
            calls.insert(connection, self.recordings, call, screening)
        return call.id

    def case(self, *objects: str, title: str = "Bail scam") -> Case:
        return acts.open_case(self.engine, title, objects, owner_id=None, actor="user_1", now=self.now)

    def provider(self, name: str, *contacts: NewContact, **known: Any) -> Provider:
        with writing(self.engine) as connection:
            found = providers.add(connection, NewProvider(name, **known), now=self.now, actor="user_1")
            for one in contacts:
                providers.add_contact(connection, found.id, one, actor="user_1")
        return found

    def draft(self, case: Case, provider: Provider, kind: Kind = Kind.TRACEBACK, **how: Any) -> Notice:
        return posting.draft(
            self.engine, self.office, case.id, provider.id, kind, actor="user_1", now=self.now, **how
        )

    def send(self, notice: Notice) -> Notice:
        return posting.send(self.engine, self.office, notice.id, actor="user_1", now=self.now)

    def sent(self, case: Case, provider: Provider, kind: Kind = Kind.TRACEBACK, **how: Any) -> Notice:
        return self.send(self.draft(case, provider, kind, **how))

    def answer(self, notice: Notice, **said: str) -> Notice:
        return posting.answer(self.engine, notice.id, said, actor="key_1", now=self.now)

    def read(self, notice: Notice) -> Notice:
        with reading(self.engine) as connection:
            found = notices.get(connection, notice.id)
        assert found is not None
        return found

    def state(self, case: Case) -> cases.State:
        with reading(self.engine) as connection:
            found = cases.get(connection, case.id)
        assert found is not None
        return found.state
