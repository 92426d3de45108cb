"""A case as one archive: for colleagues whose own VoiceGuard imports it.

The archive is a zip file in the one form of evidence packages. ``case.json`` holds the case, its calls with
their screenings, notes, tasks, notices and history; it is signed by the key that signs evidence. Recordings and
attachments lie beside it under their SHA-256. What is imported becomes a case of the importer's own: its calls are
stored and join campaigns as posted ones do, notes and notices of the sender become notes, and the sender's signed
``case.json`` is kept whole as an attachment.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError

from voiceguard.audio import Limits, decode
from voiceguard.enforcement import campaigns as joining
from voiceguard.enforcement import cases as acts
from voiceguard.errors import AudioError, VoiceGuardError
from voiceguard.evidence import container
from voiceguard.evidence.container import ContainerError, Writer
from voiceguard.fingerprint import Fingerprint
from voiceguard.screening import Screening, deciding_print
from voiceguard.store import (
    audit,
    calls,
    case_papers,
    cases,
    commitments,
    decisions,
    exhibits,
    notices,
    schema,
)
from voiceguard.store.audit import Act, Action
from voiceguard.store.calls import NewCall
from voiceguard.store.engine import reading, writing
from voiceguard.store.recordings import Recordings
from voiceguard.store.signing import PublicKey, SigningKey

TYPE, SCHEMA = "voiceguard case", 1
DOCUMENT, SIGNATURE, KEY, SUMS = "case.json", "case.json.sig", "public-key.pem", "SHA256SUMS"
MAX_CALLS = 5000
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
_LINK = re.compile(r"(/links/notices/\w+/\w+)\?[^\s>)]*")
_calls_adapter, _screening_adapter = TypeAdapter(NewCall), TypeAdapter(Screening)


class TransferError(VoiceGuardError):
    """The case can't be exported or imported."""

    code = "transfer_error"
    remedy = "Ask the sender for a new archive, or see what is missing."


@dataclass(frozen=True)
class Imported:
    """What an import made."""

    case_id: str
    number: str
    calls: int
    """That were not here before."""
    known_calls: int
    signed_by: str
    """Fingerprint of the sender's key."""


def export_case(
    engine: sa.Engine, recordings: Recordings, key: SigningKey, case_id: str, file: BinaryIO, *, actor: str
) -> str:
    """Write the archive of a case; return the SHA-256 of its document.

    Raises
    ------
    TransferError
        There is no such case, or it has too many calls.
    """
    with reading(engine) as connection:
        case = cases.get(connection, case_id) or cases.numbered(connection, case_id)
        if case is None:
            raise TransferError(f"Expected the id or number of a case, got {case_id}.")
        found = exhibits.of_case(connection, case.seq)
        if len(found) > MAX_CALLS:
            raise TransferError(f"Expected at most {MAX_CALLS} calls, got {len(found)}.")
        document = _document(connection, case, found)
    data = _json(document)
    attached = {one["sha256"] for note in document["notes"] for one in note["attachments"]}
    writer = Writer(file)
    try:
        writer.add(DOCUMENT, data)
        writer.add(SIGNATURE, key.sign(data))
        writer.add(KEY, key.public.pem)
        for sha256 in sorted({call.recording_sha256 for call in found}):
            writer.add(f"recordings/{sha256}", recordings.read(sha256))
        for sha256 in sorted(attached):
            writer.add(f"attachments/{sha256}", case_papers.kept(recordings, sha256))
        sums = "".join(f"{entry.sha256}  {entry.name}\n" for entry in writer.entries)
        writer.add(SUMS, sums.encode())
        writer.close()
    except ValueError as error:
        raise TransferError(str(error)) from error
    digest = hashlib.sha256(data).hexdigest()
    with writing(engine) as connection:
        said = {"what": "archive", "document_sha256": digest, "calls": len(found)}
        audit.append(connection, Act(actor, Action.CASE_EXPORTED, case.id, said))
    return digest


def import_case(
    engine: sa.Engine,
    recordings: Recordings,
    path: Path,
    *,
    limits: Limits,
    signed_by: str | None = None,
    random_share: float = 0.0,
    actor: str,
    now: dt.datetime,
) -> Imported:
    """Make a case of an archive.

    Parameters
    ----------
    engine, recordings, path
        The database, the recordings store and the archive.
    limits
        Of the recordings that are decoded.
    signed_by
        Fingerprint of the key that must have signed it; None takes any, and says which.
    random_share
        Share of calls without a flag that are reviewed all the same.
    actor, now
        For the history.

    Raises
    ------
    TransferError
        The archive was changed, is of another kind or key, or its case was imported before.
    """
    try:
        with path.open("rb") as file:
            files = {entry.name: entry for entry in container.read(file)}
            _check_sums(file, files)
            data, key = _signed(file, files, signed_by)
            document = json.loads(data)
            if (document.get("type"), document.get("schema")) != (TYPE, SCHEMA):
                raise TransferError("Expected an archive of a case that this version knows.")
            with reading(engine) as connection:
                column = schema.case_schema.cases.c
                known = connection.scalar(
                    sa.select(column.number).where(column.imported_from == document["case"]["id"])
                )
            if known is not None:
                raise TransferError(f"Expected a case that is not here yet; it was imported as {known}.")
            members, new, old = _import_calls(
                engine, recordings, file, files, document, limits, random_share, actor, now
            )
            return _open(
                engine, recordings, file, files, document, data, key, members, (new, old), actor, now
            )
    except (ContainerError, KeyError, TypeError, ValueError, ValidationError) as error:
        raise TransferError(f"Expected an unchanged archive of a case: {error}") from error
    except OSError as error:
        raise TransferError(f"Expected to read {path.name}: {error.strerror or error}.") from error


