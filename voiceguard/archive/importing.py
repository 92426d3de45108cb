"""A scan's recordings and results into the review database, as if a carrier had posted them.

Each recording becomes a call whose id is made from carrier, path and content: a second import finds it there and
adds nothing, nor does it bring back a call that retention has deleted. What a carrier would have said of the call
is not known; it began, as far as a file can tell, when the file was last written.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from voiceguard.archive import storage
from voiceguard.archive.jobs import Job
from voiceguard.archive.packed import ArchiveError
from voiceguard.archive.read import NotAFile, Reader
from voiceguard.archive.rows import Scored, printable_path
from voiceguard.enforcement import campaigns, storing
from voiceguard.errors import AudioError
from voiceguard.fingerprint import Fingerprint
from voiceguard.settings import Settings
from voiceguard.store import audit, migrate, retention, schema
from voiceguard.store.calls import NewCall
from voiceguard.store.engine import connect, reading, writing
from voiceguard.store.recordings import Recordings

BASIS = "archive"
"""What an imported call says of why there is a recording."""
_MOST_OF_A_PATH = 255


@dataclass
class Imported:
    """What an import did, in recordings."""

    added: int = 0
    known: int = 0
    """There already, or deleted since."""
    changed: int = 0
    """No longer what was scored, or no longer there."""
    failed: int = 0
    """Without a screening: these have no call."""


class Importer:
    """Takes results into the database and the recordings store that settings name.

    Parameters
    ----------
    settings
        Where database and recordings are.
    carrier
        Name of the carrier whose calls these are; made if it is new.

    Raises
    ------
    StoreError
        Database or recordings can't be reached, or need ``voiceguard db upgrade``.
    """

    def __init__(self, settings: Settings, carrier: str) -> None:
        self._settings, self._carrier = settings, carrier
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._engine = connect(settings.database_url, pool_size=2)
        if self._engine.dialect.name == "sqlite":
            migrate.upgrade(self._engine)
        else:
            migrate.check(self._engine)
        self._recordings = Recordings(settings.recordings_url, settings.data_dir)
        self._carrier_id = self._find_carrier()
        self._actor = audit.operator()
        self._reader = Reader()
        self.imported = Imported()

    def take(self, done: Iterable[tuple[Job, Scored]]) -> None:
        """Import every recording that was screened; those of one archive best in the order of their places."""
        imported = self.imported
        for job, result in done:
            if result.screening is None:
                imported.failed += 1
                continue
            call_id = self._call_id(job, result.screening.sha256)
            if self._is_known(call_id):
                imported.known += 1
                continue
            try:
                held = self._reader.read(job)
                data = self._reader.bytes_of(held)
            except (AudioError, ArchiveError, NotAFile, storage.AddressError, OSError):
                imported.changed += 1
                continue
            finally:
                self._reader.forget()
            if held.sha256 != result.screening.sha256:
                imported.changed += 1
                continue
            self._store(call_id, job, result, data)
            imported.added += 1

    def close(self) -> None:
        """Let go of the database."""
        self._reader.close()
        self._engine.dispose()

    def _store(self, call_id: str, job: Job, result: Scored, data: bytes) -> None:
        assert result.screening is not None
        now = dt.datetime.now(dt.UTC)
        call = NewCall(
            id=call_id,
            carrier_id=self._carrier_id,
            started_at=_written_at(job) or now,
            received_at=now,
            carrier_call_id=printable_path(job.path)[-_MOST_OF_A_PATH:],
            recording_basis=BASIS,
            salt=secrets.token_hex(16),
        )
        with self._recordings.upload() as upload:
            upload.write(data)
            upload.sync()
            self._recordings.put(upload)
        print_ = Fingerprint.from_bytes(result.fingerprint) if result.fingerprint else None
        storing.commit(
            self._engine,
            self._recordings,
            call,
            result.screening,
            campaigns.look_up(self._engine, result.screening, print_),
            actor=self._actor,
            carrier=self._carrier,
            sizes=self._settings.campaign_sizes,
            random_share=self._settings.review_random_share,
        )

    def _call_id(self, job: Job, sha256: str) -> str:
        said = "\n".join((self._carrier_id, printable_path(job.path), sha256))
        return f"call_{hashlib.sha256(said.encode()).hexdigest()[:32]}"

    def _is_known(self, call_id: str) -> bool:
        with reading(self._engine) as connection:
            there = connection.scalar(sa.select(sa.exists().where(schema.calls.c.id == call_id)))
            return bool(there) or retention.tombstone(connection, call_id) is not None

    def _find_carrier(self) -> str:
        table = schema.carriers
        with writing(self._engine) as connection:
            found = connection.scalar(sa.select(table.c.id).where(table.c.name == self._carrier))
            if found is None:
                found = schema.new_id("carrier")
                connection.execute(sa.insert(table).values(id=found, name=self._carrier))
        return str(found)


def _written_at(job: Job) -> dt.datetime | None:
    """Return when the file, or the archive that holds the member, was last written; None if nobody knows."""
    path = job.member.archive if job.member else job.path
    if storage.is_address(path):
        return storage.written_at(path)
    try:
        return dt.datetime.fromtimestamp(os.stat(path).st_mtime, dt.UTC)
    except OSError:
        return None
