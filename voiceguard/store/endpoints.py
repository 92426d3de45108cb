"""Webhook endpoints: where a carrier wants its events sent, and the secrets that sign them."""

from __future__ import annotations

import base64
import datetime as dt
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from voiceguard.store import audit, schema
from voiceguard.store.audit import Act, Action

SECRET_OVERLAP = dt.timedelta(hours=24)
"""How long a replaced secret goes on signing beside the new one."""
_SECRET_BYTES = 32  # Standard Webhooks asks for 24 to 64


@dataclass(frozen=True)
class Endpoint:
    """One address of one carrier."""

    seq: int
    id: str
    carrier_id: str
    url: str
    events: tuple[str, ...]
    created_at: dt.datetime
    disabled_at: dt.datetime | None
    disabled_reason: str | None
    previous_secret_until: dt.datetime | None


def new_secret() -> str:
    """Return a random secret in the form of Standard Webhooks."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def add(
    connection: sa.Connection,
    *,
    carrier_id: str,
    url: str,
    events: tuple[str, ...],
    now: dt.datetime,
    actor: str | None = None,
) -> tuple[Endpoint, str]:
    """Write a new endpoint; return it and its secret, which is shown this once.

    The actor, here and below, is the id of the API key; by default the carrier.
    """
    secret = new_secret()
    row = connection.execute(
        sa.insert(schema.webhook_endpoints)
        .values(carrier_id=carrier_id, url=url, events=list(events), secret=secret, created_at=now)
        .returning(schema.webhook_endpoints)
    ).one()
    endpoint = _endpoint(row)
    _note(connection, actor or carrier_id, Action.WEBHOOK_CREATED, endpoint)
    return endpoint, secret


def count(connection: sa.Connection, carrier_id: str) -> int:
    """Return how many endpoints a carrier has, disabled ones too."""
    table = schema.webhook_endpoints
    query = sa.select(sa.func.count()).select_from(table).where(table.c.carrier_id == carrier_id)
    return connection.execute(query).scalar_one()


def get(connection: sa.Connection, endpoint_id: str, *, carrier_id: str) -> Endpoint | None:
    """Return an endpoint; None if there is none, or not of this carrier."""
    row = connection.execute(
        sa.select(schema.webhook_endpoints).where(_of(endpoint_id, carrier_id))
    ).one_or_none()
    return _endpoint(row) if row else None


def page(connection: sa.Connection, *, carrier_id: str, before_seq: int | None, limit: int) -> list[Endpoint]:
    """Return up to ``limit`` of a carrier's endpoints, latest first, before ``before_seq``."""
    table = schema.webhook_endpoints
    query = sa.select(table).where(table.c.carrier_id == carrier_id)
    if before_seq is not None:
        query = query.where(table.c.seq < before_seq)
    return [_endpoint(row) for row in connection.execute(query.order_by(table.c.seq.desc()).limit(limit))]


def change(
    connection: sa.Connection,
    endpoint_id: str,
    *,
    carrier_id: str,
    url: str | None = None,
    events: tuple[str, ...] | None = None,
    enabled: bool | None = None,
    now: dt.datetime,
    actor: str | None = None,
) -> Endpoint | None:
    """Change what is not None; return the endpoint, None if the carrier has no such one.

    A disabled endpoint gets no new events; what was on the way waits and is sent once it is enabled again.
    """
    found = get(connection, endpoint_id, carrier_id=carrier_id)
    if found is None:
        return None
    values: dict[str, Any] = {}
    if url is not None:
        values["url"] = url
    if events is not None:
        values["events"] = list(events)
    if enabled is True:
        values.update(disabled_at=None, disabled_reason=None)
    elif enabled is False and found.disabled_at is None:
        values.update(disabled_at=now, disabled_reason="disabled by its carrier")
    if values:
        connection.execute(
            sa.update(schema.webhook_endpoints).where(_of(endpoint_id, carrier_id)).values(**values)
        )
    endpoint = get(connection, endpoint_id, carrier_id=carrier_id)
    if endpoint is not None and endpoint != found:
        _note(connection, actor or carrier_id, Action.WEBHOOK_CHANGED, endpoint)
    return endpoint


def rotate_secret(
    connection: sa.Connection,
    endpoint_id: str,
    *,
    carrier_id: str,
    now: dt.datetime,
    actor: str | None = None,
) -> tuple[Endpoint, str] | None:
    """Give an endpoint a new secret; for `SECRET_OVERLAP` the one before it signs too."""
    table = schema.webhook_endpoints
    secret = new_secret()
    row = connection.execute(
        sa.update(table)
        .where(_of(endpoint_id, carrier_id))
        .values(previous_secret=table.c.secret, previous_secret_until=now + SECRET_OVERLAP, secret=secret)
        .returning(table)
    ).one_or_none()
    if row is None:
        return None
    endpoint = _endpoint(row)
    _note(connection, actor or carrier_id, Action.WEBHOOK_SECRET_ROTATED, endpoint)
    return endpoint, secret


def remove(connection: sa.Connection, endpoint_id: str, *, carrier_id: str, actor: str | None = None) -> bool:
    """Delete an endpoint with its deliveries; False if the carrier has no such one."""
    table = schema.webhook_endpoints
    row = connection.execute(
        sa.delete(table).where(_of(endpoint_id, carrier_id)).returning(table)
    ).one_or_none()
    if row is not None:
        _note(connection, actor or carrier_id, Action.WEBHOOK_DELETED, _endpoint(row))
    return row is not None


def _note(connection: sa.Connection, actor: str, action: Action, endpoint: Endpoint) -> None:
    said = {
        "carrier_id": endpoint.carrier_id,
        "host": urlsplit(endpoint.url).hostname,
        "url_sha256": audit.digest(endpoint.url),  # an address may hold a password
        "events": list(endpoint.events),
        "enabled": endpoint.disabled_at is None,
    }
    audit.append(connection, Act(actor, action, endpoint.id, said))


def _of(endpoint_id: str, carrier_id: str) -> sa.ColumnElement[bool]:
    table = schema.webhook_endpoints
    return sa.and_(table.c.id == endpoint_id, table.c.carrier_id == carrier_id)


def _endpoint(row: sa.Row[tuple[Any, ...]]) -> Endpoint:
    values = row._asdict()
    for secret in ("secret", "previous_secret"):
        del values[secret]
    return Endpoint(**dict(values, events=tuple(values["events"])))
