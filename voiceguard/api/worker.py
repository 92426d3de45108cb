"""What runs in a screening process: it loads the detector once, then screens one file after the other."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from voiceguard.audio import Limits, decode
from voiceguard.fingerprint import Fingerprint
from voiceguard.screening import Screener, Screening, deciding_print
from voiceguard.streaming import MAX_LOOK_S, Look, look_at
from voiceguard.telephony.streams import AudioFormat, wav_bytes

_screener: Screener | None = None


@dataclass(frozen=True)
class Worker:
    """A process that is ready."""

    pid: int
    model: str


@dataclass(frozen=True)
class StreamSoFar:
    """What was received of a running stream: a file for each track, and how much of it counts."""

    format: AudioFormat
    paths: tuple[str, ...]
    sizes: tuple[int, ...]


def start(model_dir: Path | None) -> Worker:
    """Load the detector; raise `ModelError` if that can't be done."""
    global _screener
    # Signals to the whole group are for the server, which ends us when it has drained.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _screener = Screener.load(model_dir)
    return Worker(os.getpid(), _screener.model_id)


def screen(
    path: str, name: str | None, remote_channel: int | None, limits: Limits
) -> tuple[Screening, float]:
    """Screen a file; return the screening and the seconds it took, or raise `AudioError`."""
    if _screener is None:
        raise RuntimeError("expected start() before screen()")
    began = time.perf_counter()
    screening = _screener.screen(Path(path), name=name, remote_channel=remote_channel, limits=limits)
    return screening, time.perf_counter() - began


def screen_and_print(
    path: str, name: str | None, remote_channel: int | None, limits: Limits
) -> tuple[Screening, Fingerprint | None, float]:
    """Do what `screen` does for a call that is stored: its recording is to be known again."""
    if _screener is None:
        raise RuntimeError("expected start() before screen_and_print()")
    began = time.perf_counter()
    recording = decode(Path(path), name=name, limits=limits)
    screening = _screener.screen_recording(recording, remote_channel)
    return screening, deciding_print(recording, screening), time.perf_counter() - began


def look(stream: StreamSoFar, remote_channel: int | None, limits: Limits) -> tuple[Look, float]:
    """Screen what was received of a stream, as its file would be; return the findings and the seconds it took."""
    if _screener is None:
        raise RuntimeError("expected start() before look()")
    began = time.perf_counter()
    most = round(MAX_LOOK_S * stream.format.bytes_per_s)
    skipped = max(0, max(stream.sizes) - most) // stream.format.block_bytes * stream.format.block_bytes
    tracks = []
    for path, size in zip(stream.paths, stream.sizes, strict=True):
        with Path(path).open("rb") as file:
            file.seek(skipped)
            tracks.append(file.read(max(0, size - skipped)))
    if remote_channel is not None and remote_channel >= len(tracks) * stream.format.channels:
        remote_channel = None  # that track has not begun
    screening = _screener.screen(
        wav_bytes(stream.format, tracks), remote_channel=remote_channel, limits=limits
    )
    return look_at(screening, _screener.calibration), time.perf_counter() - began


def _die_with_parent() -> None:
    """End this process when the server is gone; after a kill -9 nobody else would."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
