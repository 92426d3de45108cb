"""Notices: drafted from a template, sent once, acknowledged, answered or disputed; a traceback walks hop by hop.

A notice is sent in one transaction: its text, its clock, the mail and the webhook event are there together or
not at all, so that a crash neither loses one nor sends it twice.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from voiceguard.enforcement import cases as acts
from voiceguard.enforcement import hotline, links, templates
from voiceguard.enforcement.chain import of_provider
from voiceguard.enforcement.templates import plain
from voiceguard.errors import VoiceGuardError
from voiceguard.evidence.wording import ratio_in_words
from voiceguard.settings import Settings
from voiceguard.store import cases, exhibits, messages, notices, outbox, providers, signing
from voiceguard.store.audit import Action
from voiceguard.store.cases import Case
from voiceguard.store.engine import writing
from voiceguard.store.exhibits import CaseCall
from voiceguard.store.messages import Channel, NewMessage
from voiceguard.store.notices import WAITING, Kind, NewNotice, Notice, State
from voiceguard.store.outbox import EventType
from voiceguard.store.providers import NewProvider, Provider
from voiceguard.store.signing import SigningKey

KINDS = {
    Kind.TRACEBACK: "Traceback request",
    Kind.CEASE_AND_DESIST: "Cease and desist",
    Kind.PRESERVATION: "Preservation request",
    Kind.TAKEDOWN: "Takedown request",
}
ANSWER_FIELDS = {
    "upstream_provider": "Provider that handed the calls over",
    "upstream_origid": "Its SHAKEN origid or OCN",
    "customer": "Customer that made the calls",
    "action_taken": "What was done",
    "declined_reason": "Why it declines",
    "comment": "Comment",
}
"""What an answer may say."""
MAX_FIELD_CHARS = 4000
MOST_CALLS = 5000
"""Calls that one notice names, the latest ones."""
_MOST_CALLERS = 10


class NoticeError(VoiceGuardError):
    """The notice can't be changed in this way."""

    code = "notice_error"
    remedy = "Load the notice again and see how it stands."


@dataclass(frozen=True)
class Office:
    """Who sends notices, and under which rules."""

    agency: str
    base_url: str
    """Of the addresses in notices."""
    key: SigningKey
    """Signs the links."""
    hours: Mapping[Kind, float]
    """That a provider has to answer."""

    @classmethod
    def of(cls, settings: Settings) -> Office:
        """Return the office that the settings describe."""
        return cls(
            agency=settings.agency,
            base_url=settings.public_url,
            key=signing.open_key(settings),
            hours={Kind(kind): hours for kind, hours in settings.notice_hours.items()},
        )


def draft(
    engine: sa.Engine,
    office: Office,
    case_id: str,
    provider_id: str,
    kind: Kind,
    *,
    urgent: bool = False,
    call_ids: Collection[str] | None = None,
    parent: Notice | None = None,
    actor: str,
    now: dt.datetime,
) -> Notice:
    """Draft a notice to a provider about the calls of a case.

    Parameters
    ----------
    engine, office, case_id, provider_id, kind
        What is drafted, and for whom.
    urgent
        Whether the one on duty is paged.
    call_ids
        Which calls; by default those in whose path the provider is known to stand, or all of the case.
    parent
        The notice whose answer led to this one.
    actor, now
        For the history.

    Raises
    ------
    CaseError, NoticeError
        There is no such case or provider, or no call that appears to be a synthetic voice.
    """
    with acts.changing(engine, case_id) as (connection, case):
        provider = providers.get(connection, provider_id)
        if provider is None:
            raise NoticeError("Expected the id of a provider.")
        calls = _calls(connection, case, provider, call_ids)
        templates.ensure(connection, now=now)
        template = notices.template(connection, kind)
        assert template is not None, "ensure() wrote one"
        notice = notices.insert(
            connection,
            NewNotice(
                case_seq=case.seq,
                kind=kind,
                provider_id=provider.id,
                template_version=template.version,
                subject="",
                body="",
                call_ids=tuple(call.id for call in calls),
                urgent=urgent,
                hours=office.hours[kind],
                parent_seq=parent.seq if parent else None,
            ),
            now=now,
        )
        values = _values(office, case, notice.number, provider, calls)
        subject = templates.fill(template.subject, {name: _line(one) for name, one in values.items()})
        body = templates.fill(template.body, {name: plain(one) for name, one in values.items()})
        notices.update(connection, notice, subject=subject[: templates.MAX_SUBJECT_CHARS], body=body)
        _note(connection, case, notice, actor, "notice_drafted", now, Action.NOTICE_DRAFTED)
        return _read(connection, notice)


