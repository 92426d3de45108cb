"""The shipped clips, their manifest and their table agree, and every clip decodes as stated."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from voiceguard.audio import RATE_HZ, decode

FOLDER = Path(__file__).parents[2] / "audio_samples"
TABLE_ROW = re.compile(r"^\| `(?P<file>[^`]+)` \| (?P<cells>.+) \|$", re.MULTILINE)
NOT_CLIPS = {"README.md", "manifest.csv", "LICENSES"}
MAX_BYTES = 3_000_000


def read_manifest() -> list[dict[str, str]]:
    with (FOLDER / "manifest.csv").open(encoding="utf-8", newline="") as rows:
        return list(csv.DictReader(rows))


MANIFEST = read_manifest()
every_clip = pytest.mark.parametrize("row", MANIFEST, ids=lambda row: row["file"])


def read_table() -> dict[str, list[str]]:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    return {match["file"]: match["cells"].split(" | ") for match in TABLE_ROW.finditer(text)}


def test_folder_manifest_and_table_name_the_same_clips():
    in_folder = {path.name for path in FOLDER.iterdir()} - NOT_CLIPS
    in_manifest = [row["file"] for row in MANIFEST]
    assert sorted(in_manifest) == sorted(in_folder)
    assert sorted(read_table()) == sorted(in_folder)


@every_clip
def test_table_says_what_the_manifest_says(row: dict[str, str]):
    _, voice, who, source, licence, codec, channels, seconds = read_table()[row["file"]]
    assert voice == ", ".join(row["channel_labels"].split())
    for speaker in filter(None, row["speaker"].split("; ")):
        assert speaker in who
    assert row["engine"] in who
    assert (source, licence, channels) == (row["source"], row["licence"], row["channels"])
    assert codec.removesuffix(", 300–3400 Hz") == row["codec"]
    assert codec.endswith(", 300–3400 Hz") == (row["telephone_band"] == "yes")
    assert float(seconds) == pytest.approx(float(row["seconds"]), abs=0.051)


def test_the_classes_are_balanced_and_share_their_codecs():
    codecs = defaultdict(list)
    for row in MANIFEST:
        if row["channels"] == "1":
            codecs[row["label"]].append(row["codec"])
    assert len(MANIFEST) >= 12
    assert len(codecs["human"]) == len(codecs["synthetic"]) >= 6
    assert sorted(codecs["human"]) == sorted(codecs["synthetic"])
    assert len(set(codecs["human"])) >= 6


def test_telephone_band_is_on_both_sides():
    banded = [row["label"] for row in MANIFEST if row["telephone_band"] == "yes"]
    assert banded.count("human") == banded.count("synthetic") > 0


def test_one_call_has_a_person_and_an_engine_on_channels_of_their_own():
    (call,) = [row for row in MANIFEST if row["channels"] == "2"]
    assert call["channel_labels"] == "human synthetic"
    assert call["label"] == "synthetic"
    callee, caller = decode(FOLDER / call["file"]).channels
    # Half-second levels: whoever speaks is far above the line noise; the two hardly overlap.
    half_second = RATE_HZ // 2
    length = len(callee) // half_second * half_second
    loud = [
        np.sqrt((channel[:length].reshape(-1, half_second) ** 2).mean(axis=1)) > 0.01
        for channel in (callee, caller)
    ]
    assert all(speaking.sum() >= 12 for speaking in loud)
    assert (loud[0] & loud[1]).sum() <= 6


def test_every_licence_has_its_notice():
    notice = (FOLDER / "LICENSES" / "NOTICE.md").read_text(encoding="utf-8")
    patterns = [
        pattern
        for line in re.findall(r"^- (.*)$", notice, re.M)
        for pattern in re.findall(r"`(\S+?\*)`", line)
    ]
    for row in MANIFEST:
        assert any(Path(row["file"]).match(pattern) for pattern in patterns), row["file"]
    for named in re.findall(r"`([\w.-]+\.txt)`", notice):
        assert (FOLDER / "LICENSES" / named).stat().st_size > 0


def test_the_clips_stay_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= MAX_BYTES


@every_clip
def test_clip_decodes_with_the_stated_length_and_channels(row: dict[str, str]):
    recording = decode(FOLDER / row["file"])
    # Codecs with frames pad the last one: up to 40 ms.
    assert recording.duration_s == pytest.approx(float(row["seconds"]), abs=0.045)
    assert len(recording.channels) == int(row["channels"]) == len(row["channel_labels"].split())
    for samples, clipped_share in zip(recording.channels, recording.clipped_share, strict=True):
        assert len(samples) == pytest.approx(recording.duration_s * RATE_HZ, abs=RATE_HZ * 0.01)
        assert 0.02 < np.sqrt((samples**2).mean()) < 0.2
        assert clipped_share == 0
