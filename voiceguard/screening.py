"""What a screening is: one recording in, a verdict a channel out.

The same :class:`Screener` serves the command line, the API, live streams, archive scans and the evaluation,
so there is one place where a recording becomes a verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft

from voiceguard import fingerprint
from voiceguard.audio import RATE_HZ, Limits, Recording, decode
from voiceguard.detector import Detector, default_model_dir
from voiceguard.errors import NoSuchChannel
from voiceguard.fingerprint import Fingerprint
from voiceguard.processes import keep_memory
from voiceguard.vad import FRAME_S, FRAME_SAMPLES, MIN_SCORED_S, Segment, hanning, segments, speech_frames
from voiceguard.verdict import Reason, Verdict
from voiceguard.windows import SpeechWindow, cut_windows

MAX_SNR_DB = 60.0
MIN_PRINTED_S = 3.0
"""A channel with less speech has no fingerprint: too little to tell its recording from others."""


@dataclass(frozen=True)
class Window:
    """A stretch of speech that the detector scored once; times in seconds from the recording's start."""

    start_s: float
    end_s: float
    score: float


@dataclass(frozen=True)
class Quality:
    """How good one channel's audio is."""

    speech_s: float
    level_db: float
    """Level of the speech, dB below full scale (RMS)."""
    snr_db: float
    """Speech over the pauses between it, dB; at most 60."""
    bandwidth_hz: float
    """Highest frequency that holds speech energy, up to 4000."""
    clipped_share: float
    """Share of samples at full scale, 0–1."""


@dataclass(frozen=True)
class ChannelScreening:
    """The result for one channel of a recording."""

    channel: int
    verdict: Verdict
    reason: Reason | None
    score: float | None
    """Natural-log likelihood ratio, synthetic over human; None without enough speech."""
    probability: float | None
    """Posterior of ``synthetic`` at the prior that the model card states."""
    windows: tuple[Window, ...]
    speech: tuple[Segment, ...]
    quality: Quality

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> ChannelScreening:
        """Read what :func:`dataclasses.asdict` and JSON made of one."""
        return cls(
            channel=values["channel"],
            verdict=Verdict(values["verdict"]),
            reason=Reason(values["reason"]) if values["reason"] else None,
            score=values["score"],
            probability=values["probability"],
            windows=tuple(Window(**window) for window in values["windows"]),
            speech=tuple(Segment(**segment) for segment in values["speech"]),
            quality=Quality(**values["quality"]),
        )


@dataclass(frozen=True)
class Screening:
    """The result for one recording: every channel, and the one that decides."""

    sha256: str
    size_bytes: int
    container: str
    codec: str
    rate_hz: int
    duration_s: float
    model: str
    threshold: float
    """Score from which a channel is ``synthetic``."""
    review_threshold: float
    """Score from which a person should listen."""
    channels: tuple[ChannelScreening, ...]
    deciding_channel: int
    """The remote party's channel where the caller of the API named it, else the one with the highest score."""

    @property
    def decision(self) -> ChannelScreening:
        """The channel that decides."""
        return self.channels[self.deciding_channel]


@dataclass(frozen=True)
class ChannelWindows:
    """What one channel holds, before it is scored."""

    speech: np.ndarray
    """Shape (samples // 80,), bool: the frames that hold speech."""
    quality: Quality
    windows: tuple[SpeechWindow, ...]
    """Empty where there is too little speech to score."""


