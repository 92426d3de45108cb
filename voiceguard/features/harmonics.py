"""How periodic each part of the spectrum is, and how the pitch trembles.

A vocoder fills in what lies between the harmonics, band by band, and moves the pitch more smoothly or more
roughly than vocal folds do. The lag of the pitch is interpolated between samples (Jacovitti and Scarano, IEEE
Trans. Signal Processing 41, 1993): the tremble of a voice is finer than a sample of 8 kHz.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from voiceguard.features import loops
from voiceguard.features.excitation import LEAST_VOICED, VOICED_HARMONICITY, Peak, enough
from voiceguard.features.spectrum import Spectra, nearest_bin
from voiceguard.features.statistics import MOMENTS, Block, correlations, dynamics, moments, normalise, sums

LONG_WINDOW_SAMPLES = 512
"""Beside the short window, which follows the voice, one that parts its harmonics."""
EDGES_HZ = (300, 800, 1300, 1800, 2400, 3000, 3500)
STEPS, TRACK_LAGS, TREMBLE_LAGS = (1, 2, 4), (1, 2, 4), (1, 2, 3, 4, 6, 8)
TREMBLE_ORDERS = 3
CALM_STEP = 0.12


class Harmonics(NamedTuple):
    """Of each frame."""

    tracks: np.ndarray
    """Share of periodic power of the whole, then of each band, shape (1 + bands, frames), in -1..1 or so."""
    log_lag: np.ndarray
    """Natural log of the pitch period in samples, shape (frames,)."""
    voiced: np.ndarray
    """Shape (frames,), bool."""


def harmonic_blocks(frames: Spectra, peak: Peak) -> Iterable[Block]:
    """Statistics of periodicity and pitch over voiced frames."""
    bounds = frames.bounds
    size = 2 * (frames.power.shape[1] - 1)
    name, found = f"harmonics{size}", analyse(frames.power, peak, frames.speech)
    weights = enough(found.voiced, bounds)
    yield Block(f"{name}.share", MOMENTS, moments(found.tracks, weights, bounds))
    mean = sums(found.tracks * weights, bounds) / sums(weights, bounds)
    yield Block(f"{name}.share", ("mean",), mean.T[:, None])
    yield from dynamics({f"{name}.share": found.tracks}, weights, bounds, STEPS, TRACK_LAGS)
    normal = normalise(found.tracks, weights, bounds)
    yield Block(f"{name}.share", ("correlation",), correlations(normal, bounds))
    yield from _tremble(f"{name}.tremble", found.log_lag, found.voiced, bounds)


def analyse(power: np.ndarray, peak: Peak, speech: np.ndarray) -> Harmonics:
    """Find how much of each band's power repeats with the pitch.

    A voice that repeats as well after two periods may be found an octave low; what counts is how it repeats.
    """
    size = 2 * (power.shape[1] - 1)
    edges = np.array([nearest_bin(edge, size) for edge in EDGES_HZ])
    shares = loops.periodic_shares(power, peak.lag, edges)
    return Harmonics(
        tracks=np.concatenate([peak.harmonicity_beside[None], shares]),
        log_lag=np.log(peak.lag),
        voiced=speech & (peak.harmonicity_beside > VOICED_HARMONICITY),
    )


def _tremble(family: str, log_lag: np.ndarray, voiced: np.ndarray, bounds: np.ndarray) -> Iterable[Block]:
    """Differences of the pitch within voiced stretches; zeros where there are too few."""
    found, counts = loops.tremble(log_lag, voiced, bounds, np.array(STEPS), TREMBLE_ORDERS, CALM_STEP)
    calm, inside = counts[:, 0], counts[:, 1]
    found *= (calm >= LEAST_VOICED)[:, None]
    shares = calm / np.maximum(inside, 1)
    for row, step in enumerate(STEPS):
        for order in range(TREMBLE_ORDERS):
            name = f"{family}.d{order + 1}x{step}"
            yield Block(name, MOMENTS, found[:, :, row, order])
            yield Block(name, ("calm_share",), shares[:, row, order])
    steps = np.diff(log_lag, append=np.float32(0))
    both = np.append(voiced[1:] & voiced[:-1], False)
    both[bounds[1:] - 1] = False  # the next frame is another window's
    calm_steps = both & (np.abs(steps) < CALM_STEP)
    normal = normalise(steps[None], calm_steps.astype(np.float32), bounds)
    similar = loops.autocorrelations(normal, bounds, np.array(TREMBLE_LAGS))[..., 0]
    similar *= calm[:, :1, 0] >= LEAST_VOICED  # of steps of one frame
    yield Block(f"{family}.autocorrelation", tuple(map(str, TREMBLE_LAGS)), similar)