def edit(
    engine: sa.Engine, notice_id: str, subject: str, body: str, *, urgent: bool, actor: str, now: dt.datetime
) -> Notice:
    """Change the text of a draft; what every notice must say must stay."""
    with _changing(engine, notice_id) as (connection, case, notice):
        _expect(notice, State.DRAFT)
        body = body.replace("\r\n", "\n").strip() + "\n"
        templates.check(subject, body)
        notices.update(connection, notice, subject=subject.strip(), body=body, urgent=urgent)
        _note(connection, case, notice, actor, "notice_edited", now, Action.NOTICE_DRAFTED)
        return _read(connection, notice)


def send(engine: sa.Engine, office: Office, notice_id: str, *, actor: str, now: dt.datetime) -> Notice:
    """Send a draft: by webhook and API to a provider with keys, by mail to one with an address.

    Raises
    ------
    NoticeError
        It is no draft, or the provider has neither.
    """
    with _changing(engine, notice_id) as (connection, case, notice):
        _expect(notice, State.DRAFT)
        provider = providers.get(connection, notice.provider_id)
        assert provider is not None, "a notice refers to its provider"
        if provider.carrier_id is None and provider.email is None:
            raise NoticeError(
                f"Expected {provider.name} to have an e-mail address or an API key; it has none."
            )
        due_at, ends = now + dt.timedelta(hours=notice.hours), now + links.LIFETIME
        body = templates.fill(
            notice.body,
            {
                "date": f"{now:%Y-%m-%d}",
                "due": f"{due_at:%Y-%m-%d %H:%M} UTC",
                "calls_link": f"<{links.make(office.key, office.base_url, notice.id, links.What.CALLS, ends)}>",
                "evidence_link": f"<{links.make(office.key, office.base_url, notice.id, links.What.EVIDENCE, ends)}>",
                "links_end": f"{ends:%Y-%m-%d}",
            },
        )
        notices.update(connection, notice, body=body, state=State.SENT, sent_at=now, due_at=due_at)
        sent = _read(connection, notice)
        notices.update(connection, sent, next_step_at=hotline.first_step_at(sent))
        if provider.email is not None:
            new = NewMessage(
                purpose=f"{notice.id}:sent",
                channel=Channel.EMAIL,
                address=provider.email,
                subject=sent.subject,
                body=body + _how_to_answer(office, sent),
                notice_seq=notice.seq,
            )
            messages.enqueue(connection, new, now=now)
        if provider.carrier_id is not None:
            outbox.enqueue(
                connection, EventType.NOTICE_SENT, provider.carrier_id, hotline.thin(sent), now=now
            )
        acts.settle(connection, case, now=now)
        _note(
            connection, case, sent, actor, "notice_sent", now, Action.NOTICE_SENT, due_at=due_at.isoformat()
        )
        return _read(connection, sent)


def acknowledge(
    engine: sa.Engine, notice_id: str, *, carrier_id: str | None = None, actor: str, now: dt.datetime
) -> Notice:
    """Note that the provider has a notice; said twice, the first time counts."""
    with _changing(engine, notice_id, carrier_id) as (connection, case, notice):
        if notice.acknowledged_at is not None:
            return notice
        _expect(notice, *WAITING)
        notices.update(connection, notice, state=State.ACKNOWLEDGED, acknowledged_at=now)
        _note(connection, case, notice, actor, "notice_acknowledged", now, Action.NOTICE_ACKNOWLEDGED)
        return _read(connection, notice)


