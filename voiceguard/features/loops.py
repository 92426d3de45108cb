"""Where computing features takes its time, compiled: what a loop reads again is still in the processor's cache.

The same in numpy goes over memory once for each operation. Arrays are float32 in C order unless it says otherwise.
Frames of several windows of speech lie side by side: ``bounds``, shape (windows + 1,), says at which frame each window
begins, and where the last one ends. What is found of a window does not depend on the others.
"""

from __future__ import annotations

import numpy as np

from voiceguard.compiled import compiled


@compiled("void(float32[::1], float32[::1], int64[::1], float32[:,::1])")
def cut_frames(samples: np.ndarray, window: np.ndarray, starts: np.ndarray, out: np.ndarray) -> None:
    """Cut frames of the window's length from each of ``starts``, times the window, into ``out``, (frames, samples)."""
    for frame in range(out.shape[0]):
        cut = samples[starts[frame] : starts[frame] + len(window)]
        for index in range(len(window)):
            out[frame, index] = cut[index] * window[index]


@compiled("void(complex64[:,::1], float32[:,::1])")
def squared_magnitudes(spectrum: np.ndarray, out: np.ndarray) -> None:
    """Power of each bin of a spectrum, complex64; both of shape (frames, bins)."""
    for frame in range(spectrum.shape[0]):
        for bin_ in range(spectrum.shape[1]):
            value = spectrum[frame, bin_]
            out[frame, bin_] = value.real * value.real + value.imag * value.imag


