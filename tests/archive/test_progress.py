from __future__ import annotations

import io
from collections import Counter

from rich.console import Console

from voiceguard.archive import progress
from voiceguard.archive.progress import BarProgress, LineProgress, Progress
from voiceguard.archive.rows import Row, Scored

HUMAN = Scored("human", (Row(path="a.wav", channel=0, duration_s=30.0), Row(path="a.wav", channel=1)))
BROKEN = Scored(None, (Row(path="b.wav", error="empty_recording: It holds no bytes."),))


def drive(shown: Progress, *, done: int = 0, left_out: Counter[str] | None = None) -> None:
    with shown:
        shown.begin(1000, Counter({"synthetic": done}), left_out or Counter())
        shown.add(HUMAN)
        shown.add(BROKEN)


def test_lines_say_what_was_left_out_and_done_before():
    stream = io.StringIO()
    drive(LineProgress(stream), done=400, left_out=Counter({".md": 2, "LICENSE": 1}))
    assert "Left out 3 that are no recordings: .md (2), LICENSE (1)." in stream.getvalue()
    assert "Going on: 400 of 1,000" in stream.getvalue()


def test_long_scan_without_output_is_warned_of():
    for keeps_rows in (True, False):
        stream = io.StringIO()
        drive(LineProgress(stream, keeps_rows=keeps_rows))
        assert ("-o FILE.parquet" in stream.getvalue()) is not keeps_rows


def test_lines_count_verdicts(monkeypatch):
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.0)
    stream = io.StringIO()
    drive(LineProgress(stream), done=400)
    last = stream.getvalue().splitlines()[-1]
    assert last.startswith("402 of 1,000 (40%), ")
    assert last.endswith("left: 400 synthetic, 1 human, 1 failed")


def test_bar_counts_verdicts():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    drive(BarProgress(console), done=400)
    assert "402/1000" in console.file.getvalue()
    assert "400 synthetic, 1 human, 1 failed" in console.file.getvalue()


def test_rate_is_of_this_scan_alone():
    shown = Progress()
    shown.begin(1000, Counter({"human": 900}), Counter())
    assert shown.remaining_s is None
    shown.add(HUMAN)
    assert shown.done == 901
    assert shown.remaining_s is not None
    assert shown.remaining_s < 99 * 60