def answer(
    engine: sa.Engine,
    notice_id: str,
    said: Mapping[str, str],
    *,
    carrier_id: str | None = None,
    actor: str,
    now: dt.datetime,
) -> Notice:
    """Take a provider's answer; `ANSWER_FIELDS` are what it may say.

    Raises
    ------
    NoticeError
        The notice waits for none, or the answer says nothing.
    """
    kept = _fields(said)
    if not set(kept) - {"upstream_origid", "comment"}:
        raise NoticeError(
            "Expected an answer with an upstream provider, a customer, what was done, or why it is declined."
        )
    if "declined_reason" in kept and {"upstream_provider", "customer"} & set(kept):
        raise NoticeError("Expected either an answer or the reason why it is declined, got both.")
    return _end(engine, notice_id, State.ANSWERED, kept, carrier_id, actor, now)


def dispute(
    engine: sa.Engine,
    notice_id: str,
    reason: str,
    *,
    carrier_id: str | None = None,
    actor: str,
    now: dt.datetime,
) -> Notice:
    """Take a provider's objection."""
    kept = _fields({"comment": reason})
    if not kept:
        raise NoticeError("Expected the reason of the dispute.")
    return _end(engine, notice_id, State.DISPUTED, kept, carrier_id, actor, now)


def withdraw(engine: sa.Engine, notice_id: str, reason: str, *, actor: str, now: dt.datetime) -> Notice:
    """Take a notice back; the provider sees that."""
    kept = _fields({"comment": reason})
    if not kept:
        raise NoticeError("Expected the reason why the notice is withdrawn.")
    with _changing(engine, notice_id) as (connection, case, notice):
        _expect(notice, State.DRAFT, *WAITING)
        notices.update(connection, notice, state=State.WITHDRAWN, next_step_at=None)
        acts.settle(connection, case, now=now)
        _note(
            connection, case, notice, actor, "notice_withdrawn", now, Action.NOTICE_WITHDRAWN,
            reason=kept["comment"],
        )  # fmt: skip
        return _read(connection, notice)


def draft_next(engine: sa.Engine, office: Office, notice_id: str, *, actor: str, now: dt.datetime) -> Notice:
    """Draft the same notice to the provider that an answer names; one that is new is written down.

    Raises
    ------
    NoticeError
        The answer names no provider, or that provider was asked about these calls before.
    """
    with writing(engine) as connection:
        notice = notices.get(connection, notice_id)
        said = (notice.answer or {}) if notice else {}
        if notice is None or notice.state is not State.ANSWERED or not said.get("upstream_provider"):
            raise NoticeError("Expected an answer that names the provider before.")
        provider = providers.named(connection, said["upstream_provider"])
        if provider is None:
            origid = said.get("upstream_origid")
            new = NewProvider(said["upstream_provider"][:200], origids=(origid,) if origid else ())
            provider = providers.add(connection, new, now=now, actor=actor)
        asked = {one.provider_id for one in trail(connection, notice)}
        if provider.id in asked:
            raise NoticeError(f"Expected a provider that was not asked yet; {provider.name} was: a circle.")
    return draft(
        engine,
        office,
        notice.case_id,
        provider.id,
        notice.kind,
        urgent=notice.urgent,
        call_ids=notice.call_ids,
        parent=notice,
        actor=actor,
        now=now,
    )


def trail(connection: sa.Connection, notice: Notice) -> list[Notice]:
    """Return the notices that led to this one, the first hop first, with this one at the end."""
    found = [notice]
    while found[0].parent_seq is not None:
        before = notices.by_seq(connection, found[0].parent_seq)
        assert before is not None, "a notice's parent is never deleted"
        found.insert(0, before)
    return found


@contextlib.contextmanager
def _changing(
    engine: sa.Engine, notice_id: str, carrier_id: str | None = None
) -> Iterator[tuple[sa.Connection, Case, Notice]]:
    """Open a transaction on a notice and its case; the case is locked first, as everywhere."""
    with writing(engine) as connection:
        notice = notices.get(connection, notice_id, carrier_id=carrier_id)
        if notice is None:
            raise NoticeError("Expected the id of a notice.")
        case = cases.by_seq(connection, notice.case_seq, lock=True)
        notice = notices.get(connection, notice_id, carrier_id=carrier_id, lock=True)
        assert notice is not None, "it was there, and notices are not deleted"
        yield connection, case, notice


