"""Measure ``voiceguard.fingerprint``: copies found, strangers joined, cost, and rival families.

    python scripts/measure_fingerprint.py copies --manifest CORPUS/manifest.csv --folds 3,4
    python scripts/measure_fingerprint.py families --manifest CORPUS/manifest.csv --folds 3,4
    python scripts/measure_fingerprint.py strangers --manifest CORPUS/manifest.csv --folds 0,1,2,3,4 --cache FOLDER
    python scripts/measure_fingerprint.py greetings --cache FOLDER
    python scripts/measure_fingerprint.py music --folder MUSIC
    python scripts/measure_fingerprint.py cost

The manifest is described in ``scripts/fingerprint_lab/recordings.py``; ``strangers`` and ``greetings`` let
espeak-ng and flite speak into the folder.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile
import soxr
from fingerprint_lab.copies import WAYS, Way, cut
from fingerprint_lab.families import FAMILIES, Family
from fingerprint_lab.index import Index
from fingerprint_lab.recordings import SPOKEN_SHARE, Source, sources
from fingerprint_lab.speech import greeted, robocalls

from voiceguard.audio import RATE_HZ, decode
from voiceguard.features import extract
from voiceguard.fingerprint import Fingerprint, compute, match
from voiceguard.store.similar import MOST_COMPARED
from voiceguard.vad import speech_frames
from voiceguard.windows import cut_windows

CALL_S = 20.0
MANY = 1_000_000
TIMED_AMONG = 20
COPIED_KINDS = {"vocoder", "vc"}
"""Kinds of clips that keep another clip's timing: no strangers to it."""
COMPARED = 2 * MOST_COMPARED
"""Strangers compared in full, those with the most keys in common first: twice as many as a look-up does."""


def main() -> None:
    """Run one measurement."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("what", choices=("copies", "families", "strangers", "greetings", "music", "cost"))
    parser.add_argument("--manifest", type=Path)
    parser.add_argument("--folds", default="3,4")
    parser.add_argument("--others", type=int, default=1000, help="other recordings in the index")
    parser.add_argument("--pieces", type=int, default=20, help="copies of each way and length")
    parser.add_argument("--count", type=int, default=10_000, help="strangers")
    parser.add_argument("--spoken", type=int, default=9000, help="strangers spoken by free engines")
    parser.add_argument(
        "--seed", type=int, default=8, help="draws the strangers; rules were made on 7, 8 and 9"
    )
    parser.add_argument("--cache", type=Path, help="folder for what is spoken")
    parser.add_argument("--folder", type=Path, help="folder of music")
    options = parser.parse_args()
    if options.what in ("copies", "families", "strangers") and options.manifest is None:
        parser.error("--manifest is needed")
    if options.what in ("strangers", "greetings") and options.cache is None:
        parser.error("--cache is needed")
    {
        "copies": lambda: _copies(options),
        "families": lambda: _families(options),
        "strangers": lambda: _strangers(options),
        "greetings": lambda: _greetings(options.cache),
        "music": lambda: _music(options.folder),
        "cost": _cost,
    }[options.what]()


def _print(samples: np.ndarray) -> Fingerprint:
    return compute(samples, speech_frames(samples))


def _folds(options: argparse.Namespace) -> set[str]:
    return set(options.folds.split(","))


def _strange(manifest: Path, folds: set[str], least_s: float, most_s: float) -> list[Source]:
    """Join clips of a corpus to recordings, without those that keep another clip's timing."""
    with manifest.open(newline="", encoding="utf-8") as lines:
        copied = {row["id"] for row in csv.DictReader(lines) if row["kind"] in COPIED_KINDS}
    return [one for one in sources(manifest, folds, least_s, most_s) if one.name not in copied]


def _one_of_each(manifest: Path, clips: list[Source]) -> list[Source]:
    """Take one clip of each page, and of each speaker without one.

    A page shows one recording in several versions: codecs, vocoders, the prompt and what continues it.
    """
    with manifest.open(newline="", encoding="utf-8") as lines:
        whose = {row["id"]: row["page"] or row["speaker"] or row["source"] for row in csv.DictReader(lines)}
    return list({whose[one.name]: one for one in clips}.values())


