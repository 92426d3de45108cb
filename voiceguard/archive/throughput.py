"""How fast recordings are screened: hours of audio an hour of one core, and what a second process adds."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import BrokenBarrierError

import numpy as np

from voiceguard.archive.jobs import Job
from voiceguard.archive.screen import OneByOne, load
from voiceguard.processes import one_thread


@dataclass(frozen=True)
class CodecSpeed:
    """What recordings of one codec cost a scan: decoding, screening and the fingerprint."""

    codec: str
    audio_s: float
    hours_per_core_hour: float


@dataclass(frozen=True)
class Scaling:
    """What several processes do together, over what one does alone in the same run."""

    work: str
    alone: float
    together: float
    processes: int

    @property
    def ratio(self) -> float:
        """Work of all processes over that of one."""
        return self.together / self.alone


def codec_speeds(recordings: Iterable[Path], model_dir: Path | None, *, repeats: int = 5) -> list[CodecSpeed]:
    """Measure recordings by codec, in CPU time of all threads; the best of the repeats counts."""
    screen = load(model_dir, None)
    assert isinstance(screen, OneByOne)
    costs: dict[str, list[tuple[float, float]]] = {}
    for path in recordings:
        data = path.read_bytes()
        job = Job(str(path), None)
        best, codec, audio_s = float("inf"), "", 0.0
        for _ in range(repeats + 1):  # the first one warms up
            began = time.process_time()
            (result,) = screen.finish([screen.prepare(job, "", data)])
            best = min(best, time.process_time() - began)
            row = result.rows[0]
            codec, audio_s = row.codec or "", row.duration_s or 0.0
        costs.setdefault(codec, []).append((audio_s, best))
    return [
        CodecSpeed(
            codec, sum(audio for audio, _ in found), sum(a for a, _ in found) / sum(c for _, c in found)
        )
        for codec, found in sorted(costs.items())
    ]


def scalings(
    recording: Path, model_dir: Path | None, processes: int, seconds: float
) -> tuple[Scaling, Scaling]:
    """Compare one process with several: screening, and plain numpy for what the machine itself gives.

    Alone and together take turns, a round each at a time, so that other work on the machine meets both.
    """
    rounds = 3
    found = []
    for work, body in (("screening", _screen_for), ("plain numpy", _numpy_for)):
        rates = {1: 0.0, processes: 0.0}
        for _ in range(rounds):
            for count in rates:
                rates[count] += _rate(body, (recording, model_dir), count, seconds / rounds) / rounds
        found.append(Scaling(work, rates[1], rates[processes], processes))
    return found[0], found[1]


_Body = Callable[[tuple[Path, Path | None]], Callable[[], float]]


def _rate(body: _Body, arguments: tuple[Path, Path | None], count: int, seconds: float) -> float:
    """Work a second of ``count`` processes that start together."""
    context = multiprocessing.get_context("spawn")
    start = (context.Barrier(count),)
    with ProcessPoolExecutor(count, context, initializer=_start_at, initargs=start) as pool:
        running = [pool.submit(_work, body, arguments, seconds) for _ in range(count)]
        errors = [error for future in running if (error := future.exception())]
        if errors:  # of those that only waited for it, none says what went wrong
            raise next((error for error in errors if not isinstance(error, BrokenBarrierError)), errors[0])
        return sum(future.result() for future in running)


_start: Barrier


def _start_at(barrier: Barrier) -> None:
    global _start
    _start = barrier
    one_thread()


def _work(body: _Body, arguments: tuple[Path, Path | None], seconds: float) -> float:
    try:
        once = body(arguments)
        once()
    except BaseException:
        _start.abort()
        raise
    _start.wait()
    done, began_at = 0.0, time.perf_counter()
    while time.perf_counter() - began_at < seconds:
        done += once()
    return done / (time.perf_counter() - began_at)


def _screen_for(arguments: tuple[Path, Path | None]) -> Callable[[], float]:
    """Return a function that screens the recording once and returns its seconds."""
    recording, model_dir = arguments
    screen, data = load(model_dir, None), recording.read_bytes()
    job = Job(str(recording), None)

    def once() -> float:
        (result,) = screen.finish([screen.prepare(job, "", data)])
        return result.rows[0].duration_s or 0.0

    return once


def _numpy_for(_arguments: tuple[Path, Path | None]) -> Callable[[], float]:
    """Return a function that adds and multiplies within the first-level cache, and returns 1."""
    values = np.linspace(0.0, 1.0, 1024, dtype=np.float32)

    def once() -> float:
        total = values
        for _ in range(2000):
            total = total * np.float32(0.999) + values
        return 1.0 if np.isfinite(total[-1]) else 0.0

    return once
