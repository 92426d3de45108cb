"""A fixed sample of the corpus, scored by the shipped model through the whole screening: what must not stray.

The model has heard these clips, so the figures say nothing about its skill. They change when decoding, the
channel simulation, speech detection, features, the graph or its calibration change, and a test looks.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import soundfile
from rich.progress import track

from voiceguard.audio import RATE_HZ
from voiceguard.screening import Screener
from voiceguard.training import metrics
from voiceguard.training.corpus import Clip, Corpus, read_samples
from voiceguard.training.prepare import version_channel

SAMPLE_FILE = "sample.json"
CLIPS = 300
_VERSION = 3000
"""Its channels are plain, and no training reaches it."""


def sample_clips(corpus: Corpus) -> list[Clip]:
    """Choose clips of wild pages, as many human as synthetic; the same ones for the same corpus."""
    rng = np.random.default_rng(0)
    wild = corpus.column("source") == "wild"
    chosen: list[Clip] = []
    for synthetic in (True, False):
        rows = np.flatnonzero(wild & (corpus.column("synthetic") == synthetic))
        chosen += [corpus.clips[row] for row in rng.permutation(rows)[: CLIPS // 2]]
    return chosen


def score_sample(corpus: Corpus, screener: Screener) -> dict[str, float]:
    """Screen each chosen clip as a WAV file through a plain channel; scores by clip id, where there is one."""
    scores = {}
    for clip in track(sample_clips(corpus), "sample", transient=True):
        file = io.BytesIO()
        samples = version_channel(clip, _VERSION, 0).apply(read_samples(clip))
        soundfile.write(file, samples, RATE_HZ, format="WAV", subtype="PCM_16")
        score = screener.screen(file.getvalue()).decision.score
        if score is not None:
            scores[clip.id] = round(score, 4)
    return scores


def write_sample(folder: Path, corpus: Corpus) -> None:
    """Write ``sample.json`` into a model's folder: the scores, and the area under the curve that they make."""
    scores = score_sample(corpus, Screener.load(folder))
    document = {"corpus_sha256": corpus.sha256, "auc": round(sample_auc(corpus, scores), 4), "scores": scores}
    (folder / SAMPLE_FILE).write_text(json.dumps(document, indent=0) + "\n")


def sample_auc(corpus: Corpus, scores: dict[str, float]) -> float:
    """Area under the curve of the sample's scores."""
    synthetic = {clip.id: clip.synthetic for clip in sample_clips(corpus)}
    values = np.array(list(scores.values()))
    labels = np.array([synthetic[clip_id] for clip_id in scores])
    return metrics.area_under_curve(values[~labels], values[labels])
