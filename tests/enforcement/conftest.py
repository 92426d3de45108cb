from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from tests.store.conftest import NOW, keep, screening_of
from voiceguard.audio import RATE_HZ, decode
from voiceguard.enforcement import campaigns
from voiceguard.enforcement.campaigns import Joined, LookUp
from voiceguard.fingerprint import Fingerprint, compute
from voiceguard.screening import Screening
from voiceguard.store import calls, schema
from voiceguard.store.calls import NewCall
from voiceguard.store.engine import writing
from voiceguard.store.recordings import Recordings
from voiceguard.telephony.channel import Channel, CodecPass
from voiceguard.vad import speech_frames
from voiceguard.verdict import Verdict

SIZES = (3, 5, 10)
_CLIPS = (
    "human-asterisk-en-ulaw.wav",
    "human-drascula-en-flac.flac",
    "human-fillets-nl-mp3.mp3",
    "synthetic-hibari-heart-flac.flac",
    "synthetic-kokoro-am_michael-ulaw.wav",
    "synthetic-kokoro-bm_george-opus.ogg",
)


@pytest.fixture(scope="session")
def voices(audio_samples: Path) -> list[np.ndarray]:
    """Recordings of different voices, 12 s each at most, shape (n,), float32 at 8 kHz."""
    return [decode(audio_samples / name).channels[0][: 12 * RATE_HZ] for name in _CLIPS]


@pytest.fixture(scope="session")
def through() -> Callable[[np.ndarray, int], np.ndarray]:
    """Send samples through the telephone channel of a number; 0 changes next to nothing."""
    ways = (
        Channel(1, -20.0, codecs=(CodecPass("g711_ulaw"),)),
        Channel(2, -26.0, band_hz=(300.0, 3400.0), codecs=(CodecPass("gsm"),)),
        Channel(3, -16.0, codecs=(CodecPass("amr_nb", 7400),)),
        Channel(4, -23.0, codecs=(CodecPass("g711_alaw"),), noise_snr_db=20.0),
    )
    return lambda samples, number: ways[number % len(ways)].apply(samples)


def printed(samples: np.ndarray) -> Fingerprint:
    return compute(samples, speech_frames(samples))


@dataclass
class Desk:
    """Stores calls as the API does."""

    engine: sa.Engine
    recordings: Recordings
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def screening(self, samples: np.ndarray, *, score: float = -2.5, quality: float = 40.0) -> Screening:
        verdict = Verdict.SYNTHETIC if score > 3 else Verdict.HUMAN
        sha256 = keep(self.recordings, samples.tobytes())
        found = screening_of(sha256, verdict, score)
        (channel,) = found.channels
        better = dataclasses.replace(channel.quality, snr_db=quality)
        return dataclasses.replace(found, channels=(dataclasses.replace(channel, quality=better),))

    def look_up(self, samples: np.ndarray, screening: Screening) -> LookUp:
        return campaigns.look_up(self.engine, screening, printed(samples))

    def store(self, screening: Screening, found: LookUp, **fields: object) -> tuple[NewCall, Joined]:
        number = next(self.numbers)
        call = NewCall(
            id=schema.new_id("call"),
            carrier_id="carrier_1",
            started_at=NOW + dt.timedelta(minutes=number),
            received_at=NOW + dt.timedelta(minutes=number),
            caller="+12025550100",
            callee=f"+1202555{number:04}",
        )
        call = dataclasses.replace(call, **fields)  # type: ignore[arg-type]
        with writing(self.engine) as connection:
            calls.claim(connection, self.recordings, screening)
            joined = campaigns.join(connection, call, screening, found, sizes=SIZES)
            calls.insert_claimed(
                connection,
                call,
                screening,
                campaign_id=joined.campaign_id,
                announcement=joined.announcement,
            )
        return call, joined

    def post(
        self, samples: np.ndarray, *, score: float = -2.5, quality: float = 40.0, **fields: object
    ) -> tuple[NewCall, Joined]:
        screening = self.screening(samples, score=score, quality=quality)
        return self.store(screening, self.look_up(samples, screening), **fields)


@pytest.fixture
def desk(engine: sa.Engine, tmp_path: Path) -> Desk:
    with writing(engine) as connection:
        connection.execute(
            sa.insert(schema.carriers),
            [
                {"id": "carrier_1", "name": "First Telecom"},
                {"id": "carrier_2", "name": "Second Telecom"},
            ],
        )
    return Desk(engine, Recordings(str(tmp_path / "recordings"), tmp_path / "data"))
