"""How far a scan is, on standard error: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from voiceguard.archive.rows import Scored
from voiceguard.archive.scan import ROWS_SHOWN

_LINE_EVERY_S = 15.0
_LEFT_OUT_SHOWN = 6
_GROUPED_EVERY = 100


class Progress:
    """Counts a scan's recordings and says nothing; the others show the counts.

    Parameters
    ----------
    keeps_rows
        Whether the scan writes its rows to a file; without one, a long scan is worth a warning.
    """

    def __init__(self, *, keeps_rows: bool = True) -> None:
        self.keeps_rows = keeps_rows
        self.total = 0
        self.verdicts: Counter[str | None] = Counter()
        self.done_before = 0
        self.grouped_count = 0
        self._audio_s = 0.0
        self._began_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Clear the screen for what follows."""

    def begin(self, total: int, verdicts: Counter[str | None], left_out: Counter[str]) -> None:
        """Learn how many recordings there are, what an earlier scan made of some, and what was left out."""
        self.total = total
        self.verdicts = verdicts
        self.done_before = verdicts.total()
        self._began_at = time.monotonic()

    def add(self, result: Scored) -> None:
        """Count one more recording."""
        self.verdicts[result.verdict] += 1
        self._audio_s += result.rows[0].duration_s or 0.0

    def grouped(self) -> None:
        """Count one more recording whose copies were looked for, after all are scored."""
        self.grouped_count += 1

    @property
    def done(self) -> int:
        """How many recordings are done, by this scan and earlier ones."""
        return self.verdicts.total()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first recording was taken up."""
        return max(time.monotonic() - self._began_at, 1e-9)

    @property
    def rate(self) -> str:
        """Recordings a second and how much faster than real time, in words."""
        per_s = (self.done - self.done_before) / self.elapsed_s
        return f"{per_s:.3g} files/s, {self._audio_s / self.elapsed_s:,.0f}× real time"

    @property
    def remaining_s(self) -> float | None:
        """Seconds to go at the rate so far; None while there is no rate."""
        done_now = self.done - self.done_before
        return self.elapsed_s / done_now * (self.total - self.done) if done_now else None


class LineProgress(Progress):
    """A line now and then, for logs."""

    def __init__(self, stream: TextIO, *, keeps_rows: bool = True) -> None:
        super().__init__(keeps_rows=keeps_rows)
        self._stream = stream
        self._said_at = time.monotonic()

    def begin(self, total: int, verdicts: Counter[str | None], left_out: Counter[str]) -> None:
        """Say what is to be done."""
        super().begin(total, verdicts, left_out)
        for line in _opening(self, left_out):
            print(line, file=self._stream, flush=True)

    def add(self, result: Scored) -> None:
        """Count, and say so every few seconds."""
        super().add(result)
        if time.monotonic() - self._said_at >= _LINE_EVERY_S:
            self._said_at = time.monotonic()
            left = "" if self.remaining_s is None else f", {_duration(self.remaining_s)} left"
            print(
                f"{self.done:,} of {self.total:,} ({self.done / self.total:.0%}), {self.rate}{left}:"
                f" {_counts(self.verdicts)}",
                file=self._stream,
                flush=True,
            )

    def grouped(self) -> None:
        """Count, and say so every few seconds."""
        super().grouped()
        if time.monotonic() - self._said_at >= _LINE_EVERY_S:
            self._said_at = time.monotonic()
            print(_grouping(self), file=self._stream, flush=True)


class BarProgress(Progress):
    """A bar in a terminal."""

    def __init__(self, console: Console, *, keeps_rows: bool = True) -> None:
        super().__init__(keeps_rows=keeps_rows)
        self._console = console
        self._bar = RichProgress(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[counts]}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, start=False, rate="loading the detector", counts="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, total: int, verdicts: Counter[str | None], left_out: Counter[str]) -> None:
        """Show the bar."""
        super().begin(total, verdicts, left_out)
        for line in _opening(self, left_out):
            self._console.print(line, markup=False, highlight=False)
        self._bar.start_task(self._task)
        self._bar.update(self._task, total=total, completed=self.done, rate="")

    def add(self, result: Scored) -> None:
        """Move the bar."""
        super().add(result)
        self._bar.update(self._task, completed=self.done, rate=self.rate, counts=_counts(self.verdicts))

    def grouped(self) -> None:
        """Say how far it is under the full bar."""
        super().grouped()
        if self.grouped_count % _GROUPED_EVERY == 0:
            self._bar.update(self._task, rate=_grouping(self))


def on_stderr(*, keeps_rows: bool) -> Progress:
    """Return the progress that suits standard error."""
    console = Console(stderr=True)
    if console.is_terminal:
        return BarProgress(console, keeps_rows=keeps_rows)
    return LineProgress(sys.stderr, keeps_rows=keeps_rows)


def _opening(progress: Progress, left_out: Counter[str]) -> list[str]:
    lines = []
    if left_out:
        kinds = [f"{kind} ({count:,})" for kind, count in left_out.most_common(_LEFT_OUT_SHOWN)]
        more = " and others" if len(left_out) > _LEFT_OUT_SHOWN else ""
        lines.append(f"Left out {left_out.total():,} that are no recordings: {', '.join(kinds)}{more}.")
    if progress.done:
        lines.append(f"Going on: {progress.done:,} of {progress.total:,} recordings were done before.")
    else:
        lines.append(f"Scanning {progress.total:,} recordings.")
    if progress.total > ROWS_SHOWN and not progress.keeps_rows:
        lines.append("Only the summary will be printed: -o FILE.parquet keeps the rows.")
    return lines


def _grouping(progress: Progress) -> str:
    return f"Looking for copies: {progress.grouped_count:,} of up to {progress.total:,} recordings"


def _counts(verdicts: Counter[str | None]) -> str:
    shown = {"synthetic": "synthetic", "human": "human", "inconclusive": "inconclusive", None: "failed"}
    return ", ".join(f"{verdicts[key]:,} {word}" for key, word in shown.items() if verdicts[key])


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
