"""Degraded versions of the corpus and their features, made once and kept outside the repository.

Version k of a clip is the clip through a channel drawn from (seed, k, clip id); its severity cycles through
plain, mild, hard. From `FIRST_AT_OTHER_SPEED` on the clip is played faster or slower before, which makes another
voice of it (Ko et al., "Audio augmentation for speech recognition", Interspeech 2015).

A prepared folder holds, for each version, ``audio-k.npy`` (clips × samples, int16: the window that is scored,
zero-padded), ``mask-k.npy`` (clips × 10 ms frames, bool: which of them are speech; none where there is too little),
``speech-k.npy`` (clips, seconds of speech) and ``channels-k.json``; and, made from these, ``features-HASH-k.npy``
(clips × features, float16, NaN where a clip has too little speech). What is there already is not made again, so that
preparing resumes after a stop, and other features need no new audio. The version ``clean`` went through no channel; no
detector that ships has heard it.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Literal

import numpy as np
import soxr
from numpy.lib.format import open_memmap
from rich.progress import track

from voiceguard.audio import RATE_HZ
from voiceguard.features import extract, feature_names, features_sha256
from voiceguard.processes import one_thread
from voiceguard.telephony.channel import SEVERITIES, Channel, Severity, draw_channel
from voiceguard.telephony.codecs import from_int16, to_int16
from voiceguard.training.corpus import Clip, Corpus, read_samples
from voiceguard.vad import FRAME_S, FRAME_SAMPLES, MIN_SCORED_S, speech_frames
from voiceguard.windows import SpeechWindow, cut_windows

AUDIO_SAMPLES = int(4.3 * RATE_HZ)
FIRST_AT_OTHER_SPEED = 6
"""Versions before this one are as they were spoken; those that are reported on are among them."""
MOST_LOG_SPEED = 0.11
"""Natural log of the greatest change of speed, drawn evenly between it and its negative."""
Version = int | Literal["clean"]
"""Number of a version, or the one without a channel."""
LAYOUT = 2
"""Counted up when a prepared folder holds other arrays than before."""


def version_severity(version: int) -> Severity:
    """Severity of a version: 0 plain, 1 mild, 2 hard, and so on."""
    return SEVERITIES[version % len(SEVERITIES)]


def version_channel(clip: Clip, version: int, seed: int) -> Channel:
    """Draw the channel of one version of one clip."""
    rng = np.random.default_rng([seed, version, int(clip.id, 16) % 2**63])
    return draw_channel(rng, version_severity(version))


def version_samples(clip: Clip, version: Version, seed: int) -> np.ndarray:
    """Return a clip as the channel of one of its versions hears it, shape (samples,), float32."""
    samples = read_samples(clip)
    if version == "clean" or version < FIRST_AT_OTHER_SPEED:
        return samples
    rng = np.random.default_rng([seed, version, int(clip.id, 16) % 2**63, 1])
    speed = np.exp(rng.uniform(-MOST_LOG_SPEED, MOST_LOG_SPEED))
    return np.asarray(soxr.resample(samples, RATE_HZ * speed, RATE_HZ), np.float32)


def prepare(
    corpus: Corpus, folder: Path, versions: Sequence[Version], *, seed: int = 0, jobs: int = 2
) -> None:
    """Make the versions that are missing in ``folder``; ``jobs`` processes, one thread each.

    Raises
    ------
    ValueError
        If the folder holds versions of another corpus or seed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = {"corpus_sha256": corpus.sha256, "seed": seed, "layout": LAYOUT}
    kept = folder / "record.json"
    if kept.exists() and json.loads(kept.read_text()) != record:
        raise ValueError(f"Expected {folder} to hold this corpus and seed; take another work folder.")
    kept.write_text(json.dumps(record))
    one_thread()
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for version in versions:
            if not (folder / f"channels-{version}.json").exists():
                _prepare_audio(corpus, folder, version, seed, pool)
        for version in versions:
            if not features_path(folder, version).exists():
                _prepare_features(folder, version, pool)