class Screener:
    """Screens recordings with one detector; safe to share between threads.

    Examples
    --------
    >>> screener = Screener.load()
    >>> screening = screener.screen(Path("audio_samples/human-asterisk-en-ulaw.wav"))
    >>> screening.decision.verdict  # doctest: +SKIP
    <Verdict.HUMAN: 'human'>
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.calibration = detector.record.calibration

    @classmethod
    def load(cls, model_dir: Path | None = None) -> Screener:
        """Load a model: the given folder, else the one of ``VOICEGUARD_MODEL``, else the shipped one.

        ``light`` names the lighter of the shipped ones. The process keeps memory for the next recording from now on
        (:func:`voiceguard.processes.keep_memory`).

        Raises
        ------
        ModelError
            If the model is missing, altered or of another version.
        """
        keep_memory()
        return cls(Detector(default_model_dir(model_dir)))

    @property
    def model_id(self) -> str:
        """Name of the loaded model."""
        return self.detector.record.id

    def screen(
        self,
        source: Path | bytes,
        *,
        name: str | None = None,
        remote_channel: int | None = None,
        limits: Limits | None = None,
    ) -> Screening:
        """Screen one recording.

        Parameters
        ----------
        source : Path or bytes
            The recording as received.
        name : str, optional
            Its file name, a hint for headerless formats.
        remote_channel : int, optional
            Channel of the party to judge, from 0; without it the channel with the highest score decides.
        limits : Limits, optional
            Caps on bytes, seconds and channels.

        Raises
        ------
        AudioError
            If the recording can't be read, or has no such channel.
        """
        return self.screen_recording(decode(source, name=name, limits=limits or Limits()), remote_channel)

    def screen_recording(self, recording: Recording, remote_channel: int | None = None) -> Screening:
        """Screen a decoded recording; see :meth:`screen`."""
        if remote_channel is not None and not 0 <= remote_channel < len(recording.channels):
            raise NoSuchChannel(
                f"Expected a remote channel from 0 to {len(recording.channels) - 1}; got {remote_channel}."
            )
        looked = self.look(recording)
        return self.conclude(
            recording, looked, [self.detector.score(channel.windows) for channel in looked], remote_channel
        )

    def look(self, recording: Recording) -> tuple[ChannelWindows, ...]:
        """Find the speech of each channel, and cut it into the windows that are to be scored."""
        return tuple(
            _look(samples, clipped_share)
            for samples, clipped_share in zip(recording.channels, recording.clipped_share, strict=True)
        )

    def conclude(
        self,
        recording: Recording,
        looked: Sequence[ChannelWindows],
        raw: Sequence[np.ndarray],
        remote_channel: int | None = None,
    ) -> Screening:
        """Turn the raw scores of each channel's windows, shape (windows,), into the recording's result."""
        channels = tuple(
            self._conclude_channel(index, channel, scores)
            for index, (channel, scores) in enumerate(zip(looked, raw, strict=True))
        )
        deciding = remote_channel
        if deciding is None:
            deciding = max(range(len(channels)), key=lambda index: _strength(channels[index]))
        return Screening(
            sha256=recording.sha256,
            size_bytes=recording.size_bytes,
            container=recording.container,
            codec=recording.codec,
            rate_hz=recording.rate_hz,
            duration_s=recording.duration_s,
            model=self.model_id,
            threshold=self.calibration.flag_threshold,
            review_threshold=self.calibration.review_threshold,
            channels=channels,
            deciding_channel=deciding,
        )

    def _conclude_channel(self, index: int, looked: ChannelWindows, raw: np.ndarray) -> ChannelScreening:
        quality = looked.quality
        windows: tuple[Window, ...] = ()
        score = None
        if looked.windows:
            seconds = np.array([window.speech.sum() * FRAME_SAMPLES / RATE_HZ for window in looked.windows])
            scores = self.calibration.scores(raw, seconds).tolist()
            windows = tuple(
                Window(round(window.start_s, 2), round(window.end_s, 2), value)
                for window, value in zip(looked.windows, scores, strict=True)
            )
            score = self.calibration.score(float(np.average(raw, weights=seconds)), float(seconds.sum()))
        verdict, reason = self.calibration.decide(
            score, quality.speech_s, quality.snr_db, quality.clipped_share
        )
        return ChannelScreening(
            channel=index,
            verdict=verdict,
            reason=reason,
            score=score,
            probability=None if score is None else self.calibration.probability(score),
            windows=windows,
            speech=segments(looked.speech),
            quality=quality,
        )


def _look(samples: np.ndarray, clipped_share: float) -> ChannelWindows:
    speech = speech_frames(samples)
    quality = _measure(samples, speech, clipped_share)
    windows = cut_windows(samples, speech) if quality.speech_s >= MIN_SCORED_S else []
    return ChannelWindows(speech, quality, tuple(windows))


def deciding_print(recording: Recording, screening: Screening) -> Fingerprint | None:
    """Return the fingerprint of the deciding channel's speech, None where that is too little.

    Of a call with a channel for each party, it is the remote party's where that was named, else the one with
    the highest score: the other one is of somebody who picked up, and never the same twice.
    """
    channel = screening.decision
    if channel.quality.speech_s < MIN_PRINTED_S:
        return None
    samples = recording.channels[channel.channel]
    speech = np.zeros(len(samples) // FRAME_SAMPLES, dtype=bool)
    for segment in channel.speech:
        speech[round(segment.start_s / FRAME_S) : round(segment.end_s / FRAME_S)] = True
    return fingerprint.compute(samples, speech)


def _strength(channel: ChannelScreening) -> tuple[bool, float, float]:
    """How much a channel has to say: a verdict before none, then the score, then seconds of speech."""
    decided = channel.reason in (None, Reason.NEAR_THRESHOLD)
    score = channel.score if channel.score is not None else -np.inf
    return decided, score, channel.quality.speech_s


def _measure(samples: np.ndarray, speech: np.ndarray, clipped_share: float) -> Quality:
    """Measure one channel, samples of shape (n,) and its speech mask of shape (n // 80,)."""
    speech_s = round(float(speech.sum()) * FRAME_SAMPLES / RATE_HZ, 2)
    if not speech.any():
        return Quality(speech_s, -120.0, 0.0, 0.0, clipped_share)
    frames = samples[: len(speech) * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    power = np.einsum("ij,ij->i", frames, frames) / FRAME_SAMPLES
    level = float(power[speech].mean()) + 1e-12
    # Pauses next to speech hold its hangover: the quieter half of them is the background.
    pauses = np.sort(power[~speech])
    noise = float(pauses[: max(len(pauses) // 2, 1)].mean()) if len(pauses) else 0.0
    snr_db = min(10 * np.log10(level / (noise + 1e-12)), MAX_SNR_DB) if len(pauses) >= 10 else MAX_SNR_DB
    return Quality(
        speech_s=speech_s,
        level_db=round(float(10 * np.log10(level)), 1),
        snr_db=round(float(snr_db), 1),
        bandwidth_hz=_bandwidth(frames[speech]),
        clipped_share=clipped_share,
    )


def _bandwidth(frames: np.ndarray) -> float:
    """Highest frequency whose mean power is within 45 dB of the strongest; frames of shape (m, 80)."""
    chosen = frames[:: max(len(frames) // 500, 1)]
    spectrum = scipy.fft.rfft(chosen * hanning(FRAME_SAMPLES), 256, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).sum(axis=0)
    return float(np.flatnonzero(power >= power.max() * 10**-4.5)[-1] * RATE_HZ / 256)
