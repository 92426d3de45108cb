"""The hotline: clocks that run day and night, and who is paged when.

A notice's clock is a list of steps that follows from when it went out, when its answer is due and whether it is
urgent (`steps`); the notice keeps how many are done and when the next one is due. Any number of processes may
look (`tick`): each step is one transaction under the notice's lock, and its messages have names of their own,
so none is paged twice.

Urgent: the first on the provider's duty list is paged at once, the next one after each quarter of an hour until
somebody acknowledges. Every notice: a reminder at half of its time and one at nine tenths; when it is late, the
next contact of the provider and the agency's own duty are paged, and again each day for three days.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from voiceguard.store import cases, messages, notices, outbox, providers
from voiceguard.store.audit import Action
from voiceguard.store.engine import reading, writing
from voiceguard.store.messages import Channel, NewMessage
from voiceguard.store.notices import Notice, State
from voiceguard.store.outbox import EventType
from voiceguard.store.providers import Contact
from voiceguard.store.reports import Report

PAGE_EVERY = dt.timedelta(minutes=15)
"""How long one contact has to acknowledge an urgent notice before the next one is paged."""
PAGES = 4
"""How often an urgent notice is paged before its clock alone goes on."""
REMIND_AT = (0.5, 0.9)
"""Shares of its time after which a notice is reminded of."""
LATE_AGAIN = (dt.timedelta(0), *(dt.timedelta(days=day) for day in (1, 2, 3)))
"""When a late notice escalates, from when it was due."""
SYSTEM = "voiceguard"
_AT_ONCE = 100


class What(enum.StrEnum):
    """What a step does."""

    PAGE = "page"
    """Page a contact, unless somebody has acknowledged."""
    REMIND = "remind"
    ESCALATE = "escalate"
    """Late: page the next contact, and the agency's duty."""


@dataclass(frozen=True)
class Step:
    """Something that a clock does at a moment."""

    at: dt.datetime
    what: What
    number: int
    """Which of its kind, from 0: the place of the contact on the duty list."""


def steps(notice: Notice) -> list[Step]:
    """Return all that a notice's clock does until it is answered, in order."""
    if notice.sent_at is None or notice.due_at is None:
        return []
    found = [Step(notice.due_at + after, What.ESCALATE, n) for n, after in enumerate(LATE_AGAIN)]
    span = notice.due_at - notice.sent_at
    found += [Step(notice.sent_at + share * span, What.REMIND, n) for n, share in enumerate(REMIND_AT)]
    if notice.urgent:
        found += [Step(notice.sent_at + n * PAGE_EVERY, What.PAGE, n) for n in range(PAGES)]
    return sorted(found, key=lambda one: (one.at, one.what, one.number))


def first_step_at(notice: Notice) -> dt.datetime | None:
    """Return when a notice that was just sent is due for its first step."""
    found = steps(notice)
    return found[0].at if found else None


def tick(engine: sa.Engine, now: dt.datetime) -> int:
    """Do every step that is due; return how many.

    A service that stood still for a while does each missed step once, in order.
    """
    with reading(engine) as connection:
        waiting = notices.due_steps(connection, now, limit=_AT_ONCE)
    return sum(_step(engine, notice_id, now) for notice_id in waiting)


def _step(engine: sa.Engine, notice_id: str, now: dt.datetime) -> int:
    with writing(engine) as connection:
        before = notices.get(connection, notice_id)
        if before is None:
            return 0
        # The case first, as everywhere: its history is written below.
        case = cases.by_seq(connection, before.case_seq, lock=True)
        notice = notices.get(connection, notice_id, lock=True)
        if notice is None or not notice.waiting or notice.next_step_at is None or notice.next_step_at > now:
            return 0
        planned = steps(notice)
        due = [one for one in planned[notice.step :] if one.at <= now]
        done = notice.step + len(due)
        paged: list[dict[str, Any]] = []
        for one in due:
            paged += _do(connection, notice, one, now)
        following = planned[done].at if done < len(planned) else None
        notices.update(connection, notice, step=done, next_step_at=following)
        if paged:
            cases.note(
                connection,
                case,
                actor=SYSTEM,
                action="notice_paged",
                now=now,
                detail={"notice": notice.number, "paged": paged},
                audited=Action.NOTICE_PAGED,
                about=notice.id,
            )
    return len(due)


