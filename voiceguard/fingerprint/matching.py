"""Whether two fingerprints are of one recording, and by which stretch of it.

Codes that are alike vote for a line: an offset between the recordings, and a tempo. Along the best lines the
longest stretch without a break counts; whether it makes one recording of two is a matter of where it lies
(:func:`_is_one_recording`): copies differ in where they begin and end, other wordings differ in the middle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from voiceguard.fingerprint.prints import CODE_S, Fingerprint

CODE_BITS = 64
ALIKE_BITS = 16
"""Codes that differ in at most so many bits vote; of unrelated ones, one in some hundreds does."""
MAX_PAIRS = 8_000_000
"""Pairs of codes compared: two recordings of two minutes are compared in full."""
MAX_TEMPO = 0.0125
TEMPOS = np.array(sorted(np.linspace(-MAX_TEMPO, MAX_TEMPO, 11), key=abs))
"""Tempos tried, the likeliest first: it wins where several explain the same votes."""
LINES = 3
"""Lines looked at: other names in the same text make several."""
LEAST_VOTES = 8
BREAK_CODES = 11
"""Codes over which a break in the stretch is looked for (440 ms)."""
BREAK_BITS = 24.0
"""Mean difference over these codes that breaks a stretch; unrelated codes differ in 32 bits."""
ABOVE_BITS = 11.5
"""So much above the line's median breaks it too, where neither recording has speech that the other one lacks: names
of equal length. Speech that only one has was lost on the way."""
HOLE_CODES = 6
"""Codes next to each other in both recordings, none of them in line: another name of another length was said."""
LEAST_COMMON_S = 1.2
LEAST_SCORE = 0.57
"""Copies through the worst channels agree better; one text in two like voices agrees worse."""
LEAST_SHARE, LEAST_ALONE_S = 0.5, 4.0
"""A stretch covers this share of the shorter recording, or it lasts so long: one message may end with the words
that another one begins with."""
BESIDE_CODES = 3
"""How far to either side of a stretch's own line others are tried."""
BESIDE_SHARE = 0.45
"""Share of a stretch's differing bits that the best of these may spare it."""
EDGE_S = 0.6
"""A stretch that begins or ends this close to a recording's first or last code reaches it."""
GREETING_S = 3.0
"""Seconds of speech by which two recordings may begin differently, when the rest is the same."""
GREETED_SHARE, GREETED_FILLED = 0.6, 0.9
"""Least share of the shorter recording's speech that must then be the same, and of the stretch's own speech."""
OPENING_CODES = 8
"""Codes by which one recording may begin earlier, when it is asked whether both begin with the same words."""
GREETED_EDGE_S = 0.32
"""How close to the end it must then come: a short name may stand there too."""


@dataclass(frozen=True)
class Match:
    """How a recording lies in another."""

    common_s: float
    """Seconds of speech in the common stretch."""
    offset_s: float
    """Where the first recording's start lies in the second, at the stretch's middle."""
    tempo: float
    """How much slower the second plays: 1.01 where it lasts 1 % longer."""
    score: float
    """Share of bits that agree over the stretch, above chance: 0 unrelated, 1 equal."""


@dataclass(frozen=True)
class _Stretch:
    """Codes ``first..last`` of one recording that lie along a line in the other."""

    first: tuple[int, int]
    last: tuple[int, int]
    codes: int
    differing_bits: float
    tempo: float
    offset: float
    """Of the line at the first recording's start."""


