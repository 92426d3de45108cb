"""The known error rates that fit a recording: from the evaluation that comes with its model."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

LINES = {"plain": "plain phone line", "hard": "bad phone line (noise, echo, several codecs, lost packets)"}
_UNCODED = ("pcm_", "flac", "alac")
_SECONDS = re.compile(r"(plain|hard), (\d+) s")


@dataclass(frozen=True)
class Rate:
    """How often something happened, with its 95 % Clopper-Pearson interval."""

    count: int
    total: int
    low: float
    high: float

    def __str__(self) -> str:
        interval = f"95 % interval {100 * self.low:.2f}–{100 * self.high:.2f} %"
        return f"{100 * self.count / self.total:.2f} % ({self.count:,} of {self.total:,}; {interval})"


@dataclass(frozen=True)
class Known:
    """What is known of the method under one condition; None where nothing was measured."""

    condition: str
    human_flagged: Rate | None
    """Recordings of people that were wrongly called synthetic."""
    synthetic_flagged: Rate | None
    """Recordings of synthetic voices that were called synthetic."""
    human_reviewed: Rate | None
    """Recordings of people from the review threshold up."""
    synthetic_reviewed: Rate | None


def known_rates(evaluation: bytes | None, *, codec: str, speech_s: float) -> list[Known]:
    """Return the measured error rates nearest to a recording.

    Parameters
    ----------
    evaluation
        ``evaluation.json`` of the model; None if it has none.
    codec
        Codec of the recording, as `Recording.codec`.
    speech_s
        Seconds of speech. The longest measured length that is not longer counts: errors fall with length.
    """
    if evaluation is None:
        return []
    tables: dict[str, list[dict[str, Any]]] = json.loads(evaluation)
    return _by_seconds(tables, speech_s) + _by_codec(tables, codec)


def _by_seconds(tables: dict[str, list[dict[str, Any]]], speech_s: float) -> list[Known]:
    found = []
    rows = {
        (match[1], int(match[2])): row
        for title, table in tables.items()
        if "seconds of speech" in title
        for row in table
        if (match := _SECONDS.fullmatch(row["name"]))
    }
    for line, words in LINES.items():
        lengths = sorted(seconds for name, seconds in rows if name == line)
        fitting = [seconds for seconds in lengths if seconds <= speech_s] or lengths[:1]
        if fitting:
            condition = f"{fitting[-1]} s of speech, {words}"
            found.append(_known(condition, rows[line, fitting[-1]]))
    return found


def _by_codec(tables: dict[str, list[dict[str, Any]]], codec: str) -> list[Known]:
    name = "none" if codec.startswith(_UNCODED) else codec
    for title, table in tables.items():
        if "codec" not in title:
            continue
        for row in table:
            if row["name"] == name:
                words = "without a lossy codec" if name == "none" else f"codec {codec}"
                return [_known(f"3–4 s of speech, {words}", row)]
    return []


def _known(condition: str, row: dict[str, Any]) -> Known:
    return Known(
        condition,
        _rate(row.get("false_positives")),
        _rate(row.get("true_positives")),
        _rate(row.get("review_false_positives")),
        _rate(row.get("review_true_positives")),
    )


def _rate(found: dict[str, Any] | None) -> Rate | None:
    if not found or not found["total"]:
        return None
    return Rate(found["count"], found["total"], found["low"], found["high"])
