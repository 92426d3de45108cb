"""The ranges of cues that come with the model, and how they are read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from voiceguard.detector import default_model_dir
from voiceguard.errors import ModelError
from voiceguard.evidence.cue_ranges import LINES, load_ranges
from voiceguard.evidence.cues import Cues


@pytest.mark.parametrize("line", LINES)
def test_the_shipped_ranges_fit_the_cues(line: str) -> None:
    found = load_ranges(default_model_dir(), line)
    assert found is not None
    names = {field.name for field in dataclasses.fields(Cues)}
    for ranges in (found.human, found.synthetic):
        assert {"pitch_median_hz", "flatness_db", "level_variation_db"} <= set(ranges) <= names
        assert all(one.low <= one.median <= one.high and one.clips >= 50 for one in ranges.values())
    assert set(found.human) == set(found.synthetic)


def test_a_model_without_ranges_and_one_with_broken_ones(tmp_path: Path) -> None:
    assert load_ranges(tmp_path) is None
    for broken in ("", "[]", json.dumps({"lines": {"plain": {"human": {}}}})):
        (tmp_path / "cues.json").write_text(broken)
        with pytest.raises(ModelError, match="ranges of cues"):
            load_ranges(tmp_path)
