"""What screening costs: by stage against a plain log-spectrogram of the same audio, by codec, and in two processes."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import scipy.fft
import soundfile
import typer
from rich.console import RenderableType
from rich.table import Table

from voiceguard.archive.throughput import CodecSpeed, Scaling, codec_speeds, scalings
from voiceguard.audio import RATE_HZ, decode
from voiceguard.features import analyse
from voiceguard.screening import Screener
from voiceguard.shipped import shipped
from voiceguard.vad import speech_frames
from voiceguard.windows import cut_windows

SECONDS = 30.0


@dataclass(frozen=True)
class Stage:
    """One stage's cost in CPU time, of all threads together: best of the repeats."""

    name: str
    seconds: float
    spectrograms: float
    """Cost in plain log-spectrograms of the same audio."""
    real_time: float
    """Seconds of audio a second of one core."""


@dataclass(frozen=True)
class Bench:
    """All stages, of ``audio_s`` seconds of audio that hold ``speech_s`` seconds of speech."""

    audio_s: float
    speech_s: float
    stages: tuple[Stage, ...]


def log_spectrogram(samples: np.ndarray) -> np.ndarray:
    """Plain log-spectrogram, 256-point Hann, 10 ms hop: the unit of cost; (n,) -> (frames, 129)."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 256)[::80]
    spectrum = scipy.fft.rfft(frames * np.hanning(256).astype(np.float32), axis=1)
    return np.log(np.abs(spectrum) ** 2 + 1e-10)


def run_bench(screener: Screener, samples: np.ndarray, *, repeats: int = 7) -> Bench:
    """Time one thread on 30 seconds made of ``samples``, as a G.711 µ-law WAV file in memory.

    Parameters
    ----------
    screener : Screener
    samples : np.ndarray [shape=(n,), float32, -1..1]
        Speech at 8 kHz; repeated or cut to 30 seconds.
    repeats : int
        Each stage runs this often, all stages in turn; the best time of each counts.
    """
    audio = np.resize(samples, round(SECONDS * RATE_HZ)).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, audio, RATE_HZ, format="WAV", subtype="ULAW")
    raw = file.getvalue()
    recording = decode(raw)
    channel = recording.channels[0]
    speech = speech_frames(channel)
    windows = cut_windows(channel, speech)
    detector = screener.detector
    features, frames = detector.extract(windows), analyse(windows)
    work: dict[str, Callable[[], object]] = {
        "log-spectrogram": lambda: log_spectrogram(channel),
        "decode": lambda: decode(raw),
        "speech": lambda: speech_frames(channel),
        "features": lambda: detector.extract(windows),
        "model": lambda: detector.score_features(features),
        "network": lambda: detector.hear(frames),
        "screen, end to end": lambda: screener.screen(raw),
    }
    best = dict.fromkeys(work, float("inf"))
    for _ in range(repeats):
        for name, run in work.items():
            start = time.process_time()
            run()
            best[name] = min(best[name], time.process_time() - start)
    unit = best["log-spectrogram"]
    stages = tuple(Stage(name, cost, cost / unit, SECONDS / cost) for name, cost in best.items())
    return Bench(SECONDS, float(speech.sum()) / 100, stages)


def bench(
    model: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The detector's folder, or light.  [default: the shipped one]"),
    ] = None,
    recording: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Speech to time, repeated to 30 s.  [default: a sample clip]"),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=2,
            help="Instead, compare N processes with one, and with plain numpy in N and one.",
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.5, help="With --processes: how long each of the four measurements takes.")
    ] = 15.0,
) -> None:
    """Time every stage of screening on one core, and recordings of each codec; or several processes."""
    from voiceguard.console import console

    out = console()
    if processes is not None:
        sample = recording or shipped("audio_samples") / "human-asterisk-en-ulaw.wav"
        out.print(_scaling_table(scalings(sample, model, processes, seconds)))
        return
    speech = recording or shipped("audio_samples") / "human-asterisk-en-ulaw.wav"
    result = run_bench(Screener.load(model), decode(speech).channels[0])
    out.print(f"{result.audio_s:.0f} s of G.711 µ-law WAV with {result.speech_s:.1f} s of speech, one thread")
    out.print(_stage_table(result))
    clips = [path for path in sorted(shipped("audio_samples").glob("*-*.*")) if path.suffix != ".md"]
    out.print("\nSample clips as a scan takes them, fingerprint included, one thread")
    out.print(_codec_table(codec_speeds(clips, model)))


def _stage_table(result: Bench) -> RenderableType:
    table = Table("stage", "ms", "log-spectrograms", "× real time", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for stage in result.stages:
        table.add_row(
            stage.name, f"{1000 * stage.seconds:.1f}", f"{stage.spectrograms:.1f}", f"{stage.real_time:,.0f}"
        )
    return table


def _codec_table(speeds: list[CodecSpeed]) -> RenderableType:
    table = Table("codec", "clips, s", "hours of audio a core-hour", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for speed in speeds:
        table.add_row(speed.codec, f"{speed.audio_s:.0f}", f"{speed.hours_per_core_hour:,.0f}")
    return table


def _scaling_table(found: tuple[Scaling, Scaling]) -> RenderableType:
    table = Table("work", "1 process", f"{found[0].processes} processes", "ratio", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for one in found:
        table.add_row(one.work, f"{one.alone:,.0f}/s", f"{one.together:,.0f}/s", f"{one.ratio:.2f}")
    return table
