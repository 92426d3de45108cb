"""The training corpus: clips with their labels, folds and groups, read from a manifest."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voiceguard.audio import decode

HUMAN_LABEL = "bonafide"
SYNTHETIC_LABEL = "spoof"


@dataclass(frozen=True)
class Clip:
    """One clip of the corpus; empty strings where the manifest knows nothing."""

    id: str
    path: Path
    synthetic: bool
    fold: int
    group: str
    kind: str
    source: str
    engine: str
    page: str
    speaker: str
    language: str
    style: str
    seconds: float

    @property
    def voice(self) -> str:
        """Whose voice it is, as far as known: clips of one voice make a pseudo-call."""
        who = self.engine if self.synthetic else self.speaker or self.source
        return f"{self.page}|{who}"


@dataclass(frozen=True)
class Corpus:
    """All clips in the manifest's order, and the manifest's SHA-256."""

    clips: tuple[Clip, ...]
    sha256: str

    def column(self, name: str) -> np.ndarray:
        """One attribute of every clip, shape (clips,)."""
        return np.array([getattr(clip, name) for clip in self.clips])


def load_corpus(manifest: Path) -> Corpus:
    """Read ``manifest.csv``; paths in it are relative to its folder.

    Raises
    ------
    ValueError
        If a column is missing or a label is neither ``bonafide`` nor ``spoof``.
    """
    raw = manifest.read_bytes()
    rows = list(csv.DictReader(raw.decode().splitlines()))
    needed = {"id", "path", "label", "fold", "group"}
    if not rows or not needed <= rows[0].keys():
        found = ", ".join(rows[0]) if rows else "no rows"
        raise ValueError(f"Expected a manifest with the columns {', '.join(sorted(needed))}; got {found}.")
    return Corpus(tuple(_clip(row, manifest.parent) for row in rows), hashlib.sha256(raw).hexdigest())


def _clip(row: dict[str, str], folder: Path) -> Clip:
    if row["label"] not in (HUMAN_LABEL, SYNTHETIC_LABEL):
        raise ValueError(f"Expected the label {HUMAN_LABEL} or {SYNTHETIC_LABEL}; got {row['label']!r}.")
    known = {name: row.get(name) or "" for name in ("kind", "source", "engine", "page", "speaker")}
    return Clip(
        id=row["id"],
        path=folder / row["path"],
        synthetic=row["label"] == SYNTHETIC_LABEL,
        fold=int(row["fold"]),
        group=row["group"],
        language=row.get("language") or "",
        style=row.get("style") or "",
        seconds=float(row.get("seconds") or 0),
        **known,
    )


def read_samples(clip: Clip) -> np.ndarray:
    """Decode a clip to 8 kHz samples, shape (n,), float32, -1..1."""
    return decode(clip.path).channels[0]


def clip_weights(corpus: Corpus) -> np.ndarray:
    """Weigh clips so that no engine, page or speaker drowns the rest, shape (clips,), mean 1 for each class.

    A clip of a voice with n clips weighs 1/√n; both classes then weigh the same in all.
    """
    voices = corpus.column("voice")
    _, inverse, counts = np.unique(voices, return_inverse=True, return_counts=True)
    weights = 1 / np.sqrt(counts[inverse])
    synthetic = corpus.column("synthetic")
    for label in (True, False):
        weights[synthetic == label] *= (len(weights) / 2) / weights[synthetic == label].sum()
    return weights