def _piece(samples: np.ndarray, way: Way, seconds: float, rng: np.random.Generator) -> np.ndarray | None:
    """Cut a piece out of a copy, where enough of it is speech."""
    for _ in range(20):
        piece = cut(samples, seconds + 0.5, rng)
        if speech_frames(piece).mean() >= SPOKEN_SHARE:
            return cut(way.copy(piece, rng), seconds, rng)
    return None


def _copies(options: argparse.Namespace) -> None:
    """Count copies that are found: through the index, then by a match."""
    rng = np.random.default_rng(3)
    found = _strange(options.manifest, _folds(options), 9, 13)
    chosen = [found[index] for index in rng.permutation(len(found))[: options.others]]
    index, prints = Index(), []
    for number, source in enumerate(chosen):
        prints.append(_print(source.read()))
        index.add(number, prints[-1].keys())
    speech_s = sum(one.speech_s for one in prints)
    stored = sum(len(one.keys()) for one in prints) / speech_s
    size = sum(len(one.to_bytes()) for one in prints) / speech_s
    print(f"{len(prints)} recordings; {stored:.2f} stored keys and {size:.0f} bytes a second of speech")
    for seconds in (5.0, 3.0):
        total: Counter[str] = Counter()
        for way in WAYS:
            one: Counter[str] = Counter()
            for number in rng.permutation(len(chosen))[: options.pieces]:
                piece = _piece(chosen[number].read(), way, seconds, rng)
                if piece is None:
                    continue
                made = _print(piece)
                candidates = index.look_up(made.query_keys())
                matched = match(made, prints[number]) is not None
                one.update(
                    pieces=1,
                    candidate=int(number in candidates),
                    matched=int(matched),
                    found=int(matched and number in candidates),
                )
            total += one
            _print_copies(f"{seconds:.0f} s, {way.name}", one)
        _print_copies(f"{seconds:.0f} s, all", total)


def _print_copies(name: str, counts: Counter[str]) -> None:
    pieces = max(counts["pieces"], 1)
    shares = (f"{part} {counts[part] / pieces:.4f}" for part in ("found", "candidate", "matched"))
    print(f"{name:32s} {pieces:5d} pieces: {', '.join(shares)}", flush=True)


def _families(options: argparse.Namespace) -> None:
    """Count copies for which the index names the original, for each family, and the index it takes."""
    rng = np.random.default_rng(4)
    found = _strange(options.manifest, _folds(options), 9, 13)
    chosen = [found[index] for index in rng.permutation(len(found))[: options.others]]
    heard = [source.read() for source in chosen]
    pieces = []
    for seconds in (5.0, 3.0):
        for way in WAYS:
            for number in rng.permutation(len(chosen))[: options.pieces]:
                piece = _piece(heard[number], way, seconds, rng)
                if piece is not None:
                    pieces.append((seconds, int(number), piece))
    for family in FAMILIES:
        _family(family, heard, pieces)


def _family(family: Family, heard: list[np.ndarray], pieces: list[tuple[float, int, np.ndarray]]) -> None:
    index, stored = Index(), 0
    for number, samples in enumerate(heard):
        keys, _ = family.keys(samples)
        index.add(number, keys)
        stored += len(keys)
    heard_s = sum(len(samples) for samples in heard) / RATE_HZ
    named: dict[float, list[bool]] = {5.0: [], 3.0: []}
    strange, asked = 0, 0
    started = time.perf_counter()
    for seconds, number, piece in pieces:
        _, keys = family.keys(piece)
        candidates = index.look_up(keys)
        strange += candidates.total() - candidates[number]
        asked += len(keys)
        # The ten recordings with the most keys in common would be compared.
        best = [candidate for candidate, _ in candidates.most_common(10)]
        named[seconds].append(number in best)
    spent_ms = 1000 * (time.perf_counter() - started) / len(pieces)
    rows = strange / len(pieces) / heard_s * CALL_S * MANY
    print(
        f"{family.name:38s} named at 5 s {np.mean(named[5.0]):.4f}, at 3 s {np.mean(named[3.0]):.4f}; "
        f"{stored / heard_s * CALL_S:.0f} keys stored for {CALL_S:.0f} s, {asked / len(pieces):.0f} looked up a piece, "
        f"{rows:.0f} rows of strangers among {MANY:,} such recordings; {spent_ms:.0f} ms a piece",
        flush=True,
    )


