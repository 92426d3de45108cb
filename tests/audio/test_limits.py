"""Caps hold while decoding, whatever a header says."""

from __future__ import annotations

import io
import struct
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile as sf

from tests.audio.encode import Example, amr_frames, by_soundfile, examples, ogg_page, tones
from voiceguard.audio import RATE_HZ, Limits, decode
from voiceguard.errors import RecordingTooLarge, RecordingTooLong, TooManyChannels

every_format = pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
HOURS_S = 3600


def flac_of_silence(hours: float) -> bytes:
    buffer = io.BytesIO()
    silence = np.zeros(RATE_HZ * 60, np.int16)
    with sf.SoundFile(buffer, "w", RATE_HZ, 1, format="FLAC", subtype="PCM_16") as file:
        for _ in range(round(hours * 60)):
            file.write(silence)
    return buffer.getvalue()


def opus_of_silence(hours: float) -> bytes:
    """Return Ogg Opus in packets of 120 ms that take two bytes each (RFC 6716, section 3.2.5)."""
    head = b"OpusHead" + struct.pack("<BBHIHB", 1, 1, 0, 48000, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 0) + struct.pack("<I", 0)
    pages = [ogg_page(2, 0, 0, [head]), ogg_page(0, 0, 1, [tags])]
    empty = bytes([0b00001_0_11, 6])  # SILK, narrowband, 20 ms, mono; six empty frames
    packets = round(hours * HOURS_S / 0.12)
    for first in range(0, packets, 250):
        count = min(250, packets - first)
        last = first + count >= packets
        pages.append(ogg_page(4 if last else 0, (first + count) * 5760, len(pages), [empty] * count))
    return b"".join(pages)


@every_format
def test_seconds(example: Example):
    with pytest.raises(RecordingTooLong, match="Expected at most 1 s"):
        decode(example.data, name=example.name, limits=Limits(max_duration_s=1.0))
    limits = Limits(max_duration_s=example.duration_s + 0.2)
    assert decode(example.data, name=example.name, limits=limits).duration_s >= example.duration_s - 0.001


@every_format
def test_bytes(example: Example, tmp_path):
    limits = Limits(max_bytes=len(example.data) - 1)
    with pytest.raises(RecordingTooLarge, match=f"but got {len(example.data)}"):
        decode(example.data, name=example.name, limits=limits)
    path = tmp_path / example.name
    path.write_bytes(example.data)
    with pytest.raises(RecordingTooLarge, match=f"but got {len(example.data)}"):
        decode(path, limits=limits)


@pytest.mark.parametrize("example", [e for e in examples() if e.channels == 2], ids=lambda e: e.name)
def test_channels(example: Example):
    with pytest.raises(TooManyChannels, match="Expected at most 1 channels, but got 2"):
        decode(example.data, name=example.name, limits=Limits(max_channels=1))


def test_eight_channels_but_not_nine():
    samples = np.repeat(tones(RATE_HZ, 0.1, 1), 9, axis=1)
    assert len(decode(by_soundfile(samples[:, :8], RATE_HZ, format="WAV", subtype="PCM_16")).channels) == 8
    with pytest.raises(TooManyChannels):
        decode(by_soundfile(samples, RATE_HZ, format="WAV", subtype="PCM_16"))


@every_format
def test_decoded_bytes(example: Example):
    kept = sum(samples.nbytes for samples in decode(example.data, name=example.name).channels)
    with pytest.raises(RecordingTooLong):
        decode(example.data, name=example.name, limits=Limits(max_decoded_bytes=kept // 2))


def test_megabyte_of_opus_that_lasts_ten_hours():
    data = opus_of_silence(10)
    assert len(data) < 1_100_000
    with pytest.raises(RecordingTooLong, match="36000 s"):
        decode(data)


def test_short_opus_of_the_same_make_decodes():
    recording = decode(opus_of_silence(0.01))
    assert recording.codec == "opus"
    assert recording.duration_s == pytest.approx(36, abs=0.2)


def test_megabyte_of_amr_without_speech():
    with pytest.raises(RecordingTooLong, match="20000 s"):
        decode(b"#!AMR\n" + amr_frames(15, 0, 1_000_000))


@pytest.mark.slow
@pytest.mark.parametrize("announced", [True, False])
def test_megabyte_of_flac_that_lasts_ten_hours(announced):
    """Without a length in its header the cap can only bite while decoding."""
    data = bytearray(flac_of_silence(10))
    assert len(data) < 1_100_000
    if not announced:
        data[21] &= 0xF0  # the 36 bits of STREAMINFO's total samples (RFC 9639, section 8.2)
        data[22:26] = bytes(4)
    with pytest.raises(RecordingTooLong, match="announces 36000 s" if announced else "already decoded"):
        decode(bytes(data))


def test_unannounced_length_stops_early_and_frees_its_memory():
    data = bytearray(flac_of_silence(0.5))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    decode(bytes(data), limits=Limits())  # loads what decoding imports
    tracemalloc.start()
    try:
        with pytest.raises(RecordingTooLong, match="already decoded"):
            decode(bytes(data), limits=Limits(max_duration_s=60))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 << 20  # half an hour would be 57.6 MB


def test_threads_change_nothing():
    chosen = [
        e for e in examples() if e.name in {"call.mp3", "call.opus", "call.amr", "pcm24.wav", "ulaw.wav"}
    ]
    alone = [decode(e.data, name=e.name).channels[0].tobytes() for e in chosen]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda e: decode(e.data, name=e.name).channels[0].tobytes(), chosen * 8))
    assert together == alone * 8
