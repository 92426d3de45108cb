"""What deciding early costs: error rates of running calls that are looked at again and again.

    python scripts/live_error_rates.py shared/corpus/manifest.csv WORK

``WORK`` is the folder of ``voiceguard evaluate MANIFEST --work WORK``; its cross-fold scores are of clips of 3-4 s by
networks that never heard their like. Clips of one voice are joined into calls of up to 32 s of speech, each call is
looked at after every clip, and the shipped calibration decides: with a margin, at any look, and at the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from voiceguard.detector import default_model_dir, read_record
from voiceguard.training.corpus import load_corpus

CALL_S = 32.0
MARGINS = (0.0, 0.25, 0.5, 0.7, 1.0, 1.5)


def calls(rows: np.ndarray, raw: np.ndarray, speech_s: np.ndarray) -> Iterator[np.ndarray]:
    """Join one voice's clips; yield each call's looks, shape (looks, 2): mean raw score, seconds of speech."""
    looks: list[tuple[float, float]] = []
    total = weighted = 0.0
    for row in rows:
        total += speech_s[row]
        weighted += raw[row] * speech_s[row]
        looks.append((weighted / total, total))
        if total >= CALL_S:
            yield np.array(looks)
            looks, total, weighted = [], 0.0, 0.0
    if looks:
        yield np.array(looks)


def _row(name: str, *outcomes: np.ndarray) -> str:
    return f"{name:>6}" + "".join(f"{hits.sum():9d} {100 * hits.mean():6.2f} %" for hits in outcomes)


def main() -> int:
    """Print a table for each severity of the line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("work", type=Path)
    options = parser.parse_args()
    calibration = read_record(default_model_dir()).calibration
    corpus = load_corpus(options.manifest)
    newest = max(options.work.glob("crossfold-*-full.npz"), key=lambda path: path.stat().st_mtime)
    stored = np.load(newest)
    voices, synthetic = corpus.column("voice"), corpus.column("synthetic")
    times: dict[str, list[np.ndarray]] = {"engines": [], "people": []}
    flagged = people = 0
    for line in ("plain", "mild", "hard"):
        raw, speech_s = stored[f"score_{line}"], stored[f"speech_{line}"].astype(float)
        usable = np.random.default_rng(0).permutation(np.flatnonzero(np.isfinite(raw)))
        order = usable[np.argsort(voices[usable], kind="stable")]
        _, starts = np.unique(voices[order], return_index=True)
        outcomes: dict[bool, list[tuple[float, float, float, float, float]]] = {True: [], False: []}
        for rows in np.split(order, starts[1:]):
            for looks in calls(rows, raw, speech_s):
                looks = looks[looks[:, 1] >= calibration.min_speech_s]
                if len(looks):
                    scores = calibration.scores(looks[:, 0], looks[:, 1])
                    early = {
                        sign: next(
                            (at for score, at in zip(scores, looks[:, 1], strict=True) if reached(score)),
                            np.nan,
                        )
                        for sign, reached in (
                            (1, lambda score: score >= calibration.flag_threshold + calibration.live_margin),
                            (
                                -1,
                                lambda score: score <= calibration.clear_threshold - calibration.live_margin,
                            ),
                        )
                    }
                    outcomes[bool(synthetic[rows[0]])].append(
                        (scores.max(), scores.min(), scores[-1], early[1], early[-1])
                    )
        human, fake = (np.array(outcomes[label]) for label in (False, True))
        print(
            f"\n{line} line: {len(human)} calls of people, {len(fake)} of engines, looked at after every clip"
        )
        columns = ("people flagged*", "engines flagged", "engines cleared", "people cleared")
        print("margin" + "".join(f"{column:>18}" for column in columns))
        flag, clear = calibration.flag_threshold, calibration.clear_threshold
        for margin in MARGINS:
            wrong = (human[:, 0] >= flag + margin) | (human[:, 2] >= flag)
            if margin == calibration.live_margin:
                flagged += int(wrong.sum())
                people += len(human)
            print(
                _row(
                    f"{margin:.2f}",
                    wrong,
                    fake[:, 0] >= flag + margin,
                    fake[:, 1] <= clear - margin,
                    human[:, 1] <= clear - margin,
                )
            )
        print(_row("end", human[:, 2] >= flag, fake[:, 2] >= flag, fake[:, 2] <= clear, human[:, 2] <= clear))
        times["engines"].append(fake[fake[:, 2] >= flag + calibration.live_margin, 3])
        times["people"].append(human[human[:, 2] <= clear - calibration.live_margin, 4])
    print("\n* at any look with the margin, or at the end.", end=" ")
    print(f"At {calibration.live_margin}: {flagged} of {people} calls of people.")
    print("\nSpeech until the verdict, of calls whose score is past the threshold by the margin at the end:")
    everyone = [part for parts in times.values() for part in parts]
    for name, parts in (*times.items(), ("all", everyone)):
        at = np.concatenate(parts)
        shares = np.nanpercentile(at, (25, 50, 75, 90))
        print(
            f"{name:8} {len(at):5d} calls: median {shares[1]:.1f} s, quartiles {shares[0]:.1f}-{shares[2]:.1f} s, "
            f"90 % within {shares[3]:.1f} s"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
