from __future__ import annotations

import dataclasses
import datetime as dt
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from voiceguard.api import custody
from voiceguard.evidence.making import make_package
from voiceguard.evidence.package import Made
from voiceguard.screening import Screener, Screening
from voiceguard.settings import Settings
from voiceguard.store import audit, calls, commitments, migrate, models, schema, signing
from voiceguard.store.calls import NewCall
from voiceguard.store.engine import connect, writing
from voiceguard.store.recordings import Recordings
from voiceguard.store.signing import SigningKey

STARTED_AT = dt.datetime(2026, 3, 1, 14, 5, tzinfo=dt.UTC)
CLIP = "synthetic-flite-slt-pcm.wav"


@dataclass
class Archive:
    """A store as a server leaves it, and packages made of it."""

    settings: Settings
    engine: sa.Engine
    recordings: Recordings
    key: SigningKey
    screener: Screener
    samples: Path

    def store(
        self,
        clip: str = CLIP,
        *,
        alter: Callable[[Screening], Screening] = lambda screening: screening,
        **fields: object,
    ) -> str:
        """Store a call as the API does; return its id."""
        data = (self.samples / clip).read_bytes()
        screening = alter(self.screener.screen(data, name=clip))
        call = NewCall(
            id=schema.new_id("call"),
            carrier_id="carrier_1",
            started_at=STARTED_AT,
            received_at=dt.datetime.now(dt.UTC),
            salt=secrets.token_hex(16),
        )
        call = dataclasses.replace(call, **fields)  # type: ignore[arg-type]
        with self.recordings.upload() as upload:
            upload.write(data)
            upload.sync()
            self.recordings.put(upload)
        with writing(self.engine) as connection:
            calls.insert(connection, self.recordings, call, screening)
            audit.append(
                connection, *commitments.received(call, screening, actor="key_1", carrier="First Telecom")
            )
        return call.id

    def make(self, call_id: str, output: Path) -> Made:
        made = make_package(self.engine, self.settings, call_id, output, actor="os:tester", warn=pytest.fail)
        assert made is not None
        return made


def new_archive(folder: Path, audio_samples: Path) -> Archive:
    """Return a store with a key, a model and a carrier."""
    settings = Settings(data_dir=folder, database_url="", recordings_url="", signing_key=None)
    engine = connect(settings.database_url)
    migrate.upgrade(engine)
    recordings = Recordings(settings.recordings_url, folder)
    key = signing.open_key(settings)
    models.keep(recordings, custody.default_model_dir())
    with writing(engine) as connection:
        connection.execute(sa.insert(schema.carriers).values(id="carrier_1", name="First Telecom"))
        audit.note_configuration(connection, custody.configuration(settings, key))
    return Archive(settings, engine, recordings, key, Screener.load(), audio_samples)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory, audio_samples: Path) -> Archive:
    return new_archive(tmp_path_factory.mktemp("archive"), audio_samples)


@dataclass(frozen=True)
class Sealed:
    """A package and what it is of."""

    path: Path
    data: bytes
    call_id: str
    made: Made


@pytest.fixture(scope="session")
def sealed(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """One package, made once for all tests that only read it."""
    call_id = archive.store(
        caller="+12025550123",
        callee="+12125559876",
        carrier_call_id="a84b4c76e66710@pc33",
        upstream_provider="Gateway <b>Telecom</b> 网关",
        recording_basis="voicemail",
        identity="eyJhbGciOiJFUzI1NiJ9.e30.c2ln;info=<https://cert.example.org/passport.cer>",
        passports=[{"error": "Expected a token."}],
        attestation={"level": "A", "verification": "passed", "origid": None, "notes": []},
    )
    path = tmp_path_factory.mktemp("sealed") / "package.zip"
    made = archive.make(call_id, path)
    return Sealed(path, path.read_bytes(), call_id, made)
