from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from voiceguard.audio import RATE_HZ, decode
from voiceguard.errors import InvalidFingerprint
from voiceguard.fingerprint import VERSION, Fingerprint, compute, match
from voiceguard.fingerprint.bands import MAX_STEPS, log_bands
from voiceguard.fingerprint.projections import projection
from voiceguard.telephony.channel import Channel, CodecPass
from voiceguard.vad import speech_frames

SAMPLES = Path(__file__).parents[2] / "audio_samples"
MESSAGE = "synthetic-kokoro-am_michael-ulaw.wav"
OTHER = "synthetic-kokoro-bf_emma-g722.g722"
SAME_VOICES_FRIEND = "human-asterisk-en-ulaw.wav"

WAYS = {
    "a_law": Channel(1, -20.0, (300.0, 3400.0), codecs=(CodecPass("g711_alaw"),)),
    "gsm": Channel(2, -30.0, (300.0, 3400.0), codecs=(CodecPass("gsm"),)),
    "amr_4750": Channel(3, -20.0, codecs=(CodecPass("amr_nb", 4750),)),
    "amr_12200": Channel(4, -15.0, codecs=(CodecPass("amr_nb", 12200),)),
    "opus_8000": Channel(5, -25.0, codecs=(CodecPass("opus", 8000),)),
    "mp3_16000": Channel(6, -20.0, codecs=(CodecPass("mp3", 16000),)),
    "noise": Channel(7, -20.0, (300.0, 3400.0), noise_snr_db=15.0, noise_slope=1.0),
    "loss": Channel(8, -20.0, codecs=(CodecPass("g711_ulaw"),), packet_loss=0.03, concealment=False),
    "quiet": Channel(9, -42.0, codecs=(CodecPass("g711_ulaw"),)),
}


def _heard(name: str) -> np.ndarray:
    return decode(SAMPLES / name).channels[0]


def _print(samples: np.ndarray) -> Fingerprint:
    return compute(samples, speech_frames(samples))


def _tones(seconds: float, *frequencies_hz: float) -> np.ndarray:
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    waves = [0.2 * np.sin(2 * np.pi * frequency_hz * time_s) for frequency_hz in frequencies_hz]
    return np.sum(waves, axis=0).astype(np.float32)


@pytest.fixture(scope="module")
def message() -> np.ndarray:
    return _heard(MESSAGE)


@pytest.fixture(scope="module")
def known(message: np.ndarray) -> Fingerprint:
    return _print(message)


def test_fingerprint_survives_its_bytes(known: Fingerprint) -> None:
    read = Fingerprint.from_bytes(known.to_bytes())
    for field in dataclasses.fields(Fingerprint):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(known, field.name))
    assert read.to_bytes() == known.to_bytes()
    assert known.version == VERSION


def test_long_pauses_survive_the_bytes(message: np.ndarray) -> None:
    pause = np.zeros(30 * RATE_HZ, np.float32)
    made = _print(np.concatenate([pause, message[: 5 * RATE_HZ], pause, message[5 * RATE_HZ :]]))
    np.testing.assert_array_equal(Fingerprint.from_bytes(made.to_bytes()).places, made.places)


def test_fingerprint_is_deterministic(message: np.ndarray, known: Fingerprint) -> None:
    assert _print(message.copy()).to_bytes() == known.to_bytes()


def test_fingerprint_is_small(message: np.ndarray, known: Fingerprint) -> None:
    seconds = len(message) / RATE_HZ
    assert len(known.to_bytes()) < 400 * seconds
    assert 2 * seconds < len(known.keys()) < 3 * seconds
    assert len(known.query_keys()) < 20 * seconds


def test_keys_fit_their_bits(known: Fingerprint) -> None:
    for keys in (known.keys(), known.query_keys()):
        assert keys.dtype == np.int64
        assert (np.diff(keys) > 0).all()
        assert keys.min() >= 0
        assert keys.max() < 2**28


@pytest.mark.parametrize("name", ["key", "code"])
def test_projection_sums_are_exact_in_float32(name: str) -> None:
    taken = projection(name)
    largest = np.abs(taken.weights).sum(axis=1) * MAX_STEPS + np.abs(taken.thresholds)
    assert largest.max() < 2**24


def test_bands_are_whole_numbers(message: np.ndarray) -> None:
    bands = log_bands(message)
    np.testing.assert_array_equal(bands, np.rint(bands))
    assert np.abs(bands).max() <= MAX_STEPS


@given(st.binary(max_size=200))
def test_strange_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidFingerprint):
        Fingerprint.from_bytes(data)


@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_altered_bytes_are_refused_or_make_a_fingerprint(known: Fingerprint, place: int, value: int) -> None:
    data = bytearray(known.to_bytes())
    data[place % len(data)] = value
    try:
        altered = Fingerprint.from_bytes(bytes(data))
    except InvalidFingerprint:
        return
    match(altered, known)


def test_another_version_is_refused(known: Fingerprint) -> None:
    data = bytes([VERSION + 1]) + known.to_bytes()[1:]
    with pytest.raises(InvalidFingerprint, match=f"version {VERSION + 1}"):
        Fingerprint.from_bytes(data)
    assert match(known, dataclasses.replace(known, version=VERSION + 1)) is None


def test_recording_matches_itself(known: Fingerprint) -> None:
    found = match(known, known)
    assert found is not None
    assert (found.offset_s, found.tempo, found.score) == (0, 1, 1)
    assert found.common_s == known.speech_s


