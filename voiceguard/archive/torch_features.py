"""The features of many windows at once, on any device of torch: what :mod:`voiceguard.features` computes one by one.

Windows of different lengths lie side by side, padded; every statistic weighs its frames, and what is padding
weighs nothing. Each function does for a batch what the one of the same name there does for a window; a test holds
the two together. Shapes begin with the batch: tracks are (windows, quantities, frames).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.fft
import torch
import torchaudio
from torch import Tensor

from voiceguard import features as one
from voiceguard.audio import RATE_HZ
from voiceguard.features import FeatureSet
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
        self._full = features == "full"
        pairs = one._pairs_above_diagonal()
        self._above = tuple(torch.as_tensor(index, device=self.device) for index in pairs)
        self._spectrogram = torchaudio.transforms.Spectrogram(
            n_fft=one.WINDOW_SAMPLES, hop_length=one.HOP_SAMPLES, center=False, power=2.0
        ).to(self.device)
        self._triangles = self._put(one._triangles().toarray())
        dct = torchaudio.functional.create_dct(one.COEFFICIENTS + 1, one.BANDS, norm="ortho")
        self._dct = dct[:, 1:].T.contiguous().to(self.device)
        self._lag_window = self._put(one._lag_window())
        (rows, columns), starts = one._diagonals()
        self._rows, self._columns = (torch.as_tensor(index, device=self.device) for index in (rows, columns))
        self._diagonal_ends = [*starts[1:], len(rows)]
        self._diagonal_starts = list(starts)

    def extract(self, windows: Sequence[SpeechWindow]) -> Tensor:
        """Compute the features of windows, shape (windows, features), float32, finite; columns as there."""
        samples, frames, speech = self._side_by_side(windows)
        parts = [part.flatten(1) for part in self._parts(samples, frames, speech)]
        return torch.nan_to_num(torch.cat(parts, dim=1), nan=0.0, posinf=0.0, neginf=0.0)

    def _put(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32, device=self.device)

    def _side_by_side(self, windows: Sequence[SpeechWindow]) -> tuple[Tensor, Tensor, Tensor]:
        """Return samples without their mean, frames of each window, and its speech frames as a mask."""
        sizes = [max(len(window.samples), one.LEAST_SAMPLES) for window in windows]
        counts = [1 + (size - one.WINDOW_SAMPLES) // one.HOP_SAMPLES for size in sizes]
        samples = np.zeros((len(windows), max(sizes)), np.float32)
        speech = np.zeros((len(windows), max(counts)), bool)
        for row, (window, count) in enumerate(zip(windows, counts, strict=True)):
            samples[row, : len(window.samples)] = window.samples - np.float32(window.samples.mean())
            speech[row, :count] = one._frame_mask(window.speech, count)
        return (
            self._put(samples),
            torch.as_tensor(counts, device=self.device),
            torch.as_tensor(speech, device=self.device),
        )

    def _parts(self, samples: Tensor, frames: Tensor, speech: Tensor) -> Iterator[Tensor]:
        power = self._spectrogram(samples)[:, :, : speech.shape[1]]
        weights = speech.float()
        valid = _within(frames, speech.shape[1])
        count = weights.sum(1)
        floor = (power.mean(1) * weights).sum(1) / count * 10 ** (one.FLOOR_DB / 10) + _TINY
        log_bands = torch.log(self._triangles @ power + floor[:, None, None])
        coefficients = self._dct @ log_bands
        pairs = (log_bands[:, 0::2] + log_bands[:, 1::2]) / 2
        highest = pairs.amax(1).masked_fill(~valid, -torch.inf).amax(1)
        energy = torch.log(torch.exp(pairs - highest[:, None, None]).sum(1) + 1e-9)
        harmonicity, log_lag, areas, log_gain = self._excitation(power)
        voiced = speech & (harmonicity > one.VOICED_HARMONICITY)
        shape = _spectrum_shape(power)
        tracks = [coefficients, energy[:, None], harmonicity[:, None], areas, log_gain[:, None], shape]
        if self._full:
            tracks.append(log_bands)
        moving = _dynamics(torch.cat(tracks, dim=1), weights, frames)
        ends = list(itertools.accumulate(track.shape[1] for track in tracks))
        lfcc, loud, harmonic, area, gain, shaped, *bands = (
            torch.cat([block[..., end - track.shape[1] : end].flatten(1) for block in moving], dim=1)
            for track, end in zip(tracks, ends, strict=True)
        )
        yield lfcc
        yield from _statics(coefficients[:, :20], speech)
        yield from self._bands(pairs, speech, frames)
        yield loud
        yield (voiced.sum(1) / count)[:, None]
        yield harmonic
        yield from _pitch(log_lag, voiced, frames)
        yield area
        yield gain
        yield from _voicing(coefficients, speech, voiced, frames)
        yield from _statics(shape, speech)
        yield shaped
        if self._full:
            yield from bands
            yield from self._joint(coefficients, weights, frames)
            centred, counts = _to_the_front(coefficients, speech)
            yield self._modulation(centred, counts, one.CEPSTRAL_MODULATION_HZ)

    def _excitation(self, power: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        autocorrelation = one.WINDOW_SAMPLES * torch.fft.irfft(power, n=one.WINDOW_SAMPLES, dim=1)
        low, high = one.PITCH_LAGS
        search = autocorrelation[:, low:high] / (autocorrelation[:, :1] + _TINY)
        search = search / self._lag_window[low:high, None]
        harmonicity, best = search.max(1)
        reflection, gain = _reflection(autocorrelation[:, : one.LPC_ORDER + 1])
        reflection = reflection.clamp(-0.999, 0.999)
        areas = torch.log((1 + reflection) / (1 - reflection)) / 2
        return harmonicity, torch.log(best.float() + low), areas, torch.log(gain + 1e-9)

    def _bands(self, pairs: Tensor, speech: Tensor, frames: Tensor) -> Iterator[Tensor]:
        yield from _statics(pairs, speech)
        delta = pairs[:, :, 2:] - pairs[:, :, :-2]
        yield _moments(delta, _cut(speech.float(), 1, delta, frames - 2))
        centred, counts = _to_the_front(pairs, speech)
        yield self._modulation(centred, counts, one.MODULATION_HZ)
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
        once = _cut(weights, 1, first, frames - 2)
        moving = _normalise(first, once)
        rows, columns = self._above
        for normal in (
            _normalise(coefficients, weights),
            moving,
            _normalise(second, _cut(weights, 2, second, frames - 4)),
            _normalise(first.abs(), once),
        ):
            yield (normal @ normal.transpose(1, 2))[:, rows, columns]
        moving = moving[:, : one.JOINT_COEFFICIENTS]
        for lag in one.JOINT_LAGS:
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
            spectrum = torch.fft.rfft(tapered[rows], n=int(size))
            modulation = spectrum.real**2 + spectrum.imag**2
            edges = np.ceil(np.array(edges_hz) * size * one.HOP_SAMPLES / RATE_HZ).astype(int)
            ranges = torch.stack([modulation[..., a:b].sum(2) for a, b in itertools.pairwise(edges)], dim=1)
            shares[rows] = torch.log(ranges / (modulation.sum(2) + 1e-9)[:, None] + 1e-6)
        return shares


def _to_the_front(tracks: Tensor, speech: Tensor) -> tuple[Tensor, Tensor]:
    """Move speech frames to the front, in their order, without their mean; zeros behind. And count them."""
    counts = speech.sum(1)
    order = torch.argsort((~speech).to(torch.uint8), dim=1, stable=True)
    chosen = torch.gather(tracks, 2, order[:, None].expand_as(tracks))
    front = _within(counts, tracks.shape[2]).float()[:, None]
    return (chosen - (chosen * front).sum(2, keepdim=True) / counts[:, None, None]) * front, counts


def _normalise(tracks: Tensor, weights: Tensor) -> Tensor:
    """As :func:`voiceguard.features._normalise`, of a batch."""
    weights = weights[:, None]
    mean = (tracks * weights).sum(2) / weights.sum(2).clamp(min=1)
    centred = (tracks - mean[..., None]) * weights
    return centred / torch.sqrt((centred * centred).sum(2) + 1e-9)[..., None]


def _within(counts: Tensor, length: int) -> Tensor:
    """Mask of the first ``counts`` places of each row, shape (windows, length)."""
    return torch.arange(length, device=counts.device) < counts[:, None]


def _cut(weights: Tensor, lead: int, values: Tensor, lengths: Tensor) -> Tensor:
    """Weights of ``values`` that begin ``lead`` frames in and are ``lengths`` long; else 0."""
    length = values.shape[-1]
    return weights[:, lead : lead + length] * _within(lengths, length)


def _moments(values: Tensor, weights: Tensor) -> Tensor:
    """As :func:`voiceguard.features._moments`: (windows, 4, quantities)."""
    weights = weights[:, None]
    share = 1 / weights.sum(2).clamp(min=1)
    centred = (values - ((values * weights).sum(2) * share)[..., None]) * weights
    squares = centred * centred
    variance = squares.sum(2) * share + 1e-10
    spread = torch.sqrt(variance)
    skewness = (squares * centred).sum(2) * share / (variance * spread)
    kurtosis = (squares * squares).sum(2) * share / (variance * variance)
    return torch.stack(
        [
            torch.log(spread),
            torch.copysign(torch.sqrt(skewness.abs()), skewness),
            torch.log(kurtosis.clamp(min=1)),
            centred.abs().sum(2) * share / spread,
        ],
        dim=1,
    )


def _dynamics(tracks: Tensor, weights: Tensor, frames: Tensor) -> list[Tensor]:
    """Blocks of shape (windows, statistics, quantities), in the order in which they are named."""
    blocks = []
    first_spread = tracks[:, :1, 0]
    for step in one.STEPS:
        difference = tracks
        for order in one.ORDERS:
            difference = difference[..., step:] - difference[..., :-step]
            moments = _moments(
                difference, _cut(weights, order * step // 2, difference, frames - order * step)
            )
            blocks.append(moments)
            if order == 1:
                first_spread = moments[:, :1]
            else:
                blocks.append(moments[:, :1] - first_spread)
    mean = (tracks * weights[:, None]).sum(2) / weights.sum(1)[:, None]
    centred = (tracks - mean[..., None]) * weights[:, None]
    power = (centred * centred).sum(2) + 1e-9
    for lag in one.LAGS:
        blocks.append(((centred[..., lag:] * centred[..., :-lag]).sum(2) / power)[:, None])
    return blocks


def _statics(tracks: Tensor, speech: Tensor) -> Iterator[Tensor]:
    weights = speech.float()
    moments = _moments(tracks, weights)
    yield moments
    # Every second speech frame, as there.
    chosen = speech & (speech.cumsum(1) % 2 == 1)
    ordered = tracks.masked_fill(~chosen[:, None], torch.inf).sort(2).values
    counts = chosen.sum(1)
    low, middle, high = (_quantile(ordered, counts, share) for share in (0.1, 0.5, 0.9))
    scale = torch.exp(moments[:, 0])
    yield (high - low) / scale
    mean = (tracks * weights[:, None]).sum(2) / weights.sum(1)[:, None]
    yield (middle - mean) / scale


def _quantile(ordered: Tensor, counts: Tensor, share: float) -> Tensor:
    place = share * (counts.double() - 1)
    index = place.floor().long()
    rest = (place - index).float()[:, None]
    low, high = (
        torch.gather(ordered, 2, at[:, None, None].expand(-1, ordered.shape[1], 1)).squeeze(2)
        for at in (index, torch.minimum(index + 1, counts - 1))
    )
    return low + rest * (high - low)


def _voicing(coefficients: Tensor, speech: Tensor, voiced: Tensor, frames: Tensor) -> Iterator[Tensor]:
    second = coefficients[..., 4:] - 2 * coefficients[..., 2:-2] + coefficients[..., :-4]
    whole = _within(frames - 4, second.shape[2]).float()
    for mask in (voiced, speech & ~voiced):
        weights = _cut(mask.float(), 2, second, frames - 4)
        few = weights.sum(1, keepdim=True) < 16
        yield _moments(second, torch.where(few, whole, weights))


def _pitch(log_lag: Tensor, voiced: Tensor, frames: Tensor) -> Iterator[Tensor]:
    steps = log_lag[:, 1:] - log_lag[:, :-1]
    both = voiced[:, 1:] & voiced[:, :-1]
    calm = both & (steps.abs() < 0.15)
    enough = calm.sum(1) >= 16
    smooth = calm[:, 1:] & calm[:, :-1]
    whole = _within(frames - 2, smooth.shape[1])
    smooth = torch.where(smooth.any(1, keepdim=True), smooth, whole)
    bends = steps[:, 1:] - steps[:, :-1]
    jumps = (both & ~calm).sum(1) / both.sum(1).clamp(min=1)
    weights = voiced.float()
    count = weights.sum(1).clamp(min=1)
    mean = (log_lag * weights).sum(1) / count
    spread = torch.log(torch.sqrt((((log_lag - mean[:, None]) * weights) ** 2).sum(1) / count) + 1e-4)
    found = (
        _moments(steps[:, None], calm.float()).flatten(1),
        _moments(bends[:, None], smooth.float()).flatten(1),
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
    chosen = power[:, one._bin(300) : one._bin(3400)]
    chosen = chosen / (chosen.sum(1, keepdim=True) + _TINY) + 1e-7
    logs = torch.log(chosen)
    flux = torch.zeros_like(power[:, 0])
    flux[:, 1:] = (chosen[..., 1:] - chosen[..., :-1]).abs().sum(1)
    bends = (logs[:, 2:] - 2 * logs[:, 1:-1] + logs[:, :-2]).abs()
    split = (0, one._bin(1000) - one._bin(300), one._bin(2000) - one._bin(300), logs.shape[1])
    fine = [bends[:, begin : end - 2].mean(1) for begin, end in itertools.pairwise(split)]
    return torch.stack([logs.mean(1), -(chosen * logs).sum(1), flux, *fine], dim=1)
