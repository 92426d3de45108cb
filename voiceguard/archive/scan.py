"""A scan from start to end: find, score, group, write."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from voiceguard.archive.find import Finder
from voiceguard.archive.group import Groups
from voiceguard.archive.jobs import Job
from voiceguard.archive.links import Crew, LocalCrew
from voiceguard.archive.output import output_at
from voiceguard.archive.pool import Pool
from voiceguard.archive.rows import Row, Scored
from voiceguard.archive.worker import WorkerLimits, WorkerSettings
from voiceguard.archive.write import Layout

if TYPE_CHECKING:
    from voiceguard.archive.progress import Progress

Take = Callable[[Iterable[tuple[Job, Scored]]], object]

_AT_ONCE_ON_A_DEVICE = 64
"""Files that a worker screens together where a GPU scores them."""
ROWS_SHOWN = 100
"""Without an output file, so many rows are kept at most."""


@dataclass(frozen=True)
class ScanSettings:
    """How a scan works.

    Attributes
    ----------
    jobs
        Worker processes; each keeps to one thread.
    time_limit_s
        Seconds that one file may take, after which its row says ``timed_out``.
    memory_limit_bytes
        Memory that one file may take beyond the loaded detector, after which its row says
        ``out_of_memory``. Kept on Linux alone.
    model_dir
        The detector's folder; None takes the shipped one.
    layout
        What the output's rows look like; None takes the one that its extension names.
    device
        Where torch computes scores, such as ``cuda``; None computes them without torch.
    keep_screenings
        Whether results hold all that was found, for ``take``.
    """

    jobs: int
    time_limit_s: float = 600.0
    memory_limit_bytes: int = 4 << 30
    model_dir: Path | None = None
    layout: Layout | None = None
    device: str | None = None
    keep_screenings: bool = False


@dataclass
class Tally:
    """What a scan found, in numbers; counted from the rows.

    Attributes
    ----------
    verdicts
        Recordings by the verdict of their deciding channel; None stands for those that failed.
    reasons
        Channels without a verdict either way, by reason.
    errors
        Recordings that failed, by error code.
    audio_s, speech_s
        Seconds of recordings, and of speech in all their channels.
    rows
        Every row while there are at most ``ROWS_SHOWN``, else none.
    left_out
        What folders hold beside recordings, by extension or name.
    """

    verdicts: Counter[str | None] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    audio_s: float = 0.0
    speech_s: float = 0.0
    rows: list[Row] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    _row_count: int = 0

    @property
    def recordings(self) -> int:
        """How many recordings were scanned."""
        return self.verdicts.total()

    @property
    def failed(self) -> int:
        """How many recordings could not be screened."""
        return self.verdicts[None]

    def count(self, results: Iterable[Scored]) -> Iterator[Scored]:
        """Count results on their way."""
        for result in results:
            self.verdicts[result.verdict] += 1
            self.audio_s += result.rows[0].duration_s or 0.0
            for row in result.rows:
                self._count_row(row)
            yield result

    def _count_row(self, row: Row) -> None:
        self.speech_s += row.speech_s or 0.0
        if row.reason is not None:
            self.reasons[row.reason] += 1
        if row.error is not None:
            self.errors[row.error.split(":", 1)[0]] += 1
        self._row_count += 1
        if self._row_count <= ROWS_SHOWN:
            self.rows.append(row)
        else:
            self.rows.clear()


def scan(
    sources: Iterable[str],
    output: Path | str | None,
    settings: ScanSettings,
    progress: Progress,
    *,
    crew: Crew | None = None,
    take: Take | None = None,
) -> Tally:
    """Score every recording that sources mean, and write a row for each channel.

    What is done is kept in ``OUTPUT.partial`` until the output is complete. The same call after a stop goes
    on from there and ends with the same output, byte for byte.

    Parameters
    ----------
    sources
        Files, folders, glob patterns, addresses and lists; see :meth:`Finder.files`.
    output
        A .parquet, .csv or .jsonl file or address, replaced when the scan is complete; None writes nothing.
    settings
        How to work.
    progress
        Is told of each recording.
    crew
        Starts the workers; None takes processes of this machine.
    take
        Is given every recording and its result when the output is written; if it fails, the same call goes on
        from there.

    Raises
    ------
    NothingThere
        A source does not exist.
    AddressError
        A store does not answer.
    OutputError
        ``output`` can't be written.
    JournalError
        The journal can't be written, or another scan has it open.
    ModelError, DeviceUnavailable
        The detector can't be loaded, or not on that device.
    WorkersFailed
        Worker processes don't start.
    """
    place = output_at(output, settings.layout)
    finder = Finder(exclude=place.own_files)
    tally = Tally(left_out=finder.left_out)
    if crew is None:
        crew = LocalCrew(worker_settings(settings))
    with contextlib.closing(place.open_journal()) as journal:
        pool = Pool(
            settings.jobs,
            crew,
            time_limit_s=settings.time_limit_s,
            at_once=1 if settings.device is None else _AT_ONCE_ON_A_DEVICE,
        )
        with place.saving(), pool:
            journal.want(finder.jobs(sources))
            journal.resume(pool.made_by())
            progress.begin(journal.count(), journal.verdicts(), finder.left_out)
            for outcome in pool.score(journal.to_do(), journal.known):
                journal.record(outcome.job, outcome.content, outcome.result)
                progress.add(outcome.result)
                place.save_sometimes()
        assert journal.count(done=False) == 0, "every file has exactly one result"
        with contextlib.closing(Groups()) as groups:
            for content, fingerprint in journal.fingerprints():
                groups.add(content, fingerprint)
                progress.grouped()
            groups.settle()
            place.write(tally.count(journal.results(groups.campaign_of)))
        if take is not None:
            take(journal.done())
    place.forget()
    return tally


def worker_settings(settings: ScanSettings) -> WorkerSettings:
    """Return what of a scan's settings concerns its workers."""
    limits = WorkerLimits(settings.time_limit_s, settings.memory_limit_bytes)
    return WorkerSettings(settings.model_dir, limits, settings.device, settings.keep_screenings)
