"""The audit log: one row for each act, chained by hashes, written in the transaction of the act itself.

A row's ``entry`` is RFC 8785 canonical JSON of everything the row says and of the hash of the row before; its
``hash`` is the SHA-256 of these bytes, so that ``sha256sum`` checks it. The database refuses to change or to
delete a row (migration 0002), and signed checkpoints (:mod:`voiceguard.store.checkpoints`) cover the rows.

Two processes must not both follow the same row. On SQLite a transaction that writes is alone anyway. On
PostgreSQL `append` takes an advisory lock that falls with the transaction: call it last, since from then to
the commit no other process can append. What this costs is one commit at a time, however many write. The other
way, rows that a later sealer puts in order, would commit side by side; but a killed sealer leaves acts outside
the chain, and each reader has to know of two states. Commits take a millisecond or two, posts come by the tens
a second: the lock is the smaller price. ``scripts/load_audit.py`` measures it.

The log holds no audio, no phone numbers and no secrets: it names objects by id and what they said by hash. A
call's hash (:mod:`voiceguard.store.commitments`) is salted, and its salt is deleted with the call.
"""

from __future__ import annotations

import datetime as dt
import enum
import getpass
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import rfc8785
import sqlalchemy as sa

from voiceguard.store import schema

NO_ROW = "0" * 64
"""What the first row names as the hash of the row before."""
SERVICE = "service"
"""The object of acts that concern the whole installation."""
_log = schema.audit_log.c
_INSERT = sa.insert(schema.audit_log)
_HEAD = sa.select(_log.seq, _log.hash).order_by(_log.seq.desc()).limit(1)
_POSTGRESQL_HEAD = sa.text("SELECT last_seq, last_hash FROM audit_head()")


class Action(enum.StrEnum):
    """What was done."""

    CALL_RECEIVED = "call.received"
    CALL_SCREENED = "call.screened"
    CALL_AUDIO_FETCHED = "call.audio_fetched"
    CALL_DELETED = "call.deleted"
    EVIDENCE_MADE = "evidence.made"
    """A package about the object was made; the row holds its hash."""
    CAMPAIGNS_MERGED = "campaign.merged"
    CAMPAIGN_SPLIT = "campaign.split"
    ANNOUNCEMENT_TAUGHT = "announcement.taught"
    ANNOUNCEMENT_FORGOTTEN = "announcement.forgotten"
    CALL_VIEWED = "call.viewed"
    CALL_PLAYED = "call.played"
    """A person had a call's recording played, for the purpose in the row."""
    CALL_DECIDED = "call.decided"
    CAMPAIGN_VIEWED = "campaign.viewed"
    CAMPAIGN_DECIDED = "campaign.decided"
    CASE_OPENED = "case.opened"
    CASE_CHANGED = "case.changed"
    """What was done is in the row, as in the case's history."""
    CASE_CLOSED = "case.closed"
    CASE_VIEWED = "case.viewed"
    CASE_EXPORTED = "case.exported"
    """An archive or a list of calls was made; the row holds its hash."""
    NOTICE_DRAFTED = "notice.drafted"
    NOTICE_SENT = "notice.sent"
    NOTICE_ACKNOWLEDGED = "notice.acknowledged"
    NOTICE_ANSWERED = "notice.answered"
    NOTICE_DISPUTED = "notice.disputed"
    NOTICE_WITHDRAWN = "notice.withdrawn"
    NOTICE_PAGED = "notice.paged"
    """The clock paged somebody about it."""
    NOTICE_EXHIBITS_FETCHED = "notice.exhibits_fetched"
    TEMPLATE_SAVED = "template.saved"
    PROVIDER_CHANGED = "provider.changed"
    REPORT_RECEIVED = "report.received"
    USER_CREATED = "user.created"
    USER_LINKED = "user.linked"
    """From now on the account is opened by a person whom an OpenID Connect service signs in."""
    USER_UNLINKED = "user.unlinked"
    USER_ROLE_CHANGED = "user.role_changed"
    USER_DISABLED = "user.disabled"
    USER_SIGNED_IN = "user.signed_in"
    USER_SIGNED_OUT = "user.signed_out"
    USER_LOCKED = "user.locked"
    USER_PASSWORD_CHANGED = "user.password_changed"  # noqa: S105 (no secret)
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    WEBHOOK_CREATED = "webhook.created"
    WEBHOOK_CHANGED = "webhook.changed"
    WEBHOOK_SECRET_ROTATED = "webhook.secret_rotated"  # noqa: S105 (no secret)
    WEBHOOK_DISABLED = "webhook.disabled"
    """The endpoint said that it is gone."""
    WEBHOOK_DELETED = "webhook.deleted"
    SERVICE_CONFIGURED = "service.configured"
    """A start with settings, thresholds, model or versions other than those of the start before."""


