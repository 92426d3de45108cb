from __future__ import annotations

import html
import io
import json
import re
import wave
import zipfile
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evidence.conftest import CLIP, Archive, Sealed
from voiceguard.audio import RATE_HZ, decode
from voiceguard.errors import EvidenceError
from voiceguard.evidence import wording
from voiceguard.evidence.package import original_name, working_copy
from voiceguard.evidence.rates import known_rates


@pytest.fixture(scope="module")
def files(sealed: Sealed) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(sealed.data)) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.fixture(scope="module")
def pages(files: dict[str, bytes]) -> list[pypdfium2.PdfPage]:
    return list(pypdfium2.PdfDocument(files["report.pdf"]))


def _text(pages: list[pypdfium2.PdfPage]) -> str:
    return " ".join(" ".join(page.get_textpage().get_text_bounded().split()) for page in pages)


def test_everything_that_the_readme_names_is_there(files: dict[str, bytes], sealed: Sealed) -> None:
    folder = f"calls/{sealed.call_id}"
    model = json.loads(files[f"{folder}/screening.json"])["model"]
    of_call = ("original.wav", "working-copy.wav", "picture.png", "call.json", "screening.json")
    of_model = ("detector.onnx", "network.onnx", "model.json", "CARD.md", "evaluation.json")
    assert {f"{folder}/{name}" for name in (*of_call, "identity.txt", "passports.json")} <= set(files)
    assert {f"models/{model}/{name}" for name in of_model} <= set(files)
    readme = files["README.txt"].decode()
    for name in ("report.pdf", "certification.pdf", "audit/rows.jsonl", "audit/proof.json", "software.json"):
        assert name in files
        assert name in readme
    assert {"onnxruntime", "numpy"} <= set(
        json.loads(files["software.json"])["screened_with"][model]["packages"]
    )


def test_the_recording_is_the_one_that_was_received(
    files: dict[str, bytes], sealed: Sealed, audio_samples: Path
) -> None:
    data = (audio_samples / CLIP).read_bytes()
    assert files[f"calls/{sealed.call_id}/original.wav"] == data
    with wave.open(io.BytesIO(files[f"calls/{sealed.call_id}/working-copy.wav"])) as copy:
        assert (copy.getframerate(), copy.getsampwidth()) == (RATE_HZ, 2)
        samples = np.frombuffer(copy.readframes(copy.getnframes()), "<i2")
    assert np.abs(samples / 32768 - decode(data).channels[0]).max() <= 2**-16


def test_the_report_says_all_that_a_judge_asks(pages: list[pypdfium2.PdfPage], sealed: Sealed) -> None:
    text = _text(pages)
    for said in (
        "Synthetic voice likely",
        "does not say that the call was unlawful",
        sealed.call_id,
        "First Telecom",
        "+12025550123",
        "+12125559876",
        "a84b4c76e66710@pc33",
        "2026-03-01 14:05:00 UTC",
        "95 % interval",
        "People's recordings wrongly called synthetic",
        "What this method can't tell",
        "natural logarithm of a likelihood ratio",
        "The recording was received",
        "A: the provider knows its customer",
        "Page 1 of",
    ):
        assert said in text, said
    assert "illegal" not in text


def test_nothing_is_cut_off_and_every_font_is_inside(
    pages: list[pypdfium2.PdfPage], files: dict[str, bytes]
) -> None:
    for page in pages:
        width, height = page.get_size()
        assert (width, height) == (612, 792)
        for found in page.get_objects():
            left, bottom, right, top = found.get_bounds()
            assert left >= 18, found
            assert bottom >= 18, found
            assert right <= width - 18, found
            assert top <= height - 18, found
    fonts = re.findall(rb"/FontFile\d?", files["report.pdf"])
    assert len(fonts) >= 3