def features_path(folder: Path, version: Version) -> Path:
    """Where the features of a version lie."""
    return folder / f"features-{features_sha256()[:8]}-{version}.npy"


def _prepare_audio(corpus: Corpus, folder: Path, version: Version, seed: int, pool: Pool) -> None:
    count = len(corpus.clips)
    parts = {name: folder / f"{name}-{version}.part.npy" for name in ("speech", "mask", "audio")}
    audio = open_memmap(parts["audio"], "w+", np.int16, (count, AUDIO_SAMPLES))
    mask = open_memmap(parts["mask"], "w+", np.bool_, (count, AUDIO_SAMPLES // FRAME_SAMPLES))
    seconds = open_memmap(parts["speech"], "w+", np.float32, (count,))
    tasks = [(clip, version, seed) for clip in corpus.clips]
    results = pool.imap(_degrade, tasks, chunksize=16)
    for row, (window, speech_s) in enumerate(track(results, f"version {version}", total=count)):
        if window is not None:
            samples = to_int16(window.samples)[:AUDIO_SAMPLES]
            audio[row, : len(samples)] = samples
            marked = window.speech[: mask.shape[1]]
            mask[row, : len(marked)] = marked
        seconds[row] = speech_s
    for array in (seconds, mask, audio):
        array.flush()
    for name, part in parts.items():
        part.rename(folder / f"{name}-{version}.npy")
    # Last: where it is, the arrays are whole.
    channels = [
        None if version == "clean" else asdict(version_channel(clip, version, seed)) for clip in corpus.clips
    ]
    (folder / f"channels-{version}.json").write_text(json.dumps(channels))


def _prepare_features(folder: Path, version: Version, pool: Pool) -> None:
    path = features_path(folder, version)
    part = path.with_suffix(".part.npy")
    count = len(np.load(folder / f"speech-{version}.npy"))
    features = open_memmap(part, "w+", np.float16, (count, len(feature_names())))
    tasks = [(folder, version, row) for row in range(count)]
    results = pool.imap(_compute, tasks, chunksize=16)
    for row, vector in enumerate(track(results, f"features of version {version}", total=count)):
        features[row] = np.nan if vector is None else vector
    features.flush()
    part.rename(path)


def prepared_window(audio: np.ndarray, mask: np.ndarray) -> SpeechWindow | None:
    """Take a clip's window out of a prepared version's rows: samples (n,), int16, and speech (n // 80,), bool."""
    if not mask.any():
        return None
    used = max(int(np.flatnonzero(audio)[-1]) + 1, (int(np.flatnonzero(mask)[-1]) + 1) * FRAME_SAMPLES)
    return SpeechWindow(
        0.0, used / RATE_HZ, from_int16(np.asarray(audio[:used])), np.asarray(mask[: used // FRAME_SAMPLES])
    )


def clip_window(samples: np.ndarray) -> tuple[SpeechWindow | None, float]:
    """Return a clip's speech as one window, None if there is too little of it, and its seconds of speech."""
    speech = speech_frames(samples)
    speech_s = float(speech.sum()) * FRAME_S
    if speech_s < MIN_SCORED_S:
        return None, speech_s
    return cut_windows(samples, speech, window_s=2 * AUDIO_SAMPLES / RATE_HZ)[0], speech_s


def _degrade(task: tuple[Clip, Version, int]) -> tuple[SpeechWindow | None, float]:
    clip, version, seed = task
    samples = version_samples(clip, version, seed)
    return clip_window(samples if version == "clean" else version_channel(clip, version, seed).apply(samples))


@functools.lru_cache(maxsize=2)
def _arrays(folder: Path, version: Version) -> tuple[np.ndarray, np.ndarray]:
    audio = np.load(folder / f"audio-{version}.npy", mmap_mode="r")
    return audio, np.load(folder / f"mask-{version}.npy", mmap_mode="r")


def _compute(task: tuple[Path, Version, int]) -> np.ndarray | None:
    folder, version, row = task
    audio, mask = _arrays(folder, version)
    window = prepared_window(audio[row], mask[row])
    return None if window is None else extract([window])[0].astype(np.float16)
