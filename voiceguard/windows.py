"""Speech -> windows: what the detector scores once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voiceguard.audio import RATE_HZ
from voiceguard.vad import FRAME_SAMPLES

WINDOW_S = 4.0
"""Seconds of speech in a window."""
MIN_WINDOW_S = 1.5
"""A rest shorter than this joins the window before it."""
CONTEXT_SAMPLES = 800
"""Audio kept on both sides of a stretch of speech, so that differences over time reach across its edges."""


@dataclass(frozen=True)
class SpeechWindow:
    """What the detector scores once.

    ``samples`` holds the speech with some context; ``speech`` marks its 10 ms frames that count, shape
    (len(samples) // 80,).
    """

    start_s: float
    end_s: float
    samples: np.ndarray
    speech: np.ndarray


def cut_windows(samples: np.ndarray, speech: np.ndarray, window_s: float = WINDOW_S) -> list[SpeechWindow]:
    """Cut a channel into windows that hold ``window_s`` seconds of speech each.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float32, -1..1]
        One channel at 8 kHz.
    speech : np.ndarray [shape=(n // 80,), bool]
        Its speech frames, as :func:`voiceguard.vad.speech_frames` marks them.
    window_s : float
        Seconds of speech a window; the last one holds ``MIN_WINDOW_S`` to ``window_s + MIN_WINDOW_S``.
    """
    frames = np.flatnonzero(speech)
    per_window = round(window_s * RATE_HZ / FRAME_SAMPLES)
    least = round(MIN_WINDOW_S * RATE_HZ / FRAME_SAMPLES)
    if len(frames) == 0:
        return []
    starts = list(range(0, len(frames), per_window))
    if len(starts) > 1 and len(frames) - starts[-1] < least:
        starts.pop()
    return [
        _gather(samples, frames[start:end])
        for start, end in zip(starts, [*starts[1:], len(frames)], strict=True)
    ]


def _gather(samples: np.ndarray, frames: np.ndarray) -> SpeechWindow:
    """Join the stretches that hold these frames, each with its context, leaving longer pauses out."""
    context = CONTEXT_SAMPLES // FRAME_SAMPLES
    pieces, masks = [], []
    last_frame = len(samples) // FRAME_SAMPLES
    for stretch in np.split(frames, np.flatnonzero(np.diff(frames) > 2 * context) + 1):
        begin, end = max(int(stretch[0]) - context, 0), min(int(stretch[-1]) + 1 + context, last_frame)
        pieces.append(samples[begin * FRAME_SAMPLES : end * FRAME_SAMPLES])
        mask = np.zeros(end - begin, dtype=bool)
        mask[stretch - begin] = True
        masks.append(mask)
    return SpeechWindow(
        start_s=int(frames[0]) * FRAME_SAMPLES / RATE_HZ,
        end_s=(int(frames[-1]) + 1) * FRAME_SAMPLES / RATE_HZ,
        samples=np.concatenate(pieces),
        speech=np.concatenate(masks),
    )
