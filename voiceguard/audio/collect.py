"""Collecting decoded blocks: caps, checks, and each channel resampled as it comes."""

from __future__ import annotations

import numpy as np

from voiceguard.audio.recording import RATE_HZ, Limits
from voiceguard.errors import (
    DamagedRecording,
    InvalidSamples,
    RecordingTooLong,
    TooManyChannels,
    UnsupportedFormat,
)

FULL_SCALE = 0.98
"""Samples from here on count as clipped. G.711's highest codes are 0.980 (µ-law) and 0.984 (A-law), and a
recorder that stores its telephone line as linear PCM clips there, too."""

_MIN_RATE_HZ, _MAX_RATE_HZ = 4000, 192_000
_MAX_PEAK = 16.0
"""Lossy decoders overshoot full scale a little; a peak beyond this means that the scale is another one."""


def check_layout(rate_hz: int, channels: int, limits: Limits) -> None:
    """Refuse what no call has, before anything is decoded.

    Raises
    ------
    DamagedRecording
        For a header without channels.
    TooManyChannels
        For more than the limit.
    UnsupportedFormat
        For a sample rate that no telephone or recorder has.
    """
    if channels < 1:
        raise DamagedRecording("Expected one channel or more, but the header says 0.")
    if channels > limits.max_channels:
        raise TooManyChannels(f"Expected at most {limits.max_channels} channels, but got {channels}.")
    if not _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:
        raise UnsupportedFormat(
            f"Expected a sample rate of {_MIN_RATE_HZ} to {_MAX_RATE_HZ} Hz, but got {rate_hz}."
        )


class Collector:
    """Takes native blocks, keeps samples at ``RATE_HZ``.

    Raises
    ------
    DamagedRecording, TooManyChannels, UnsupportedFormat
        As :func:`check_layout` says.
    RecordingTooLong
        When the limit on seconds or memory is passed, at once.
    InvalidSamples
        For NaN, infinity, or samples far beyond full scale.
    """

    def __init__(self, rate_hz: int, channels: int, limits: Limits, declared_frames: int | None) -> None:
        check_layout(rate_hz, channels, limits)
        kept_frames = limits.max_decoded_bytes // (4 * channels)
        self._max_duration_s = min(limits.max_duration_s, kept_frames / RATE_HZ)
        self._rate_hz = rate_hz
        self._blocks: list[list[np.ndarray]] = [[] for _ in range(channels)]
        self._clipped = np.zeros(channels, np.int64)
        self._resampler = None
        self.frames = 0
        if declared_frames is not None:
            self._check_duration(declared_frames, "the file announces")
        if rate_hz != RATE_HZ:
            import soxr

            self._resampler = soxr.ResampleStream(rate_hz, RATE_HZ, channels, dtype="float32", quality="HQ")

    @property
    def duration_s(self) -> float:
        """Seconds collected."""
        return self.frames / self._rate_hz

    def add(self, block: np.ndarray) -> None:
        """Take the next block [shape=(n, channels), float32]."""
        self.frames += len(block)
        self._check_duration(self.frames, "already decoded are")
        high, low = float(block.max()), float(block.min())
        peak = max(high, -low)
        if not np.isfinite(peak) or np.isnan(low):
            first = self.frames - len(block) + int(np.argmin(np.isfinite(block).all(axis=1)))
            raise InvalidSamples(
                f"Expected finite samples, but NaN or infinity came at {first / self._rate_hz:.3f} s."
            )
        if peak > _MAX_PEAK:
            raise InvalidSamples(f"Expected samples within ±1 at full scale, but one is {peak:.6g}.")
        if peak >= FULL_SCALE:
            self._clipped += np.count_nonzero(np.abs(block) >= FULL_SCALE, axis=0)
        self._keep(block if self._resampler is None else self._resampler.resample_chunk(block))

    def finish(self) -> tuple[tuple[np.ndarray, ...], tuple[float, ...]]:
        """Return each channel's samples and its share of clipped native samples."""
        channels = len(self._blocks)
        if self._resampler is not None:
            self._keep(self._resampler.resample_chunk(np.zeros((0, channels), np.float32), last=True))
        samples = []
        for blocks in self._blocks:
            samples.append(blocks[0] if len(blocks) == 1 else np.concatenate(blocks))
            blocks.clear()
        return tuple(samples), tuple(float(count / max(self.frames, 1)) for count in self._clipped)

    def _keep(self, block: np.ndarray) -> None:
        for channel, blocks in enumerate(self._blocks):
            samples = np.ascontiguousarray(block[:, channel])
            blocks.append(np.clip(samples, -1.0, 1.0, out=samples if samples.base is None else None))

    def _check_duration(self, frames: int, source: str) -> None:
        duration_s = frames / self._rate_hz
        if duration_s > self._max_duration_s:
            raise RecordingTooLong(
                f"Expected at most {self._max_duration_s:.0f} s with {len(self._blocks)} channels, "
                f"but {source} {duration_s:.0f} s."
            )
