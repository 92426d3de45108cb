"""Degraded versions of the corpus and their features, made once and kept outside the repository.

Version k of a clip is the clip through a channel drawn from (seed, k, clip id); its severity cycles through
plain, mild, hard. A prepared folder holds, for each version, ``features-k.npy`` (clips × features, float16,
NaN where a clip has too little speech), ``audio-k.npy`` (clips × samples, int16, speech only, zero-padded) and
``speech-k.npy`` (clips, seconds of speech). A version that is there already is not made again, so that
preparing resumes after a stop.
"""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import asdict
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from rich.progress import track

from voiceguard.audio import RATE_HZ
from voiceguard.features import (
    CONTEXT_SAMPLES,
    SpeechWindow,
    cut_windows,
    extract,
    feature_names,
    features_sha256,
)
from voiceguard.telephony.channel import SEVERITIES, Channel, Severity, draw_channel
from voiceguard.telephony.codecs import to_int16
from voiceguard.training.corpus import Clip, Corpus, read_samples
from voiceguard.vad import FRAME_S, MIN_SCORED_S, speech_frames

AUDIO_SAMPLES = int(4.3 * RATE_HZ)


def version_severity(version: int) -> Severity:
    """Severity of a version: 0 plain, 1 mild, 2 hard, and so on."""
    return SEVERITIES[version % len(SEVERITIES)]


def version_channel(clip: Clip, version: int, seed: int) -> Channel:
    """Draw the channel of one version of one clip."""
    rng = np.random.default_rng([seed, version, int(clip.id, 16) % 2**63])
    return draw_channel(rng, version_severity(version))


def prepare(corpus: Corpus, folder: Path, versions: list[int], *, seed: int = 0, jobs: int = 2) -> None:
    """Make the versions that are missing in ``folder``; ``jobs`` processes, one thread each.

    Raises
    ------
    ValueError
        If the folder holds versions of another corpus, seed or set of features.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "corpus_sha256": corpus.sha256,
        "seed": seed,
        "features_sha256": features_sha256(),
    }
    kept = folder / "record.json"
    if kept.exists() and json.loads(kept.read_text()) != record:
        raise ValueError(
            f"Expected {folder} to hold this corpus, seed and features; take another work folder."
        )
    kept.write_text(json.dumps(record))
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for version in versions:
            if not (folder / f"features-{version}.npy").exists():
                _prepare_version(corpus, folder, version, seed, pool)


def _prepare_version(corpus: Corpus, folder: Path, version: int, seed: int, pool: Pool) -> None:
    count = len(corpus.clips)
    parts = {name: folder / f"{name}-{version}.part.npy" for name in ("speech", "audio", "features")}
    features = open_memmap(parts["features"], "w+", np.float16, (count, len(feature_names())))
    audio = open_memmap(parts["audio"], "w+", np.int16, (count, AUDIO_SAMPLES))
    seconds = open_memmap(parts["speech"], "w+", np.float32, (count,))
    tasks = [(clip, version, seed) for clip in corpus.clips]
    results = pool.imap(_one, tasks, chunksize=16)
    for row, (vector, samples, speech_s) in enumerate(track(results, f"version {version}", total=count)):
        features[row] = np.nan if vector is None else vector
        audio[row, : len(samples)] = samples
        seconds[row] = speech_s
    for array in (seconds, audio, features):
        array.flush()
    for name, part in parts.items():
        part.rename(folder / f"{name}-{version}.npy")
    channels = [asdict(version_channel(clip, version, seed)) for clip in corpus.clips]
    (folder / f"channels-{version}.json").write_text(json.dumps(channels))


def clip_window(samples: np.ndarray) -> tuple[SpeechWindow | None, float]:
    """Return a clip's speech as one window, None if there is too little of it, and its seconds of speech."""
    speech = speech_frames(samples)
    speech_s = float(speech.sum()) * FRAME_S
    if speech_s < MIN_SCORED_S:
        return None, speech_s
    return cut_windows(samples, speech, window_s=2 * AUDIO_SAMPLES / RATE_HZ)[0], speech_s


def _one(task: tuple[Clip, int, int]) -> tuple[np.ndarray | None, np.ndarray, float]:
    clip, version, seed = task
    samples = version_channel(clip, version, seed).apply(read_samples(clip))
    window, speech_s = clip_window(samples)
    if window is None:
        return None, np.zeros(0, np.int16), speech_s
    spoken = window.samples[CONTEXT_SAMPLES // 2 : -CONTEXT_SAMPLES // 2]
    return extract([window])[0], to_int16(spoken)[:AUDIO_SAMPLES], speech_s