@dataclass(frozen=True)
class Act:
    """Something that is done now: who, what, to which object."""

    actor: str
    """Id of an API key or a user, ``os:name`` for the command line, ``voiceguard`` for the program itself."""
    action: Action
    object: str
    """Id of what it was done to."""
    data: Mapping[str, Any]
    """JSON with what else is to be kept: ids, hashes, numbers below 2**53; no phone numbers, no secrets."""


@dataclass(frozen=True)
class Row:
    """A row of the log as it is stored."""

    seq: int
    entry: str
    hash: str

    @property
    def fields(self) -> dict[str, Any]:
        """What the entry says: ``seq``, ``at``, ``actor``, ``action``, ``object``, ``data``, ``previous``."""
        fields: dict[str, Any] = json.loads(self.entry)
        return fields


def canonical(value: Any) -> str:
    """Return ``value`` as RFC 8785 canonical JSON: one text for one value.

    Integers that a double can't hold, which RFC 8785 leaves out, become text.
    """
    try:
        return rfc8785.dumps(value).decode()
    except rfc8785.IntegerDomainError:
        return rfc8785.dumps(_fitting(value)).decode()


def _fitting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _fitting(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_fitting(one) for one in value]
    if isinstance(value, int) and abs(value) >= 2**53:
        return str(value)
    return value


def digest(text: str | bytes) -> str:
    """Return the SHA-256 of a text's UTF-8, in lower-case hexadecimal."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def moment(at: dt.datetime) -> str:
    """Return a moment as every hashed text writes it: UTC, six decimals, ``Z``."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def operator() -> str:
    """Return the actor of an act on the command line: the operating system's user."""
    try:
        return f"os:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return f"os:{os.getuid()}"


def append(connection: sa.Connection, *acts: Act) -> None:
    """Write acts into the log, in the caller's transaction and as the last thing it does."""
    if not acts:
        return
    seq, previous = _head(connection)
    at = dt.datetime.now(dt.UTC)
    rows = []
    for act in acts:
        seq += 1
        entry = canonical(
            {
                "seq": seq,
                "at": moment(at),
                "actor": act.actor,
                "action": act.action.value,
                "object": act.object,
                "data": dict(act.data),
                "previous": previous,
            }
        )
        previous = digest(entry)
        rows.append(
            {
                "seq": seq,
                "at": at,
                "actor": act.actor,
                "action": act.action.value,
                "object": act.object,
                "entry": entry,
                "hash": previous,
            }
        )
    connection.execute(_INSERT, rows)


def _head(connection: sa.Connection) -> tuple[int, str]:
    """Return the last row's number and hash; nobody else appends until the transaction ends."""
    if connection.dialect.name == "postgresql":
        query: sa.Executable = _POSTGRESQL_HEAD
    else:
        query = _HEAD
    found = connection.execute(query).one_or_none()
    return (found[0], found[1]) if found else (0, NO_ROW)


def rows_of(connection: sa.Connection, objects: Iterable[str]) -> list[Row]:
    """Return all rows about any of ``objects``, in order."""
    query = sa.select(_log.seq, _log.entry, _log.hash).where(_log.object.in_(list(objects)))
    return [Row(*row) for row in connection.execute(query.order_by(_log.seq))]


def configured(connection: sa.Connection, *, before_seq: int | None = None) -> Row | None:
    """Return the row that says with which settings and model the service ran last, or before a row."""
    query = sa.select(_log.seq, _log.entry, _log.hash).where(_log.object == SERVICE)
    if before_seq is not None:
        query = query.where(_log.seq < before_seq)
    found = connection.execute(query.order_by(_log.seq.desc()).limit(1)).one_or_none()
    return Row(*found) if found else None


def note_configuration(connection: sa.Connection, data: Mapping[str, Any]) -> bool:
    """Write how the service runs if that differs from the start before; return whether it does."""
    before = configured(connection)
    if before is not None and canonical(before.fields["data"]) == canonical(dict(data)):
        return False
    append(connection, Act("voiceguard", Action.SERVICE_CONFIGURED, SERVICE, data))
    return True
