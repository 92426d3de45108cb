from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from voiceguard.screening import ChannelScreening, Quality, Screening, Segment, Window
from voiceguard.store import schema
from voiceguard.store.calls import NewCall, insert
from voiceguard.store.engine import writing
from voiceguard.store.recordings import Recordings
from voiceguard.store.signing import SigningKey
from voiceguard.verdict import Verdict

NOW = dt.datetime(2026, 3, 1, 14, 5, tzinfo=dt.UTC)


@pytest.fixture(params=["files", pytest.param("s3", marks=pytest.mark.s3)])
def recordings_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "files":
        return str(tmp_path / "recordings")
    return f"{request.getfixturevalue('s3_url')}/{uuid.uuid4().hex}"


@pytest.fixture
def recordings(recordings_url: str, tmp_path: Path) -> Recordings:
    return Recordings(recordings_url, tmp_path / "data")


@pytest.fixture
def carrier(engine: sa.Engine) -> str:
    with writing(engine) as connection:
        connection.execute(sa.insert(schema.carriers).values(id="carrier_1", name="First Telecom"))
    return "carrier_1"


@pytest.fixture
def signer() -> SigningKey:
    return SigningKey.generate()


def keep(recordings: Recordings, audio: bytes) -> str:
    """Store a recording as the API does; return its SHA-256."""
    with recordings.upload() as upload:
        upload.write(audio)
        upload.sync()
        recordings.put(upload)
        return upload.sha256


def screening_of(sha256: str, verdict: Verdict = Verdict.HUMAN, score: float = -2.5) -> Screening:
    channel = ChannelScreening(
        channel=0,
        verdict=verdict,
        reason=None,
        score=score,
        probability=0.01,
        windows=(Window(0.5, 4.5, score),),
        speech=(Segment(0.5, 4.5),),
        quality=Quality(4.0, -20.0, 40.0, 3400.0, 0.0),
    )
    return Screening(
        sha256=sha256,
        size_bytes=5,
        container="wav",
        codec="g711_ulaw",
        rate_hz=8000,
        duration_s=5.0,
        model="test",
        threshold=3.0,
        review_threshold=1.0,
        channels=(channel,),
        deciding_channel=0,
    )


@pytest.fixture
def store_call(
    engine: sa.Engine, recordings: Recordings, carrier: str
) -> Callable[..., tuple[NewCall, Screening]]:
    """Store a call as the API does."""

    def _store(
        audio: bytes = b"audio", *, verdict: Verdict = Verdict.HUMAN, score: float = -2.5, **fields: object
    ) -> tuple[NewCall, Screening]:
        call = NewCall(id=schema.new_id("call"), carrier_id=carrier, started_at=NOW, received_at=NOW)
        call = dataclasses.replace(call, **fields)  # type: ignore[arg-type]
        screening = screening_of(keep(recordings, audio), verdict, score)
        with writing(engine) as connection:
            insert(connection, recordings, call, screening)
        return call, screening

    return _store
