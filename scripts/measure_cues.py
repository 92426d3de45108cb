"""Measure where acoustic cues lie in human and in synthetic speech, and write that beside the model.

    python scripts/measure_cues.py corpus/manifest.csv --output models/cues.json

The corpus is the one that docs/detector describes, and stays outside the project. Of its clips from other
people's pages (``source`` wild), of all folds, it takes ``--clips`` human and as many synthetic ones, the same
for the same corpus, one from each page in turn; each goes through a plain, a fair and a bad simulated telephone
line. The clips are cut where speech is densest, so pauses in them say nothing of pauses in calls: their cues
get no range.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile

from voiceguard.evidence.cue_ranges import LINES
from voiceguard.evidence.cues import Cues, measure_cues
from voiceguard.telephony.channel import draw_channel
from voiceguard.vad import segments, speech_frames

LEAST_CLIPS = 50
"""From fewer clips no range is told."""
CUES = tuple(
    field.name
    for field in dataclasses.fields(Cues)
    if "label" in field.metadata and not field.name.startswith("pause")
)


def choose(manifest: Path, label: str, count: int) -> list[dict[str, str]]:
    """Choose clips, one from each page in turn, so that no page stands for all."""
    by_page: dict[str, list[dict[str, str]]] = {}
    with manifest.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["source"] == "wild" and row["label"] == label:
                by_page.setdefault(row["page"], []).append(row)
    rng = np.random.default_rng(11)
    pages = [rng.permutation(rows).tolist() for _, rows in sorted(by_page.items())]  # type: ignore[arg-type]
    chosen = [rows[turn] for turn in range(max(map(len, pages))) for rows in pages if turn < len(rows)]
    return chosen[:count]


def measure(task: tuple[Path, str, str]) -> Cues:
    """Send a clip through a telephone line and measure it."""
    path, clip_id, line = task
    samples, _ = soundfile.read(path, dtype="float32")
    rng = np.random.default_rng([17, list(LINES).index(line), int(clip_id, 16) % 2**63])
    heard = draw_channel(rng, line).apply(samples)  # type: ignore[arg-type]
    return measure_cues(heard, segments(speech_frames(heard)))


def ranges(found: list[Cues]) -> dict[str, dict[str, float]]:
    """Return each cue's percentiles."""
    told = {}
    for name in CUES:
        values = [value for cues in found if (value := getattr(cues, name)) is not None]
        if len(values) >= LEAST_CLIPS:
            low, median, high = np.percentile(values, [5, 50, 95]).round(3).tolist()
            told[name] = {"low": low, "median": median, "high": high, "clips": len(values)}
    return told


def main() -> None:
    """Choose, measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("models/cues.json"))
    options = parser.parse_args()
    lines: dict[str, dict[str, dict[str, dict[str, float]]]] = {line: {} for line in LINES}
    with get_context("spawn").Pool(options.jobs) as pool:
        for label, name in (("bonafide", "human"), ("spoof", "synthetic")):
            rows = choose(options.manifest, label, options.clips)
            for line in LINES:
                tasks = [(options.manifest.parent / row["path"], row["id"], line) for row in rows]
                lines[line][name] = ranges(pool.map(measure, tasks, chunksize=8))
                for cue, found in lines[line][name].items():
                    print(
                        f"{line:6}{name:10}{cue:32}{found['low']:10g}{found['median']:10g}{found['high']:10g}",
                        flush=True,
                    )
    said = "Percentiles 5, 50 and 95 over clips of 3 to 4 s; made by scripts/measure_cues.py."
    options.output.write_text(json.dumps({"what": said, "lines": lines}, indent=1) + "\n")


if __name__ == "__main__":
    main()
