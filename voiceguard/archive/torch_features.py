"""The features of many windows at once, on any device of torch: what :mod:`voiceguard.features` computes one by one.

Windows of different lengths lie side by side, padded; every statistic weighs its frames, and what is padding
weighs nothing. Each function does for a batch what the one of the same name there does for a window; a test holds
the two together. Shapes begin with the batch: tracks are (windows, quantities, frames).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.fft
import torch
import torchaudio
from torch import Tensor

from voiceguard import features as sets
from voiceguard.archive.torch_statistics import (
    correlations,
    cut,
    dynamics,
    moments,
    normalise,
    statics,
    to_the_front,
    within,
)
from voiceguard.audio import RATE_HZ
from voiceguard.features import FeatureSet, envelopes, excitation, harmonics, spectrum, statistics
from voiceguard.windows import SpeechWindow

_TINY = 1e-16


class BatchFeatures:
    """Computes features on one device.

    Parameters
    ----------
    device
        A device of torch, such as ``cuda`` or ``cpu``.
    features
        Which set of features.
    """

    def __init__(self, device: str, features: FeatureSet = "full") -> None:
        self.device = torch.device(device)
        self._features = features
        self._triangles = self._put(spectrum.triangles().toarray())
        dct = torchaudio.functional.create_dct(spectrum.COEFFICIENTS + 1, spectrum.BANDS, norm="ortho")
        self._dct = dct[:, 1:].T.contiguous().to(self.device)
        (rows, columns), starts = sets.band_diagonals()
        self._rows, self._columns = (torch.as_tensor(index, device=self.device) for index in (rows, columns))
        self._diagonal_ends = [*starts[1:], len(rows)]
        self._diagonal_starts = list(starts)

    def extract(self, windows: Sequence[SpeechWindow]) -> Tensor:
        """Compute the features of windows, shape (windows, features), float32, finite; columns as there."""
        parts = [part.flatten(1) for part in self._parts(windows)]
        return torch.nan_to_num(torch.cat(parts, dim=1), nan=0.0, posinf=0.0, neginf=0.0)

    def _put(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32, device=self.device)

    def _side_by_side(self, windows: Sequence[SpeechWindow]) -> Tensor:
        """Return samples without their mean, and zeros behind them, shape (windows, samples)."""
        samples = np.zeros((len(windows), max(map(_size, windows))), np.float32)
        for row, window in enumerate(windows):
            samples[row, : len(window.samples)] = window.samples - np.float32(window.samples.mean())
        return self._put(samples)

    def _analyse(
        self,
        samples: Tensor,
        windows: Sequence[SpeechWindow],
        window_samples: int = spectrum.WINDOW_SAMPLES,
        hop_samples: int = spectrum.HOP_SAMPLES,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Power spectrogram (windows, bins, frames), frames of each window, and its speech frames as a mask."""
        counts = [1 + (_size(window) - window_samples) // hop_samples for window in windows]
        speech = np.zeros((len(windows), max(counts)), bool)
        for row, (window, count) in enumerate(zip(windows, counts, strict=True)):
            speech[row, :count] = spectrum.frame_mask(window.speech, count, window_samples, hop_samples)
        return (
            _spectrogram(window_samples, hop_samples, self.device)(samples)[:, :, : speech.shape[1]],
            torch.as_tensor(counts, device=self.device),
            torch.as_tensor(speech, device=self.device),
        )

    def _parts(self, windows: Sequence[SpeechWindow]) -> Iterator[Tensor]:
        samples = self._side_by_side(windows)
        power, frames, speech = self._analyse(samples, windows)
        weights = speech.float()
        valid = within(frames, speech.shape[1])
        count = weights.sum(1)
        floor = (power.mean(1) * weights).sum(1) / count * 10 ** (sets.FLOOR_DB / 10) + _TINY
        log_bands = torch.log(self._triangles @ power + floor[:, None, None])
        coefficients = self._dct @ log_bands
        pairs = (log_bands[:, 0::2] + log_bands[:, 1::2]) / 2
        highest = pairs.amax(1).masked_fill(~valid, -torch.inf).amax(1)
        energy = torch.log(torch.exp(pairs - highest[:, None, None]).sum(1) + 1e-9)
        harmonicity, log_lag, areas, log_gain = self._excitation(power)
        voiced = speech & (harmonicity > excitation.VOICED_HARMONICITY)
        tracks = [coefficients, energy[:, None], harmonicity[:, None], areas, log_gain[:, None]]
        if self._features != "light":
            shape = _spectrum_shape(power)
            tracks.append(shape)
        if self._features == "full":
            tracks.append(log_bands)
        moving = dynamics(torch.cat(tracks, dim=1), weights, frames, sets.STEPS, sets.LAGS)
        ends = list(itertools.accumulate(track.shape[1] for track in tracks))
        lfcc, loud, harmonic, area, gain, *more = (
            torch.cat([block[..., end - track.shape[1] : end].flatten(1) for block in moving], dim=1)
            for track, end in zip(tracks, ends, strict=True)
        )
        yield lfcc
        yield from statics(coefficients[:, :20], speech)
        yield from self._bands(pairs, speech, frames)
        yield loud
        yield (voiced.sum(1) / count)[:, None]
        yield harmonic
        yield from _pitch(log_lag, voiced, frames)
        yield area
        yield gain
        yield from _voicing(coefficients, speech, voiced, frames)
        first, *others = envelopes.BANKS
        yield from self._envelope(first, samples, windows)
        if self._features != "light":
            yield from statics(shape, speech)
            yield more[0]
            for bank in others:
                yield from self._envelope(bank, samples, windows)
            yield from self._harmonics(power, frames, speech)
            long = self._analyse(samples, windows, harmonics.LONG_WINDOW_SAMPLES)
            yield from self._harmonics(*long)
        if self._features == "full":
            yield more[1]
            yield from self._joint(coefficients, weights, frames)
            centred, counts = to_the_front(coefficients, speech)
            yield self._modulation(centred, counts, sets.CEPSTRAL_MODULATION_HZ)

    def _envelope(
        self, bank: envelopes.Envelopes, samples: Tensor, windows: Sequence[SpeechWindow]
    ) -> Iterator[Tensor]:
        power, frames, speech = self._analyse(samples, windows, bank.window_samples, bank.hop_samples)
        weights = speech.float()
        first, last = bank.first_bin, bank.last_bin
        valid = within(frames, speech.shape[1]).float()[:, None]
        bands = (power[:, first:last:2] + power[:, first + 1 : last : 2]) * valid
        floor = (bands.mean(1) * weights).sum(1) / weights.sum(1) * envelopes.FLOOR + _TINY
        share, nearby = (
            torch.nn.functional.avg_pool1d(of, envelopes.NEARBY_FRAMES, 1, envelopes.NEARBY_FRAMES // 2)
            for of in (valid, bands)
        )
        tracks = torch.log(
            bands / (nearby / share.clamp(min=_TINY) + floor[:, None, None]) + envelopes.OFFSET
        )
        yield moments(tracks, weights)
        yield from dynamics(tracks, weights, frames, bank.steps, bank.lags)
        yield correlations(normalise(tracks, weights))

    def _excitation(self, power: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        autocorrelation = _autocorrelation(power)
        low, high = excitation.PITCH_LAGS
        search = autocorrelation[:, low:high] / (autocorrelation[:, :1] + _TINY)
        search = search / self._put(excitation.lag_window(spectrum.WINDOW_SAMPLES))[low:high, None]
        harmonicity, best = search.max(1)
        reflection, gain = _reflection(autocorrelation[:, : excitation.LPC_ORDER + 1])
        reflection = reflection.clamp(-0.999, 0.999)
        areas = torch.log((1 + reflection) / (1 - reflection)) / 2
        return harmonicity, torch.log(best.float() + low), areas, torch.log(gain + 1e-9)

    def _harmonics(self, power: Tensor, frames: Tensor, speech: Tensor) -> Iterator[Tensor]:
        tracks, log_lag, voiced = self._periodicity(power, speech)
        enough = voiced.sum(1, keepdim=True) >= excitation.LEAST_VOICED
        weights = torch.where(enough, voiced, within(frames, voiced.shape[1])).float()
        yield moments(tracks, weights)
        yield (tracks * weights[:, None]).sum(2) / weights.sum(1)[:, None]
        yield from dynamics(tracks, weights, frames, harmonics.STEPS, harmonics.TRACK_LAGS)
        yield correlations(normalise(tracks, weights))
        yield from _tremble(log_lag, voiced)

    def _periodicity(self, power: Tensor, speech: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As :func:`voiceguard.features.harmonics.analyse`, of a batch."""
        size = 2 * (power.shape[1] - 1)
        autocorrelation = _autocorrelation(power)
        low, high = excitation.PITCH_LAGS
        search = autocorrelation[:, low:high] / self._put(excitation.lag_window(size))[low:high, None]
        best = search.argmax(1, keepdim=True).clamp(1, high - low - 2)
        before, peak, after = (search.gather(1, best + off)[:, 0] for off in (-1, 0, 1))
        bend = before - 2 * peak + after
        off = ((before - after) / torch.where(bend < 0, 2 * bend, -1.0)).clamp(-1, 1)
        lag = best[:, 0] + low + torch.where(bend < 0, off, 0.0)
        harmonicity = peak / (autocorrelation[:, 0] + _TINY)
        edges = [spectrum.nearest_bin(edge, size) for edge in harmonics.EDGES_HZ]
        bins = torch.arange(edges[0], edges[-1], device=self.device)
        chosen = power[:, edges[0] : edges[-1]]
        periodic = chosen * torch.cos(lag[:, None] * (2 * torch.pi / size * bins)[:, None])
        shares = [
            periodic[:, a - edges[0] : b - edges[0]].sum(1)
            / (chosen[:, a - edges[0] : b - edges[0]].sum(1) + 1e-12)
            for a, b in itertools.pairwise(edges)
        ]
        voiced = speech & (harmonicity > excitation.VOICED_HARMONICITY)
        return torch.stack([harmonicity, *shares], dim=1), torch.log(lag), voiced

    def _bands(self, pairs: Tensor, speech: Tensor, frames: Tensor) -> Iterator[Tensor]:
        yield from statics(pairs, speech)
        delta = pairs[:, :, 2:] - pairs[:, :, :-2]
        yield moments(delta, cut(speech.float(), 1, delta, frames - 2))
        centred, counts = to_the_front(pairs, speech)
        yield self._modulation(centred, counts, sets.MODULATION_HZ)
        normal = centred[:, :, ::2]
        half = ((counts + 1) // 2)[:, None, None]
        normal = normal / (torch.sqrt((normal * normal).sum(2, keepdim=True) / half) + 1e-6)
        correlation = normal @ normal.transpose(1, 2) / half
        diagonals = correlation[:, self._rows, self._columns]
        for start, end in zip(self._diagonal_starts, self._diagonal_ends, strict=True):
            along = diagonals[:, start:end]
            mean = along.mean(1)
            spread = torch.sqrt(((along * along).mean(1) - mean**2).clamp(min=0))
            yield torch.stack([mean, spread], dim=1)

    def _joint(self, coefficients: Tensor, weights: Tensor, frames: Tensor) -> Iterator[Tensor]:
        first = coefficients[..., 2:] - coefficients[..., :-2]
        second = coefficients[..., 4:] - 2 * coefficients[..., 2:-2] + coefficients[..., :-4]
        once = cut(weights, 1, first, frames - 2)
        moving = normalise(first, once)
        for normal in (
            normalise(coefficients, weights),
            moving,
            normalise(second, cut(weights, 2, second, frames - 4)),
            normalise(first.abs(), once),
        ):
            yield correlations(normal)
        moving = moving[:, : sets.JOINT_COEFFICIENTS]
        for lag in sets.JOINT_LAGS:
            yield moving[..., lag:] @ moving[..., :-lag].transpose(1, 2)

    def _modulation(self, centred: Tensor, counts: Tensor, edges_hz: tuple[float, ...]) -> Tensor:
        """Shares of modulation frequencies, (windows, ranges, quantities): one transform for each length."""
        shares = centred.new_zeros((len(centred), len(edges_hz) - 1, centred.shape[1]))
        place = torch.arange(centred.shape[2], device=self.device, dtype=torch.float64)
        taper = 0.5 - 0.5 * torch.cos(2 * torch.pi * place / (counts[:, None] - 1))
        tapered = centred * taper[:, None].float()
        sizes = np.array([scipy.fft.next_fast_len(int(count), real=True) for count in counts.tolist()])
        for size in np.unique(sizes):
            rows = torch.as_tensor(np.flatnonzero(sizes == size), device=self.device)
            transformed = torch.fft.rfft(tapered[rows], n=int(size))
            modulation = transformed.real**2 + transformed.imag**2
            edges = statistics.modulation_edges(edges_hz, int(size), RATE_HZ / spectrum.HOP_SAMPLES)
            ranges = torch.stack([modulation[..., a:b].sum(2) for a, b in itertools.pairwise(edges)], dim=1)
            shares[rows] = torch.log(ranges / (modulation.sum(2) + 1e-9)[:, None] + 1e-6)
        return shares


@functools.cache
def _spectrogram(
    window_samples: int, hop_samples: int, device: torch.device
) -> torchaudio.transforms.Spectrogram:
    return torchaudio.transforms.Spectrogram(
        n_fft=window_samples, hop_length=hop_samples, center=False, power=2.0
    ).to(device)


def _size(window: SpeechWindow) -> int:
    return max(len(window.samples), sets.LEAST_SAMPLES)


def _autocorrelation(power: Tensor) -> Tensor:
    size = 2 * (power.shape[1] - 1)
    return size * torch.fft.irfft(power, n=size, dim=1)


def _tremble(log_lag: Tensor, voiced: Tensor) -> Iterator[Tensor]:
    for step in harmonics.STEPS:
        difference, inside = log_lag, voiced
        for _ in range(harmonics.TREMBLE_ORDERS):
            difference = difference[:, step:] - difference[:, :-step]
            inside = inside[:, step:] & inside[:, :-step]
            calm = inside & (difference.abs() < harmonics.CALM_STEP)
            enough = calm.sum(1) >= excitation.LEAST_VOICED
            found = moments(difference[:, None], calm.float()).flatten(1)
            yield torch.where(enough[:, None], found, torch.zeros_like(found))
            yield (calm.sum(1) / inside.sum(1).clamp(min=1))[:, None]
    steps = log_lag[:, 1:] - log_lag[:, :-1]
    calm = voiced[:, 1:] & voiced[:, :-1] & (steps.abs() < harmonics.CALM_STEP)
    normal = normalise(steps[:, None], calm.float())[:, 0]
    similar = [(normal[:, lag:] * normal[:, :-lag]).sum(1) for lag in harmonics.TREMBLE_LAGS]
    enough = calm.sum(1) >= excitation.LEAST_VOICED
    yield torch.where(enough[:, None], torch.stack(similar, dim=1), 0.0)


def _voicing(coefficients: Tensor, speech: Tensor, voiced: Tensor, frames: Tensor) -> Iterator[Tensor]:
    second = coefficients[..., 4:] - 2 * coefficients[..., 2:-2] + coefficients[..., :-4]
    whole = within(frames - 4, second.shape[2]).float()
    for mask in (voiced, speech & ~voiced):
        weights = cut(mask.float(), 2, second, frames - 4)
        few = weights.sum(1, keepdim=True) < excitation.LEAST_VOICED
        yield moments(second, torch.where(few, whole, weights))


def _pitch(log_lag: Tensor, voiced: Tensor, frames: Tensor) -> Iterator[Tensor]:
    steps = log_lag[:, 1:] - log_lag[:, :-1]
    both = voiced[:, 1:] & voiced[:, :-1]
    calm = both & (steps.abs() < 0.15)
    enough = calm.sum(1) >= 16
    smooth = calm[:, 1:] & calm[:, :-1]
    whole = within(frames - 2, smooth.shape[1])
    smooth = torch.where(smooth.any(1, keepdim=True), smooth, whole)
    bends = steps[:, 1:] - steps[:, :-1]
    jumps = (both & ~calm).sum(1) / both.sum(1).clamp(min=1)
    weights = voiced.float()
    count = weights.sum(1).clamp(min=1)
    mean = (log_lag * weights).sum(1) / count
    spread = torch.log(torch.sqrt((((log_lag - mean[:, None]) * weights) ** 2).sum(1) / count) + 1e-4)
    found = (
        moments(steps[:, None], calm.float()).flatten(1),
        moments(bends[:, None], smooth.float()).flatten(1),
        torch.stack([jumps, spread], dim=1),
    )
    for values in found:
        yield torch.where(enough[:, None], values, torch.zeros_like(values))


def _reflection(autocorrelation: Tensor) -> tuple[Tensor, Tensor]:
    normal = autocorrelation / (autocorrelation[:, :1] + _TINY)
    normal[:, 0] = 1.0001
    order = normal.shape[1] - 1
    coefficients = torch.zeros_like(normal)
    coefficients[:, 0] = 1
    reflection = torch.zeros_like(normal[:, :order])
    error = normal[:, 0].clone()
    for index in range(1, order + 1):
        projected = (coefficients[:, :index] * normal[:, 1 : index + 1].flip(1)).sum(1)
        factor = (-projected / error).clamp(-0.9999, 0.9999)
        reflection[:, index - 1] = factor
        update = factor[:, None] * coefficients[:, :index].flip(1)
        coefficients[:, 1 : index + 1] += update
        error = error * (1 - factor * factor)
    return reflection, error


def _spectrum_shape(power: Tensor) -> Tensor:
    chosen = power[:, spectrum.nearest_bin(300) : spectrum.nearest_bin(3400)]
    chosen = chosen / (chosen.sum(1, keepdim=True) + _TINY) + 1e-7
    logs = torch.log(chosen)
    flux = torch.zeros_like(power[:, 0])
    flux[:, 1:] = (chosen[..., 1:] - chosen[..., :-1]).abs().sum(1)
    bends = (logs[:, 2:] - 2 * logs[:, 1:-1] + logs[:, :-2]).abs()
    split = (
        0,
        spectrum.nearest_bin(1000) - spectrum.nearest_bin(300),
        spectrum.nearest_bin(2000) - spectrum.nearest_bin(300),
        logs.shape[1],
    )
    fine = [bends[:, begin : end - 2].mean(1) for begin, end in itertools.pairwise(split)]
    return torch.stack([logs.mean(1), -(chosen * logs).sum(1), flux, *fine], dim=1)
