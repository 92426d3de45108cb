"""Calls announced for AudioSocket: a UUID that opens one connection, once."""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa

from voiceguard.store import schema

_table = schema.announced_streams


def add(
    connection: sa.Connection,
    uuid: str,
    key_id: str,
    call: dict[str, Any],
    *,
    now: dt.datetime,
    expires_at: dt.datetime,
) -> bool:
    """Note a call; return False if its UUID is taken. Forgets those that nobody came for."""
    connection.execute(sa.delete(_table).where(_table.c.expires_at <= now))
    if connection.scalar(sa.select(_table.c.uuid).where(_table.c.uuid == uuid)) is not None:
        return False
    connection.execute(sa.insert(_table).values(uuid=uuid, key_id=key_id, call=call, expires_at=expires_at))
    return True


def take(connection: sa.Connection, uuid: str, *, now: dt.datetime) -> tuple[str, dict[str, Any]] | None:
    """Return the key's id and the call that a UUID stands for, and forget it; None for one not announced."""
    row = connection.execute(
        sa.delete(_table)
        .where(_table.c.uuid == uuid, _table.c.expires_at > now)
        .returning(_table.c.key_id, _table.c.call)
    ).one_or_none()
    return (row.key_id, row.call) if row else None