def _strangers(options: argparse.Namespace) -> None:
    """Count false joins among different recordings, each looked up among all before it."""
    options.cache.mkdir(parents=True, exist_ok=True)
    spoken = robocalls(options.spoken, variants=10, seed=options.seed)
    rng = np.random.default_rng(5)
    clips = _one_of_each(options.manifest, _strange(options.manifest, _folds(options), 0.1, 0.1))
    left = max(options.count - len(spoken), 0)
    clips = [clips[index] for index in rng.permutation(len(clips))[:left]]
    names = [f"{one.voice} {one.script}: {one.text}" for one in spoken] + [one.name for one in clips]
    index, prints = Index(), []
    compared, joined, rows, speech_s = 0, 0, 0, 0.0
    for number, name in enumerate(names):
        samples = (
            spoken[number].read(options.cache) if number < len(spoken) else clips[number - len(spoken)].read()
        )
        made = _print(samples)
        candidates = index.look_up(made.query_keys())
        rows += candidates.total()
        for other, _ in candidates.most_common(COMPARED):
            compared += 1
            found = match(made, prints[other])
            if found is not None:
                joined += 1
                print(f"joined: {found}\n  {name}\n  {names[other]}", flush=True)
        index.add(number, made.keys())
        prints.append(made)
        speech_s += made.speech_s
        if len(prints) % 500 == 0:
            print(f"{len(prints)} recordings, {compared} pairs compared, {joined} joined", flush=True)
    print(
        f"{len(prints)} different recordings, {len(spoken)} of them spoken by free engines and {len(clips)} clips; "
        f"{speech_s / len(prints):.1f} s of speech each; {rows / len(prints):.1f} rows a look-up; "
        f"{compared} pairs compared; {joined} joined"
    )


def _greetings(cache: Path) -> None:
    """Count recordings joined that differ in "Hello <name>," alone, each through a way of its own."""
    cache.mkdir(parents=True, exist_ok=True)
    pairs = greeted(100)
    joined = 0
    for number, pair in enumerate(pairs):
        rng = np.random.default_rng([6, number])
        a, b = (_print(WAYS[rng.integers(len(WAYS))].copy(one.read(cache), rng)) for one in pair)
        index = Index()
        index.add(0, a.keys())
        joined += bool(index.look_up(b.query_keys())) and match(a, b) is not None
    print(f"{joined} of {len(pairs)} pairs joined that differ in the name they greet")


def _music(folder: Path) -> None:
    """Show what is left of hold music, in seconds of codes."""
    for path in sorted(folder.rglob("*.wav")):
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        mono = soxr.resample(samples.mean(axis=1), rate_hz, RATE_HZ).astype(np.float32)
        made = _print(mono)
        print(
            f"{path.name}: {len(mono) / RATE_HZ:.0f} s, {made.speech_s:.1f} s in codes, {len(made.keys())} keys"
        )


def _cost() -> None:
    """Time 20 s of audio on one core, the quickest of several runs, beside the detector's features."""
    path = sorted((Path(__file__).parents[1] / "audio_samples").glob("synthetic-*"))[0]
    samples = np.resize(decode(path).channels[0], int(CALL_S * RATE_HZ)).astype(np.float32)
    speech = speech_frames(samples)
    made, other = compute(samples, speech), _print(samples[::-1].copy())
    windows = cut_windows(samples, speech)
    for name, run in (
        ("fingerprint", lambda: compute(samples, speech)),
        ("features", lambda: extract(windows)),
        ("match with itself", lambda: match(made, made)),
        ("match with another", lambda: match(made, other)),
    ):
        spent = []
        for _ in range(TIMED_AMONG):
            started = time.process_time()
            run()
            spent.append(time.process_time() - started)
        print(f"{name}: {1000 * min(spent):.2f} ms")
    print(
        f"{made.speech_s:.1f} s of speech: {len(made.to_bytes())} bytes, {len(made.keys())} stored keys, "
        f"{len(made.query_keys())} looked up"
    )


if __name__ == "__main__":
    main()
