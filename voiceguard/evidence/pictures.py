"""Pictures of a screening: waveform, spectrogram and scores over time, for people and for evidence."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from voiceguard.audio import RATE_HZ, Recording
from voiceguard.console import signed, visible
from voiceguard.evidence.librosa_import import librosa
from voiceguard.screening import ChannelScreening, Screening

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 1600
"""More detail than this along time no screen and no page shows."""
_FRAME = 256
_RANGE_DB = 70.0
_MIN_SCORE_SPAN = 3.0
# Okabe and Ito's colours, which people with any kind of colour vision tell apart.
_BLUE, _ORANGE, _VERMILION, _GREY = "#0072B2", "#E69F00", "#D55E00", "#555555"


def draw_screening(
    recording: Recording, screening: Screening, *, title: str, width_in: float = 11.0, dpi: int = 120
) -> Figure:
    """Draw waveform, spectrogram and window scores of every channel above one time axis.

    Parameters
    ----------
    recording, screening
        A recording and what came of it.
    title
        Stands above, as it is; what can't be printed is escaped.
    width_in, dpi
        Width in inches, and pixels in an inch; the letters' size is fixed, so less width makes them larger.

    Returns
    -------
    Figure
        Belongs to the caller alone: no window, no global state, so threads may draw at once.
    """
    from matplotlib.figure import Figure

    count = len(screening.channels)
    figure = Figure(figsize=(width_in, 0.6 + 5.4 * count), dpi=dpi, layout="constrained")
    figure.suptitle(visible(title), fontsize=12, parse_math=False)
    rows = figure.subplots(3 * count, 1, sharex=True, height_ratios=[1, 1.8, 1.3] * count, squeeze=False)[
        :, 0
    ]
    for index, channel in enumerate(screening.channels):
        waveform, spectrogram, scores = rows[3 * index : 3 * index + 3]
        samples = recording.channels[index]
        name = f"Channel {channel.channel}: " if count > 1 else ""
        waveform.set_title(name + _headline(channel), loc="left", fontsize=10)
        _draw_waveform(waveform, samples, channel)
        _draw_spectrogram(spectrogram, samples)
        _draw_scores(scores, channel, screening)
    rows[-1].set_xlabel("time, minutes:seconds" if recording.duration_s > 120 else "time, seconds")
    rows[-1].set_xlim(0, max(recording.duration_s, 0.1))
    if recording.duration_s > 120:
        rows[-1].xaxis.set_major_formatter(lambda x, _: f"{int(x // 60)}:{int(x % 60):02}")
    return figure


def save_png(figure: Figure, path: Path | BinaryIO) -> None:
    """Save a picture as a file, or into one that is open; the same figure gives the same bytes.

    Raises
    ------
    OSError
        The file can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # A file name may hold letters that the font lacks; a box stands for each.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.savefig(path, format="png", metadata={"Software": "VoiceGuard"})


def _headline(channel: ChannelScreening) -> str:
    verdict = channel.verdict.value
    if channel.reason is not None:
        verdict += f" ({channel.reason.value.replace('_', ' ')})"
    score = "" if channel.score is None else f", score {signed(channel.score)}"
    return f"{verdict}{score}, {channel.quality.speech_s:.1f} s of speech"


def _draw_waveform(axes: Axes, samples: np.ndarray, channel: ChannelScreening) -> None:
    for segment in channel.speech:
        axes.axvspan(segment.start_s, segment.end_s, color=_ORANGE, alpha=0.25, linewidth=0)
    width = max(len(samples) // _COLUMNS, 1)
    blocks = samples[: len(samples) // width * width].reshape(-1, width)
    if len(blocks):
        times = (np.arange(len(blocks)) + 0.5) * width / RATE_HZ
        axes.fill_between(times, blocks.min(axis=1), blocks.max(axis=1), color=_BLUE, linewidth=0.4)
    peak = float(np.abs(samples).max(initial=0.01))
    axes.set_ylim(-1.05 * peak, 1.05 * peak)
    axes.set_ylabel("waveform\n(shaded: speech)", fontsize=8)
    axes.tick_params(labelsize=8)


def _draw_spectrogram(axes: Axes, samples: np.ndarray) -> None:
    axes.set_ylabel("frequency, kHz", fontsize=8)
    axes.set_ylim(0, RATE_HZ / 2000)
    axes.tick_params(labelsize=8)
    if len(samples) < _FRAME:
        return
    hop = max(80, len(samples) // _COLUMNS)
    magnitudes = np.abs(librosa().stft(samples, n_fft=_FRAME, hop_length=hop))
    level_db = librosa().amplitude_to_db(magnitudes, ref=np.max, top_db=_RANGE_DB)
    axes.imshow(
        level_db,
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(-hop / 2 / RATE_HZ, (level_db.shape[1] - 0.5) * hop / RATE_HZ, 0, RATE_HZ / 2000),
        interpolation="nearest" if hop > _FRAME else "bilinear",
        vmin=-_RANGE_DB,
        vmax=0,
    )


def _draw_scores(axes: Axes, channel: ChannelScreening, screening: Screening) -> None:
    flag, review = screening.threshold, screening.review_threshold
    axes.axhline(0, color=_GREY, linewidth=0.6)
    axes.axhline(flag, color=_VERMILION, linewidth=1.4, label=f"flag, from {signed(flag)}")
    axes.axhline(review, color=_ORANGE, linewidth=1.4, linestyle="--", label=f"review, from {signed(review)}")
    if channel.score is not None:
        axes.axhline(
            channel.score,
            color=_BLUE,
            linewidth=1.2,
            linestyle=":",
            label=f"whole channel, {signed(channel.score)}",
        )
    scores = [window.score for window in channel.windows]
    for window in channel.windows:
        axes.plot(
            [window.start_s, window.end_s],
            [window.score, window.score],
            color=_BLUE,
            linewidth=3.5,
            solid_capstyle="butt",
        )
    # The whole channel may lie beyond all of its windows: more speech says more.
    values = [0.0, flag, review, *scores, *([] if channel.score is None else [channel.score])]
    margin = max(max(values) - min(values), _MIN_SCORE_SPAN) * 0.12
    axes.set_ylim(min(values) - margin, max(values) + margin)
    axes.set_ylabel("score of each window\n(higher: synthetic)", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", color=_GREY, alpha=0.2)
    axes.legend(loc="center left", bbox_to_anchor=(1.005, 0.5), fontsize=8, frameon=False)
