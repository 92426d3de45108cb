"""A case as an archive: what goes out comes in elsewhere, unchanged or not at all."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import sqlalchemy as sa

from tests.enforcement.bureau import Bureau
from tests.store.conftest import NOW
from voiceguard.audio import RATE_HZ, Limits
from voiceguard.enforcement import cases as acts
from voiceguard.enforcement import transfer
from voiceguard.enforcement.transfer import TransferError
from voiceguard.store import audit, case_papers, cases, exhibits, migrate, schema
from voiceguard.store.engine import connect, reading, writing
from voiceguard.store.recordings import Recordings


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: all tables are written by the modules that other tests try on both."""
    return f"sqlite:///{tmp_path / 'voiceguard.db'}"


@pytest.fixture
def bureau(engine: sa.Engine, tmp_path: Path) -> Bureau:
    with writing(engine) as connection:
        connection.execute(sa.insert(schema.carriers).values(id="carrier_1", name="First Telecom"))
    return Bureau(engine, Recordings(str(tmp_path / "recordings"), tmp_path / "data"))


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Bureau]:
    engine = connect(f"sqlite:///{tmp_path / 'other.db'}")
    migrate.upgrade(engine)
    yield Bureau(engine, Recordings(str(tmp_path / "other"), tmp_path / "other-data"))
    engine.dispose()


@pytest.fixture
def archive(bureau: Bureau, tmp_path: Path, babble: np.ndarray) -> Path:
    wav = io.BytesIO()
    soundfile.write(wav, babble, RATE_HZ, format="WAV", subtype="ULAW")
    call = bureau.call(wav.getvalue(), salt="0" * 32)
    case = bureau.case(call)
    how = {"actor": "user_1", "now": bureau.now}
    acts.add_note(bureau.engine, bureau.recordings, case.id, "By post.", [("a.pdf", b"%PDF")], **how)
    bureau.answer(
        bureau.sent(case, bureau.provider("Gate", email="a@gate.example")), upstream_provider="Blue Mesa"
    )
    path = tmp_path / "case.zip"
    with path.open("wb") as file:
        transfer.export_case(
            bureau.engine, bureau.recordings, bureau.office.key, case.number, file, actor="user_1"
        )
    return path


def _import(bureau: Bureau, path: Path, **more: str) -> transfer.Imported:
    return transfer.import_case(
        bureau.engine, bureau.recordings, path, limits=Limits(), actor="user_2", now=NOW, **more
    )


def test_what_goes_out_comes_in_elsewhere(bureau: Bureau, other: Bureau, archive: Path) -> None:
    fingerprint = bureau.office.key.public.fingerprint
    made = _import(other, archive, signed_by=fingerprint)
    assert (made.calls, made.known_calls, made.signed_by) == (1, 0, fingerprint)
    with reading(bureau.engine) as connection:
        sent = exhibits.of_case(connection, 1)
    with reading(other.engine) as connection:
        case = cases.get(connection, made.case_id)
        assert case is not None
        (call,) = exhibits.of_case(connection, case.seq)
        notes = case_papers.notes(connection, case.seq)
        (line,) = cases.history(connection, case.seq)
        held = connection.scalar(sa.select(schema.calls.c.held))
        assert audit.rows_of(connection, [call.id])[0].fields["action"] == "call.received"
    assert (case.title, line.action, held) == ("Bail scam", "imported", True)
    assert dataclasses.replace(
        call, carrier_id="", campaign_id=None, campaign_verdict=None
    ) == dataclasses.replace(sent[0], carrier_id="", campaign_id=None, campaign_verdict=None)
    assert other.recordings.read(call.recording_sha256) == bureau.recordings.read(call.recording_sha256)
    whole, notice, note = notes
    assert "Blue Mesa" in notice.text
    assert "signature=" not in notice.text
    assert "By post." in note.text
    assert case_papers.kept(other.recordings, note.attachments[0].sha256) == b"%PDF"
    assert case_papers.kept(other.recordings, whole.attachments[0].sha256).startswith(b"{")
    with pytest.raises(TransferError, match=f"imported as {made.number}"):
        _import(other, archive)


def test_here_already_its_calls_stay_as_they_are(bureau: Bureau, archive: Path) -> None:
    made = _import(bureau, archive)
    assert (made.calls, made.known_calls) == (0, 1)


def test_a_changed_archive_is_refused(other: Bureau, archive: Path, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="Expected the key 0000"):
        _import(other, archive, signed_by="0" * 64)
    data = archive.read_bytes()
    for place in range(0, len(data), max(1, len(data) // 40)):
        altered = tmp_path / "altered.zip"
        altered.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(TransferError):
            _import(other, altered)
    with zipfile.ZipFile(archive) as zipped:  # any program unpacks it
        assert zipped.testzip() is None
    (tmp_path / "none.zip").write_bytes(b"no zip")
    with pytest.raises(TransferError):
        _import(other, tmp_path / "none.zip")
    with pytest.raises(TransferError):
        _import(other, tmp_path / "missing.zip")
    with reading(other.engine) as connection:
        assert cases.page(connection, state=None, limit=5) == []