def _end(
    engine: sa.Engine,
    notice_id: str,
    state: State,
    said: Mapping[str, str],
    carrier_id: str | None,
    actor: str,
    now: dt.datetime,
) -> Notice:
    with _changing(engine, notice_id, carrier_id) as (connection, case, notice):
        _expect(notice, *WAITING)
        notices.update(
            connection,
            notice,
            state=state,
            answered_at=now,
            acknowledged_at=notice.acknowledged_at or now,
            answer=dict(said),
            next_step_at=None,
        )
        acts.settle(connection, case, now=now)
        action = Action.NOTICE_ANSWERED if state is State.ANSWERED else Action.NOTICE_DISPUTED
        _note(connection, case, notice, actor, f"notice_{state.value}", now, action, fields=sorted(said))
        return _read(connection, notice)


def _calls(
    connection: sa.Connection, case: Case, provider: Provider, call_ids: Collection[str] | None
) -> list[CaseCall]:
    found = [one for one in exhibits.of_case(connection, case.seq) if one.appears_synthetic]
    if call_ids is not None:
        found = [one for one in found if one.id in set(call_ids)]
    else:
        found = of_provider(found, provider) or found
    if not found:
        # Nobody is accused of what neither the detector nor a person found.
        raise NoticeError(
            "Expected a call that was flagged or confirmed, and not dismissed; the case has none."
        )
    return found[-MOST_CALLS:]


def _values(
    office: Office, case: Case, number: str, provider: Provider, calls: list[CaseCall]
) -> dict[str, str]:
    callers = list(dict.fromkeys(call.caller for call in calls if call.caller))
    more = f" and {len(callers) - _MOST_CALLERS} more" if len(callers) > _MOST_CALLERS else ""
    return {
        "number": number,
        "case_number": case.number,
        "agency": office.agency,
        "provider": provider.name,
        "calls": f"{len(calls):,}",
        "first_call": f"{calls[0].started_at:%Y-%m-%d %H:%M} UTC",
        "last_call": f"{calls[-1].started_at:%Y-%m-%d %H:%M} UTC",
        "callers": ", ".join(callers[:_MOST_CALLERS]) + more if callers else "none came with the calls",
        "finding": _finding(calls),
    }


def _finding(calls: list[CaseCall]) -> str:
    flagged = sum(call.verdict == "synthetic" for call in calls)
    confirmed = sum(call.outcome == "confirmed" for call in calls)
    scores = [call.score for call in calls if call.score is not None]
    said = f"of {len(calls):,} calls {flagged:,} were flagged by the detector, {confirmed:,} confirmed by a reviewer."
    if scores:
        said += f" The highest score is {max(scores):+.2f}. {ratio_in_words(max(scores))}"
    return said


def _how_to_answer(office: Office, notice: Notice) -> str:
    return (
        f"\n---\n{notice.number}. Acknowledge and answer with your API key: POST "
        f"{office.base_url.rstrip('/')}/v1/notices/{notice.id}/acknowledge and …/answer; or reply to this mail.\n"
    )


def _fields(said: Mapping[str, str]) -> dict[str, str]:
    kept = {}
    for name, value in said.items():
        text = value.replace("\0", "").strip()
        if name not in ANSWER_FIELDS:
            raise NoticeError(f"Expected the fields {', '.join(ANSWER_FIELDS)}; got {name}.")
        if len(text) > MAX_FIELD_CHARS:
            raise NoticeError(f"Expected at most {MAX_FIELD_CHARS} characters in {name}.")
        if text:
            kept[name] = text
    return kept


def _expect(notice: Notice, *states: State) -> None:
    if notice.state not in states:
        wanted = " or ".join(states)
        raise NoticeError(f"Expected a notice that is {wanted}; {notice.number} is {notice.state}.")


def _read(connection: sa.Connection, notice: Notice) -> Notice:
    found = notices.get(connection, notice.id)
    assert found is not None
    return found


def _line(value: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in value).split())


def _note(
    connection: sa.Connection,
    case: Case,
    notice: Notice,
    actor: str,
    action: str,
    now: dt.datetime,
    audited: Action,
    **detail: Any,
) -> None:
    said = {"notice": notice.number, "provider_id": notice.provider_id, **detail}
    if audited in (Action.NOTICE_DRAFTED, Action.NOTICE_SENT):
        said |= {"kind": notice.kind.value, "urgent": notice.urgent, "calls": len(notice.call_ids)}
    cases.note(
        connection, case, actor=actor, action=action, now=now, detail=said, audited=audited, about=notice.id
    )
