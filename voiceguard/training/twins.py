"""Twins: recordings that several pages show, so that a clip which is tested may also be among those that train.

The folds keep pages, speakers and engines apart, but demonstration pages quote the same human recordings and convert
the same sentences. The fingerprint finds them whatever codec they went through.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
from rich.progress import track

from voiceguard.fingerprint import Fingerprint, compute, match
from voiceguard.training import metrics
from voiceguard.training.corpus import Corpus, read_samples
from voiceguard.training.crossfold import CrossFold, training_mask
from voiceguard.vad import speech_frames

COMPARED = 12
"""Clips that each is compared with in full, those with the most keys in common first."""


@dataclass(frozen=True)
class TwinFigures:
    """Plain phone, wild pages: all clips, and those without twins of the same label in training."""

    human: int
    """Human clips with such a twin."""
    synthetic: int
    eer: float
    within: float
    """Mean area under the curve within pages."""
    eer_without: float
    within_without: float


def find_twins(corpus: Corpus) -> list[tuple[int, int]]:
    """Find the pairs of clips that are of one recording, as rows of ``corpus.clips``, the later one first."""
    rows_of: dict[int, list[int]] = defaultdict(list)
    made: list[Fingerprint] = []
    pairs = []
    for row, clip in enumerate(track(corpus.clips, "fingerprints")):
        samples = read_samples(clip)
        own = compute(samples, speech_frames(samples))
        shared = Counter(other for key in own.query_keys().tolist() for other in rows_of.get(key, ()))
        pairs += [(row, other) for other, _ in shared.most_common(COMPARED) if match(own, made[other])]
        for key in own.keys().tolist():
            rows_of[key].append(row)
        made.append(own)
    return pairs


def twin_figures(corpus: Corpus, result: CrossFold, pairs: list[tuple[int, int]]) -> TwinFigures:
    """Hold the figures of all clips against those of clips whose recording the networks of their fold never heard.

    Twins of the other label, such as a vocoded copy of a human clip, are no help to a detector and are not counted.
    """
    folds, synthetic, pages = corpus.column("fold"), corpus.column("synthetic"), corpus.column("page")
    trains = {fold: training_mask(corpus, int(fold)) for fold in np.unique(folds)}
    heard = np.zeros(len(folds), bool)
    for pair in pairs:
        for tested, other in (pair, pair[::-1]):
            heard[tested] |= trains[folds[tested]][other] and synthetic[tested] == synthetic[other]
    scores = result.scores["plain"]
    wild = np.isfinite(scores) & (corpus.column("source") == "wild")

    def figures(chosen: np.ndarray) -> tuple[float, float]:
        human, engines = scores[chosen & ~synthetic], scores[chosen & synthetic]
        within = metrics.area_within(scores[chosen], synthetic[chosen], pages[chosen])
        return metrics.equal_error_rate(human, engines), within

    return TwinFigures(
        int((wild & heard & ~synthetic).sum()),
        int((wild & heard & synthetic).sum()),
        *figures(wild),
        *figures(wild & ~heard),
    )
