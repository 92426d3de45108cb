"""Read source recordings, join them like speech, send them down a phone line, and encode them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile as sf
import soxr
from scipy import signal

SPEECH_LEVEL_DB = -23.0
"""RMS of every clip's speech, dB below full scale, so that loudness doesn't tell the classes apart."""
LINE_NOISE_DB = -66.0
"""RMS of the noise under every clip, so that digital silence doesn't either."""


@dataclass(frozen=True)
class Codec:
    """How a clip is stored; ``encoder`` is a libsndfile ``FORMAT/SUBTYPE`` or an FFmpeg encoder's name."""

    label: str
    suffix: str
    rate_hz: int
    encoder: str
    bit_rate: int | None = None


CODECS = {
    "mulaw": Codec("G.711 µ-law, WAV", ".wav", 8000, "WAV/ULAW"),
    "alaw": Codec("G.711 A-law, WAV", ".wav", 8000, "WAV/ALAW"),
    "gsm": Codec("GSM 06.10 (WAV49)", ".wav", 8000, "WAV/GSM610"),
    "g722": Codec("G.722, raw", ".g722", 16000, "g722"),
    "amr": Codec("AMR-NB 12.2 kbit/s", ".amr", 8000, "libopencore_amrnb", 12200),
    "opus": Codec("Ogg Opus 16 kbit/s", ".ogg", 16000, "libopus", 16000),
    "mp3": Codec("MP3 24 kbit/s, 16 kHz", ".mp3", 16000, "libmp3lame", 24000),
    "flac": Codec("FLAC 16-bit, 8 kHz", ".flac", 8000, "FLAC/PCM_16"),
    "pcm": Codec("PCM 16-bit, 8 kHz, WAV", ".wav", 8000, "WAV/PCM_16"),
}


def read(path: Path) -> tuple[np.ndarray, int]:
    """Return a source recording's samples [shape=(n,), float64, −1..1] and its rate in Hz."""
    if path.suffix == ".ALS":  # Drascula's speech: 32 bytes of silence, then 8-bit unsigned PCM
        samples = np.frombuffer(path.read_bytes()[32:], np.uint8)
        return (samples.astype(np.float64) - 128.0) / 128.0, 11025
    if path.suffix in (".g722", ".gsm"):
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            frames = [frame.to_ndarray()[0] for frame in container.decode(stream)]
            return np.concatenate(frames) / 32768.0, stream.rate
    samples, rate_hz = sf.read(path, always_2d=True)
    return samples.mean(axis=1), rate_hz


def trim(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Cut what lies before the first and after the last sound within 40 dB of the loudest 20 ms."""
    hop = rate_hz // 50
    blocks = samples[: len(samples) // hop * hop].reshape(-1, hop)
    level = np.sqrt((blocks**2).mean(axis=1))
    (loud,) = np.nonzero(level > level.max() * 10 ** (-40 / 20))
    return samples[loud[0] * hop : (loud[-1] + 1) * hop]


def join(pieces: list[np.ndarray], rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """Put pauses of 0.3 to 0.6 s before, between and after the pieces."""
    out = [_pause(rate_hz, rng)]
    for piece in pieces:
        out += [trim(piece, rate_hz), _pause(rate_hz, rng)]
    return np.concatenate(out)


def take_turns(
    turns: list[tuple[int, np.ndarray]], rate_hz: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Lay (channel, samples) turns one after another; a channel is silent while the other speaks."""
    lead_in = _pause(rate_hz, rng)
    laid = ([lead_in], [lead_in])
    for channel, samples in turns:
        said = np.concatenate([trim(samples, rate_hz), _pause(rate_hz, rng)])
        laid[channel].append(said)
        laid[1 - channel].append(np.zeros_like(said))
    return np.concatenate(laid[0]), np.concatenate(laid[1])


def line(
    samples: np.ndarray, rate_hz: int, codec: Codec, *, telephone_band: bool, rng: np.random.Generator
) -> np.ndarray:
    """Resample to the codec's rate, band-pass 300–3400 Hz on request, set the level and add line noise."""
    out = soxr.resample(samples, rate_hz, codec.rate_hz)
    if telephone_band:
        band = signal.butter(4, (300, 3400), "bandpass", fs=codec.rate_hz, output="sos")
        out = signal.sosfilt(band, out)
    sounding = out[np.abs(out) > 0.02 * np.abs(out).max()]
    gain = 10 ** (SPEECH_LEVEL_DB / 20) / np.sqrt((sounding**2).mean())
    gain = min(gain, 0.9 / np.abs(out).max())  # no clip is clipped
    return gain * out + 10 ** (LINE_NOISE_DB / 20) * rng.standard_normal(len(out))


def ringback(seconds: float, rate_hz: int) -> np.ndarray:
    """North American ringing tone: 440 + 480 Hz, 2 s on, 4 s off."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    tone = np.sin(2 * np.pi * 440 * time_s) + np.sin(2 * np.pi * 480 * time_s)
    return tone * (time_s % 6 < 2)


def encode(path: Path, samples: np.ndarray, codec: Codec) -> None:
    """Write samples [shape=(n,) or (n, channels), −1..1] in the codec."""
    if "/" in codec.encoder:
        container, subtype = codec.encoder.split("/")
        sf.write(path, samples, codec.rate_hz, format=container, subtype=subtype)
        return
    pcm = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)[None, :]
    # bitexact: an Ogg serial number that is the same each time
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec.encoder, rate=codec.rate_hz, layout="mono")
        if codec.bit_rate:
            stream.bit_rate = codec.bit_rate
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.rate = codec.rate_hz
        for fitted in _fitted(frame, stream):
            container.mux(stream.encode(fitted))
        container.mux(stream.encode(None))


def _fitted(frame: av.AudioFrame, stream: av.AudioStream) -> list[av.AudioFrame]:
    # Encoders take frames of one size in one sample format; the resampler cuts and converts.
    stream.codec_context.open(strict=False)
    resampler = av.AudioResampler(
        stream.format, "mono", stream.rate, frame_size=stream.codec_context.frame_size or 320
    )
    return [*resampler.resample(frame), *resampler.resample(None)]


def _pause(rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    return np.zeros(round(rng.uniform(0.3, 0.6) * rate_hz))
