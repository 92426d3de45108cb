"""What moved a window's score: where its cells lie, and what the page says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.review.conftest import Desk
from voiceguard.audio import RATE_HZ, decode
from voiceguard.detector import Detector, default_model_dir
from voiceguard.review.maps import Maps


def test_cells_cover_the_window_and_are_made_once(
    audio_samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A pause within the window is left out of the score, and its cells lie around it.
    samples = decode(audio_samples / "synthetic-hibari-heart-flac.flac").channels[0][: int(3.2 * RATE_HZ)]
    apart = np.concatenate(
        [samples[: 2 * RATE_HZ], np.zeros(3 * RATE_HZ, np.float32), samples[2 * RATE_HZ :]]
    )
    maps, detector = Maps(), Detector(default_model_dir())
    found = maps.map(detector, "sha", 0, 0, apart)
    assert found is not None
    assert maps.map(detector, "sha", 0, 0, apart) is found
    assert maps.map(detector, "sha", 0, 1, apart) is None
    assert {cell.low_hz for cell in found.cells} >= {0.0, 2600.0}
    assert min(cell.start_s for cell in found.cells) >= found.start_s
    assert max(cell.end_s for cell in found.cells) <= found.end_s <= len(apart) / RATE_HZ
    starts = sorted({cell.start_s for cell in found.cells})
    assert max(np.diff(starts)) > 2
    falls = [abs(cell.fall) for cell in found.strongest]
    assert falls == sorted(falls, reverse=True)
    assert falls[0] == max(abs(cell.fall) for cell in found.cells)


def test_the_page_lists_the_places(desk: Desk, flagged: bytes) -> None:
    call_id = desk.call(flagged)
    ann = desk.signed_in("ann")
    answer = ann.get(f"/review/calls/{call_id}/map/0/0")
    assert answer.status_code == 200
    for said in ("What moved the score of window 1", "kHz", "a synthetic voice", "proves nothing"):
        assert said in answer.text
    part = ann.get(f"/review/calls/{call_id}/spectrogram/0?start_s=0.5&end_s=1.5")
    whole = ann.get(f"/review/calls/{call_id}/spectrogram/0")
    assert part.content.startswith(b"\x89PNG")
    assert part.content != whole.content
    assert ann.get(f"/review/calls/{call_id}/map/0/99").status_code == 404
    assert ann.get(f"/review/calls/{call_id}/spectrogram/0?start_s=nan").status_code == 422
