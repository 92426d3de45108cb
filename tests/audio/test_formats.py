"""Every format in docs/formats.md decodes to what was recorded."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from scipy.signal import correlate, hilbert

from tests.audio.encode import LEFT_HZ, RIGHT_HZ, Example, by_soundfile, examples, tones
from voiceguard import errors
from voiceguard.audio import RATE_HZ, Recording, decode
from voiceguard.errors import AudioError

DOCS = Path(__file__).parents[2] / "docs" / "formats.md"
LOSSLESS = ("pcm", "flac", "alac", "g711")

every_format = pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)


def tone_level_db(samples: np.ndarray, tone_hz: float) -> float:
    """Return the level within 40 Hz of a tone."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    frequency_hz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    return 10 * np.log10(spectrum[np.abs(frequency_hz - tone_hz) < 40].sum() + 1e-12)


def best_correlation(decoded: np.ndarray, original: np.ndarray) -> float:
    """Return the correlation of the original's middle at the best lag: codecs delay by some milliseconds.

    Of the analytic signals, since the delay need not be a whole number of samples at 8 kHz.
    """
    decoded, middle = hilbert(decoded), hilbert(original)[RATE_HZ // 5 : -RATE_HZ // 5]
    energy = np.convolve(np.abs(decoded) ** 2, np.ones(len(middle)), mode="valid")
    found = np.abs(correlate(decoded, middle, mode="valid"))
    return float((found / np.sqrt(energy * np.sum(np.abs(middle) ** 2))).max())


@every_format
def test_facts(example: Example):
    recording = decode(example.data, name=example.name)
    assert (recording.container, recording.codec) == (example.container, example.codec)
    assert recording.rate_hz == example.rate_hz
    assert len(recording.channels) == len(recording.clipped_share) == example.channels
    assert recording.size_bytes == len(example.data)
    # Block codecs fill up their last block, perceptual ones have a run-up that some containers don't declare.
    assert example.duration_s - 0.001 <= recording.duration_s <= example.duration_s + 0.2
    for samples in recording.channels:
        assert samples.dtype == np.float32
        assert abs(len(samples) / RATE_HZ - recording.duration_s) <= 2 / RATE_HZ
        assert np.abs(samples).max() <= 1.0


@pytest.mark.parametrize("example", [e for e in examples() if e.min_correlation], ids=lambda e: e.name)
def test_samples(example: Example):
    recording = decode(example.data, name=example.name)
    original = tones(RATE_HZ, example.duration_s, example.channels)
    for channel, samples in enumerate(recording.channels):
        assert best_correlation(samples, original[:, channel]) >= example.min_correlation


@pytest.mark.parametrize("example", [e for e in examples() if e.channels == 2], ids=lambda e: e.name)
def test_channels_stay_apart(example: Example):
    left, right = decode(example.data, name=example.name).channels
    apart_db = 40 if example.codec.startswith(LOSSLESS) else 20
    assert tone_level_db(left, LEFT_HZ) - tone_level_db(left, RIGHT_HZ) > apart_db
    assert tone_level_db(right, RIGHT_HZ) - tone_level_db(right, LEFT_HZ) > apart_db


@every_format
def test_same_bytes_same_samples(example: Example):
    first = decode(example.data, name=example.name)
    second = decode(bytes(example.data), name=example.name)
    for one, other in zip(first.channels, second.channels, strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW", "ALAW"])
def test_narrowband_samples_are_those_of_libsndfile(subtype):
    data = by_soundfile(tones(RATE_HZ, 1.0, 2), RATE_HZ, format="WAV", subtype=subtype)
    expected, _ = sf.read(io.BytesIO(data), dtype="float32")
    assert np.array_equal(np.stack(decode(data).channels, axis=1), expected)


def test_path_and_bytes_give_the_same(tmp_path):
    example = next(e for e in examples() if e.name == "call.ulaw")
    path = tmp_path / example.name
    path.write_bytes(example.data)
    from_path, from_bytes = decode(path), decode(example.data, name=example.name)
    assert isinstance(from_path, Recording)
    assert from_path.sha256 == from_bytes.sha256
    assert np.array_equal(from_path.channels[0], from_bytes.channels[0])


@pytest.mark.parametrize("name", [None, "call.g729", "call.ulaw", "call.txt"])
def test_content_wins_over_the_name(name):
    example = next(e for e in examples() if e.name == "call.mp3")
    assert decode(example.data, name=name).codec == "mp3"


@pytest.mark.parametrize("name", ["call.ogg", "call.opus"])
def test_appended_ogg_recordings_decode_to_the_end(name):
    data = next(e.data for e in examples() if e.name == name)
    assert decode(data + data).duration_s == pytest.approx(4.0, abs=0.02)


def test_clipping_counts_codes_at_full_scale():
    samples = tones(RATE_HZ, 1.0, 2)
    samples[:2000, 1] = 1.0
    for subtype in ("PCM_16", "ULAW", "ALAW", "FLOAT"):
        shares = decode(by_soundfile(samples, RATE_HZ, format="WAV", subtype=subtype)).clipped_share
        assert shares == (0.0, 0.25)


def test_every_decoder_leaves_stderr_alone(capfd):
    for example in examples():
        decode(example.data, name=example.name)
        with contextlib.suppress(AudioError):
            decode(example.data[: len(example.data) * 2 // 3], name=example.name)
    assert capfd.readouterr().err == ""


def test_import_is_light():
    code = "import sys, voiceguard.audio; print({'av', 'soundfile', 'soxr', 'scipy'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_narrowband_wav_never_loads_ffmpeg():
    code = (
        "import sys; from tests.audio.encode import by_soundfile, tones; del sys.modules['av']\n"
        "from voiceguard.audio import decode\n"
        "decode(by_soundfile(tones(8000, 1.0, 2), 8000, format='WAV', subtype='ULAW'))\n"
        "assert 'av' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_docs_name_every_container_and_codec():
    text = DOCS.read_text(encoding="utf-8")
    for example in examples():
        assert f"`{example.container}`" in text
        assert f"`{example.codec}`" in text


def test_docs_name_every_error_code():
    text = DOCS.read_text(encoding="utf-8")
    raised = (
        errors.EmptyRecording, errors.UnsupportedFormat, errors.RefusedContainer, errors.DamagedRecording,
        errors.InvalidSamples, errors.RecordingTooLong, errors.RecordingTooLarge, errors.TooManyChannels, AudioError,
    )  # fmt: skip
    for error in raised:
        assert f"| `{error.code}` |" in text
