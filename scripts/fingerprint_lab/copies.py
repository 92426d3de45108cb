"""Copies of a recording as telephone networks and robocallers make them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soxr

from voiceguard.audio import RATE_HZ
from voiceguard.telephony.channel import Channel, CodecPass
from voiceguard.telephony.codecs import AMR_NB_BIT_RATES

BAND_HZ = (300.0, 3400.0)
NOISE_SNR_DB = 15.0
PACKET_LOSS = 0.03
STITCH_S = 0.03


@dataclass(frozen=True)
class Way:
    """One way in which a recording arrives."""

    name: str
    codecs: tuple[CodecPass, ...] = (CodecPass("g711_ulaw"),)
    noise_snr_db: float | None = None
    packet_loss: float = 0.0
    concealment: bool = True
    level_db: tuple[float, float] = (-32.0, -14.0)
    tempo: Callable[[np.random.Generator], float] = lambda rng: 1.0
    stretch: bool = False
    """Tempo changes with the pitch kept; else both change, as with a drifting clock."""

    def copy(self, samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Make the copy of samples, shape (n,), float32 at 8 kHz; equal generators make equal copies."""
        tempo = self.tempo(rng)
        if tempo != 1.0:
            samples = stretched(samples, tempo) if self.stretch else resampled(samples, tempo)
        channel = Channel(
            seed=int(rng.integers(2**31)),
            level_db=float(rng.uniform(*self.level_db)),
            band_hz=BAND_HZ,
            codecs=self.codecs,
            noise_snr_db=self.noise_snr_db,
            noise_slope=float(rng.uniform(0, 2)),
            packet_loss=self.packet_loss,
            concealment=self.concealment,
        )
        return channel.apply(samples)


def _one_percent(rng: np.random.Generator) -> float:
    return float(rng.choice([0.99, 1.01]))


def _drift(rng: np.random.Generator) -> float:
    return float(rng.uniform(0.99, 1.01))


AMR_WAYS = tuple(Way(f"amr_nb {rate}", (CodecPass("amr_nb", rate),)) for rate in AMR_NB_BIT_RATES)
WAYS: tuple[Way, ...] = (
    Way("g711 µ-law"),
    Way("g711 A-law", (CodecPass("g711_alaw"),)),
    Way("gsm", (CodecPass("gsm"),)),
    *AMR_WAYS,
    *(Way(f"opus {rate}", (CodecPass("opus", rate),)) for rate in (8000, 12000, 16000)),
    *(Way(f"mp3 {rate}", (CodecPass("mp3", rate),)) for rate in (16000, 24000)),
    Way("noise 15 dB", noise_snr_db=NOISE_SNR_DB),
    Way("noise 15 dB, amr_nb 4750", (CodecPass("amr_nb", 4750),), noise_snr_db=NOISE_SNR_DB),
    Way("loss 3 %, concealed", packet_loss=PACKET_LOSS),
    Way("loss 3 %, silent", packet_loss=PACKET_LOSS, concealment=False),
    Way("loss 3 %, gsm", (CodecPass("gsm"),), packet_loss=PACKET_LOSS, concealment=False),
    Way("quiet", level_db=(-45.0, -40.0)),
    Way("loud", level_db=(-8.0, -6.0)),
    Way("clock 1 %", tempo=_one_percent),
    Way("tempo 1 %", tempo=_one_percent, stretch=True),
    Way("tempo 1 %, amr_nb 4750", (CodecPass("amr_nb", 4750),), tempo=_one_percent, stretch=True),
    Way(
        "all at once",
        (CodecPass("gsm"),),
        noise_snr_db=NOISE_SNR_DB,
        packet_loss=PACKET_LOSS,
        tempo=_drift,
        stretch=True,
    ),
)


def resampled(samples: np.ndarray, tempo: float) -> np.ndarray:
    """Play faster by the factor, pitch and all."""
    return soxr.resample(samples, RATE_HZ * tempo, RATE_HZ).astype(np.float32)


def stretched(samples: np.ndarray, tempo: float) -> np.ndarray:
    """Play faster by the factor, the pitch kept: overlap-add at the best match (WSOLA, Verhelst 1993)."""
    size = int(STITCH_S * RATE_HZ) // 2 * 2
    step, search = size // 2, size // 4
    window = np.hanning(size + 1)[:size]
    count = int((len(samples) / tempo - size) // step)
    out = np.zeros(max(count, 1) * step + size, np.float32)
    padded = np.concatenate([np.zeros(search), samples, np.zeros(2 * size + search)])
    natural = padded[search : search + size]
    for index in range(count):
        middle = int(index * step * tempo) + search
        region = padded[middle - search : middle + search + size]
        best = int(np.correlate(region, natural, "valid").argmax()) if index else search
        start = middle - search + best
        out[index * step : index * step + size] += (window * padded[start : start + size]).astype(np.float32)
        natural = padded[start + step : start + step + size]
    return out


def cut(samples: np.ndarray, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Cut a stretch of this many seconds at a random place."""
    length = int(seconds * RATE_HZ)
    start = int(rng.integers(max(len(samples) - length, 0) + 1))
    return samples[start : start + length]
