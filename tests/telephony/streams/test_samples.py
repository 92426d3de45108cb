from __future__ import annotations

import io

import av
import numpy as np
import pytest
import soundfile

from voiceguard.audio import decode
from voiceguard.telephony.streams import AudioFormat, Encoding, peek, wav_bytes


@pytest.mark.parametrize("encoding", [Encoding.PCMU, Encoding.PCMA])
def test_every_g711_code_expands_as_libsndfile_expands_it(encoding):
    codes = bytes(range(256))
    subtype = {Encoding.PCMU: "ULAW", Encoding.PCMA: "ALAW"}[encoding]
    expected, _ = soundfile.read(
        io.BytesIO(codes), dtype="int16", format="RAW", subtype=subtype, samplerate=8000, channels=1
    )
    assert peek(AudioFormat(encoding, 8000), codes).tolist() == expected.tolist()


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 44100, 48000])
def test_a_peek_is_about_8_khz(rate_hz, rng):
    frames = np.arange(rate_hz // 50, dtype="<i2")
    found = peek(AudioFormat(Encoding.L16, rate_hz, 2), np.stack([frames, frames], axis=1).tobytes())
    assert abs(len(found) - 160) <= 1
    assert np.all(np.diff(found) >= 0)


@pytest.mark.parametrize(
    ("audio_format", "codec"),
    [
        (AudioFormat(Encoding.PCMU, 8000), "g711_ulaw"),
        (AudioFormat(Encoding.PCMA, 8000), "g711_alaw"),
        (AudioFormat(Encoding.L16, 16000), "pcm_s16le"),
    ],
)
def test_tracks_become_channels_in_their_own_coding(audio_format, codec, rng):
    left, right = (rng.bytes(audio_format.bytes_per_s * seconds) for seconds in (2, 1))
    recording = decode(wav_bytes(audio_format, [left, right]))
    assert (recording.codec, recording.rate_hz, len(recording.channels)) == (codec, audio_format.rate_hz, 2)
    assert recording.duration_s == 2
    assert recording.notes == ()
    alone = [decode(wav_bytes(audio_format, [track])).channels[0] for track in (left, right)]
    assert np.array_equal(recording.channels[0], alone[0])
    assert np.allclose(recording.channels[1][: len(alone[1]) - 100], alone[1][:-100], atol=1e-6)
    assert np.abs(recording.channels[1][len(alone[1]) + 100 :]).max() < 1e-3


def test_interleaved_channels_stay_as_they_are(rng):
    audio_format = AudioFormat(Encoding.L16, 8000, 2)
    samples = rng.integers(-3000, 3000, (8000, 2)).astype("<i2")
    recording = decode(wav_bytes(audio_format, [samples.tobytes()]))
    assert np.array_equal(np.stack(recording.channels, axis=1) * 32768, samples)


def test_g722_stays_g722():
    seconds = np.arange(32000) / 16000
    tone = (8000 * np.sin(2 * np.pi * 700 * seconds)).astype(np.int16)
    encoder = av.CodecContext.create("g722", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 16000, "mono", "s16"
    frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
    frame.sample_rate = 16000
    coded = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    recording = decode(wav_bytes(AudioFormat(Encoding.G722, 16000), [coded]))
    assert (recording.codec, recording.rate_hz) == ("g722", 16000)
    assert recording.duration_s == pytest.approx(2, abs=0.05)
