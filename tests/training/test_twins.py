"""Copies of one recording in two folds."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch", reason="needs torch and torchaudio: pip install '.[train]'")

from voiceguard.audio import RATE_HZ, decode
from voiceguard.training.corpus import load_corpus
from voiceguard.training.crossfold import CrossFold
from voiceguard.training.twins import find_twins, twin_figures

SAMPLES = Path(__file__).parents[2] / "audio_samples"


def _heard(name: str) -> np.ndarray:
    return decode(next(SAMPLES.glob(name))).channels[0][RATE_HZ : 6 * RATE_HZ]


def test_a_copy_in_another_fold_is_found_and_left_out(tmp_path: Path) -> None:
    drascula, armelle = _heard("human-drascula*"), _heard("human-armelle*")
    heard = [  # samples, label, fold
        (drascula, "bonafide", 0),
        (armelle, "bonafide", 0),
        (_heard("human-fillets-nl*"), "bonafide", 0),
        (_heard("synthetic-flite*"), "spoof", 0),
        (_heard("synthetic-hibari*"), "spoof", 0),
        (drascula[2000:], "bonafide", 1),  # a twin
        (armelle, "spoof", 1),  # as a vocoder's copy: no twin of the same label
        (_heard("human-fillets-cs*"), "bonafide", 1),
    ]
    rows = []
    for number, (samples, label, fold) in enumerate(heard):
        soundfile.write(tmp_path / f"{number}.wav", samples, RATE_HZ, subtype="ULAW")
        rows.append(
            {
                "id": f"{number:016x}",
                "path": f"{number}.wav",
                "label": label,
                "fold": fold,
                "group": f"g{number}",
                "kind": "human" if label == "bonafide" else "tts",
                "source": "wild",
                "engine": "" if label == "bonafide" else f"engine{number}",
                "page": "page",
                "speaker": f"speaker{number}",
                "seconds": len(samples) / RATE_HZ,
            }
        )
    manifest = tmp_path / "manifest.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    corpus = load_corpus(manifest)

    pairs = find_twins(corpus)
    assert sorted(pairs) == [(5, 0), (6, 1)]

    # The twins are the human clips that the scores take for synthetic; the rest is in order.
    scores = np.array([3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 1.0, -2.0])
    seconds = np.full(len(scores), 4.0)
    found = twin_figures(corpus, CrossFold({"plain": scores}, {"plain": seconds}), pairs)
    assert (found.human, found.synthetic) == (2, 0)
    assert found.within < found.within_without == 1
    assert found.eer_without < 0.01 < found.eer