def _document(connection: sa.Connection, case: cases.Case, found: list[exhibits.CaseCall]) -> dict[str, Any]:
    listed = []
    for one in found:
        stored = calls.get(connection, one.id)
        assert stored is not None, "it was read in the same transaction"
        call, screening = stored
        fields = {field.name: getattr(call, field.name) for field in dataclasses.fields(NewCall)}
        listed.append(
            {
                "carrier": one.carrier,
                "campaign_id": one.campaign_id,
                "call": fields,
                "screening": dataclasses.asdict(screening),
            }
        )
    sent = [one for one in notices.of_case(connection, case.seq) if one.state in notices.OUT]
    shown = ("number", "kind", "provider", "state", "subject", "sent_at", "due_at", "answered_at", "answer")
    return {
        "type": TYPE,
        "schema": SCHEMA,
        "case": {
            name: getattr(case, name)
            for name in ("id", "number", "title", "state", "outcome", "opened_at", "closed_at")
        },
        "members": [
            {"kind": one.kind, "object_id": one.object_id} for one in cases.members(connection, case.seq)
        ],
        "calls": listed,
        "notes": [dataclasses.asdict(one) for one in reversed(case_papers.notes(connection, case.seq))],
        "tasks": [dataclasses.asdict(one) for one in case_papers.tasks(connection, case.seq)],
        "linked": [one.number for one in cases.linked(connection, case.seq)],
        "notices": [
            # Its links open without a key: they are for the provider alone.
            {name: getattr(one, name) for name in shown} | {"body": _LINK.sub(r"\1", one.body)}
            for one in sent
        ],
        "history": [dataclasses.asdict(one) for one in cases.history(connection, case.seq)],
    }


def _signed(
    file: BinaryIO, files: Mapping[str, container.Entry], signed_by: str | None
) -> tuple[bytes, PublicKey]:
    if files[DOCUMENT].size_bytes > MAX_DOCUMENT_BYTES:
        raise TransferError(f"Expected a case.json of at most {MAX_DOCUMENT_BYTES} bytes.")
    data = container.content(file, files[DOCUMENT])
    key = PublicKey.from_pem(container.content(file, files[KEY]))
    if not key.verifies(container.content(file, files[SIGNATURE]), data):
        raise TransferError("Expected a case.json that its key signed, but the signature does not hold.")
    if signed_by is not None and signed_by.lower() != key.fingerprint:
        raise TransferError(f"Expected the key {signed_by}, but {key.fingerprint} signed it.")
    return data, key


def _check_sums(file: BinaryIO, files: Mapping[str, container.Entry]) -> None:
    """Check every file against ``SHA256SUMS`` before anything of the archive is stored."""
    listed = [line.split("  ", 1) for line in container.content(file, files[SUMS]).decode().splitlines()]
    if [name for _, name in listed] != [name for name in files if name != SUMS]:
        raise TransferError("Expected the files that SHA256SUMS lists.")
    for sha256, name in listed:
        hashed = hashlib.sha256()
        for piece in container.chunks(file, files[name]):
            hashed.update(piece)
        if hashed.hexdigest() != sha256:
            raise TransferError(f"Expected {name} as SHA256SUMS lists it, but it was changed.")


def _hashed(file: BinaryIO, files: Mapping[str, container.Entry], folder: str, sha256: str) -> bytes:
    data = container.content(file, files[f"{folder}/{sha256}"])
    if hashlib.sha256(data).hexdigest() != sha256:
        raise TransferError(f"Expected {folder}/{sha256} to have that hash, but it was changed.")
    return data


def _import_calls(
    engine: sa.Engine,
    recordings: Recordings,
    file: BinaryIO,
    files: Mapping[str, container.Entry],
    document: dict[str, Any],
    limits: Limits,
    random_share: float,
    actor: str,
    now: dt.datetime,
) -> tuple[list[str], int, int]:
    """Store the calls that are not here; return the members of the case, and how many calls were new and known."""
    own = {one["object_id"] for one in document["members"] if one["kind"] == "call"}
    members: list[str] = []
    prints: dict[str, Fingerprint | None] = {}
    new = 0
    for one in document["calls"]:
        call = _calls_adapter.validate_python(one["call"])
        screening = _screening_adapter.validate_python(one["screening"])
        with reading(engine) as connection:
            stored = calls.get(connection, call.id)
        if stored is None:
            data = _hashed(file, files, "recordings", screening.sha256)
            if screening.sha256 not in prints:
                prints[screening.sha256] = _print(data, screening, limits)
            campaign_id = _store(
                engine,
                recordings,
                call,
                screening,
                data,
                prints[screening.sha256],
                one["carrier"],
                random_share,
                actor,
                now,
            )
            new += 1
        else:
            campaign_id = stored[0].campaign_id
        members.append(call.id if call.id in own or campaign_id is None else campaign_id)
    return list(dict.fromkeys(members)), new, len(document["calls"]) - new


