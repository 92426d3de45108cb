"""A scan from start to end: find, score, group, write."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from voiceguard.archive.find import Finder
from voiceguard.archive.group import Groups
from voiceguard.archive.journal import Journal
from voiceguard.archive.pool import Pool
from voiceguard.archive.rows import Row, Scored
from voiceguard.archive.worker import WorkerLimits
from voiceguard.archive.write import FORMATS, write_rows

if TYPE_CHECKING:
    from voiceguard.archive.progress import Progress

ROWS_SHOWN = 100
"""Without an output file, so many rows are kept at most."""


class OutputError(Exception):
    """The scan's output can't be written where it is asked for."""


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
    """

    jobs: int
    time_limit_s: float = 600.0
    memory_limit_bytes: int = 4 << 30
    model_dir: Path | None = None


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

    def count(self, results: Iterable[Scored]) -> Iterator[Row]:
        """Count results on their way, and yield their rows."""
        for result in results:
            self.verdicts[result.verdict] += 1
            self.audio_s += result.rows[0].duration_s or 0.0
            for row in result.rows:
                self._count_row(row)
                yield row

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
    output: Path | None,
    settings: ScanSettings,
    progress: Progress,
) -> Tally:
    """Score every recording that sources mean, and write a row for each channel.

    What is done is kept in ``OUTPUT.partial`` until the output is complete. The same call after a stop goes
    on from there and ends with the same output, byte for byte.

    Parameters
    ----------
    sources
        Files, folders, glob patterns and lists; see :meth:`Finder.files`.
    output
        A .parquet, .csv or .jsonl file, replaced when the scan is complete; None writes nothing.
    settings
        How to work.
    progress
        Is told of each recording.

    Raises
    ------
    NothingThere
        A source does not exist.
    OutputError
        ``output`` can't be written.
    JournalError
        The journal can't be written, or another scan has it open.
    ModelError
        The detector can't be loaded.
    WorkersFailed
        Worker processes don't start.
    """
    journal_path = None if output is None else check_output(output)
    finder = Finder(exclude=_own_files(output, journal_path))
    limits = WorkerLimits(settings.time_limit_s, settings.memory_limit_bytes)
    tally = Tally(left_out=finder.left_out)
    journal = Journal(journal_path)
    with contextlib.closing(journal):
        with Pool(settings.jobs, settings.model_dir, limits) as pool:
            journal.want(finder.files(sources))
            journal.resume(pool.made_by())
            progress.begin(journal.count(), journal.verdicts(), finder.left_out)
            for outcome in pool.score(journal.to_do(), journal.known):
                journal.record(outcome.job, outcome.content, outcome.result)
                progress.add(outcome.result)
        assert journal.count(done=False) == 0, "every file has exactly one result"
        with contextlib.closing(Groups()) as groups:
            for content, fingerprint in journal.fingerprints():
                groups.add(content, fingerprint)
                progress.grouped()
            groups.settle()
            rows = tally.count(journal.results(groups.campaign_of))
            if output is None:
                for _ in rows:
                    pass
            else:
                try:
                    write_rows(rows, output)
                except OSError as error:
                    raise OutputError(f"can't write {output}: {error.strerror or error}") from error
    journal.delete()
    return tally


def check_output(output: Path) -> Path:
    """Check where the output goes, and return the journal's path beside ``output``.

    Raises
    ------
    OutputError
        A scan could not end with this output.
    """
    if output.suffix.lower() not in FORMATS:
        raise OutputError(f"expected an output that ends in {', '.join(FORMATS)}, but got {output.name}")
    if output.is_dir():
        raise OutputError(f"expected a file for the output, but {output} is a folder")
    if not output.parent.is_dir():
        raise OutputError(f"the output's folder {output.parent} does not exist")
    if not os.access(output.parent, os.W_OK):
        raise OutputError(f"the output's folder {output.parent} can't be written")
    return output.with_name(f"{output.name}.partial")


def _own_files(output: Path | None, journal_path: Path | None) -> list[str]:
    if output is None or journal_path is None:
        return []
    return [os.path.abspath(path) for path in (output, journal_path, f"{journal_path}-journal")]
