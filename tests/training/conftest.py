from __future__ import annotations

import csv

import numpy as np
import pytest
import scipy.signal
import soundfile


def voice(rng: np.random.Generator, synthetic: bool) -> np.ndarray:
    """Three seconds of pulses; the synthetic ones lack the jitter from period to period."""
    pitch_hz = rng.uniform(90, 220)
    jitter = 0.0 if synthetic else 0.03
    samples = np.zeros(24000, np.float32)
    position = 0.0
    while position < len(samples) - 1:
        samples[int(position)] = 1
        position += 8000 / pitch_hz * (1 + jitter * rng.standard_normal())
    for formant_hz in (500, 1500, 2500):
        formant_hz *= rng.uniform(0.9, 1.1)
        pole = 0.97 * np.exp(2j * np.pi * formant_hz / 8000)
        samples = scipy.signal.lfilter([1], [1, -2 * pole.real, abs(pole) ** 2], samples)
    envelope = np.clip(np.sin(2 * np.pi * 3 * np.arange(24000) / 8000) + 0.8, 0, None)
    samples = samples * envelope + 1e-3 * rng.standard_normal(24000)
    return (0.5 * samples / np.abs(samples).max()).astype(np.float32)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Make a small corpus: 160 clips in five folds, every other one synthetic."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(7)
    rows = []
    for number in range(160):
        synthetic = number % 2 == 0
        name = f"{number}.flac"
        soundfile.write(folder / name, voice(rng, synthetic), 8000)
        rows.append(
            {
                "id": f"{number:016x}",
                "path": name,
                "label": "spoof" if synthetic else "bonafide",
                "fold": number // 32,
                "group": f"g{number // 4}",
                "kind": "tts" if synthetic else "human",
                "source": "wild",
                "engine": f"engine{number // 8}" if synthetic else "",
                "page": f"page{number // 8}",
                "speaker": "",
                "language": "en",
                "style": "2026",
                "seconds": "3.0",
            }
        )
    path = folder / "manifest.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path
