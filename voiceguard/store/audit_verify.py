"""Checking the whole audit log: every row, every checkpoint, and the calls that the rows speak of.

The checks, with the numbers that stand in the code:

1. Rows are numbered 1, 2, 3, …: none is missing, none is there twice.
2. A row's entry is canonical JSON, its hash is the entry's, and its columns say what the entry says.
3. A row names the hash of the row before.
4. Checkpoints are numbered without a gap, each names the one before, and its signature fits.
5. Each is signed with a key that the checker trusts.
6. The rows that a checkpoint covers are there and have its Merkle root.
7. A timestamp is over its checkpoint.
8. Checkpoints that the checker has kept elsewhere are among them.
9. Every call of the database is as the log says it was received and screened, and every deleted one is in it.

What 1 to 3 find, they find without any key. Someone who writes all later rows anew is found by 6; someone who
writes the checkpoints anew too, by 5 without the key, by 8 with it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from cryptography import x509

from voiceguard.errors import TimestampError
from voiceguard.store import calls, checkpoints, merkle, schema, timestamps
from voiceguard.store.audit import NO_ROW, Action, Row, canonical, digest, moment
from voiceguard.store.checkpoints import Checkpoint
from voiceguard.store.commitments import call_facts, facts_sha256, screening_facts
from voiceguard.store.signing import PublicKey

_MAX_GAP = 1_000_000
"""A larger gap is no gap but a number that was changed."""
_FIELDS = {"seq", "at", "actor", "action", "object", "data", "previous"}
_log = schema.audit_log.c


@dataclass(frozen=True)
class Finding:
    """Something that is not as it must be."""

    where: str
    """Such as ``row 17``."""
    what: str


@dataclass
class Report:
    """What came of a check."""

    rows: int = 0
    checkpoints: int = 0
    covered: int = 0
    """Rows up to this one are covered by checkpoints."""
    findings: list[Finding] = field(default_factory=list)
    _hashes: bytearray = field(default_factory=bytearray)
    """Hash of each row's entry as it is now, 32 bytes a row; zeros for a missing one."""

    def found(self, where: str, what: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(where, what))


def verify(
    connection: sa.Connection,
    trusted: Collection[PublicKey],
    *,
    kept: Collection[str] = (),
    roots: list[x509.Certificate] | None = None,
) -> Report:
    """Check the log.

    Parameters
    ----------
    connection
        Of a transaction that reads.
    trusted
        Keys that may have signed checkpoints.
    kept
        Statements of checkpoints kept elsewhere.
    roots
        Root certificates of the time-stamping authority; without them only what a timestamp is over is checked.
    """
    report = Report()
    with _lenient(connection):
        _check_rows(connection, report)
        _check_checkpoints(connection, report, trusted, kept, roots)
        try:
            _check_calls(connection, report)
        except (ValueError, TypeError, KeyError) as error:
            report.found("calls", f"changed: they can't be read any more: {error}")
    return report