def _print(data: bytes, screening: Screening, limits: Limits) -> Fingerprint | None:
    """Return what a recording is known again by; None for one that this version can't decode."""
    try:
        return deciding_print(decode(data, limits=limits), screening)
    except AudioError:
        return None


def _store(
    engine: sa.Engine,
    recordings: Recordings,
    call: NewCall,
    screening: Screening,
    data: bytes,
    print_: Fingerprint | None,
    carrier: str,
    random_share: float,
    actor: str,
    now: dt.datetime,
) -> str | None:
    """Store one call as a posted one is; return its campaign."""
    with recordings.upload() as upload:
        upload.write(data)
        upload.sync()
        recordings.put(upload)
    found = joining.look_up(engine, screening, print_)
    with writing(engine) as connection:
        table = schema.carriers.c
        carrier_id = connection.scalar(sa.select(table.id).where(table.name == carrier))
        if carrier_id is None:
            carrier_id = schema.new_id("carrier")
            connection.execute(sa.insert(schema.carriers).values(id=carrier_id, name=carrier))
        call = dataclasses.replace(
            call, carrier_id=carrier_id, received_at=now, salt=call.salt or secrets.token_hex(16)
        )
        calls.claim(connection, recordings, screening)
        joined = joining.join(connection, call, screening, found, sizes=())
        calls.insert_claimed(
            connection, call, screening, campaign_id=joined.campaign_id, announcement=joined.announcement
        )
        decisions.enrol(connection, call.id, screening, random_share=random_share)
        audit.append(connection, *commitments.received(call, screening, actor=actor, carrier=carrier))
    return joined.campaign_id


def _open(
    engine: sa.Engine,
    recordings: Recordings,
    file: BinaryIO,
    files: Mapping[str, container.Entry],
    document: dict[str, Any],
    data: bytes,
    key: PublicKey,
    members: list[str],
    counts: tuple[int, int],
    actor: str,
    now: dt.datetime,
) -> Imported:
    kept = [(DOCUMENT, case_papers.keep(recordings, data), len(data))]
    notes: list[tuple[str, list[tuple[str, str, int]]]] = []
    for note in document["notes"]:
        attached = []
        for one in note["attachments"]:
            content = _hashed(file, files, "attachments", one["sha256"])
            name = str(one["name"]).replace("\\", "/").rsplit("/", 1)[-1][-255:] or "file"
            attached.append((name, case_papers.keep(recordings, content), len(content)))
        notes.append((f"{note['author']}, {note['at']}:\n\n{note['text']}", attached))
    for one in document["notices"]:
        said = json.dumps(one["answer"], ensure_ascii=False) if one["answer"] else "no answer"
        notes.append(
            (f"Notice {one['number']} to {one['provider']}, {one['state']}: {said}\n\n{one['body']}", [])
        )
    origin = document["case"]
    with writing(engine) as connection:
        case = cases.insert(
            connection,
            str(origin["title"])[: acts.MAX_TITLE_CHARS],
            owner_id=None,
            now=now,
            imported_from=origin["id"],
        )
        acts.put(connection, case, members, now=now)
        for text, attached in notes:
            case_papers.add_note(
                connection, case.seq, text[: acts.MAX_NOTE_CHARS], attached, author=actor, now=now
            )
        for task in document["tasks"]:
            if task["done_at"] is None:
                case_papers.add_task(
                    connection,
                    case.seq,
                    str(task["text"])[: acts.MAX_TASK_CHARS],
                    due_at=None,
                    assignee_id=None,
                )
        text = f"Imported: case {origin['number']}, signed by the key {key.fingerprint}."
        case_papers.add_note(connection, case.seq, text, kept, author=actor, now=now)
        detail = {
            "from": origin["id"],
            "number": origin["number"],
            "document_sha256": kept[0][1],
            "signed_by": key.fingerprint,
            "calls": counts[0],
        }
        cases.note(
            connection,
            case,
            actor=actor,
            action="imported",
            now=now,
            detail=detail,
            audited=Action.CASE_OPENED,
        )
    return Imported(case.id, case.number, *counts, key.fingerprint)


def _json(document: dict[str, Any]) -> bytes:
    def _plain(value: Any) -> str:
        if isinstance(value, dt.datetime):
            return audit.moment(value)
        raise TypeError(f"expected JSON, got {type(value).__name__}")

    return (
        json.dumps(document, default=_plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    ).encode()