@compiled("float32[:,::1](complex64[:,::1], int64[::1])")
def shares_of_power(spectrum: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of a spectrum's power between ``edges``, bins, and 1e-6; (quantities, bins) -> (ranges, quantities)."""
    found = np.zeros((len(edges) - 1, len(spectrum)), np.float32)
    for row in range(len(spectrum)):
        total = np.float32(0)
        for bin_ in range(spectrum.shape[1]):
            total += spectrum[row, bin_].real ** 2 + spectrum[row, bin_].imag ** 2
        for part in range(len(edges) - 1):
            power = np.float32(0)
            for bin_ in range(edges[part], min(edges[part + 1], spectrum.shape[1])):
                power += spectrum[row, bin_].real ** 2 + spectrum[row, bin_].imag ** 2
            found[part, row] = power / (total + np.float32(1e-9)) + np.float32(1e-6)
    return found


@compiled("float32[:,::1](float32[:,::1], int64, int64)")
def paired_bins(power: np.ndarray, first: int, bands: int) -> np.ndarray:
    """Power of bands of two bins each, from the bin ``first``; (frames, bins) -> (bands, frames)."""
    found = np.empty((bands, power.shape[0]), np.float32)
    for frame in range(power.shape[0]):
        for band in range(bands):
            low = first + 2 * band
            found[band, frame] = power[frame, low] + power[frame, low + 1]
    return found


@compiled("void(float32[:,::1], int64[::1], int64, float32[::1], float32)")
def hold_against_nearby(
    bands: np.ndarray, bounds: np.ndarray, half: int, floors: np.ndarray, offset: float
) -> None:
    """Divide each value by a floor and the mean of its row over ``half`` frames before and after, and add ``offset``.

    Works in place on shape (bands, frames); ``floors`` has one for each window. At a window's edges, the mean is of the
    frames that are there.
    """
    nearby = np.empty(bands.shape[1], np.float32)
    for row in range(bands.shape[0]):
        for window in range(len(floors)):
            band = bands[row, bounds[window] : bounds[window + 1]]
            frames = len(band)
            reach = min(half, (frames - 1) // 2)
            total = 0.0
            for frame in range(reach):
                total += band[frame]
            for frame in range(reach + 1):
                total += band[frame + reach]
                nearby[frame] = total / (frame + reach + 1)
            share = 1 / (2.0 * reach + 1)
            for frame in range(reach + 1, frames - reach):
                total += band[frame + reach] - band[frame - reach - 1]
                nearby[frame] = total * share
            for frame in range(frames - reach, frames):
                total -= band[frame - reach - 1]
                nearby[frame] = total / (frames - frame + reach)
            floor = floors[window]
            for frame in range(frames):
                band[frame] = band[frame] / (nearby[frame] + floor) + offset


@compiled("void(float32[::1], float32[::1], float32[:])")
def _moments(values: np.ndarray, weights: np.ndarray, found: np.ndarray) -> None:
    """`statistics.MOMENTS` of one row, into ``found``, shape (4,)."""
    frames = min(len(values), len(weights))
    total = count = np.float32(0)
    for frame in range(frames):
        total += values[frame] * weights[frame]
        count += weights[frame]
    share = np.float32(1) / max(count, np.float32(1))
    mean = total * share
    second = third = fourth = absolute = np.float32(0)
    for frame in range(frames):
        off = (values[frame] - mean) * weights[frame]
        square = off * off
        second += square
        third += square * off
        fourth += square * square
        absolute += abs(off)
    variance = second * share + np.float32(1e-10)
    spread = np.sqrt(variance)
    skewness = third * share / (variance * spread)
    found[0] = np.log(spread)
    found[1] = np.copysign(np.sqrt(abs(skewness)), skewness)
    found[2] = np.log(max(fourth * share / (variance * variance), np.float32(1)))
    found[3] = absolute * share / spread


@compiled("float32[:,:,::1](float32[:,::1], float32[:,::1], int64[::1])")
def moments(values: np.ndarray, weights: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """`statistics.MOMENTS` of each row of ``values``, (quantities, frames); returns shape (windows, 4, quantities).

    ``weights``, 0 or 1, have as many frames, and one row or as many.
    """
    found = np.empty((len(bounds) - 1, 4, len(values)), np.float32)
    for row in range(len(values)):
        weight = weights[row if len(weights) > 1 else 0]
        for window in range(len(found)):
            start, end = bounds[window], bounds[window + 1]
            _moments(values[row, start:end], weight[start:end], found[window, :, row])
    return found


@compiled("float32[:,:,:,:,::1](float32[:,::1], float32[::1], int64[::1], int64[::1])")
def moments_of_differences(
    tracks: np.ndarray, weights: np.ndarray, bounds: np.ndarray, steps: np.ndarray
) -> np.ndarray:
    """`statistics.MOMENTS` of first and second differences over so many frames.

    A difference counts where the frame in its middle does. Returns shape (windows, steps, 2, 4, quantities).
    """
    quantities, windows = len(tracks), len(bounds) - 1
    found = np.empty((windows, len(steps), 2, 4, quantities), np.float32)
    difference = np.empty(tracks.shape[1], np.float32)
    for row in range(quantities):
        for window in range(windows):
            track, weight = (
                tracks[row, bounds[window] : bounds[window + 1]],
                weights[bounds[window] : bounds[window + 1]],
            )
            frames = len(track)
            for index, step in enumerate(steps):
                later, latest = track[step:], track[2 * step :]
                for frame in range(frames - step):
                    difference[frame] = later[frame] - track[frame]
                middle = weight[step // 2 : step // 2 + frames - step]
                _moments(difference[: frames - step], middle, found[window, index, 0, :, row])
                for frame in range(frames - 2 * step):
                    difference[frame] = (latest[frame] - later[frame]) - (later[frame] - track[frame])
                middle = weight[step : frames - step]
                _moments(difference[: frames - 2 * step], middle, found[window, index, 1, :, row])
    return found


@compiled("float32[:,::1](float32[:,::1], float32[::1], int64[::1], boolean)")
def centre(tracks: np.ndarray, weights: np.ndarray, bounds: np.ndarray, to_length_one: bool) -> np.ndarray:
    """Take each row's mean over frames of weight 1 off, window by window, and set the others to 0.

    Of shape (quantities, frames), as it was. If wanted, scaled to a length of 1.
    """
    found = np.empty_like(tracks)
    for row in range(len(tracks)):
        for window in range(len(bounds) - 1):
            start, end = bounds[window], bounds[window + 1]
            track, weight, centred = tracks[row, start:end], weights[start:end], found[row, start:end]
            total = power = count = np.float32(0)
            for frame in range(len(track)):
                total += track[frame] * weight[frame]
                count += weight[frame]
            mean = total / max(count, np.float32(1))
            for frame in range(len(track)):
                centred[frame] = (track[frame] - mean) * weight[frame]
                power += centred[frame] * centred[frame]
            if to_length_one:
                share = np.float32(1) / np.sqrt(power + np.float32(1e-9))
                for frame in range(len(track)):
                    centred[frame] *= share
    return found


@compiled("float32[:,:,::1](float32[:,::1], int64[::1], int64[::1])")
def autocorrelations(centred: np.ndarray, bounds: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Autocorrelation of each row at each lag, relative to its power.

    (quantities, frames) -> (windows, lags, quantities)
    """
    found = np.empty((len(bounds) - 1, len(lags), len(centred)), np.float32)
    for row in range(len(centred)):
        for window in range(len(found)):
            track = centred[row, bounds[window] : bounds[window + 1]]
            power = np.float32(0)
            for frame in range(len(track)):
                power += track[frame] * track[frame]
            for index, lag in enumerate(lags):
                later = track[lag:]
                product = np.float32(0)
                for frame in range(len(track) - lag):
                    product += later[frame] * track[frame]
                found[window, index, row] = product / (power + np.float32(1e-9))
    return found


@compiled("float32[:,::1](float32[:,::1], int64[::1])")
def products_of_pairs(rows: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Inner product of each row with each one after it, (quantities, frames) -> (windows, pairs)."""
    quantities = len(rows)
    found = np.empty((len(bounds) - 1, quantities * (quantities - 1) // 2), np.float32)
    for window in range(len(found)):
        start, end = bounds[window], bounds[window + 1]
        pair = 0
        for first in range(quantities):
            one = rows[first, start:end]
            for second in range(first + 1, quantities):
                other = rows[second, start:end]
                product = np.float32(0)
                for frame in range(end - start):
                    product += one[frame] * other[frame]
                found[window, pair] = product
                pair += 1
    return found


@compiled("float32[:,:,::1](float32[:,::1], int64[::1], int64)")
def products_at_lag(rows: np.ndarray, bounds: np.ndarray, lag: int) -> np.ndarray:
    """Inner product of each row, ``lag`` frames later, with each.

    (quantities, frames) -> (windows, quantities, quantities)
    """
    quantities = len(rows)
    found = np.empty((len(bounds) - 1, quantities, quantities), np.float32)
    for window in range(len(found)):
        start, end = bounds[window], bounds[window + 1]
        for first in range(quantities):
            late = rows[first, start + lag : end]
            for second in range(quantities):
                early = rows[second, start:end]
                product = np.float32(0)
                for frame in range(end - start - lag):
                    product += late[frame] * early[frame]
                found[window, first, second] = product
    return found


@compiled(
    "Tuple((int64[::1], float32[::1], float32[::1], float32[::1]))(float32[:,::1], float32[::1], int64)"
)
def highest_peaks(
    autocorrelation: np.ndarray, lag_window: np.ndarray, first: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Find each frame's highest autocorrelation from the lag ``first`` on, divided by ``lag_window``.

    ``autocorrelation`` has shape (frames, lags); the search ends where ``lag_window`` does. Returns the lag and the
    value there; and the lag between samples, by the parabola through three values, with the middle one of these, which
    is another only if the highest lies at an end. Each of shape (frames,).
    """
    frames, end = autocorrelation.shape[0], len(lag_window)
    whole, highest = np.empty(frames, np.int64), np.empty(frames, np.float32)
    between, middle = np.empty(frames, np.float32), np.empty(frames, np.float32)
    search = np.empty(end, np.float32)
    for frame in range(frames):
        row = autocorrelation[frame]
        most = np.float32(-1e30)
        for lag in range(first, end):
            search[lag] = row[lag] / lag_window[lag]
            most = max(most, search[lag])
        best = first
        while best < end - 1 and search[best] < most:
            best += 1
        whole[frame], highest[frame] = best, search[best]
        best = min(max(best, first + 1), end - 2)
        before, peak, after = search[best - 1], search[best], search[best + 1]
        bend = before - np.float32(2) * peak + after
        off = np.float32(0)
        if bend < 0:
            off = min(max((before - after) / (np.float32(2) * bend), np.float32(-1)), np.float32(1))
        between[frame], middle[frame] = np.float32(best) + off, peak
    return whole, highest, between, middle


_TURNS = 8
"""Cosines are carried on from so many at once, which the processor multiplies together."""


@compiled("float32[:,::1](float32[:,::1], float32[::1], int64[::1])")
def periodic_shares(power: np.ndarray, lags: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of each band's power that repeats after each frame's lag, in -1..1.

    ``power`` has shape (frames, bins), ``lags``, in samples, (frames,); bands begin and end at the bins ``edges``.
    Returns shape (bands, frames). Cosines by Chebyshev's recurrence, cos (n + m) x = 2 cos m x cos n x - cos (n - m) x.
    """
    frames, bands = power.shape[0], len(edges) - 1
    first, count = edges[0], edges[-1] - edges[0]
    found = np.empty((bands, frames), np.float32)
    cosines = np.empty(count + 2 * _TURNS, np.float32)
    for frame in range(frames):
        turn = np.pi * lags[frame] / (power.shape[1] - 1)
        cosine, sine = np.cos(turn * first), np.sin(turn * first)
        step_cosine, step_sine = np.cos(turn), np.sin(turn)
        for index in range(2 * _TURNS):
            cosines[index] = cosine
            cosine, sine = (
                cosine * step_cosine - sine * step_sine,
                sine * step_cosine + cosine * step_sine,
            )
        twice = np.float32(2 * np.cos(turn * _TURNS))
        for start in range(2 * _TURNS, count, _TURNS):
            for index in range(_TURNS):
                cosines[start + index] = (
                    twice * cosines[start + index - _TURNS] - cosines[start + index - 2 * _TURNS]
                )
        for band in range(bands):
            row = power[frame, edges[band] : edges[band + 1]]
            turns = cosines[edges[band] - first : edges[band + 1] - first]
            periodic = whole = np.float32(0)
            for index in range(len(row)):
                periodic += row[index] * turns[index]
                whole += row[index]
            found[band, frame] = periodic / (whole + np.float32(1e-12))
    return found


_ABREAST = 64
"""So many frames go through a recursion side by side, which the processor works on together."""


@compiled("Tuple((float32[:,::1], float32[::1]))(float32[:,::1], int64)")
def reflections(autocorrelation: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Levinson-Durbin recursion of each frame; ``autocorrelation`` has shape (frames, lags), more than ``order``.

    Returns reflection coefficients, shape (order, frames), in -1..1, and the residual's share of the power,
    shape (frames,), in 0..1.
    """
    frames = autocorrelation.shape[0]
    found, errors = np.empty((order, frames), np.float32), np.empty(frames, np.float32)
    normal = np.empty((order + 1, _ABREAST), np.float32)
    coefficients = np.empty((order + 1, _ABREAST), np.float32)
    before = np.empty((order + 1, _ABREAST), np.float32)
    error, factor = np.empty(_ABREAST, np.float32), np.empty(_ABREAST, np.float32)
    most = np.float32(0.9999)
    for start in range(0, frames, _ABREAST):
        count = min(_ABREAST, frames - start)
        for at in range(count):
            row = autocorrelation[start + at]
            share = np.float32(1) / (row[0] + np.float32(1e-16))
            for index in range(1, order + 1):
                normal[index, at] = row[index] * share
            coefficients[0, at] = 1
            error[at] = np.float32(1.0001)
        for index in range(1, order + 1):
            for at in range(count):
                factor[at] = 0
            for past in range(index):
                for at in range(count):
                    factor[at] -= coefficients[past, at] * normal[index - past, at]
            for at in range(count):
                factor[at] = min(max(factor[at] / error[at], -most), most)
                found[index - 1, start + at] = factor[at]
                error[at] *= np.float32(1) - factor[at] * factor[at]
                coefficients[index, at] = 0
            before[:index, :count] = coefficients[:index, :count]
            for past in range(1, index + 1):
                for at in range(count):
                    coefficients[past, at] += factor[at] * before[index - past, at]
        errors[start : start + count] = error[:count]
    return found, errors


@compiled("float32[:,::1](float32[:,::1], int64, int64)")
def relative_power(power: np.ndarray, first: int, end: int) -> np.ndarray:
    """Share of each bin from ``first`` to ``end`` in their power, and 1e-7; (frames, bins) -> (frames, end - first)."""
    frames = power.shape[0]
    found = np.empty((frames, end - first), np.float32)
    for frame in range(frames):
        row = power[frame, first:end]
        total = np.float32(0)
        for index in range(len(row)):
            total += row[index]
        share = np.float32(1) / (total + np.float32(1e-16))
        for index in range(len(row)):
            found[frame, index] = row[index] * share + np.float32(1e-7)
    return found


@compiled("float32[:,::1](float32[:,::1], float32[:,::1], int64[::1], int64[::1])")
def shapes(relative: np.ndarray, logs: np.ndarray, bounds: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Flatness, entropy, flux, and how the logarithms bend between ``edges``, bins; (3 + ranges, frames).

    ``relative`` are shares of power and ``logs`` their natural logarithms, both of shape (frames, bins).
    """
    frames, bins = relative.shape
    found = np.empty((2 + len(edges), frames), np.float32)
    window = 0
    for frame in range(frames):
        if frame == bounds[window + 1]:
            window += 1
        now, log, past = relative[frame], logs[frame], relative[max(frame - 1, bounds[window])]
        flatness = entropy = flux = np.float32(0)
        for index in range(bins):
            flatness += log[index]
            entropy -= now[index] * log[index]
            flux += abs(now[index] - past[index])
        found[0, frame] = flatness / np.float32(bins)
        found[1, frame] = entropy
        found[2, frame] = flux
        for part in range(len(edges) - 1):
            begin, end = edges[part], edges[part + 1] - 2
            bends = np.float32(0)
            for index in range(begin, end):
                bends += abs(log[index + 2] - np.float32(2) * log[index + 1] + log[index])
            found[3 + part, frame] = bends / np.float32(end - begin)
    return found


@compiled("float32[:,::1](float32[::1], boolean[::1], int64[::1], float32, int64)")
def pitch_moves(
    log_lag: np.ndarray, voiced: np.ndarray, bounds: np.ndarray, calm: float, least: int
) -> np.ndarray:
    """How ``log_lag`` moves from frame to frame, where both are voiced; shape (windows, 10).

    `statistics.MOMENTS` of steps below ``calm``, and of changes between two of them; the share of steps that are not;
    and the log standard deviation over voiced frames. Zeros where fewer than ``least`` steps are calm.
    """
    found = np.zeros((len(bounds) - 1, 10), np.float32)
    steps, weights = np.empty(len(log_lag), np.float32), np.empty(len(log_lag), np.float32)
    for window in range(len(found)):
        lags, marked = (
            log_lag[bounds[window] : bounds[window + 1]],
            voiced[bounds[window] : bounds[window + 1]],
        )
        size = len(lags) - 1
        few = many = 0
        for frame in range(size):
            steps[frame] = lags[frame + 1] - lags[frame]
            inside = marked[frame] and marked[frame + 1]
            chosen = inside and abs(steps[frame]) < calm
            weights[frame] = chosen
            few += chosen
            many += inside
        if few < least:
            continue
        _moments(steps[:size], weights[:size], found[window, :4])
        smooth = np.float32(0)
        for frame in range(size - 1):
            steps[frame] = steps[frame + 1] - steps[frame]
            weights[frame] = weights[frame] * weights[frame + 1]
            smooth += weights[frame]
        if smooth == 0:
            weights[: size - 1] = 1
        _moments(steps[: size - 1], weights[: size - 1], found[window, 4:8])
        found[window, 8] = (many - few) / many
        total = squares = 0.0
        count = 0
        for frame in range(len(lags)):
            if marked[frame]:
                total += lags[frame]
                count += 1
        for frame in range(len(lags)):
            if marked[frame]:
                squares += (lags[frame] - total / count) ** 2
        found[window, 9] = np.log(np.sqrt(squares / count) + 1e-4)
    return found


@compiled(
    "Tuple((float32[:,:,:,::1], int64[:,:,:,::1]))"
    "(float32[::1], boolean[::1], int64[::1], int64[::1], int64, float32)"
)
def tremble(
    log_lag: np.ndarray, voiced: np.ndarray, bounds: np.ndarray, steps: np.ndarray, orders: int, calm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Differences of ``log_lag`` over so many frames, of each order, within stretches of the frames marked.

    Returns `statistics.MOMENTS` of those below ``calm``, shape (windows, 4, steps, orders); and how many these and all
    are, shape (windows, 2, steps, orders).
    """
    windows = len(bounds) - 1
    found = np.empty((windows, 4, len(steps), orders), np.float32)
    counts = np.zeros((windows, 2, len(steps), orders), np.int64)
    weights = np.empty(len(log_lag), np.float32)
    for window in range(windows):
        start, end = bounds[window], bounds[window + 1]
        for index, step in enumerate(steps):
            difference, inside = log_lag[start:end].copy(), voiced[start:end].copy()
            size = end - start
            for order in range(orders):
                size -= step
                for frame in range(size):
                    difference[frame] = difference[frame + step] - difference[frame]
                    inside[frame] = inside[frame] and inside[frame + step]
                    chosen = inside[frame] and abs(difference[frame]) < calm
                    counts[window, 0, index, order] += chosen
                    counts[window, 1, index, order] += inside[frame]
                    weights[frame] = chosen
                _moments(difference[:size], weights[:size], found[window, :, index, order])
    return found, counts
