"""Signed checkpoints of the audit log.

A chain of hashes alone does not stop someone who owns the database: after a change all later hashes can be
computed anew. A checkpoint is a statement over the rows since the one before (their Merkle root, their last
hash, the hash of the statement before) that is signed with a key outside the database, and, where an authority
is set, stamped with a time by it. What it covers can't be rewritten without the key; where a copy of it is
kept elsewhere (the log of ``voiceguard serve``, any evidence package), not even with the key.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from voiceguard.store import merkle, schema
from voiceguard.store.audit import NO_ROW, Row, canonical, digest, moment
from voiceguard.store.engine import reading, writing
from voiceguard.store.signing import PublicKey, SigningKey

TYPE = "voiceguard audit checkpoint"
MAX_ROWS = 65_536
"""Most rows under one checkpoint; more are covered by several."""
_LOCK = 0x61756470  # any number, but the same in all processes
_log, _table = schema.audit_log.c, schema.audit_checkpoints.c

Stamp = Callable[[bytes], bytes | None]
"""Asks a time-stamping authority about a statement; returns its response, None if there is none."""


@dataclass(frozen=True)
class Checkpoint:
    """A statement over rows of the log and its signature."""

    number: int
    last_seq: int
    statement: str
    signature: str
    public_key: str
    timestamp_token: str | None

    @property
    def fields(self) -> dict[str, Any]:
        """What the statement says."""
        fields: dict[str, Any] = json.loads(self.statement)
        return fields

    @property
    def key(self) -> PublicKey:
        """Who signed, if the signature fits."""
        return PublicKey(bytes.fromhex(self.public_key))

    @property
    def token(self) -> bytes | None:
        """The authority's response, DER; raise ValueError if it is not written as `seal` writes it."""
        if self.timestamp_token is None:
            return None
        token = base64.b64decode(self.timestamp_token, validate=True)
        if base64.b64encode(token).decode() != self.timestamp_token:
            raise ValueError("expected canonical base64")
        return token

    @property
    def digest(self) -> str:
        """Hash of all of it, which the next statement holds: also a timestamp can't be taken away later."""
        return digest(canonical(dataclasses.asdict(self)))

    def signed(self) -> bool:
        """Say whether the signature fits statement and key."""
        try:
            signature, raw = bytes.fromhex(self.signature), bytes.fromhex(self.public_key)
            # One way to write them: capital digits would be an edit that nobody sees.
            written_so = (signature.hex(), raw.hex()) == (self.signature, self.public_key)
            return written_so and PublicKey(raw).verifies(signature, self.statement.encode())
        except ValueError:
            return False


@dataclass(frozen=True)
class Proof:
    """That a row is among those that a checkpoint covers."""

    seq: int
    checkpoint: int
    path: tuple[str, ...]
    """Hashes in hexadecimal, from the row's leaf to the root."""


def seal(engine: sa.Engine, key: SigningKey, *, stamp: Stamp | None = None) -> list[Checkpoint]:
    """Cover all rows that no checkpoint covers yet; return the new checkpoints.

    Several processes may do so at once: of two checkpoints for the same rows the first one counts.
    """
    made = []
    while (checkpoint := _next(engine, key, stamp)) is not None:
        if _insert(engine, checkpoint):
            made.append(checkpoint)
    return made


def _next(engine: sa.Engine, key: SigningKey, stamp: Stamp | None) -> Checkpoint | None:
    with reading(engine) as connection:
        before = latest(connection)
        after = before.last_seq if before else 0
        rows = connection.execute(
            sa.select(_log.seq, _log.hash).where(_log.seq > after).order_by(_log.seq).limit(MAX_ROWS)
        ).all()
    if not rows:
        return None
    number = before.number + 1 if before else 1
    statement = canonical(
        {
            "type": TYPE,
            "number": number,
            "at": moment(dt.datetime.now(dt.UTC)),
            "first_seq": after + 1,
            "last_seq": rows[-1].seq,
            "last_hash": rows[-1].hash,
            "root": merkle.Tree([bytes.fromhex(row.hash) for row in rows]).root.hex(),
            "previous": before.digest if before else NO_ROW,
        }
    )
    token = stamp(statement.encode()) if stamp is not None else None
    return Checkpoint(
        number=number,
        last_seq=rows[-1].seq,
        statement=statement,
        signature=key.sign(statement.encode()).hex(),
        public_key=key.public.raw.hex(),
        timestamp_token=base64.b64encode(token).decode() if token is not None else None,
    )


def _insert(engine: sa.Engine, checkpoint: Checkpoint) -> bool:
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        last = connection.scalar(sa.select(sa.func.max(_table.number))) or 0
        if last + 1 != checkpoint.number:
            return False
        connection.execute(sa.insert(schema.audit_checkpoints).values(**dataclasses.asdict(checkpoint)))
    return True


def latest(connection: sa.Connection) -> Checkpoint | None:
    """Return the last checkpoint, None if there is none yet."""
    query = sa.select(schema.audit_checkpoints).order_by(_table.number.desc()).limit(1)
    found = connection.execute(query).one_or_none()
    return Checkpoint(*found) if found else None


def every(connection: sa.Connection) -> Iterable[Checkpoint]:
    """Yield all checkpoints, in order."""
    query = sa.select(schema.audit_checkpoints).order_by(_table.number)
    for row in connection.execute(query, execution_options={"yield_per": 1000}):
        yield Checkpoint(*row)


def prove(connection: sa.Connection, rows: Sequence[Row]) -> tuple[list[Checkpoint], list[Proof]]:
    """Return, for rows that are covered, the checkpoints and each row's proof."""
    checkpoints: dict[int, Checkpoint] = {}
    proofs = []
    current: Checkpoint | None = None
    for row in rows:
        if current is None or row.seq > current.last_seq:
            found = connection.execute(
                sa.select(schema.audit_checkpoints)
                .where(_table.last_seq >= row.seq)
                .order_by(_table.number)
                .limit(1)
            ).one_or_none()
            if found is None:
                raise LookupError(
                    f"expected a checkpoint that covers row {row.seq}, got none: seal the log first"
                )
            current = Checkpoint(*found)
            checkpoints[current.number] = current
            tree = merkle.Tree(_leaves(connection, current))
        index = row.seq - current.fields["first_seq"]
        steps = tuple(step.hex() for step in tree.path(index))
        proofs.append(Proof(row.seq, current.number, steps))
    return list(checkpoints.values()), proofs


def _leaves(connection: sa.Connection, checkpoint: Checkpoint) -> list[bytes]:
    query = (
        sa.select(_log.hash)
        .where(_log.seq.between(checkpoint.fields["first_seq"], checkpoint.last_seq))
        .order_by(_log.seq)
    )
    return [bytes.fromhex(found) for found in connection.scalars(query)]
