"""Learn the projections of ``voiceguard.fingerprint`` and write ``projections.npz``.

    python scripts/learn_fingerprint.py --manifest CORPUS/manifest.csv --folds 0,1,2

The manifest is described in ``scripts/fingerprint_lab/recordings.py``. Another table of projections gives other
fingerprints: raise ``VERSION`` in ``voiceguard/fingerprint/prints.py`` with it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from fingerprint_lab.copies import WAYS
from fingerprint_lab.learn import Pair, Patches, aligned, learn
from fingerprint_lab.recordings import sources

from voiceguard.audio import RATE_HZ

OUTPUT = Path(__file__).parents[1] / "voiceguard" / "fingerprint" / "projections.npz"
SHAPES = {"key": (Patches(50, 15), 28, 0.0), "code": (Patches(20, 8), 64, 0.5)}
"""What each projection sees, its bits, and by how many frames a copy's frames may lie beside an original's."""


def _pairs(manifest: Path, folds: set[str], recordings: int, copies: int) -> list[Pair]:
    rng = np.random.default_rng(1)
    found = list(sources(manifest, folds, 9, 13))
    pairs = []
    for index in rng.permutation(len(found))[:recordings]:
        # A little silence before, so that what a copy's late start cuts off is not speech.
        original = np.concatenate([np.zeros(RATE_HZ // 5, np.float32), found[index].read()])
        for number in rng.permutation(len(WAYS))[:copies]:
            # Drawn twice from the same seed, to know the tempo that the copy got.
            tempo = WAYS[number].tempo(np.random.default_rng([index, number]))
            copy = WAYS[number].copy(original, np.random.default_rng([index, number]))
            shift = int(rng.integers(RATE_HZ // 50))
            pairs.append(Pair(original, copy[shift:], shift / RATE_HZ, tempo))
    return pairs


def main() -> None:
    """Learn and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--folds", default="0,1,2")
    parser.add_argument("--recordings", type=int, default=260)
    parser.add_argument("--copies", type=int, default=3, help="copies of each recording")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    pairs = _pairs(options.manifest, set(options.folds.split(",")), options.recordings, options.copies)
    tables = {}
    for name, (patches, bits, jitter_frames) in SHAPES.items():
        clean, degraded = aligned(pairs, patches, jitter_frames)
        parts = learn(clean, degraded, bits, patches)
        print(f"{name}: {len(clean)} patches from {len(pairs)} copies")
        for part, table in zip(("weights", "thresholds", "noises"), parts, strict=True):
            tables[f"{name}_{part}"] = table
    np.savez_compressed(options.output, **tables)


if __name__ == "__main__":
    main()
