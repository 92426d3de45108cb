"""How periodic each part of the spectrum is, and how the pitch trembles.

A vocoder fills in what lies between the harmonics, band by band, and moves the pitch more smoothly or more
roughly than vocal folds do. The lag of the pitch is interpolated between samples (Jacovitti and Scarano, IEEE
Trans. Signal Processing 41, 1993): the tremble of a voice is finer than a sample of 8 kHz.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from voiceguard.features.excitation import LEAST_VOICED, PITCH_LAGS, VOICED_HARMONICITY, enough, pitch_lags
from voiceguard.features.spectrum import nearest_bin
from voiceguard.features.statistics import MOMENTS, Block, correlations, dynamics, moments, normalise

LONG_WINDOW_SAMPLES = 512
"""Beside the short window, which follows the voice, one that parts its harmonics."""
EDGES_HZ = (300, 800, 1300, 1800, 2400, 3000, 3500)
STEPS, TRACK_LAGS, TREMBLE_LAGS = (1, 2, 4), (1, 2, 4), (1, 2, 3, 4, 6, 8)
TREMBLE_ORDERS = (1, 2, 3)
CALM_STEP = 0.12


class Harmonics(NamedTuple):
    """Of each frame."""

    tracks: np.ndarray
    """Share of periodic power of the whole, then of each band, shape (1 + bands, frames), in -1..1 or so."""
    log_lag: np.ndarray
    """Natural log of the pitch period in samples, shape (frames,)."""
    voiced: np.ndarray
    """Shape (frames,), bool."""


def harmonic_blocks(power: np.ndarray, autocorrelation: np.ndarray, speech: np.ndarray) -> Iterable[Block]:
    """Statistics of periodicity and pitch over voiced frames; power and autocorrelation are (frames, bins)."""
    size = 2 * (power.shape[1] - 1)
    name, found = f"harmonics{size}", analyse(power, autocorrelation, speech)
    weights = enough(found.voiced)
    yield Block(f"{name}.share", MOMENTS, moments(found.tracks, weights))
    share = np.float32(1 / weights.sum())
    yield Block(f"{name}.share", ("mean",), np.vecdot(found.tracks, weights) * share)
    yield from dynamics({f"{name}.share": found.tracks}, weights, STEPS, TRACK_LAGS)
    yield Block(f"{name}.share", ("correlation",), correlations(normalise(found.tracks, weights)))
    yield from _tremble(f"{name}.tremble", found.log_lag, found.voiced)


def analyse(power: np.ndarray, autocorrelation: np.ndarray, speech: np.ndarray) -> Harmonics:
    """Find each frame's pitch between samples, and how much of each band's power repeats with it.

    A voice that repeats as well after two periods may be found an octave low; what counts is how it repeats.
    """
    size = 2 * (power.shape[1] - 1)
    search = pitch_lags(autocorrelation)
    row = np.arange(len(search))
    best = np.clip(search.argmax(axis=1), 1, search.shape[1] - 2)
    before, peak, after = search[row, best - 1], search[row, best], search[row, best + 1]
    bend = before - 2 * peak + after
    off = np.clip((before - after) / np.where(bend < 0, 2 * bend, -np.float32(1)), -1, 1)
    lag = (best + PITCH_LAGS[0] + np.where(bend < 0, off, 0)).astype(np.float32)
    harmonicity = peak / (autocorrelation[:, 0] + np.float32(1e-16))
    edges = [nearest_bin(edge, size) for edge in EDGES_HZ]
    bins = np.arange(edges[0], edges[-1], dtype=np.float32)
    chosen = power[:, edges[0] : edges[-1]]
    starts = np.array(edges[:-1]) - edges[0]
    turns = lag[:, None] * (np.float32(2 * np.pi / size) * bins)
    np.cos(turns, out=turns)
    turns *= chosen
    periodic = np.add.reduceat(turns, starts, axis=1)
    share = periodic / (np.add.reduceat(chosen, starts, axis=1) + np.float32(1e-12))
    return Harmonics(
        tracks=np.concatenate([harmonicity[None], share.T]),
        log_lag=np.log(lag),
        voiced=speech & (harmonicity > VOICED_HARMONICITY),
    )


def _tremble(family: str, log_lag: np.ndarray, voiced: np.ndarray) -> Iterable[Block]:
    """Differences of the pitch within voiced stretches; zeros where there are too few."""
    kinds = list(itertools.product(STEPS, TREMBLE_ORDERS))
    differences = np.zeros((len(kinds), len(log_lag)), np.float32)
    inside = np.zeros(differences.shape, dtype=bool)
    for row, (step, order) in enumerate(kinds):
        if order == 1:
            difference, within = log_lag, voiced
        difference, within = difference[step:] - difference[:-step], within[step:] & within[:-step]
        differences[row, : len(difference)], inside[row, : len(within)] = difference, within
    calm = inside & (np.abs(differences) < CALM_STEP)
    counts = calm.sum(axis=1)
    found = moments(differences, calm.astype(np.float32))
    found[:, counts < LEAST_VOICED] = 0
    shares = counts / np.maximum(inside.sum(axis=1), 1)
    for row, (step, order) in enumerate(kinds):
        yield Block(f"{family}.d{order}x{step}", MOMENTS, found[:, row])
        yield Block(f"{family}.d{order}x{step}", ("calm_share",), shares[row])
    steps = np.diff(log_lag)
    calm = voiced[1:] & voiced[:-1] & (np.abs(steps) < CALM_STEP)
    similar = np.zeros(len(TREMBLE_LAGS))
    if calm.sum() >= LEAST_VOICED:
        (normal,) = normalise(steps[None], calm.astype(np.float32))
        similar = np.array([np.vecdot(normal[lag:], normal[:-lag]) for lag in TREMBLE_LAGS])
    yield Block(f"{family}.autocorrelation", tuple(map(str, TREMBLE_LAGS)), similar)
