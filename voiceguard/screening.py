"""What a screening is: one recording in, a verdict a channel out.

The same :class:`Screener` serves the command line, the API, live streams, archive scans and the evaluation,
so there is one place where a recording becomes a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass

from voiceguard.verdict import Reason, Verdict


@dataclass(frozen=True)
class Window:
    """A stretch of speech that the detector scored once; times in seconds from the recording's start."""

    start_s: float
    end_s: float
    score: float


@dataclass(frozen=True)
class Segment:
    """A stretch of speech; times in seconds from the recording's start."""

    start_s: float
    end_s: float


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
