"""The ranges that acoustic cues have in human and in synthetic speech, as measured on the evaluation's clips."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voiceguard.errors import ModelError

RANGES_FILE = "cues.json"
LINES = {"plain": "plain phone line", "mild": "fair phone line", "hard": "bad phone line"}
"""Severities of the simulated telephone channel, and what they are called."""


@dataclass(frozen=True)
class Range:
    """Where a cue lies in nine of ten clips."""

    low: float
    """5th percentile."""
    median: float
    high: float
    """95th percentile."""
    clips: int
    """In how many clips it could be measured."""


@dataclass(frozen=True)
class CueRanges:
    """Ranges by cue, the name of a field of `voiceguard.evidence.cues.Cues`, through one kind of telephone line."""

    line: str
    """What the line is called."""
    human: dict[str, Range]
    synthetic: dict[str, Range]


def load_ranges(folder: Path, line: str = "plain") -> CueRanges | None:
    """Read the ranges that came with a model; None if it came without.

    Raises
    ------
    ModelError
        The file can't be read.
    """
    path = folder / RANGES_FILE
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text())["lines"][line]
        return CueRanges(LINES[line], _ranges(found["human"]), _ranges(found["synthetic"]))
    except OSError as error:
        raise ModelError(f"Expected ranges of cues at {path}; it can't be read: {error.strerror}.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"Expected ranges of cues for a {line} line in {path}; got {error!r}.") from error


def _ranges(found: dict[str, Any]) -> dict[str, Range]:
    return {name: Range(**values) for name, values in found.items()}
