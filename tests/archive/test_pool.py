from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from voiceguard.archive.jobs import Job
from voiceguard.archive.links import LocalCrew
from voiceguard.archive.pool import Pool
from voiceguard.archive.rows import Row, Scored
from voiceguard.archive.worker import WorkerLimits, WorkerSettings

LIMITS = WorkerLimits(time_s=120.0, memory_bytes=1 << 30)
MARK = Scored("human", (Row(path="", model="not scored again"),))


def jobs(*paths: Path) -> Iterator[Job]:
    return (Job(str(path), None) for path in paths)


def pool_of(count: int, at_once: int = 1) -> Pool:
    crew = LocalCrew(WorkerSettings(None, LIMITS))
    return Pool(count, crew, time_limit_s=LIMITS.time_s, at_once=at_once)


@pytest.fixture
def twins(archive: Path) -> list[Path]:
    return [archive / "2024/02/0.wav", archive / "twin of 0.wav", archive / "2023/another twin.wav"]


def test_known_content_is_not_scored(twins: list[Path]):
    seen: set[str] = set()
    with pool_of(1) as pool:
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
    with pool_of(3) as pool:
        outcomes = list(pool.score(jobs(*twins), lambda content: None))
    assert {outcome.job.path for outcome in outcomes} == {str(path) for path in twins}
    assert len({outcome.content for outcome in outcomes}) == 1
    assert len({outcome.result.rows[0].score for outcome in outcomes}) == 1


def test_same_bytes_with_another_extension_are_other_content(tmp_path: Path):
    # Headerless audio: what the bytes mean stands in the name.
    for name in ("a.ulaw", "a.alaw"):
        (tmp_path / name).write_bytes(bytes(range(256)) * 100)
    with pool_of(1) as pool:
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

    with pool_of(1) as pool:
        outcomes = {outcome.job.path: outcome for outcome in pool.score(jobs(deadly, good), kill_over)}
    assert asked[0] == asked[1] != asked[2]
    error = outcomes[str(deadly)].result.rows[0].error
    assert error == "crashed: The decoder died over this file, twice (SIGKILL)."
    assert outcomes[str(good)].result.rows[0].error is None


def test_no_worker_is_left(archive: Path):
    with pool_of(2) as pool:
        next(pool.score(jobs(archive / "2024/02/0.wav", archive / "2024/02/2.wav"), lambda content: None))
        workers = multiprocessing.active_children()
        assert workers
    assert not set(workers) & set(multiprocessing.active_children())


def test_files_given_together_end_as_they_do_alone(archive: Path):
    paths = sorted(path for path in archive.rglob("*.wav"))
    with pool_of(1, at_once=100) as pool:
        together = {outcome.job.path: outcome for outcome in pool.score(jobs(*paths), lambda content: None)}
    with pool_of(1) as pool:
        alone = {outcome.job.path: outcome for outcome in pool.score(jobs(*paths), lambda content: None)}
    assert together == alone
    assert len(alone) == len(paths)


def test_guilty_one_of_several_files_dies_alone(archive: Path):
    paths = [archive / "2024/02" / name for name in ("0.wav", "2.wav", "8.wav")]
    asked: list[str] = []

    def kill_over(content: str) -> None:
        asked.append(content)
        if content == asked[0]:
            for process in multiprocessing.active_children():
                process.kill()
                process.join()

    with pool_of(1, at_once=3) as pool:
        outcomes = {outcome.job.path: outcome for outcome in pool.score(jobs(*paths), kill_over)}
    errors = [outcomes[str(path)].result.rows[0].error for path in paths]
    assert errors == ["crashed: The decoder died over this file, twice (SIGKILL).", None, None]
