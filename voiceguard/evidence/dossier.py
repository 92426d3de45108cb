"""What a package is about, read from the store: calls, screenings, models, audit rows and their proofs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from voiceguard.errors import EvidenceError
from voiceguard.screening import Screening
from voiceguard.store import (
    audit,
    calls,
    campaigns,
    cases,
    checkpoints,
    exhibits,
    models,
    notices,
    schema,
)
from voiceguard.store.audit import Act, Action, Row
from voiceguard.store.calls import Call
from voiceguard.store.checkpoints import Checkpoint, Proof, Stamp
from voiceguard.store.engine import reading, writing
from voiceguard.store.recordings import Recordings
from voiceguard.store.signing import SigningKey

MAX_CALLS = 500
"""Most calls of one package: it must stay below 4 GiB, and its report readable."""
MOST_OF_CASE = 20
"""Recordings of a case that its package holds."""
MOST_OF_NOTICE = 3
"""Recordings of a notice that its package holds: its receiver waits for it."""


@dataclass(frozen=True)
class Subject:
    """What a package is about."""

    kind: str
    """``call``, ``campaign``, ``case`` or ``notice``."""
    id: str
    call_ids: tuple[str, ...]


@dataclass(frozen=True)
class Exhibit:
    """One call of a package."""

    call: Call
    screening: Screening
    carrier: str
    rows: tuple[Row, ...]
    """What the audit log says of it, in order."""
    software: Mapping[str, Any]
    """How the service that screened it was set up, as the audit log says."""


@dataclass(frozen=True)
class Dossier:
    """Everything that goes into a package but the recordings."""

    subject: Subject
    exhibits: tuple[Exhibit, ...]
    rows: tuple[Row, ...]
    """The slice of the audit log: all rows about the calls and the subject, and those on the software."""
    checkpoints: tuple[Checkpoint, ...]
    proofs: tuple[Proof, ...]
    models: Mapping[str, Mapping[str, bytes]]
    """The files of each model that screened, by its name."""

    @property
    def as_of(self) -> dt.datetime:
        """When the last of its acts happened: the date of the package, whenever it is made."""
        return dt.datetime.fromisoformat(self.rows[-1].fields["at"])


def subject(connection: sa.Connection, subject_id: str, *, carrier_id: str | None = None) -> Subject | None:
    """Return a call, a campaign, a case or a notice to make a package of.

    With a carrier, of its calls only. A campaign that was merged into another is that one. Of a case and a
    notice each recording is there once, in the call that carried it first: the strongest ones.
    """
    if subject_id.startswith(("case_", "notice_")):
        return _paper(connection, subject_id) if carrier_id is None else None
    table = schema.calls.c
    campaign = campaigns.resolve(connection, subject_id)
    campaign_id = subject_id if campaign is None else campaign[1]
    for kind, column, wanted in (
        ("call", table.id, subject_id),
        ("campaign", table.campaign_id, campaign_id),
    ):
        query = sa.select(table.id).where(column == wanted).order_by(table.seq).limit(MAX_CALLS + 1)
        if carrier_id is not None:
            query = query.where(table.carrier_id == carrier_id)
        if found := connection.scalars(query).all():
            return Subject(kind, wanted, tuple(found))
    return None


def _paper(connection: sa.Connection, subject_id: str) -> Subject | None:
    """Return a case or a notice; None if there is none, or it has no calls."""
    if subject_id.startswith("case_"):
        case = cases.get(connection, subject_id)
        found = exhibits.of_case(connection, case.seq) if case else []
        chosen = exhibits.exemplars(found, MOST_OF_CASE)
    else:
        notice = notices.get(connection, subject_id)
        found = exhibits.of_notice(connection, notice) if notice else []
        chosen = exhibits.exemplars(found, MOST_OF_NOTICE)
    call_ids = tuple(one.id for one in chosen)
    return Subject(subject_id.partition("_")[0], subject_id, call_ids) if call_ids else None


def collect(
    engine: sa.Engine,
    recordings: Recordings,
    about: Subject,
    key: SigningKey,
    *,
    stamp: Stamp | None = None,
) -> Dossier:
    """Read all that goes into a package; a checkpoint is signed first if the rows lack one.

    The acts end with the last one that was not the making of a package: made twice, a package is the same.

    Raises
    ------
    EvidenceError
        There are too many calls, or a call is from before there was an audit log.
    ModelError
        The model that screened is not kept.
    """
    if len(about.call_ids) > MAX_CALLS:
        raise EvidenceError(f"Expected at most {MAX_CALLS} calls, got more.")
    with reading(engine) as connection:
        slice_ = _slice(connection, about)
        exhibits = [_exhibit(connection, call_id, slice_) for call_id in about.call_ids]
        last = checkpoints.latest(connection)
    chosen = {row.seq: row for row in [*slice_, *(software for software, _ in exhibits)]}
    ordered = tuple(chosen[seq] for seq in sorted(chosen))
    if last is None or last.last_seq < ordered[-1].seq:
        checkpoints.seal(engine, key, stamp=stamp)
    with reading(engine) as connection:
        covering, proofs = checkpoints.prove(connection, ordered)
    found = {}
    for _, exhibit in exhibits:
        name = exhibit.screening.model
        if name not in found:
            found[name] = models.kept(recordings, exhibit.software["model_files"])
    return Dossier(
        subject=about,
        exhibits=tuple(exhibit for _, exhibit in exhibits),
        rows=ordered,
        checkpoints=tuple(covering),
        proofs=tuple(proofs),
        models=found,
    )


def _slice(connection: sa.Connection, about: Subject) -> list[Row]:
    rows = audit.rows_of(connection, {about.id, *about.call_ids})
    while rows and rows[-1].fields["action"] in (Action.EVIDENCE_MADE, Action.NOTICE_EXHIBITS_FETCHED):
        rows.pop()
    return rows


def _exhibit(connection: sa.Connection, call_id: str, rows: list[Row]) -> tuple[Row, Exhibit]:
    found = calls.get(connection, call_id)
    if found is None:
        raise EvidenceError(f"Expected the call {call_id}, but it has just been deleted.")
    call, screening = found
    mine = tuple(row for row in rows if row.fields["object"] == call_id)
    if not mine or mine[0].fields["action"] != Action.CALL_RECEIVED:
        raise EvidenceError(
            f"Expected audit rows of the call {call_id}, but it is from before there was a log."
        )
    software = _software(connection, screening.model, mine[0].seq)
    if software is None:
        raise EvidenceError(f"Expected the audit log to name the model {screening.model}, but no start does.")
    carrier = connection.scalar(
        sa.select(schema.carriers.c.name).where(schema.carriers.c.id == call.carrier_id)
    )
    return software, Exhibit(call, screening, str(carrier), mine, software.fields["data"])


def _software(connection: sa.Connection, model: str, before_seq: int) -> Row | None:
    """Return the latest start with this model before a call: several may run side by side."""
    row = audit.configured(connection, before_seq=before_seq)
    while row is not None and row.fields["data"]["model"] != model:
        row = audit.configured(connection, before_seq=row.seq)
    return row


def note_made(engine: sa.Engine, about: Subject, *, actor: str, sha256: str, size_bytes: int) -> None:
    """Write into the audit log that a package was made, before it leaves."""
    said = {
        "kind": about.kind,
        "package_sha256": sha256,
        "size_bytes": size_bytes,
        "calls": len(about.call_ids),
    }
    with writing(engine) as connection:
        audit.append(connection, Act(actor, Action.EVIDENCE_MADE, about.id, said))
