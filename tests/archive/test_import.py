"""A scan's results in the review database: as posted calls are, and each once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from tests.archive.test_packed import pack
from voiceguard.cli import app
from voiceguard.store import calls, retention, schema
from voiceguard.store.engine import reading
from voiceguard.store.recordings import Recordings

WRITTEN_NS = 1_700_000_000 * 10**9


@pytest.fixture
def source(audio_samples: Path, tmp_path: Path) -> Path:
    """Three recordings, one of them in two codecs and in a tar, and one that is broken."""
    folder = tmp_path / "calls"
    folder.mkdir()
    for name in ("dual-channel-bail-scam.wav", "human-asterisk-en-ulaw.wav", "synthetic-flite-slt-pcm.wav"):
        (folder / name).write_bytes((audio_samples / name).read_bytes())
    (folder / "broken.wav").write_bytes(b"RIFF")
    flagged = (folder / "synthetic-flite-slt-pcm.wav").read_bytes()
    pack(folder / "more.tar.gz", {"again.wav": flagged})
    for path in folder.iterdir():
        os.utime(path, ns=(WRITTEN_NS, WRITTEN_NS))
    return folder


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: sa.Engine) -> sa.Engine:
    url = engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("VOICEGUARD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("VOICEGUARD_DATABASE_URL", url)
    monkeypatch.delenv("VOICEGUARD_RECORDINGS_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return engine


def scan(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["scan", *map(str, words), "--jobs", "1", "--import"])


def stored(engine: sa.Engine) -> list[tuple]:
    with reading(engine) as connection:
        return list(calls.every(connection))


def test_recordings_become_calls_and_only_once(source: Path, installation: sa.Engine, tmp_path: Path):
    first = scan(source, "--carrier", "Old recorder")
    assert first.exit_code == 1, "one file is broken"
    assert "Imported 4 recordings as calls; 1 could not be screened." in first.stdout
    found = {
        call.carrier_call_id.removeprefix(f"{source}/"): (call, screening)
        for call, screening in stored(installation)
    }
    assert set(found) == {
        "dual-channel-bail-scam.wav",
        "human-asterisk-en-ulaw.wav",
        "synthetic-flite-slt-pcm.wav",
        "more.tar.gz!/again.wav",
    }
    recordings = Recordings(str(tmp_path / "data" / "recordings"), tmp_path / "data")
    for name, (call, screening) in found.items():
        assert call.started_at.timestamp() == WRITTEN_NS / 1e9
        assert call.recording_basis == "archive"
        if "!" not in name:
            assert recordings.read(screening.sha256) == (source / name).read_bytes()
    call, screening = found["dual-channel-bail-scam.wav"]
    assert screening.deciding_channel == 1
    assert len(screening.channels) == 2
    assert screening.decision.verdict == "synthetic"
    twins = [found[name][0] for name in ("synthetic-flite-slt-pcm.wav", "more.tar.gz!/again.wav")]
    assert twins[0].campaign_id == twins[1].campaign_id is not None

    second = scan(source, "--carrier", "Old recorder")
    assert "Imported 0 recordings as calls; 4 were there before; 1 could not be screened." in second.stdout
    assert len(stored(installation)) == 4


def test_import_is_in_the_audit_log_and_in_the_queue(source: Path, installation: sa.Engine):
    scan(source)
    with reading(installation) as connection:
        actions = connection.execute(
            sa.select(schema.audit_log.c.action, sa.func.count()).group_by(schema.audit_log.c.action)
        ).all()
        names = set(connection.scalars(sa.select(schema.carriers.c.name)))
        waiting = connection.scalar(sa.select(sa.func.count()).select_from(schema.reviews))
    assert dict(map(tuple, actions)) == {"call.received": 4, "call.screened": 4}
    assert names == {"archive"}
    assert waiting >= 3, "the flagged ones wait for review"


def test_deleted_call_does_not_come_back(source: Path, installation: sa.Engine, tmp_path: Path):
    scan(source)
    recordings = Recordings(str(tmp_path / "data" / "recordings"), tmp_path / "data")
    gone = stored(installation)[0][0]
    assert retention.delete_call(installation, recordings, gone.id, actor="test", reason="test")
    assert "Imported 0 recordings" in scan(source).stdout
    assert gone.id not in {call.id for call, _ in stored(installation)}


def test_import_without_a_database_says_so(source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("VOICEGUARD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("VOICEGUARD_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    result = scan(source)
    assert result.exit_code == 1
    assert "VOICEGUARD_DATABASE_URL" in result.stderr
