"""The command ``demo``: a server with a believable week of calls, to look at and to try things on.

Every call is screened, printed and stored as a posted one would be; only its time, numbers and carriers are
made up (the numbers are of the range that is set aside for stories). The recordings are the sample clips, sent
through simulated telephone channels; calls of one campaign share a few copies of its message.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import secrets
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import sqlalchemy as sa
import typer
from rich.console import Console

from voiceguard.api import commands, custody
from voiceguard.audio import RATE_HZ, Recording, decode
from voiceguard.detector import default_model_dir
from voiceguard.enforcement import campaigns, storing
from voiceguard.enforcement import decisions as deciding
from voiceguard.enforcement.decisions import Choice
from voiceguard.errors import VoiceGuardError
from voiceguard.fingerprint import Fingerprint
from voiceguard.review.case_demo import fill_case
from voiceguard.screening import Screener, Screening, deciding_print
from voiceguard.settings import Settings
from voiceguard.shipped import shipped
from voiceguard.store import (
    audit,
    keys,
    migrate,
    models,
    people,
    queue,
    signing,
)
from voiceguard.store.calls import NewCall
from voiceguard.store.decisions import Action, Consent, State, Why
from voiceguard.store.engine import connect, reading, writing
from voiceguard.store.keys import ApiKey, Scope
from voiceguard.store.people import Role
from voiceguard.store.recordings import Recordings
from voiceguard.store.schema import new_id
from voiceguard.telephony.attestation import parse_attestation
from voiceguard.telephony.channel import draw_channel

_CARRIERS = ("First Telecom", "Harbor Mobile", "Prairie Cable")
_PROVIDERS = ("Gateway One", "Lakeside Voice", "Blue Mesa Transit")
_AREAS = ("202", "303", "312", "404", "503", "617", "702", "813")
_ENCODINGS = ("ULAW", "ALAW", "GSM610", "PCM_16")
_COPIES = 4
_PIECE_S = 9.0


@dataclass(frozen=True)
class _Campaign:
    """A message and when and how often it was called out."""

    clip: str
    calls: int
    began_days_ago: float
    lasted_days: float
    provider: str
    level: str | None


_CAMPAIGNS = (
    _Campaign("synthetic-hibari-heart-flac.flac", 46, 2.5, 2.4, "Gateway One", "C"),
    _Campaign("synthetic-kokoro-bf_emma-g722.g722", 24, 6.5, 6.0, "Lakeside Voice", "B"),
    _Campaign("synthetic-flite-slt-pcm.wav", 14, 11.5, 0.3, "Blue Mesa Transit", "A"),
)


@dataclass
class _Week:
    """What is being filled."""

    settings: Settings
    engine: sa.Engine
    recordings: Recordings
    screener: Screener
    rng: np.random.Generator
    now: dt.datetime
    carriers: list[ApiKey] = field(default_factory=list)

    def store(
        self,
        audio: bytes,
        screening: Screening,
        print_: Fingerprint | None,
        started_at: dt.datetime,
        provider: str,
        level: str | None,
    ) -> None:
        """Store a call as the API does."""
        key = self.carriers[int(self.rng.integers(len(self.carriers)))]
        call = NewCall(
            id=new_id("call"),
            carrier_id=key.carrier_id,
            started_at=started_at,
            received_at=started_at + dt.timedelta(seconds=screening.duration_s + 20),
            carrier_call_id=secrets.token_hex(6),
            caller=self._number(),
            callee=self._number(),
            attestation=dataclasses.asdict(parse_attestation(level)) if level else None,
            upstream_provider=provider,
            recording_basis="consent announcement",
            salt=secrets.token_hex(16),
        )
        with self.recordings.upload() as upload:
            upload.write(audio)
            self.recordings.put(upload)
        found = campaigns.look_up(self.engine, screening, print_)
        storing.commit(
            self.engine,
            self.recordings,
            call,
            screening,
            found,
            actor=key.id,
            carrier=key.carrier_name,
            sizes=self.settings.campaign_sizes,
            random_share=self.settings.review_random_share,
        )

    def screened(self, audio: bytes) -> tuple[Screening, Fingerprint | None]:
        """Screen a recording for real."""
        recording = decode(audio)
        screening = self.screener.screen_recording(recording)
        return screening, deciding_print(recording, screening)

    def ago(self, days: float) -> dt.datetime:
        """Return a moment so many days ago, to the second."""
        return (self.now - dt.timedelta(days=days)).replace(microsecond=0)

    def _number(self) -> str:
        return f"+1{self.rng.choice(_AREAS)}555{self.rng.integers(100, 200):04}"


def demo(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Folder to keep it all in; by default a temporary one, gone at the end."),
    ] = None,
) -> None:
    """Run the API and the review pages, filled with a week of sample calls; Ctrl-C ends it."""
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="voiceguard-demo-") as temporary:
        settings = Settings(
            data_dir=data_dir or Path(temporary),
            database_url="",
            recordings_url="",
            review_random_share=0.1,
            review_second_share=0.2,
            min_free_bytes=0,
            log_level="warning",
        )
        try:
            with console.status("Screening the sample calls"):
                password = fill(settings)
        except VoiceGuardError as error:
            console.print(f"{error} {error.remedy}")
            raise typer.Exit(1) from error
        typer.echo(f"Review pages  http://{host}:{port}/review")
        typer.echo("Name          demo")
        typer.echo(f"Password      {password}   (no code: this account is for trying only)")
        commands.run(settings, host, port)


def fill(settings: Settings, *, now: dt.datetime | None = None) -> str:
    """Fill an empty data folder; return the password of the account ``demo``, a new one in a filled folder."""
    engine = connect(settings.database_url)
    try:
        migrate.upgrade(engine)
        password = secrets.token_urlsafe(9)
        at = now or dt.datetime.now(dt.UTC)
        if any(user.name == "demo" for user in people.everyone(engine)):
            people.set_password(engine, "demo", password)
            return password
        recordings = Recordings(settings.recordings_url, settings.data_dir)
        week = _Week(
            settings, engine, recordings, Screener.load(settings.model), np.random.default_rng(7), at
        )
        folder = default_model_dir(settings.model)
        models.keep(recordings, folder)
        with writing(engine) as connection:
            audit.note_configuration(connection, custody.configuration(settings, signing.open_key(settings)))
        scopes = frozenset({Scope.CALLS_WRITE, Scope.CALLS_READ})
        week.carriers += [
            keys.create(engine, "recorder", carrier=name, scopes=scopes)[0] for name in _CARRIERS
        ]
        _fill_calls(week)
        _fill_decisions(week)
        demo_user = people.create(engine, "demo", Role.ADMIN, password=password, totp=False).user
        fill_case(settings, engine, recordings, owner_id=demo_user.id, now=at)
        return password
    finally:
        engine.dispose()


def _fill_calls(week: _Week) -> None:
    clips = {path.name: decode(path) for path in sorted(shipped("audio_samples").glob("*-*.*"))}
    planned: list[tuple[dt.datetime, bytes, Screening, Fingerprint | None, str, str | None]] = []
    for plan in _CAMPAIGNS:
        samples = clips.pop(plan.clip).channels[0]
        copies = [_copy(week, samples, number) for number in range(_COPIES)]
        done = [(copy, *week.screened(copy)) for copy in copies]
        for number in range(plan.calls):
            # The first call of a dialler comes with all the others soon behind it.
            days = plan.began_days_ago - plan.lasted_days * float(week.rng.beta(1.4, 2.2))
            planned.append((week.ago(days), *done[number % _COPIES], plan.provider, plan.level))
    for number, (name, recording) in enumerate(clips.items()):
        for audio in _pieces(name, recording):
            screening, print_ = week.screened(audio)
            level = (None, "A", "B", "A")[number % 4]
            provider = _PROVIDERS[number % len(_PROVIDERS)]
            planned.append(
                (week.ago(float(week.rng.uniform(0.1, 7))), audio, screening, print_, provider, level)
            )
    for started_at, audio, screening, print_, provider, level in sorted(planned, key=lambda one: one[0]):
        week.store(audio, screening, print_, started_at, provider, level)


def _copy(week: _Week, samples: np.ndarray, number: int) -> bytes:
    """Send a message through a telephone channel of its own; the first copy comes over the cleanest line."""
    line = draw_channel(np.random.default_rng(100 + number), "plain")
    return _as_file(line.apply(samples), _ENCODINGS[number % len(_ENCODINGS)])


def _pieces(name: str, recording: Recording) -> list[bytes]:
    """Cut a clip into calls that have nothing in common; one with two channels stays whole."""
    if len(recording.channels) > 1:
        return [(shipped("audio_samples") / name).read_bytes()]
    length = int(_PIECE_S * RATE_HZ)
    samples = recording.channels[0]
    starts = range(0, max(len(samples) - length // 2, 1), length)
    return [_as_file(samples[start : start + length], _ENCODINGS[start % 2]) for start in starts]


def _as_file(samples: np.ndarray, encoding: str) -> bytes:
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, np.clip(samples, -1, 1), RATE_HZ, format="WAV", subtype=encoding)
    return out.getvalue()


def _fill_decisions(week: _Week) -> None:
    """Have two people work through a part of the queue."""
    mara, jonas = (
        people.create(week.engine, name, role, password=secrets.token_urlsafe(24)).user
        for name, role in (("mara", Role.ANALYST), ("jonas", Role.SUPERVISOR))
    )
    with reading(week.engine) as connection:
        waiting = queue.page(connection, queue.Wanted(), after=None, limit=60)[::3]
    for number, item in enumerate(waiting):
        synthetic = item.why is Why.FLAGGED
        choice = Choice(
            Action.CONFIRM if synthetic else Action.DISMISS,
            "synthetic_heard" if synthetic else "person_heard",
            "Even rhythm, no breath between sentences." if synthetic else "Breathes and hesitates.",
            Consent.NONE if synthetic else Consent.UNKNOWN,
        )
        if number % 7 == 3:
            choice = Choice(Action.ESCALATE, "large_campaign", "The same words as in the calls of Tuesday.")
        elif number % 7 == 5:
            choice = Choice(Action.SECOND, "unsure", "Could be a person reading from a script.")
        made = deciding.decide(
            week.engine, item.call_id, choice, mara, seen_version=0, second_share=0.5, now=week.ago(0.3)
        )
        if made.state is State.SECOND and number % 2 == 0:
            verdict = Choice(
                Action.CONFIRM if synthetic else Action.DISMISS,
                "cues_support" if synthetic else "person_heard",
                "Heard it twice; the pitch hardly moves." if synthetic else "Laughs in the middle.",
                Consent.NONE if synthetic else Consent.UNKNOWN,
            )
            deciding.decide(
                week.engine, item.call_id, verdict, jonas, seen_version=1, second_share=0.0, now=week.ago(0.1)
            )
