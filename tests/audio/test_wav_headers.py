"""WAV headers as recorders leave them: open, lying, cut off, unusual."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tests.audio.encode import by_soundfile, tones, wav
from voiceguard.audio import RATE_HZ, decode
from voiceguard.errors import AudioError, DamagedRecording, EmptyRecording, TooManyChannels, UnsupportedFormat

WHOLE = by_soundfile(tones(RATE_HZ, 1.0, 1), RATE_HZ, format="WAV", subtype="PCM_16")
HEADER_BYTES = 44
SAMPLES = decode(WHOLE).channels[0]


def with_field(offset: int, form: str, value: int, data: bytes = WHOLE) -> bytes:
    changed = bytearray(data)
    struct.pack_into(form, changed, offset, value)
    return bytes(changed)


def test_the_file_at_hand_has_the_plain_header():
    assert WHOLE[36:40] == b"data"
    assert len(WHOLE) == HEADER_BYTES + 2 * RATE_HZ


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0x80000000])
def test_open_length_reads_to_the_end(size):
    recording = decode(with_field(40, "<I", size))
    assert np.array_equal(recording.channels[0], SAMPLES)
    assert recording.notes == ()


@pytest.mark.parametrize("riff_size", [0, 1, 0xFFFFFFFF])
def test_outer_length_is_ignored(riff_size):
    assert np.array_equal(decode(with_field(4, "<I", riff_size)).channels[0], SAMPLES)


def test_crashed_recorder_leaves_what_is_there_and_a_note():
    recording = decode(WHOLE[: HEADER_BYTES + 1001])
    assert np.array_equal(recording.channels[0], SAMPLES[:500])
    assert recording.notes == ("The data chunk declares 16000 bytes; 1001 are there and were decoded.",)


def test_huge_length_allocates_nothing():
    assert len(decode(with_field(40, "<I", 0x7FFFFF00)).channels[0]) == RATE_HZ


@pytest.mark.parametrize("length", [4, 11, 12, 20, 30])
def test_cut_in_the_header_is_damaged(length):
    with pytest.raises(DamagedRecording, match="Expected a WAV"):
        decode(WHOLE[:length])


@pytest.mark.parametrize("length", [36, 40, 44, 45])
def test_header_without_data_is_empty(length):
    with pytest.raises(EmptyRecording, match="after the WAV header"):
        decode(WHOLE[:length])


def test_empty_data_chunk_before_another_chunk_is_empty():
    with pytest.raises(EmptyRecording, match="data chunk is empty"):
        decode(with_field(40, "<I", 0)[:HEADER_BYTES] + b"LIST\x04\x00\x00\x00INFO")


def test_chunks_around_the_audio_are_no_audio():
    info = b"LIST\x05\x00\x00\x00INFO!\x00"
    data = WHOLE[:12] + info + WHOLE[12:] + info
    assert np.array_equal(decode(data).channels[0], SAMPLES)


def test_big_endian_wav():
    words = np.frombuffer(WHOLE[HEADER_BYTES:], "<i2").astype(">i2").tobytes()
    fmt = struct.pack(">4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    data = (
        b"RIFX"
        + struct.pack(">I", 36 + len(words))
        + b"WAVE"
        + fmt
        + b"data"
        + struct.pack(">I", len(words))
        + words
    )
    recording = decode(data)
    assert recording.codec == "pcm_s16be"
    assert np.array_equal(recording.channels[0], SAMPLES)


@pytest.mark.parametrize(
    ("offset", "form", "value", "error"),
    [
        (22, "<H", 0, DamagedRecording),
        (22, "<H", 9, TooManyChannels),
        (24, "<I", 0, UnsupportedFormat),
        (24, "<I", 3999, UnsupportedFormat),
        (24, "<I", 192_001, UnsupportedFormat),
        (24, "<I", 0xFFFFFFFF, UnsupportedFormat),
        (20, "<H", 0x1234, UnsupportedFormat),
        (20, "<H", 3, UnsupportedFormat),
    ],
    ids=str,
)
def test_senseless_field_is_an_error(offset, form, value, error):
    with pytest.raises(error, match=r"Expected .*, but "):
        decode(with_field(offset, form, value))


def test_wrong_block_size_and_byte_rate_are_repaired():
    data = with_field(32, "<H", 0, with_field(28, "<I", 1))
    assert np.array_equal(decode(data).channels[0], SAMPLES)


def test_twelve_bits_in_two_bytes():
    assert np.array_equal(decode(with_field(34, "<H", 12)).channels[0], SAMPLES)


@pytest.mark.parametrize("bits", [2, 3, 4, 5])
def test_g726_takes_its_rate_from_the_bits(bits):
    """The byte rate says 64 kbit/s, as recorders that only changed the format tag leave it."""
    data = with_field(28, "<I", 8000, wav(0x45, bytes(1000 * bits), rate_hz=8000, block_bytes=1, bits=bits))
    assert decode(data).duration_s == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("block_bytes", [0, 1, 4])
def test_adpcm_block_without_room_is_damaged(block_bytes):
    with pytest.raises(DamagedRecording, match="IMA ADPCM blocks"):
        decode(wav(0x11, bytes(1000), rate_hz=8000, block_bytes=block_bytes, bits=4))


def test_many_tiny_chunks_end_the_search():
    data = b"RIFF\xff\xff\xff\xffWAVE" + b"junk\x00\x00\x00\x00" * 200_000
    with pytest.raises(AudioError, match="Expected a WAV header"):
        decode(data)
