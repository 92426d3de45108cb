"""Telephone channel simulation: what happens to a voice between a mouth and a recorder.

A :class:`Channel` is drawn from a seeded generator and says everything that it does, so that a degraded clip
can be made again from its record. Three severities:

- ``plain``: telephone band, a level, one common codec;
- ``mild``: the same with looser band edges and any codec and rate;
- ``hard``: reverberation, noise, clipping, gain control, tandem codecs, packet loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.signal

from voiceguard.audio import RATE_HZ
from voiceguard.telephony.codecs import AMR_NB_BIT_RATES, CODECS, G726_BIT_RATES

Severity = Literal["plain", "mild", "hard"]
SEVERITIES: tuple[Severity, ...] = ("plain", "mild", "hard")

PACKET_SAMPLES = RATE_HZ // 50
OPUS_BIT_RATES = (8000, 12000, 16000, 24000)
MP3_BIT_RATES = (16000, 24000, 32000, 48000)


@dataclass(frozen=True)
class CodecPass:
    """One pass through a codec of :data:`CODECS`; ``bit_rate`` in bit/s where the codec has several."""

    codec: str
    bit_rate: int | None = None


@dataclass(frozen=True)
class Channel:
    """One telephone channel; ``apply`` is deterministic, its random parts come from ``seed``."""

    seed: int
    level_db: float
    """Level that the speech is brought to, dB below full scale (RMS)."""
    band_hz: tuple[float, float] | None = None
    band_order: int = 4
    codecs: tuple[CodecPass, ...] = ()
    reverberation_s: float | None = None
    """Time in which the room's reverberation falls by 60 dB."""
    noise_snr_db: float | None = None
    noise_slope: float = 0.0
    """Spectral slope of the noise: power falls with frequency to this power."""
    clipping_db: float | None = None
    """Gain into the clipper, dB above the point where the peak just fits."""
    gain_control: bool = False
    packet_loss: float = 0.0
    """Share of 20 ms packets that are lost."""
    concealment: bool = True
    """Lost packets repeat what came before, fading; else they are silence."""

    def apply(self, samples: np.ndarray) -> np.ndarray:
        """Send speech through the channel.

        Parameters
        ----------
        samples : np.ndarray [shape=(n,), float32, -1..1]
            Speech at 8 kHz.

        Returns
        -------
        np.ndarray [shape=(n,), float32, -1..1]
        """
        rng = np.random.default_rng(self.seed)
        signal = samples.astype(np.float32) - np.float32(samples.mean())
        if self.reverberation_s is not None:
            signal = _reverberate(signal, self.reverberation_s, rng)
        if self.noise_snr_db is not None:
            signal = _add_noise(signal, self.noise_snr_db, self.noise_slope, rng)
        if self.gain_control:
            signal = _control_gain(signal)
        if self.clipping_db is not None:
            peak = np.abs(signal).max() + 1e-9
            limit = peak * 10 ** (-self.clipping_db / 20)
            signal = np.clip(signal, -limit, limit)
        if self.band_hz is not None:
            signal = _band_pass(signal, self.band_hz, self.band_order)
        signal = _set_level(signal, self.level_db)
        for index, passed in enumerate(self.codecs):
            options = {} if passed.bit_rate is None else {"bit_rate": passed.bit_rate}
            signal = CODECS[passed.codec](signal, **options)
            if index == 0 and self.packet_loss:
                signal = _lose_packets(signal, self.packet_loss, self.concealment, rng)
        return signal.astype(np.float32, copy=False)


def draw_channel(rng: np.random.Generator, severity: Severity) -> Channel:
    """Draw a channel; equal generators give equal channels."""
    seed = int(rng.integers(2**31))
    if severity == "plain":
        codecs = _PLAIN_CODECS[rng.integers(len(_PLAIN_CODECS))]
        return Channel(seed, float(rng.uniform(-32, -14)), band_hz=(300.0, 3400.0), codecs=codecs)
    band = (float(rng.uniform(50, 400)), float(rng.uniform(3000, 3800)))
    level_db = float(rng.uniform(-38, -10))
    if severity == "mild":
        return Channel(
            seed,
            level_db,
            band_hz=band if rng.random() < 0.8 else None,
            band_order=int(rng.integers(2, 7)),
            codecs=(_draw_codec(rng),) if rng.random() < 0.9 else (),
        )
    return Channel(
        seed,
        level_db,
        band_hz=band if rng.random() < 0.8 else None,
        band_order=int(rng.integers(2, 7)),
        codecs=tuple(_draw_codec(rng) for _ in range(rng.choice([1, 2, 3], p=[0.45, 0.4, 0.15]))),
        reverberation_s=float(rng.uniform(0.05, 0.6)) if rng.random() < 0.35 else None,
        noise_snr_db=float(rng.uniform(5, 35)) if rng.random() < 0.6 else None,
        noise_slope=float(rng.uniform(0, 2)),
        clipping_db=float(rng.uniform(1, 10)) if rng.random() < 0.15 else None,
        gain_control=bool(rng.random() < 0.2),
        packet_loss=float(rng.uniform(0.005, 0.05)) if rng.random() < 0.35 else 0.0,
        concealment=bool(rng.random() < 0.6),
    )


