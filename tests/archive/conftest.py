from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import soundfile

from voiceguard.archive.scan import ScanSettings
from voiceguard.audio import RATE_HZ, decode

PIECE_S = 3


@pytest.fixture(scope="session")
def speech_pieces(audio_samples: Path) -> list:
    """Pieces of real speech, 3 s each, every one another."""
    pieces = []
    for clip in sorted(audio_samples.glob("*-*.wav")):
        samples = decode(clip).channels[0]
        size = PIECE_S * RATE_HZ
        pieces += [samples[start : start + size] for start in range(0, len(samples) - size, size)]
    return pieces


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory, speech_pieces: list) -> Path:
    """A small archive: three formats, a dual-channel call, twins, broken files and companions."""
    root = tmp_path_factory.mktemp("archive") / "calls"
    (root / "2024" / "02").mkdir(parents=True)
    (root / "2023").mkdir()
    for index, piece in enumerate(speech_pieces[:12]):
        folder = root / ("2023" if index % 2 else "2024/02")
        if index % 3 == 0:
            soundfile.write(folder / f"{index}.wav", piece, RATE_HZ, subtype="ULAW")
        elif index % 3 == 1:
            soundfile.write(folder / f"{index}.flac", piece, RATE_HZ)
        else:
            soundfile.write(folder / f"{index}.wav", piece, RATE_HZ, subtype="PCM_16")
    shutil.copy(root / "2024/02/0.wav", root / "twin of 0.wav")
    shutil.copy(root / "2024/02/0.wav", root / "2023/another twin.wav")
    (root / "2023/empty.wav").touch()
    (root / "2023/text.wav").write_text("No audio at all.\n")
    whole = (root / "2024/02/0.wav").read_bytes()
    (root / "2024/header only.wav").write_bytes(whole[:40])
    (root / "notes.txt").write_text("beside recordings")
    (root / "LICENSE").write_text("beside recordings")
    return root


@pytest.fixture
def settings() -> ScanSettings:
    return ScanSettings(jobs=2)
