from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from voiceguard.archive.journal import Job
from voiceguard.archive.pool import Pool
from voiceguard.archive.rows import Row, Scored
from voiceguard.archive.worker import WorkerLimits

LIMITS = WorkerLimits(time_s=120.0, memory_bytes=1 << 30)
MARK = Scored("human", (Row(path="", model="not scored again"),))


def jobs(*paths: Path) -> Iterator[Job]:
    return (Job(str(path), None, None) for path in paths)


@pytest.fixture
def twins(archive: Path) -> list[Path]:
    return [archive / "2024/02/0.wav", archive / "twin of 0.wav", archive / "2023/another twin.wav"]


def test_known_content_is_not_scored(twins: list[Path]):
    seen: set[str] = set()
    with Pool(1, None, LIMITS) as pool:
        outcomes = []
        for outcome in pool.score(jobs(*twins), lambda content: MARK if content in seen else None):
            assert outcome.content is not None
            seen.add(outcome.content)
            outcomes.append(outcome)
    assert [row.model == "not scored again" for outcome in outcomes for row in outcome.result.rows] == [
        False,
        True,
        True,
    ]
    assert [outcome.result.rows[0].path for outcome in outcomes] == [str(path) for path in twins]


def test_content_that_is_being_scored_is_waited_for(twins: list[Path]):
    # Nothing is ever known, so a twin that were not waited for would differ in nothing but cost a screening:
    # the three results are then one object's copies, in the order of the files.
    with Pool(3, None, LIMITS) as pool:
        outcomes = list(pool.score(jobs(*twins), lambda content: None))
    assert {outcome.job.path for outcome in outcomes} == {str(path) for path in twins}
    assert len({outcome.content for outcome in outcomes}) == 1
    assert len({outcome.result.rows[0].score for outcome in outcomes}) == 1


def test_same_bytes_with_another_extension_are_other_content(tmp_path: Path):
    # Headerless audio: what the bytes mean stands in the name.
    for name in ("a.ulaw", "a.alaw"):
        (tmp_path / name).write_bytes(bytes(range(256)) * 100)
    with Pool(1, None, LIMITS) as pool:
        outcomes = list(pool.score(jobs(tmp_path / "a.ulaw", tmp_path / "a.alaw"), lambda content: None))
    assert {outcome.result.rows[0].codec for outcome in outcomes} == {"g711_ulaw", "g711_alaw"}


def test_file_that_kills_its_worker_twice_is_a_row(archive: Path):
    deadly, good = archive / "2024/02/0.wav", archive / "2024/02/2.wav"
    asked: list[str] = []

    def kill_over(content: str) -> None:
        asked.append(content)
        if content == asked[0]:
            for process in multiprocessing.active_children():
                process.kill()
                process.join()

    with Pool(1, None, LIMITS) as pool:
        outcomes = {outcome.job.path: outcome for outcome in pool.score(jobs(deadly, good), kill_over)}
    assert asked[0] == asked[1] != asked[2]
    error = outcomes[str(deadly)].result.rows[0].error
    assert error == "crashed: The decoder died over this file, twice (SIGKILL)."
    assert outcomes[str(good)].result.rows[0].error is None


def test_no_worker_is_left(archive: Path):
    with Pool(2, None, LIMITS) as pool:
        next(pool.score(jobs(archive / "2024/02/0.wav", archive / "2024/02/2.wav"), lambda content: None))
        workers = multiprocessing.active_children()
        assert workers
    assert not set(workers) & set(multiprocessing.active_children())
