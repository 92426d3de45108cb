"""Learned linear projections: patches of the telephone band over time -> bits that survive the telephone.

``scripts/learn_fingerprint.py`` makes ``projections.npz``.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources

import numpy as np

from voiceguard.fingerprint.bands import BANDS, HOP_S


@dataclass(frozen=True)
class Projection:
    """Bits of a patch of ``frames`` frames: whether weights times the patch exceed the thresholds."""

    weights: np.ndarray
    """Shape (bits, frames * BANDS), float32 holding whole numbers in -127..127; strongest bit first."""
    thresholds: np.ndarray
    """Shape (bits,), float32 holding whole numbers: what half of all speech exceeds."""
    noises: np.ndarray
    """Shape (bits,), float32: standard deviation of what a copy adds, to compare margins between bits."""

    @property
    def frames(self) -> int:
        """Frames in a patch."""
        return self.weights.shape[1] // BANDS

    @property
    def patch_s(self) -> float:
        """Seconds that a patch spans."""
        return self.frames * HOP_S

    def margins(self, bands: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Tell by how much the patches that begin at these frames exceed the thresholds.

        Parameters
        ----------
        bands : np.ndarray [shape=(n, BANDS), float32]
            What :func:`voiceguard.fingerprint.bands.log_bands` gives.
        places : np.ndarray [shape=(m,), int, 0..n - frames]

        Returns
        -------
        np.ndarray [shape=(m, bits), float32]
            Whole numbers; bits are set where they are above 0.
        """
        if len(places) == 0:
            return np.zeros((0, len(self.weights)), np.float32)
        flat = np.ascontiguousarray(bands).ravel()
        patches = np.lib.stride_tricks.sliding_window_view(flat, self.weights.shape[1])[places * BANDS]
        margins: np.ndarray = patches @ self.weights.T - self.thresholds
        return margins


def pack(set_bits: np.ndarray) -> np.ndarray:
    """Pack bits, shape (m, bits), bool, at most 64, into whole numbers, shape (m,), uint64; first bit lowest."""
    padded = np.zeros((len(set_bits), 64), bool)
    padded[:, : set_bits.shape[1]] = set_bits
    packed: np.ndarray = np.packbits(padded, axis=1, bitorder="little").view("<u8").ravel()
    return packed


@functools.cache
def projection(name: str) -> Projection:
    """Load a projection of ``projections.npz``: ``key`` or ``code``."""
    with resources.files(__package__).joinpath("projections.npz").open("rb") as file:
        tables = np.load(file)
        return Projection(
            *(tables[f"{name}_{part}"].astype(np.float32) for part in ("weights", "thresholds", "noises"))
        )