def test_html_and_pdf_say_the_same(pages: list[pypdfium2.PdfPage], files: dict[str, bytes]) -> None:
    page = files["report.html"].decode()
    assert "<b>Telecom</b>" not in page
    assert "<script" not in page
    assert set(re.findall(r'(?:src|href)="([a-z]+:)', page)) == {"data:"}
    blocks = re.findall(r"<(?:td|p|li|h2|h3)[^>]*>(.*?)</", page.split("<main>")[1], re.DOTALL)
    text = re.sub(r"[\s\ufffe-]+", "", _text(pages))
    for block in blocks:
        said = html.unescape(re.sub(r"<[^>]+>", "", block))
        if said.isascii():
            assert re.sub(r"[\s-]+", "", said) in text, said


def test_what_the_font_lacks_is_spelt_out(pages: list[pypdfium2.PdfPage]) -> None:
    assert "Gateway <b>Telecom</b> \\u7f51\\u5173" in _text(pages)


def test_a_call_whose_recording_was_exchanged_makes_no_package(archive: Archive, tmp_path: Path) -> None:
    call_id = archive.store("ringing-ulaw.wav")
    sha256 = archive.screener.screen((archive.samples / "ringing-ulaw.wav").read_bytes()).sha256
    place = next(path for path in Path(archive.settings.recordings_url).rglob(sha256))
    kept = place.read_bytes()
    place.chmod(0o600)
    place.write_bytes(b"other audio")
    with pytest.raises(EvidenceError, match="in its place"):
        archive.make(call_id, tmp_path / "x.zip")
    place.write_bytes(kept)
    assert list(tmp_path.iterdir()) == []


def test_headerless_recordings_are_named_so_that_they_decode_again(archive: Archive) -> None:
    for path in sorted(archive.samples.glob("*.g722")):
        screening = archive.screener.screen(path)
        name = original_name(screening)
        assert name == "original.g722"
        assert decode(path.read_bytes(), name=name).channels[0].shape == decode(path).channels[0].shape


@given(st.floats(-8.38, 8.38))
def test_words_follow_the_score(score: float) -> None:
    said = wording.ratio_in_words(score)
    if abs(score) >= np.log(2):
        assert ("a synthetic voice." in said) is (score > 0)
        assert ("a human voice." in said) is (score < 0)
    else:
        assert "no support either way" in said


def test_the_nearest_trials_are_chosen() -> None:
    rate = {"count": 1, "total": 200, "low": 0.0001, "high": 0.03}
    row = dict.fromkeys(
        ("false_positives", "true_positives", "review_false_positives", "review_true_positives"), rate
    )
    evaluation = json.dumps(
        {
            "Calls, by seconds of speech": [{"name": f"plain, {n} s", **row} for n in (2, 8, 24)],
            "Wild pages, by codec": [{"name": "gsm", **row}, {"name": "none", **row}],
        }
    ).encode()

    def _conditions(codec: str, speech_s: float) -> list[str]:
        return [one.condition for one in known_rates(evaluation, codec=codec, speech_s=speech_s)]

    assert _conditions("gsm", 12.0) == ["8 s of speech, plain phone line", "3–4 s of speech, codec gsm"]
    assert _conditions("flac", 1.0)[0].startswith("2 s of speech")
    assert _conditions("flac", 99.0)[1] == "3–4 s of speech, without a lossy codec"
    assert _conditions("g729", 99.0) == ["24 s of speech, plain phone line"]
    assert known_rates(None, codec="gsm", speech_s=3.0) == []
    assert str(known_rates(evaluation, codec="gsm", speech_s=9.0)[0].human_flagged) == (
        "0.50 % (1 of 200; 95 % interval 0.01–3.00 %)"
    )


def test_the_working_copy_keeps_g711_to_the_bit(archive: Archive) -> None:
    recording = decode(archive.samples / "human-asterisk-en-ulaw.wav")
    with wave.open(io.BytesIO(working_copy(recording))) as copy:
        samples = np.frombuffer(copy.readframes(copy.getnframes()), "<i2")
    assert np.array_equal(samples / np.float32(32768), recording.channels[0])
