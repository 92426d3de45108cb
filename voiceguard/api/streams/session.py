"""One live stream, from its start message to the stored call.

Audio goes into the spool as it comes. When the clock says so, one of the screening processes looks at what is
there; the event loop itself never decodes or scores. At the end everything becomes a WAV file, is screened as any
file is, and stored by the function that stores posted calls; only then is the end told.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from voiceguard.api import intake
from voiceguard.api.models import ScreeningSummary
from voiceguard.api.pool import NoWorker
from voiceguard.api.service import Service
from voiceguard.api.streams.about import About, printable
from voiceguard.api.streams.ends import End, StreamCut
from voiceguard.api.streams.spool import Spool
from voiceguard.api.worker import StreamSoFar
from voiceguard.errors import AudioError, StoreError, UnsupportedStream, VoiceGuardError
from voiceguard.fingerprint import Fingerprint
from voiceguard.screening import Screening
from voiceguard.store import outbox
from voiceguard.store.engine import writing
from voiceguard.store.keys import ApiKey
from voiceguard.store.outbox import EventType
from voiceguard.store.schema import new_id
from voiceguard.streaming import Look, RunningVerdict, SpeechClock
from voiceguard.telephony.streams import Assembly, AudioChunk, Encoding, StreamStart, peek
from voiceguard.verdict import Verdict

BURST_S = 60.0
"""Audio that may come at once, such as what a switch held back while the line was down."""
_CLOCK_S = 0.1
"""The clock hears this much at a time: many small steps would cost more than the hearing."""
_STORE_ATTEMPTS = 6
_WAV_HEADER_BYTES = 64

Send = Callable[[dict[str, Any]], Awaitable[None]]
_log = structlog.get_logger()


class LiveStream:
    """A stream that has said who it is.

    Parameters
    ----------
    send
        Sends an event to the client; raises `StreamCut` if that does not read.
    """

    def __init__(
        self, service: Service, protocol: str, key: ApiKey, start: StreamStart, about: About, send: Send
    ) -> None:
        self.call_id = new_id("call")
        self._service = service
        self._protocol = protocol
        self._key = key
        self._stream_id = printable(start.stream_id)
        self._about = about
        self._send = send
        self._assembly = Assembly()
        self._spool = Spool(service.recordings)
        self._clock: SpeechClock | None = None
        self._unheard: list[bytes] = []
        self._unheard_bytes = 0
        self._looking: asyncio.Task[None] | None = None
        self._running = RunningVerdict()
        self._cut: StreamCut | None = None
        self._began = time.monotonic()
        self._max_duration_s = min(service.settings.stream_max_duration_s, service.settings.max_duration_s)

    @property
    def audio_s(self) -> float:
        """Seconds received, of the longest track."""
        audio_format = self._assembly.format
        return max(self._spool.sizes, default=0) / audio_format.bytes_per_s if audio_format else 0.0

    async def take(self, chunk: AudioChunk) -> None:
        """Take a chunk.

        Raises
        ------
        StreamCut
            The stream may not go on.
        UnsupportedStream
            For G.722 in two tracks, which no WAV file can hold.
        """
        if self._cut is not None:
            raise self._cut
        for track, audio in self._assembly.add(chunk):
            self._keep(chunk, track, audio)
        if self._spool.full:
            await asyncio.to_thread(self._spool.flush)
        if self._unheard_bytes >= _CLOCK_S * chunk.format.bytes_per_s:
            self._hear(chunk)
            if (
                self._clock is not None
                and self._clock.due
                and self._looking is None
                and not self._running.final
            ):
                await asyncio.to_thread(self._spool.flush)
                self._looking = asyncio.create_task(self._look())

    def _keep(self, chunk: AudioChunk, track: int, audio: bytes) -> None:
        if track and chunk.format.encoding is Encoding.G722:
            raise UnsupportedStream("Expected one track of G722, got two: stream one, or choose PCMU.")
        self._spool.add(track, audio)
        self._unheard.append(audio)
        self._unheard_bytes += len(audio)
        audio_s = self.audio_s
        total = sum(self._spool.sizes)
        if audio_s > self._max_duration_s or (
            max(self._spool.sizes) * len(self._spool.sizes) + _WAV_HEADER_BYTES
            > self._service.settings.max_upload_bytes
        ):
            raise StreamCut(
                "stream_too_long",
                f"Expected at most {self._max_duration_s:.0f} s and {self._service.settings.max_upload_bytes} bytes, "
                f"got {audio_s:.0f} s and {total} bytes.",
            )
        allowed_s = BURST_S + self._service.settings.stream_max_speed * (time.monotonic() - self._began)
        if audio_s > allowed_s:
            raise StreamCut(
                "stream_too_fast", f"Expected at most {allowed_s:.0f} s of audio by now, got {audio_s:.0f} s."
            )

    def _hear(self, chunk: AudioChunk) -> None:
        if self._clock is None:
            self._clock = SpeechClock()
        audio = b"".join(self._unheard)
        # Two tracks speak in turn: heard one after the other they count together, at worst too soon.
        self._clock.add(peek(chunk.format, audio), len(audio) / chunk.format.bytes_per_s)
        self._unheard.clear()
        self._unheard_bytes = 0

    async def _look(self) -> None:
        """Have a process look at what there is, and tell what it found."""
        assert self._clock is not None
        assert self._assembly.format is not None
        counted_s, heard_s, audio_s = self._clock.counted_s, self._clock.heard_s, self.audio_s
        so_far = StreamSoFar(self._assembly.format, self._spool.paths, tuple(self._spool.sizes))
        try:
            look, seconds = await self._service.pool.look(
                so_far, remote_channel=self._about.call.remote_channel
            )
            self._service.metrics.look_seconds.observe(seconds)
            self._clock.looked(look.speech_s, counted_s, heard_s)
            await self._tell(look, audio_s)
        except StreamCut as cut:
            self._cut = cut
        except VoiceGuardError as error:
            # The end decides anyway.
            self._clock.looked(0.0, counted_s, heard_s)
            _log.warning("look failed", call_id=self.call_id, error=str(error))
        finally:
            self._looking = None

    async def _tell(self, look: Look, audio_s: float) -> None:
        found = {
            "call_id": self.call_id,
            "audio_s": round(audio_s, 2),
            "speech_s": look.speech_s,
            "score": look.score,
            "probability": look.probability,
        }
        revised = self._running.verdict is not None
        if self._running.take(look):
            assert self._running.verdict is not None
            found |= {"verdict": self._running.verdict, "revised": revised}
            await self._send({"event": "verdict", **found})
            await self._announce(found)
        else:
            await self._send({"event": "progress", **found})

    async def _announce(self, found: dict[str, Any]) -> None:
        """Tell the carrier's webhooks, for those who can't read the socket."""
        data = {**found, "carrier_call_id": self._about.call.carrier_call_id}

        def _enqueue() -> None:
            with writing(self._service.engine) as connection:
                outbox.enqueue(
                    connection,
                    EventType.STREAM_VERDICT,
                    self._key.carrier_id,
                    data,
                    now=dt.datetime.now(dt.UTC),
                )

        await self._service.in_thread(_enqueue)

    async def finish(self, end: End) -> dict[str, Any]:
        """Screen and store what was received; return the event that tells of it."""
        try:
            return await self._finish(end)
        except VoiceGuardError as error:
            _log.error("stream not stored", call_id=self.call_id, error=str(error))
            return {"event": "error", "code": error.code, "detail": str(error), "remedy": error.remedy}
        finally:
            await asyncio.to_thread(self._spool.close)

    async def _finish(self, end: End) -> dict[str, Any]:
        for track, audio in self._assembly.finish():
            self._spool.add(track, audio)
        if self._looking is not None:
            await self._looking
        audio_format = self._assembly.format
        told = {
            "event": "end",
            "ended": end.code,
            "complete": end.complete,
            "audio_s": round(self.audio_s, 2),
        }
        if audio_format is None or not any(self._spool.sizes):
            return {**told, "call_id": None, "screening": None}
        with self._service.recordings.upload() as upload:
            await asyncio.to_thread(self._spool.write_wav, audio_format, upload)
            posted = self._about.call
            channels = audio_format.channels * len(self._spool.sizes)
            if posted.remote_channel is not None and posted.remote_channel >= channels:
                posted = posted.model_copy(update={"remote_channel": None})
            screening, fingerprint = await self._screen(upload.path, posted.remote_channel)
            call = await self._service.in_thread(
                lambda: intake.new_call(posted, self._key, self._service.trust_anchors)
            )
            call = dataclasses.replace(call, id=self.call_id, stream=self._said(end))
            await self._store(
                lambda: intake.store(self._service, self._key, upload, call, screening, fingerprint)
            )
        summary = ScreeningSummary.of(screening).model_dump(mode="json")
        return {**told, "call_id": self.call_id, "screening": summary}

    async def _screen(self, path: Any, remote_channel: int | None) -> tuple[Screening, Fingerprint | None]:
        for attempt in range(_STORE_ATTEMPTS):
            try:
                screening, fingerprint, seconds = await self._service.pool.screen_and_print(
                    path, name="stream.wav", remote_channel=remote_channel
                )
            except NoWorker:
                if attempt == _STORE_ATTEMPTS - 1:
                    raise
                continue
            except AudioError:
                raise
            intake.note_screening(self._service, screening, seconds)
            return screening, fingerprint
        raise NoWorker

    async def _store(self, store: Callable[[], object]) -> None:
        """Store; while the store does not answer, wait: nobody can send this call again."""
        for attempt in range(_STORE_ATTEMPTS):
            try:
                await self._service.in_thread(store)
            except StoreError:
                if attempt == _STORE_ATTEMPTS - 1 or self._service.streams.closing.is_set():
                    raise
                await asyncio.sleep(0.5 * 2**attempt)
            else:
                return

    def _said(self, end: End) -> dict[str, Any]:
        losses = self._assembly.losses
        return {
            "protocol": self._protocol,
            "stream_id": self._stream_id,
            "complete": end.complete,
            "ended": end.code,
            "tracks": [printable(name) for name in self._assembly.tracks if name],
            "lost_s": round(losses.lost_s, 2),
            "paused_s": round(losses.paused_s, 2),
            "late": losses.late,
            "notes": [printable(note) for note in self._about.notes],
        }

    @property
    def verdict(self) -> Verdict | None:
        """The verdict told so far."""
        return self._running.verdict