def match(a: Fingerprint, b: Fingerprint) -> Match | None:
    """Tell whether two recordings are copies of one.

    Codec, noise, level, start offset, up to 1 % of tempo, cuts at either end and up to ``GREETING_S`` of a
    different beginning are tolerated. Which is given first only changes the sign of the offset and the
    direction of the tempo.

    Returns
    -------
    Match or None
        None where they are not the same recording, or of different versions.
    """
    if a.version != b.version or len(a.codes) == 0 or len(b.codes) == 0:
        return None
    for stretch in stretches_of(a, b):
        if _is_one_recording(stretch, a, b) and _is_straight(stretch, a, b):
            middle = float(a.places[(stretch.first[0] + stretch.last[0]) // 2])
            return Match(
                common_s=round(stretch.codes * CODE_S, 2),
                offset_s=round((stretch.offset + stretch.tempo * middle) * CODE_S, 2),
                tempo=round(1 + stretch.tempo, 4),
                score=round(_score(stretch), 3),
            )
    return None


def stretches_of(a: Fingerprint, b: Fingerprint) -> Iterator[_Stretch]:
    """Find common stretches, those along the line with the most votes first."""
    # Of two very long recordings only some codes vote: what they share is long too, or no copy.
    step = 1 + len(a.codes) * len(b.codes) // MAX_PAIRS
    alike = np.bitwise_count(a.codes[::step, None] ^ b.codes) <= ALIKE_BITS
    in_a, in_b = np.divmod(np.flatnonzero(alike), len(b.codes))  # np.nonzero takes four times as long
    in_a *= step
    for _ in range(LINES):
        if len(in_a) < LEAST_VOTES:
            return
        at_a = a.places[in_a].astype(np.float64)
        # A line b = a (1 + tempo) + offset; every vote gives an offset for each tempo tried.
        offsets = b.places[in_b] - at_a - TEMPOS[:, None] * at_a
        bins = np.rint(offsets).astype(np.int64)
        lowest = bins.min()
        size = int(bins.max() - lowest) + 2
        rows = np.arange(len(TEMPOS))[:, None] * size
        votes = np.bincount((bins - lowest + rows).ravel(), minlength=len(TEMPOS) * size)
        votes = votes.reshape(len(TEMPOS), size)
        pairs = votes[:, :-1] + votes[:, 1:]
        row, column = np.unravel_index(int(pairs.argmax()), pairs.shape)
        if pairs[row, column] < LEAST_VOTES:
            return
        tempo = float(TEMPOS[row])
        near = np.abs(offsets[row] - (column + lowest + 0.5)) <= 1.5
        offset = float(np.median(offsets[row][near]))
        yield from _along(a, b, tempo, offset)
        keep = np.abs(offsets[row] - offset) > 2.5
        in_a, in_b = in_a[keep], in_b[keep]


def _along(a: Fingerprint, b: Fingerprint, tempo: float, offset: float) -> Iterator[_Stretch]:
    """Walk one line and give its unbroken stretches."""
    bits, candidates = _differing(a, b, tempo, offset)
    on_line = np.flatnonzero(bits <= CODE_BITS)
    if len(on_line) < BREAK_CODES:
        return
    bits = bits[on_line].astype(np.float64)
    partner = candidates[on_line]
    local = _local_mean(bits)
    same = local <= BREAK_BITS
    if same.any():
        complete = _complete(on_line) & _complete(partner)
        same &= ~complete | (local <= np.median(bits[same]) + ABOVE_BITS)
    # Where only one of the two was taken for speech, nothing is known; where both were, other words were said.
    hole = np.minimum(np.diff(on_line), np.diff(partner)) > HOLE_CODES
    for start, end in _runs(same, hole):
        if (end - start) * CODE_S < LEAST_COMMON_S:
            continue
        yield _Stretch(
            first=(int(on_line[start]), int(partner[start])),
            last=(int(on_line[end - 1]), int(partner[end - 1])),
            codes=int(end - start),
            differing_bits=float(bits[start:end].mean()),
            tempo=tempo,
            offset=offset,
        )


def _differing(a: Fingerprint, b: Fingerprint, tempo: float, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """Compare the first recording's codes with those along a line: differing bits, and places in ``b.codes``.

    Where the line falls between two codes, the nearer in bits counts; where there is none, all bits and more differ.
    """
    bits, candidates = _beside(a, b, tempo, offset, range(2))
    nearer = bits[1] < bits[0]
    return np.where(nearer, bits[1], bits[0]), np.where(nearer, candidates[1], candidates[0])


def _beside(
    a: Fingerprint, b: Fingerprint, tempo: float, offset: float, shifts: Iterable[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Compare with the codes that begin so many steps after the last one before the line.

    Both of shape (shifts, codes): differing bits, and places in ``b.codes``; where there is none, -1, and all bits and
    more differ.
    """
    index_b = np.full(int(b.places[-1]) + 1, -1)
    index_b[b.places] = np.arange(len(b.places))
    below = np.floor(a.places * (1 + tempo) + offset).astype(np.int64)
    wanted = below + np.array(shifts)[:, None]
    candidates = np.where((wanted >= 0) & (wanted < len(index_b)), index_b.take(wanted, mode="clip"), -1)
    distances = np.bitwise_count(a.codes ^ b.codes[candidates])
    return np.where(candidates >= 0, distances, 2 * CODE_BITS), candidates


def _local_mean(bits: np.ndarray) -> np.ndarray:
    """Mean over ``BREAK_CODES`` around each code, along the last axis, which is longer than half of them."""
    half = BREAK_CODES // 2
    nothing, before, after = bits[..., :1] * 0, bits[..., half:0:-1], bits[..., -2 : -half - 2 : -1]
    total = np.cumsum(np.concatenate([nothing, before, bits, after], axis=-1), axis=-1, dtype=np.float64)
    return (total[..., BREAK_CODES:] - total[..., :-BREAK_CODES]) / BREAK_CODES


def _complete(codes: np.ndarray) -> np.ndarray:
    """Whether hardly a code of the recording is left out over ``BREAK_CODES`` around each of ``codes``."""
    half = BREAK_CODES // 2
    padded = np.pad(codes, half, mode="edge")
    return padded[2 * half :] - padded[: -2 * half] <= BREAK_CODES


def _runs(same: np.ndarray, hole: np.ndarray) -> Iterator[tuple[int, int]]:
    """Give the first place of each run of ``same`` and the one after its last; a hole lies between two places."""
    joined = same[:-1] & same[1:] & ~hole
    starts = same & ~np.concatenate([[False], joined])
    ends = same & ~np.concatenate([joined, [False]])
    yield from zip(np.flatnonzero(starts).tolist(), (np.flatnonzero(ends) + 1).tolist(), strict=True)


def _is_one_recording(stretch: _Stretch, a: Fingerprint, b: Fingerprint) -> bool:
    """Decide by how well the common stretch agrees, and where it lies.

    It must go on to the end of one recording. It must begin where one of them begins; or, after a different
    beginning of a few seconds in both, it must cover most of the shorter one.
    """
    if _score(stretch) < LEAST_SCORE:
        return False
    shorter = min(len(a.codes), len(b.codes))
    if stretch.codes < LEAST_SHARE * shorter and stretch.codes * CODE_S < LEAST_ALONE_S:
        return False
    before = np.array(stretch.first) * CODE_S
    after = (np.array([len(a.codes), len(b.codes)]) - 1 - np.array(stretch.last)) * CODE_S
    if after.min() > EDGE_S:
        return False
    if before.min() <= EDGE_S:
        return True
    filled = stretch.codes / (np.subtract(stretch.last, stretch.first) + 1).max()
    long_enough = stretch.codes >= GREETED_SHARE * shorter and filled >= GREETED_FILLED
    if not (before.max() <= GREETING_S and after.min() <= GREETED_EDGE_S and long_enough):
        return False
    return not _opens_alike(a, b)


def _opens_alike(a: Fingerprint, b: Fingerprint) -> bool:
    """Tell whether both recordings begin with the same words: what differs after them is no greeting."""
    length = round(LEAST_COMMON_S / CODE_S)
    least = float(CODE_BITS)
    for shift in range(OPENING_CODES + 1):
        for one, other in ((a.codes, b.codes), (b.codes, a.codes)):
            words, others = one[shift : shift + length], other[:length]
            if len(words) == len(others) == length:
                least = min(least, float(np.bitwise_count(words ^ others).mean()))
    return _agreement(least) >= LEAST_SCORE


def _is_straight(stretch: _Stretch, a: Fingerprint, b: Fingerprint) -> bool:
    """Tell whether no line beside the stretch's own fits parts of it better.

    Another name that takes a little longer moves all that follows it, and a slanted line may make do with the parts
    before and after.
    """
    bits, _ = _beside(a, b, stretch.tempo, stretch.offset, range(-BESIDE_CODES, BESIDE_CODES + 2))
    nearer = np.minimum(np.minimum(bits[:-1], bits[1:]), CODE_BITS // 2)
    lines = _local_mean(nearer)[:, stretch.first[0] : stretch.last[0] + 1]
    return bool(lines.min(axis=0).sum() >= (1 - BESIDE_SHARE) * lines[BESIDE_CODES].sum())


def _score(stretch: _Stretch) -> float:
    return _agreement(stretch.differing_bits)


def _agreement(differing_bits: float) -> float:
    """Share of a code's bits that agree, above chance: 0 unrelated, 1 equal."""
    return 1 - 2 * differing_bits / CODE_BITS
