"""From a recording's bytes to its rows, in a worker."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from voiceguard import __version__, fingerprint
from voiceguard.archive import rows
from voiceguard.archive.jobs import Job
from voiceguard.archive.rows import Scored
from voiceguard.archive.worker import DeviceUnavailable
from voiceguard.audio import Recording, decode
from voiceguard.detector import ModelRecord
from voiceguard.screening import Screener, Screening, deciding_print


@dataclass(frozen=True, slots=True)
class Prepared:
    """A recording that is decoded."""

    job: Job
    sha256: str
    recording: Recording

    @property
    def size_bytes(self) -> int:
        """Memory of its samples."""
        return sum(samples.nbytes for samples in self.recording.channels)


class Screen(Protocol):
    """Screens recordings, several at a time where that is faster."""

    made_by: str

    def prepare(self, job: Job, sha256: str, data: bytes) -> Prepared:
        """Do what can be done for each recording alone."""

    def finish(self, prepared: Sequence[Prepared]) -> list[Scored]:
        """Do the rest for all of them; the order stays."""


class OneByOne:
    """Screens as the API does, one recording at a time."""

    def __init__(self, screener: Screener, *, keep_screenings: bool = False) -> None:
        self._screener = screener
        self._keep = keep_screenings
        self.made_by = made_by(screener.detector.record, keep_screenings=keep_screenings)

    def prepare(self, job: Job, sha256: str, data: bytes) -> Prepared:
        """Decode."""
        return Prepared(job, sha256, decode(data, name=job.name))

    def finish(self, prepared: Sequence[Prepared]) -> list[Scored]:
        """Screen and fingerprint."""
        return [self._finish(one) for one in prepared]

    def _finish(self, one: Prepared) -> Scored:
        screening = self._screener.screen_recording(one.recording)
        return as_result(one, screening, keep=self._keep)


def as_result(one: Prepared, screening: Screening, *, keep: bool) -> Scored:
    """Make the rows of a screened recording, with the fingerprint of what decides."""
    found = deciding_print(one.recording, screening)
    return rows.scored(one.job.path, screening, found.to_bytes() if found else None, keep_screening=keep)


def load(model_dir: Path | None, device: str | None, *, keep_screenings: bool = False) -> Screen:
    """Load the detector, to compute on a device of torch if one is named.

    Raises
    ------
    ModelError
        If the model is missing, altered or of another version.
    DeviceUnavailable
        If torch can't compute there, or is not installed.
    """
    screener = Screener.load(model_dir)
    if device is not None:
        try:
            import torch  # noqa: F401 (where nothing is there, torch is what to name)

            from voiceguard.archive.torch_detector import Batched
        except ModuleNotFoundError as error:
            raise DeviceUnavailable(
                f"--device {device} needs {error.name}, which is not installed."
            ) from error
        return Batched(screener, device, keep_screenings=keep_screenings)
    return OneByOne(screener, keep_screenings=keep_screenings)


def made_by(record: ModelRecord, *, device: str | None = None, keep_screenings: bool = False) -> str:
    """Name what determines a result beside the file itself."""
    # Not the model's name alone: graph, features and thresholds decide too, and a name can be used again.
    digest = hashlib.sha256(repr(record).encode()).hexdigest()[:16]
    said = [f"voiceguard {__version__}", f"model {record.id} {digest}", f"fingerprint {fingerprint.VERSION}"]
    if device:
        said.append(f"on {device}")
    if keep_screenings:
        said.append("whole screenings")
    return ", ".join(said)
