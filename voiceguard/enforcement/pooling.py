"""Which copy of a recording decides for its campaign.

The copies of a campaign are one audio, seen through other channels. Their scores are not independent, so
adding them up would count the same evidence many times over. The copy through which most of the voice
came decides; the others show, by the spread of their scores, how much the channel alone moves a score.
"""

from __future__ import annotations

from voiceguard.screening import Quality, Screening
from voiceguard.store.campaigns import Evidence

ENOUGH_SPEECH_S = 20.0
"""More speech than this makes a copy no better."""
CLEAR_SNR_DB = 30.0
FULL_BANDWIDTH_HZ = 3400.0
TOO_CLIPPED = 0.05
"""Share of clipped samples from which a copy is as bad as can be."""
WORST = 0.05
"""No single fault puts a copy below this factor, so that two bad copies can still be told apart."""

_TRANSPARENT = ("pcm", "flac", "alac", "g711", "mulaw", "alaw", "g722", "wav")
_PASSABLE = ("g726", "adpcm", "opus", "mp3", "aac", "vorbis")


def quality(found: Quality, codec: str) -> float:
    """Rate a copy from 0 to 1: seconds of speech, noise, bandwidth, clipping and codec, multiplied."""
    factors = (
        found.speech_s / ENOUGH_SPEECH_S,
        found.snr_db / CLEAR_SNR_DB,
        found.bandwidth_hz / FULL_BANDWIDTH_HZ,
        1.0 - found.clipped_share / TOO_CLIPPED,
        1.0 if codec.startswith(_TRANSPARENT) else 0.8 if codec.startswith(_PASSABLE) else 0.6,
    )
    rated = 1.0
    for factor in factors:
        rated *= min(max(factor, WORST), 1.0)
    return round(rated, 4)


def evidence(screening: Screening) -> Evidence:
    """Return what a screening's deciding channel says of the audio."""
    decision = screening.decision
    return Evidence(
        quality=quality(decision.quality, screening.codec),
        verdict=decision.verdict,
        reason=decision.reason,
        score=decision.score,
        model=screening.model,
    )
