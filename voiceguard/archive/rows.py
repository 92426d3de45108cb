"""What a scan writes: one row for each recording and channel."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass

from voiceguard.screening import ChannelScreening, Screening, Window

SCHEMA_VERSION = 2
"""Raised whenever a column of :class:`Row` changes; written into Parquet metadata and the journal."""


@dataclass(frozen=True, slots=True)
class Row:
    """One channel of one recording, or one recording that could not be screened.

    The fields are the columns of the output, in this order. A row with ``error`` set has no verdict; its
    ``sha256`` is there when the bytes could be read.
    """

    path: str
    channel: int | None = None
    sha256: str | None = None
    duration_s: float | None = None
    speech_s: float | None = None
    verdict: str | None = None
    reason: str | None = None
    score: float | None = None
    probability: float | None = None
    threshold: float | None = None
    model: str | None = None
    codec: str | None = None
    rate_hz: int | None = None
    error: str | None = None
    """``code: message``; :mod:`voiceguard.errors` and :mod:`voiceguard.archive.worker` list the codes."""
    windows: tuple[Window, ...] | None = None
    campaign: str | None = None
    """Rows with the same one carry the same recording, however coded; only the deciding channel has one."""


COLUMNS = tuple(field.name for field in dataclasses.fields(Row))
_IN_JSON = [name for name in COLUMNS if name not in ("path", "campaign")]


@dataclass(frozen=True, slots=True)
class Scored:
    """What became of one file.

    Attributes
    ----------
    verdict
        The recording's verdict, that of its deciding channel; None when the file could not be screened.
    rows
        At least one, ordered by channel.
    deciding
        Which of the rows decides.
    fingerprint
        Of the deciding channel, as bytes; None where there is too little speech.
    seconds
        What decoding and screening took; of several recordings screened together, each one's share.
    screening
        All that was found, where the scan is asked to keep it.
    """

    verdict: str | None
    rows: tuple[Row, ...]
    deciding: int = 0
    fingerprint: bytes | None = None
    seconds: float | None = dataclasses.field(default=None, compare=False)
    screening: Screening | None = dataclasses.field(default=None, compare=False)

    def in_campaign(self, campaign: str | None) -> Scored:
        """Return the result with its campaign in the deciding row."""
        rows = list(self.rows)
        rows[self.deciding] = dataclasses.replace(rows[self.deciding], campaign=campaign)
        return dataclasses.replace(self, rows=tuple(rows))


def printable_path(path: str) -> str:
    r"""Return a path as text that any UTF-8 file can hold: bytes that are not UTF-8 become ``\xNN``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def scored(
    path: str, screening: Screening, fingerprint: bytes | None = None, *, keep_screening: bool = False
) -> Scored:
    """Make the rows of a screened recording."""
    rows = tuple(
        Row(
            path=printable_path(path),
            channel=channel.channel,
            sha256=screening.sha256,
            duration_s=screening.duration_s,
            speech_s=channel.quality.speech_s,
            verdict=channel.verdict.value,
            reason=channel.reason.value if channel.reason else None,
            score=channel.score,
            probability=channel.probability,
            threshold=screening.threshold,
            model=screening.model,
            codec=screening.codec,
            rate_hz=screening.rate_hz,
            windows=channel.windows,
        )
        for channel in screening.channels
    )
    return Scored(
        screening.decision.verdict.value,
        rows,
        screening.deciding_channel,
        fingerprint,
        screening=screening if keep_screening else None,
    )


def failed(path: str, code: str, message: str, sha256: str | None = None) -> Scored:
    """Make the row of a file that could not be screened."""
    return Scored(None, (Row(path=printable_path(path), sha256=sha256, error=f"{code}: {message}"),))


def for_path(result: Scored, path: str) -> Scored:
    """Return the same result for another file with the same content."""
    name = printable_path(path)
    rows = tuple(dataclasses.replace(row, path=name) for row in result.rows)
    return dataclasses.replace(result, rows=rows)


def to_json(result: Scored) -> str:
    """Write a result as JSON; :func:`from_json` reads it back exactly, but for path, print and campaign."""
    rows = []
    for row in result.rows:
        fields = {name: getattr(row, name) for name in _IN_JSON}
        if row.windows is not None:
            fields["windows"] = [(window.start_s, window.end_s, window.score) for window in row.windows]
        rows.append(fields)
    kept = None if result.screening is None else dataclasses.asdict(result.screening)
    said = [result.verdict, rows, result.deciding, result.seconds, kept]
    return json.dumps(said, separators=(",", ":"), allow_nan=False)


def from_json(path: str, text: str, fingerprint: bytes | None = None) -> Scored:
    """Read what :func:`to_json` wrote."""
    verdict, rows, deciding, seconds, kept = json.loads(text)
    name = printable_path(path)
    for fields in rows:
        if fields["windows"] is not None:
            fields["windows"] = tuple(Window(*window) for window in fields["windows"])
    screening = None
    if kept is not None:
        kept["channels"] = tuple(ChannelScreening.from_plain(channel) for channel in kept["channels"])
        screening = Screening(**kept)
    found = tuple(Row(path=name, **fields) for fields in rows)
    return Scored(verdict, found, deciding, fingerprint, seconds, screening)