@contextlib.contextmanager
def _lenient(connection: sa.Connection) -> Iterator[None]:
    """Read also text that is no UTF-8, which SQLite keeps: an edited row must be named, not end the check."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.driver_connection
    driver.text_factory = lambda data: data.decode(errors="replace")
    try:
        yield
    finally:
        driver.text_factory = str


def check_row(row: Row) -> str | None:
    """Say what is wrong with a row by itself, None if nothing is."""
    if not isinstance(row.entry, str) or digest(row.entry) != row.hash:
        return "changed: its hash is not its entry's"
    try:
        fields = row.fields
        sound = (
            canonical(fields) == row.entry
            and set(fields) == _FIELDS
            and fields["seq"] == row.seq
            and moment(dt.datetime.fromisoformat(fields["at"])) == fields["at"]
        )
    except (ValueError, TypeError):
        sound = False
    return None if sound else "changed: its entry is not one that VoiceGuard writes, under this number"


def _check_rows(connection: sa.Connection, report: Report) -> None:
    expected = 1
    previous: str | None = NO_ROW
    at = sa.type_coerce(_log.at, sa.Text) if connection.dialect.name == "sqlite" else _log.at
    columns = (_log.seq, at.label("at"), _log.actor, _log.action, _log.object, _log.entry, _log.hash)
    query = sa.select(*columns).order_by(_log.seq)
    for found in connection.execute(query, execution_options={"yield_per": 2000}):
        row = Row(found.seq, found.entry, found.hash)
        report.rows += 1
        if row.seq < expected or row.seq > expected + _MAX_GAP:  # 1
            report.found(f"row {row.seq}", "added or renumbered: no such number comes here")
            continue
        if row.seq > expected:
            last = row.seq - 1
            report.found(f"row {last}" if last == expected else f"rows {expected} to {last}", "missing")
            report._hashes += bytes(32 * (row.seq - expected))
            previous = None
        wrong = check_row(row)  # 2
        if wrong is None and any(getattr(found, name) != value for name, value in _columns(row, at).items()):
            wrong = "changed: its columns say other than its entry"
        if wrong is not None:
            report.found(f"row {row.seq}", wrong)
        elif previous is not None and row.fields["previous"] != previous:  # 3
            report.found(
                f"row {row.seq}",
                f"does not follow row {row.seq - 1}: one of the two was replaced or moved, with its hash",
            )
        # Of a changed row the column still holds the hash that the next one names.
        previous = row.hash
        report._hashes += hashlib.sha256(_bytes(row.entry)).digest()
        expected = row.seq + 1


def _columns(row: Row, at: sa.ColumnElement[Any]) -> dict[str, object]:
    """Return what the columns of a sound row hold."""
    fields = row.fields
    time = dt.datetime.fromisoformat(fields["at"])
    # SQLite keeps times as text.
    stored: object = time.strftime("%Y-%m-%d %H:%M:%S.%f") if isinstance(at.type, sa.Text) else time
    return {"at": stored, "actor": fields["actor"], "action": fields["action"], "object": fields["object"]}


def _bytes(text: object) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode()


def _check_checkpoints(
    connection: sa.Connection,
    report: Report,
    trusted: Collection[PublicKey],
    kept: Collection[str],
    roots: list[x509.Certificate] | None,
) -> None:
    before: Checkpoint | None = None
    number, missing = 1, set(kept)
    for checkpoint in checkpoints.every(connection):
        report.checkpoints += 1
        missing.discard(checkpoint.statement)
        for wrong in _wrong_with(checkpoint, before, number, report, trusted, roots):
            report.found(f"checkpoint {checkpoint.number}", wrong)
        before, number = checkpoint, checkpoint.number + 1
        if (fields := read_statement(checkpoint)) is not None:
            report.covered = max(report.covered, int(fields["last_seq"]))
    there = len(report._hashes) // 32
    if there < report.covered:
        report.found(f"rows {there + 1} to {report.covered}", "missing at the end: a checkpoint covers them")
    for statement in sorted(missing):  # 8
        report.found("a checkpoint kept elsewhere", f"is not among those of the log: {statement}")


def _wrong_with(
    checkpoint: Checkpoint,
    before: Checkpoint | None,
    number: int,
    report: Report,
    trusted: Collection[PublicKey],
    roots: list[x509.Certificate] | None,
) -> Iterator[str]:
    if checkpoint.number != number:  # 4
        yield f"comes where checkpoint {number} should"
    fields = read_statement(checkpoint)
    if fields is None:
        yield "changed: its statement or signature is not one that VoiceGuard writes"
        return
    if fields["previous"] != _digest(before):
        yield "does not follow the checkpoint before: one of the two was replaced"
    if checkpoint.key not in trusted:  # 5
        yield f"signed with a key that is not trusted, fingerprint {checkpoint.key.fingerprint}"
    first, last = fields["first_seq"], fields["last_seq"]
    if first != (before.last_seq if before else 0) + 1:
        yield f"begins at row {first}, which the checkpoint before does not lead to"
    hashes = [bytes(report._hashes[32 * at : 32 * (at + 1)]) for at in range(first - 1, last)]
    if hashes[-1] and (
        merkle.Tree(hashes).root.hex() != fields["root"] or hashes[-1].hex() != fields["last_hash"]
    ):  # 6; rows that lack at the end are reported once, there
        yield f"covers rows {first} to {last}, of which at least one was changed since"
    if checkpoint.timestamp_token is not None and (wrong := check_timestamp(checkpoint, roots)):  # 7
        yield wrong


def _digest(before: Checkpoint | None) -> str | None:
    try:
        return before.digest if before else NO_ROW
    except (ValueError, TypeError):
        return None


def read_statement(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Return what a checkpoint's statement says, None if it or its signature is not in order."""
    try:
        fields = checkpoint.fields
        sound = (
            canonical(fields) == checkpoint.statement
            and fields["type"] == checkpoints.TYPE
            and fields["number"] == checkpoint.number
            and fields["last_seq"] == checkpoint.last_seq
            and 1 <= fields["first_seq"] <= fields["last_seq"] < fields["first_seq"] + checkpoints.MAX_ROWS
            and isinstance(fields["root"], str)
            and checkpoint.signed()
        )
    except (ValueError, TypeError, KeyError):
        return None
    return fields if sound else None


def check_timestamp(checkpoint: Checkpoint, roots: list[x509.Certificate] | None) -> str | None:
    """Say what is wrong with a checkpoint's timestamp, None if nothing is."""
    try:
        token = checkpoint.token or b""
        data = checkpoint.statement.encode()
        if roots is None:
            timestamps.claimed_time(token, data)
        else:
            timestamps.verify(token, data, roots)
    except (TimestampError, ValueError) as error:
        return f"its timestamp: {error}"
    return None


def _check_calls(connection: sa.Connection, report: Report) -> None:
    """Compare calls and tombstones with their rows (9); calls from before the log have no salt and no rows."""
    hashes: dict[tuple[str, str], str] = {}
    named = {Action.CALL_RECEIVED: "call_sha256", Action.CALL_SCREENED: "screening_sha256"}
    query = sa.select(_log.seq, _log.entry, _log.hash).where(_log.action.in_([*named, Action.CALL_DELETED]))
    for found in connection.execute(query.order_by(_log.seq), execution_options={"yield_per": 2000}):
        row = Row(*found)
        if check_row(row) is None:
            fields = row.fields
            hashes[fields["object"], fields["action"]] = fields["data"].get(named.get(fields["action"]), "")
    for call, screening in calls.every(connection):
        if call.salt is None and (call.id, Action.CALL_RECEIVED) not in hashes:
            continue
        for action, facts in (
            (Action.CALL_RECEIVED, call_facts(call, screening.sha256)),
            (Action.CALL_SCREENED, screening_facts(screening)),
        ):
            said = hashes.get((call.id, action))
            if said is None:
                report.found(f"call {call.id}", f"has no row {action}")
            elif said != facts_sha256(facts):
                report.found(f"call {call.id}", f"is not what the row {action} says")
    for call_id in connection.scalars(sa.select(schema.tombstones.c.call_id)):
        if (call_id, Action.CALL_RECEIVED) in hashes and (call_id, Action.CALL_DELETED) not in hashes:
            report.found(f"call {call_id}", f"is deleted without a row {Action.CALL_DELETED}")