def _do(connection: sa.Connection, notice: Notice, step: Step, now: dt.datetime) -> list[dict[str, Any]]:
    if step.what is What.PAGE and notice.state is State.ACKNOWLEDGED:
        return []
    provider = providers.get(connection, notice.provider_id)
    assert provider is not None, "a notice refers to its provider"
    listed = providers.to_page(providers.contacts(connection, provider.id), now)
    # An urgent notice's late page goes on where its first ones ended.
    place = step.number + (1 if step.what is What.ESCALATE else 0)
    if step.what is What.REMIND:
        place = 0  # whoever is on duty now
    chosen = [listed[place % len(listed)]] if listed else []
    purpose = f"{notice.id}:{step.what}:{step.number}"
    subject = _subject(notice, step, now)
    done = [_page(connection, one, purpose, subject, notice, now) for one in chosen]
    if step.what is not What.PAGE:
        if provider.email is not None and step.number == 0:
            new = NewMessage(
                f"{purpose}:provider", Channel.EMAIL, provider.email, subject, _text(notice), None, notice.seq
            )
            messages.enqueue(connection, new, now=now)
        if provider.carrier_id is not None:
            data = thin(notice) | {"late": step.what is What.ESCALATE}
            outbox.enqueue(connection, EventType.NOTICE_REMINDED, provider.carrier_id, data, now=now)
    if step.what is What.ESCALATE:
        own = providers.to_page(providers.contacts(connection, None), now)
        done += [_page(connection, one, f"{purpose}:agency", subject, notice, now) for one in own[:1]]
    return done


def page_report(connection: sa.Connection, report: Report, now: dt.datetime) -> None:
    """Page the agency's duty for an urgent report."""
    data = {"report_id": report.id, "call_id": report.call_id, "urgent": True}
    subject = f"Urgent report of a call by {report.carrier}"
    for one in providers.to_page(providers.contacts(connection, None), now)[:1]:
        _enqueue(connection, one, f"{report.id}:page:0", subject, data, None, now)


def thin(notice: Notice) -> dict[str, Any]:
    """Return what a webhook says of a notice: the receiver looks up the rest."""
    return {
        "notice_id": notice.id,
        "number": notice.number,
        "kind": notice.kind.value,
        "urgent": notice.urgent,
        "state": notice.state.value,
        "due_at": notice.due_at.isoformat().replace("+00:00", "Z") if notice.due_at else None,
    }


def _page(
    connection: sa.Connection, contact: Contact, purpose: str, subject: str, notice: Notice, now: dt.datetime
) -> dict[str, Any]:
    _enqueue(connection, contact, purpose, subject, thin(notice), notice, now)
    return {"contact_id": contact.id, "why": purpose.partition(":")[2]}


def _enqueue(
    connection: sa.Connection,
    contact: Contact,
    purpose: str,
    subject: str,
    data: dict[str, Any],
    notice: Notice | None,
    now: dt.datetime,
) -> None:
    seq = notice.seq if notice else None
    if contact.email is not None:
        text = f"{subject}\n\n" + "".join(f"{name}: {value}\n" for name, value in data.items())
        new = NewMessage(f"{purpose}:mail", Channel.EMAIL, contact.email, subject, text, None, seq)
        messages.enqueue(connection, new, now=now)
    if contact.webhook is not None:
        payload = {
            "type": "hotline.page",
            "timestamp": now.isoformat().replace("+00:00", "Z"),
            "data": data | {"contact": contact.name, "subject": subject},
        }
        body = json.dumps(payload, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
        new = NewMessage(
            f"{purpose}:hook", Channel.WEBHOOK, contact.webhook, subject, body, contact.secret, seq
        )
        messages.enqueue(connection, new, now=now)


def _subject(notice: Notice, step: Step, now: dt.datetime) -> str:
    if step.what is What.ESCALATE:
        return f"LATE: {notice.number} to {notice.provider} has no answer"
    left_h = max(0.0, ((notice.due_at or now) - now).total_seconds() / 3600)
    kind = "Urgent" if notice.urgent else "Reminder"
    return f"{kind}: {notice.number} to {notice.provider}, {left_h:.1f} h left to answer"


def _text(notice: Notice) -> str:
    due = f"{notice.due_at:%Y-%m-%d %H:%M} UTC" if notice.due_at else "soon"
    return (
        f"The notice {notice.number} ({notice.subject}) waits for your answer, due {due}.\n"
        "If you have answered it by mail, nothing is left to do.\n"
    )