@pytest.mark.parametrize("way", WAYS)
def test_five_seconds_are_found_through_a_channel(way: str, message: np.ndarray, known: Fingerprint) -> None:
    start_s = 7.3
    piece = message[int(start_s * RATE_HZ) :][: 5 * RATE_HZ]
    copy = _print(WAYS[way].apply(piece))
    assert np.isin(copy.query_keys(), known.keys()).any()
    found = match(copy, known)
    assert found is not None
    assert found.offset_s == pytest.approx(start_s, abs=0.12)
    assert found.common_s > 2.5


@pytest.mark.parametrize("tempo", [0.99, 1.01])
def test_one_percent_of_tempo_is_measured(tempo: float, message: np.ndarray, known: Fingerprint) -> None:
    faster = soxr.resample(message, RATE_HZ * tempo, RATE_HZ).astype(np.float32)
    copy = _print(faster)
    assert np.isin(copy.query_keys(), known.keys()).any()
    found = match(copy, known)
    assert found is not None
    assert found.tempo == pytest.approx(tempo, abs=0.003)
    assert found.common_s > 0.9 * copy.speech_s


def test_overlapping_halves_match(message: np.ndarray) -> None:
    """One recording lacks the end, the other the beginning."""
    first, second = message[: 14 * RATE_HZ], message[9 * RATE_HZ :]
    found = match(_print(second), _print(first))
    assert found is not None
    assert found.offset_s == pytest.approx(9, abs=0.12)


def test_another_greeting_before_the_same_message_matches(message: np.ndarray) -> None:
    greetings = (_heard(OTHER)[:20_000], _heard(SAME_VOICES_FRIEND)[:16_000])
    first, second = (_print(np.concatenate([greeting, message])) for greeting in greetings)
    assert np.isin(second.query_keys(), first.keys()).any()
    found = match(first, second)
    assert found is not None
    assert found.offset_s == pytest.approx(-0.5, abs=0.12)


@pytest.mark.parametrize("shorter_s", [0.0, 0.04, 0.3])
@pytest.mark.parametrize("name_s", [0.4, 1.0])
def test_other_words_in_the_middle_are_another_recording(
    name_s: float, shorter_s: float, message: np.ndarray, known: Fingerprint
) -> None:
    """The same text with another name in it, as long as the first name or longer."""
    middle = len(message) // 2
    name = _heard(OTHER)[3 * RATE_HZ :][: int(name_s * RATE_HZ)]
    rest = message[middle + len(name) - int(shorter_s * RATE_HZ) :]
    renamed = np.concatenate([message[:middle], name, rest])
    assert match(_print(renamed), known) is None


@pytest.mark.parametrize("lost_s", [0.06, 0.2])
def test_lost_packets_in_the_middle_break_nothing(
    lost_s: float, message: np.ndarray, known: Fingerprint
) -> None:
    lossy = message.copy()
    lossy[len(message) // 2 :][: int(lost_s * RATE_HZ)] = 0
    assert match(_print(lossy), known) is not None


def test_same_closing_sentence_is_not_the_same_recording(message: np.ndarray) -> None:
    closing = message[-5 * RATE_HZ :]
    first = np.concatenate([_heard(OTHER)[: 10 * RATE_HZ], closing])
    second = np.concatenate([_heard(SAME_VOICES_FRIEND)[: 10 * RATE_HZ], closing])
    assert match(_print(first), _print(second)) is None


def test_same_opening_sentence_is_not_the_same_recording(message: np.ndarray) -> None:
    opening = message[: 5 * RATE_HZ]
    first = np.concatenate([opening, _heard(OTHER)[: 10 * RATE_HZ]])
    second = np.concatenate([opening, _heard(SAME_VOICES_FRIEND)[: 10 * RATE_HZ]])
    assert match(_print(first), _print(second)) is None


def test_samples_do_not_match_each_other() -> None:
    prints = [_print(decode(path).channels[0]) for path in sorted(SAMPLES.glob("*.wav"))]
    assert len(prints) > 5
    for index, one in enumerate(prints):
        assert [match(one, other) for other in prints[:index]] == [None] * index


_RINGING = np.tile(np.concatenate([_tones(2, 440, 480), np.zeros(4 * RATE_HZ, np.float32)]), 3)
_CHORDS = np.concatenate(
    [_tones(0.5, *chord) for chord in [(392, 494, 587), (440, 554, 659), (330, 415, 494)] * 12]
)


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(0, np.float32),
        np.zeros(100, np.float32),
        np.zeros(80_000, np.float32),
        np.random.default_rng(1).normal(0, 0.05, 80_000).astype(np.float32),
        _RINGING,
        np.concatenate([np.zeros(8000, np.float32), _tones(0.5, 1000), np.zeros(8000, np.float32)]),
        _CHORDS,
    ],
    ids=["empty", "click", "silence", "noise", "ringing", "beep", "chords"],
)
def test_what_is_not_speech_matches_nothing(sound: np.ndarray) -> None:
    made = _print(sound)
    assert len(made.keys()) == 0
    assert match(made, made) is None


def test_beep_before_a_message_changes_nothing(message: np.ndarray, known: Fingerprint) -> None:
    beeped = np.concatenate([_tones(0.5, 1000), np.zeros(4000, np.float32), message])
    found = match(_print(beeped), known)
    assert found is not None
    assert found.offset_s == pytest.approx(-1, abs=0.12)
