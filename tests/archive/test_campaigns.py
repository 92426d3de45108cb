"""The campaign column: copies across an archive, whatever the order in which they were scored."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from voiceguard.archive.find import Finder
from voiceguard.archive.group import Groups
from voiceguard.archive.journal import Journal
from voiceguard.archive.progress import Progress
from voiceguard.archive.rows import Row, Scored
from voiceguard.archive.scan import ScanSettings, scan
from voiceguard.audio import RATE_HZ, decode
from voiceguard.fingerprint import compute
from voiceguard.telephony.channel import Channel, CodecPass
from voiceguard.vad import speech_frames

VOICES = ("human-drascula-en-flac.flac", "human-fillets-nl-mp3.mp3", "synthetic-hibari-heart-flac.flac")
WAYS = (
    Channel(1, -20.0, codecs=(CodecPass("g711_ulaw"),)),
    Channel(2, -26.0, band_hz=(300.0, 3400.0), codecs=(CodecPass("gsm"),)),
)


@pytest.fixture(scope="module")
def voices(audio_samples: Path) -> list[np.ndarray]:
    return [decode(audio_samples / name).channels[0][: 8 * RATE_HZ] for name in VOICES]


def printed(samples: np.ndarray) -> bytes:
    return compute(samples, speech_frames(samples)).to_bytes()


def test_copies_across_an_archive_have_one_campaign(voices: list[np.ndarray], tmp_path: Path) -> None:
    root = tmp_path / "calls"
    root.mkdir()
    for number, voice in enumerate(voices):
        for way, channel in enumerate(WAYS):
            soundfile.write(root / f"{way}-{number}.wav", channel.apply(voice), RATE_HZ, subtype="PCM_16")
    shutil.copy(root / "0-0.wav", root / "twin.wav")
    silence = np.zeros(len(voices[0]), np.float32)
    both = np.stack([silence, WAYS[0].apply(voices[0])], axis=1)
    soundfile.write(root / "dual.wav", both, RATE_HZ, subtype="PCM_16")
    soundfile.write(root / "silence.wav", silence, RATE_HZ, subtype="PCM_16")
    output = tmp_path / "out.parquet"
    scan([str(root)], output, ScanSettings(jobs=2), Progress())
    found: dict[str, list[str | None]] = {}
    for row in pq.read_table(output).to_pylist():
        found.setdefault(Path(row["path"]).name, []).append(row["campaign"])
    for number in range(len(voices)):
        assert found[f"0-{number}.wav"] == found[f"1-{number}.wav"]
    assert len({found[f"0-{number}.wav"][0] for number in range(len(voices))}) == len(voices)
    assert found["twin.wav"] == found["0-0.wav"]
    assert found["dual.wav"] == [None, found["0-0.wav"][0]]
    assert found["silence.wav"] == [None]
    assert all(one.startswith("campaign_") for row in found.values() for one in row if one)


def test_one_that_has_both_makes_two_groups_one(voices: list[np.ndarray]) -> None:
    whole = np.concatenate(voices[:2])
    half = len(voices[0])
    parts = {"a": whole[:half], "b": whole[half:], "c": voices[2], "d": WAYS[0].apply(whole)}
    with contextlib.closing(Groups()) as groups:
        for content, samples in parts.items():
            groups.add(content, printed(samples))
        groups.settle()
        assert groups.campaign_of("a") == groups.campaign_of("b") == groups.campaign_of("d")
        assert groups.campaign_of("c") not in (None, groups.campaign_of("a"))
        assert groups.campaign_of("unknown") is None


def test_the_first_in_the_order_names_the_group(voices: list[np.ndarray]) -> None:
    names = []
    for last in ("x", "y"):
        with contextlib.closing(Groups()) as groups:
            for content in ("first", "first", last):
                groups.add(content, printed(voices[0] if content == "first" else WAYS[1].apply(voices[0])))
            groups.settle()
            names.append(groups.campaign_of(last))
            assert names[-1] == groups.campaign_of("first")
    assert names[0] == names[1]


def test_the_journal_keeps_fingerprints(tmp_path: Path) -> None:
    path, file = tmp_path / "out.partial", tmp_path / "a.wav"
    file.write_bytes(b"x")
    row = Row(path=str(file), channel=0, verdict="human")
    result = Scored("human", (row,), fingerprint=b"print")
    for again in (False, True):
        with contextlib.closing(Journal(path)) as journal:
            journal.want(Finder().jobs([str(file)]))
            journal.resume("one")
            for job in journal.to_do():
                assert not again
                journal.record(job, "sha.wav", result)
            assert list(journal.fingerprints()) == [("sha.wav", b"print")]
            known = journal.known("sha.wav")
            assert known is not None
            assert known.fingerprint == b"print"
            (told,) = journal.results(lambda content: f"campaign of {content}")
            assert told.rows[0].campaign == "campaign of sha.wav"
