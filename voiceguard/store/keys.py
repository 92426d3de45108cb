"""API keys: ``vg_`` and a secret whose owner is a carrier; the database keeps only a hash of it.

A key is ``vg_<8 characters to show>_<32 characters of secret><6 of checksum>``: the first part is what lists
and logs print, the checksum lets a scanner of source code, and our own door, refuse a mistyped key without
asking the database. The secret has 190 random bits, so one fast hash is enough.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass

import sqlalchemy as sa

from voiceguard.errors import StoreError
from voiceguard.store import audit, schema
from voiceguard.store.audit import Act, Action
from voiceguard.store.engine import reading, writing

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_KEY = re.compile(r"(vg_[0-9A-Za-z]{8})_([0-9A-Za-z]{32})([0-9A-Za-z]{6})")
_USE_NOTED_EVERY = dt.timedelta(minutes=1)


class Scope(enum.StrEnum):
    """What a key allows."""

    CALLS_WRITE = "calls:write"
    CALLS_READ = "calls:read"
    WEBHOOKS_WRITE = "webhooks:write"
    WEBHOOKS_READ = "webhooks:read"
    STREAMS = "streams"
    NOTICES = "notices"
    """Read and answer the notices to a provider, and report calls."""
    CASES_READ = "cases:read"
    """Read every case and notice: for the agency's own systems, never for a carrier."""


@dataclass(frozen=True)
class ApiKey:
    """A key as the database knows it; never the secret."""

    id: str
    carrier_id: str
    carrier_name: str
    name: str
    prefix: str
    scopes: frozenset[Scope]
    created_at: dt.datetime
    expires_at: dt.datetime | None
    last_used_at: dt.datetime | None
    revoked_at: dt.datetime | None

    def usable(self, now: dt.datetime) -> bool:
        """Say whether the key opens anything at ``now``."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def well_formed(secret: str) -> bool:
    """Say whether ``secret`` looks like a key and its checksum fits."""
    match = _KEY.fullmatch(secret)
    return match is not None and secrets.compare_digest(_checksum(secret[:-6]), match[3])


def create(
    engine: sa.Engine,
    name: str,
    *,
    carrier: str,
    scopes: frozenset[Scope],
    expires_at: dt.datetime | None = None,
    actor: str | None = None,
) -> tuple[ApiKey, str]:
    """Create a key and, if new, its carrier; return the key and its secret, which is shown this once.

    The actor, here and below, is by default the operating system's user.
    """
    secret = "vg_" + _random(8) + "_" + _random(32)
    secret += _checksum(secret)
    with writing(engine) as connection:
        carrier_id = connection.scalar(
            sa.select(schema.carriers.c.id).where(schema.carriers.c.name == carrier)
        )
        if carrier_id is None:
            carrier_id = schema.new_id("carrier")
            connection.execute(sa.insert(schema.carriers).values(id=carrier_id, name=carrier))
        key_id = schema.new_id("key")
        connection.execute(
            sa.insert(schema.api_keys).values(
                id=key_id,
                carrier_id=carrier_id,
                name=name,
                prefix=secret[:11],
                sha256=_digest(secret),
                scopes=sorted(scopes),
                expires_at=expires_at,
            )
        )
        key = _key(connection.execute(_query().where(schema.api_keys.c.id == key_id)).one())
        _note(connection, actor, Action.KEY_CREATED, key)
    return key, secret


def find(engine: sa.Engine, secret: str, now: dt.datetime) -> ApiKey | None:
    """Return the key that ``secret`` opens, also an expired or revoked one, and note that it was used."""
    if not well_formed(secret):
        return None
    with reading(engine) as connection:
        row = connection.execute(_BY_SECRET, {"digest": _digest(secret)}).one_or_none()
    if row is None:
        return None
    key = _key(row)
    if key.usable(now) and (key.last_used_at is None or abs(now - key.last_used_at) >= _USE_NOTED_EVERY):
        # A full disk must not keep anyone from reading.
        with contextlib.suppress(StoreError), writing(engine) as connection:
            connection.execute(
                sa.update(schema.api_keys).where(schema.api_keys.c.id == key.id).values(last_used_at=now)
            )
    return key


def named(engine: sa.Engine, which: str) -> ApiKey | None:
    """Return the key with this id or prefix, also an expired or revoked one."""
    column = schema.api_keys.c
    with reading(engine) as connection:
        row = connection.execute(
            _query().where(sa.or_(column.id == which, column.prefix == which))
        ).one_or_none()
    return _key(row) if row else None


def all_keys(engine: sa.Engine) -> list[ApiKey]:
    """Return every key, oldest first."""
    with reading(engine) as connection:
        return [_key(row) for row in connection.execute(_query().order_by(schema.api_keys.c.created_at))]


def revoke(engine: sa.Engine, which: str, now: dt.datetime, *, actor: str | None = None) -> list[ApiKey]:
    """Revoke the key with this id or prefix; return what was revoked (empty: no such key, or done before)."""
    keys = schema.api_keys
    with writing(engine) as connection:
        ids = connection.scalars(
            sa.update(keys)
            .where(sa.or_(keys.c.id == which, keys.c.prefix == which), keys.c.revoked_at.is_(None))
            .values(revoked_at=now)
            .returning(keys.c.id)
        ).all()
        revoked = [_key(row) for row in connection.execute(_query().where(keys.c.id.in_(ids)))]
        _note(connection, actor, Action.KEY_REVOKED, *revoked)
    return revoked


def _note(connection: sa.Connection, actor: str | None, action: Action, *about: ApiKey) -> None:
    acts = [
        Act(
            actor or audit.operator(),
            action,
            key.id,
            {
                "carrier_id": key.carrier_id,
                "carrier": key.carrier_name,
                "name": key.name,
                "prefix": key.prefix,
                "scopes": sorted(key.scopes),
                "expires_at": audit.moment(key.expires_at) if key.expires_at else None,
            },
        )
        for key in about
    ]
    audit.append(connection, *acts)


def _query() -> sa.Select[tuple[object, ...]]:
    return sa.select(schema.api_keys, schema.carriers.c.name.label("carrier_name")).join(schema.carriers)


_BY_SECRET = _query().where(schema.api_keys.c.sha256 == sa.bindparam("digest"))


def _key(row: sa.Row[tuple[object, ...]]) -> ApiKey:
    values = row._asdict()
    del values["sha256"]
    # A scope that an older or newer version wrote opens nothing here.
    known = frozenset(Scope(scope) for scope in values.pop("scopes") if scope in set(Scope))
    return ApiKey(scopes=known, **values)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _ALPHABET[digit] + digits
    return digits


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
