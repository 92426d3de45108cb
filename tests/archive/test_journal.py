from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from voiceguard.archive.find import Finder
from voiceguard.archive.jobs import Job, Member
from voiceguard.archive.journal import Journal, JournalError, delete_journal, journal_files
from voiceguard.archive.rows import Row, Scored


def result(path: str, score: float = 0.5) -> Scored:
    return Scored("human", (Row(path=path, channel=0, verdict="human", score=score),))


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = [tmp_path / name for name in ("b.wav", "a.wav", "a/c.wav", "a.wav2")]
    (tmp_path / "a").mkdir()
    for path in paths:
        path.write_bytes(b"x")
    return [str(path) for path in paths]


def jobs(files: list[str]) -> list[Job]:
    """As a list names them: what is not there is a job too."""
    listing = Path(files[0]).parent / "listing" if files else None
    if listing is None:
        return []
    listing.write_text("\n".join(files))
    return list(Finder().jobs([f"@{listing}"]))


def record_all(path: Path | None, files: list[str], made_by: str = "one") -> list[str]:
    """Score what is to do, and return it."""
    with contextlib.closing(Journal(path)) as journal:
        journal.want(jobs(files))
        journal.resume(made_by)
        to_do = list(journal.to_do())
        for job in to_do:
            journal.record(job, None, result(job.path))
        return [job.path for job in to_do]


def test_goes_on_with_what_is_missing(tmp_path: Path, files: list[str]):
    path = tmp_path / "out.partial"
    assert record_all(path, files[:2]) == sorted(files[:2])
    assert record_all(path, files) == sorted(files[2:], key=os.fsencode)
    assert record_all(path, files) == []


def test_results_come_in_byte_order_and_once(tmp_path: Path, files: list[str]):
    path = tmp_path / "out.partial"
    record_all(path, [*files, *files])
    with contextlib.closing(Journal(path)) as journal:
        journal.want(jobs(files[::-1]))
        journal.resume("one")
        assert journal.count() == len(files)
        found = [scored.rows[0].path for scored in journal.results()]
        assert found == sorted(files, key=os.fsencode)
        assert journal.verdicts() == {"human": len(files)}


def test_results_of_files_no_longer_wanted_stay_out(tmp_path: Path, files: list[str]):
    path = tmp_path / "out.partial"
    record_all(path, files)
    with contextlib.closing(Journal(path)) as journal:
        journal.want(jobs(files[:1]))
        journal.resume("one")
        assert [scored.rows[0].path for scored in journal.results()] == files[:1]


@pytest.mark.parametrize("change", ["size", "mtime", "detector"])
def test_changed_file_or_detector_is_scored_again(tmp_path: Path, files: list[str], change: str):
    path = tmp_path / "out.partial"
    record_all(path, files)
    changed = Path(files[0])
    before = changed.stat()
    if change == "size":
        changed.write_bytes(b"xy")
        os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "mtime":
        os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    expected = sorted(files, key=os.fsencode) if change == "detector" else files[:1]
    assert record_all(path, files, "two" if change == "detector" else "one") == expected


def test_missing_file_is_tried_again(tmp_path: Path):
    path, gone = tmp_path / "out.partial", str(tmp_path / "gone.wav")
    assert record_all(path, [gone]) == [gone]
    assert record_all(path, [gone]) == [gone]


def test_same_content_is_known_while_not_yet_on_disk(files: list[str]):
    with contextlib.closing(Journal(None)) as journal:
        journal.want(jobs(files))
        journal.resume("one")
        job = next(journal.to_do())
        assert journal.known("sha.wav") is None
        journal.record(job, "sha.wav", result(job.path, 1.25))
        known = journal.known("sha.wav")
        assert known is not None
        assert known.rows[0].score == 1.25


def test_second_scan_of_one_output_is_refused(tmp_path: Path):
    path = tmp_path / "out.partial"
    with contextlib.closing(Journal(path)), pytest.raises(JournalError, match="another scan"):
        Journal(path)


def test_foreign_file_is_left_alone(tmp_path: Path):
    path = tmp_path / "out.partial"
    path.write_bytes(b"somebody's notes" * 100)
    with pytest.raises(JournalError, match="not the journal"):
        Journal(path)
    assert path.read_bytes().startswith(b"somebody's notes")


def test_journal_without_results_leaves_no_file(tmp_path: Path):
    path = tmp_path / "out.partial"
    with contextlib.closing(Journal(path)) as journal:
        journal.want([])
    assert not path.exists()


def test_nothing_is_left_of_a_scan_killed_once_all_was_recorded(tmp_path: Path, files: list[str]):
    path, killed = tmp_path / "out.partial", tmp_path / "killed"
    killed.mkdir()
    with contextlib.closing(Journal(path)) as journal:
        journal.want(jobs(files))
        journal.resume("one")
        for job in journal.to_do():
            journal.record(job, None, result(job.path))
        journal.commit()
        # What a kill leaves here: SQLite keeps its file from one transaction to the next.
        for name in journal_files(path):
            shutil.copy(name, killed)
    copied = killed / path.name
    assert record_all(copied, files) == []
    delete_journal(copied)
    assert list(killed.iterdir()) == []


def test_journal_of_another_layout_starts_afresh(tmp_path: Path, files: list[str]):
    import sqlite3

    path = tmp_path / "out.partial"
    record_all(path, files)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    assert record_all(path, files) == sorted(files, key=os.fsencode)


def test_job_knows_the_file_it_stands_for(files: list[str]):
    with contextlib.closing(Journal(None)) as journal:
        journal.want(jobs(files[:1]))
        journal.resume("one")
        status = Path(files[0]).stat()
        assert list(journal.to_do()) == [Job(files[0], f"{status.st_size} {status.st_mtime_ns}")]


def test_members_come_as_they_lie_in_their_archive():
    members = [
        Job(f"a.tgz!/{name}", "s", Member("a.tgz", place, 9)) for name, place in (("b", 512), ("a", 2048))
    ]
    with contextlib.closing(Journal(None)) as journal:
        journal.want([members[1], Job("a.tgzz", None), Job("a.t", None), members[0]])
        journal.resume("one")
        assert [job.path for job in journal.to_do()] == ["a.t", "a.tgz!/b", "a.tgz!/a", "a.tgzz"]


def test_members_of_one_name_are_told_apart():
    twins = [Job("a.tar!/x.wav", "s", Member("a.tar", place, 9)) for place in (512, 2048, 4096)]
    with contextlib.closing(Journal(None)) as journal:
        journal.want([*twins, *twins])
        journal.resume("one")
        assert [job.path for job in journal.to_do()] == ["a.tar!/x.wav", "a.tar!/x.wav#2", "a.tar!/x.wav#3"]
        assert [job.member for job in journal.to_do()] == [job.member for job in twins]
