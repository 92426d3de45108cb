"""The demonstration's case in the making: providers, a traceback of two hops, one notice that is late, a task."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from voiceguard.enforcement import cases as acts
from voiceguard.enforcement import notices as posting
from voiceguard.enforcement.notices import Office
from voiceguard.settings import Settings
from voiceguard.store import providers, queue
from voiceguard.store.engine import reading, writing
from voiceguard.store.notices import Kind
from voiceguard.store.providers import NewContact, NewProvider
from voiceguard.store.recordings import Recordings

_DAYTIME = {"days": "1111100", "from_minute": 8 * 60, "to_minute": 18 * 60}


def fill_case(
    settings: Settings, engine: sa.Engine, recordings: Recordings, *, owner_id: str, now: dt.datetime
) -> None:
    """Open a case from the strongest campaign and send what is sent in its first days."""

    def _ago(hours: float) -> dt.datetime:
        return now - dt.timedelta(hours=hours)

    with writing(engine) as connection:
        gateway, lakeside, _ = (
            providers.add(connection, NewProvider(name, email=email), now=_ago(90), actor=owner_id)
            for name, email in (
                ("Gateway One", "noc@gateway-one.example"),
                ("Lakeside Voice", "abuse@lakeside.example"),
                ("Blue Mesa Transit", "trace@bluemesa.example"),
            )
        )
        for whose, contact in (
            (gateway.id, NewContact("Gateway One, day desk", "noc@gateway-one.example", **_DAYTIME)),  # type: ignore[arg-type]
            (gateway.id, NewContact("Gateway One, night desk", "night@gateway-one.example")),
            (None, NewContact("Mara", "mara@agency.example")),
        ):
            providers.add_contact(connection, whose, contact, actor=owner_id)
    with reading(engine) as connection:
        campaigns = queue.campaign_page(connection, queue.Order.SIZE, decided=False, after=None, limit=1)
    if not campaigns:
        return
    office = Office.of(settings)
    case = acts.open_case(
        engine,
        "The largest campaign of the week",
        [campaigns[0].id],
        owner_id=owner_id,
        actor=owner_id,
        now=_ago(80),
    )
    acts.add_task(
        engine,
        case.id,
        "Call the gateway's lawyer",
        due_at=now + dt.timedelta(days=2),
        assignee_id=owner_id,
        actor=owner_id,
        now=_ago(70),
    )
    first = posting.draft(engine, office, case.id, lakeside.id, Kind.TRACEBACK, actor=owner_id, now=_ago(72))
    posting.send(engine, office, first.id, actor=owner_id, now=_ago(72))
    said = {"upstream_provider": "Gateway One", "comment": "Trunk group 14."}
    posting.answer(engine, first.id, said, actor=owner_id, now=_ago(60))
    following = posting.draft_next(engine, office, first.id, actor=owner_id, now=_ago(30))
    posting.send(engine, office, following.id, actor=owner_id, now=_ago(30))
    posting.draft(
        engine, office, case.id, gateway.id, Kind.CEASE_AND_DESIST, urgent=True, actor=owner_id, now=_ago(3)
    )
    acts.add_note(
        engine,
        recordings,
        case.id,
        "Three of the called people say that they were asked for bail money.",
        actor=owner_id,
        now=_ago(65),
    )