_PLAIN_CODECS: tuple[tuple[CodecPass, ...], ...] = (
    (CodecPass("g711_ulaw"),),
    (CodecPass("g711_alaw"),),
    (CodecPass("gsm"),),
    (CodecPass("amr_nb", 12200),),
    (CodecPass("opus", 16000),),
    (CodecPass("mp3", 24000),),
    (),
)


def _draw_codec(rng: np.random.Generator) -> CodecPass:
    name = list(CODECS)[rng.integers(len(CODECS))]
    rates = {"amr_nb": AMR_NB_BIT_RATES, "g726": G726_BIT_RATES, "opus": OPUS_BIT_RATES, "mp3": MP3_BIT_RATES}
    return CodecPass(name, int(rng.choice(rates[name])) if name in rates else None)


def _set_level(signal: np.ndarray, level_db: float) -> np.ndarray:
    """Bring the louder half of the signal to the level; what then exceeds full scale is limited softly."""
    frames = signal[: len(signal) // PACKET_SAMPLES * PACKET_SAMPLES].reshape(-1, PACKET_SAMPLES)
    power = (frames.astype(np.float64) ** 2).mean(axis=1) if len(frames) else np.zeros(1)
    loud = power[power >= np.median(power)].mean()
    gain = 10 ** (level_db / 20) / np.sqrt(loud + 1e-12)
    peak = np.abs(signal).max() * gain
    return signal * np.float32(gain if peak <= 0.99 else gain * 0.99 / peak)


def _band_pass(signal: np.ndarray, band_hz: tuple[float, float], order: int) -> np.ndarray:
    sections = scipy.signal.butter(order, band_hz, "bandpass", fs=RATE_HZ, output="sos")
    return scipy.signal.sosfilt(sections, signal).astype(np.float32)


def _reverberate(signal: np.ndarray, time_s: float, rng: np.random.Generator) -> np.ndarray:
    """Convolve with exponentially decaying noise after a direct path (Polack's statistical model)."""
    length = max(int(time_s * RATE_HZ), 2)
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    tail[: RATE_HZ // 400] = 0
    tail *= rng.uniform(0.2, 1.0) / (np.sqrt((tail**2).sum()) + 1e-9)
    tail[0] = 1.0
    return scipy.signal.fftconvolve(signal, tail)[: len(signal)].astype(np.float32)


def _add_noise(signal: np.ndarray, snr_db: float, slope: float, rng: np.random.Generator) -> np.ndarray:
    spectrum = np.fft.rfft(rng.standard_normal(len(signal)))
    frequency_hz = np.maximum(np.fft.rfftfreq(len(signal), 1 / RATE_HZ), 50.0)
    noise = np.fft.irfft(spectrum * frequency_hz ** (-slope / 2), len(signal))
    gain = np.sqrt((signal**2).mean() / ((noise**2).mean() + 1e-12)) * 10 ** (-snr_db / 20)
    return (signal + gain * noise).astype(np.float32)


def _control_gain(signal: np.ndarray) -> np.ndarray:
    """Automatic gain control: divide by the level's envelope of some 100 ms, at most 20 dB."""
    power = scipy.signal.lfilter([0.00125], [1, -0.99875], signal.astype(np.float64) ** 2)
    envelope = np.sqrt(power + 1e-9)
    return (signal / np.maximum(envelope, envelope.max() / 10)).astype(np.float32)


def _lose_packets(signal: np.ndarray, loss: float, conceal: bool, rng: np.random.Generator) -> np.ndarray:
    """Lose packets in bursts (Gilbert's model, mean burst 1.5 packets)."""
    signal = signal.copy()
    leave = 1 / 1.5
    enter = loss * leave / (1 - loss)
    lost = False
    fade = 1.0
    for start in range(PACKET_SAMPLES, len(signal), PACKET_SAMPLES):
        lost = rng.random() < (1 - leave if lost else enter)
        packet = signal[start : start + PACKET_SAMPLES]
        if not lost:
            fade = 1.0
        elif conceal:
            fade *= 0.7
            packet[:] = fade * signal[start - PACKET_SAMPLES : start][: len(packet)]
        else:
            packet[:] = 0
    return signal
