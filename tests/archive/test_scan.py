from __future__ import annotations

import multiprocessing
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from voiceguard.archive.output import OutputError
from voiceguard.archive.progress import Progress
from voiceguard.archive.rows import Scored, scored
from voiceguard.archive.scan import ScanSettings, scan
from voiceguard.errors import ModelError
from voiceguard.screening import Screener

BROKEN = {
    "2023/empty.wav": "empty_recording",
    "2023/text.wav": "unsupported_format",
    "2024/header only.wav": "empty_recording",
}


class After(Progress):
    """Does something when so many recordings are done."""

    def __init__(self, count: int, action) -> None:
        super().__init__()
        self._count, self._action = count, action

    def add(self, result: Scored) -> None:
        super().add(result)
        self._count -= 1
        if self._count == 0:
            self._action()


def interrupt() -> None:
    raise KeyboardInterrupt


def kill_workers() -> None:
    for process in multiprocessing.active_children():
        process.kill()


@pytest.fixture(scope="module")
def undisturbed(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    output = tmp_path_factory.mktemp("undisturbed") / "out.parquet"
    scan([str(archive)], output, ScanSettings(jobs=2), Progress())
    return output.read_bytes()


def rows_of(output: bytes) -> list[dict]:
    import io

    return pq.read_table(io.BytesIO(output)).to_pylist()


def test_rows_are_what_the_screener_says(archive: Path, undisturbed: bytes):
    screener = Screener.load()
    found = {row["path"]: row for row in rows_of(undisturbed)}
    for path in sorted(archive.rglob("?.wav")):
        screening = screener.screen(path)
        (expected,) = scored(str(path), screening).rows
        row = found[str(path)]
        for name in ("sha256", "verdict", "reason", "codec", "rate_hz", "model", "threshold", "duration_s"):
            assert row[name] == getattr(expected, name)
        assert row["score"] == pytest.approx(expected.score, abs=1e-6)
        assert len(row["windows"]) == len(expected.windows)


def test_every_recording_has_its_rows_in_path_order(archive: Path, undisturbed: bytes):
    expected = sorted(
        str(path)
        for path in archive.rglob("*")
        if path.is_file() and path.name not in ("notes.txt", "LICENSE")
    )
    assert [row["path"] for row in rows_of(undisturbed)] == expected


def test_broken_files_are_rows_with_a_reason(archive: Path, undisturbed: bytes):
    errors = {row["path"]: row for row in rows_of(undisturbed) if row["error"]}
    assert set(errors) == {str(archive / name) for name in BROKEN}
    for name, code in BROKEN.items():
        row = errors[str(archive / name)]
        assert row["error"].startswith(f"{code}: ")
        assert row["verdict"] is None
        assert len(row["sha256"]) == 64


def test_each_channel_has_a_row(audio_samples: Path, tmp_path: Path, settings: ScanSettings):
    (call,) = audio_samples.glob("dual-channel-*")
    tally = scan([str(call)], tmp_path / "out.csv", settings, Progress())
    assert [row.channel for row in tally.rows] == [0, 1]
    assert tally.recordings == 1


@pytest.mark.parametrize("stop_after", [1, 5, 12])
def test_stopped_scan_goes_on_and_ends_alike(
    archive: Path, undisturbed: bytes, tmp_path: Path, settings: ScanSettings, stop_after: int
):
    output = tmp_path / "out.parquet"
    with pytest.raises(KeyboardInterrupt):
        scan([str(archive)], output, settings, After(stop_after, interrupt))
    assert not output.exists()
    second = After(0, interrupt)
    scan([str(archive)], output, settings, second)
    assert second.done - second.done_before == second.total - stop_after
    assert output.read_bytes() == undisturbed
    assert list(tmp_path.iterdir()) == [output]


def test_killed_workers_cost_nothing_once(
    archive: Path, undisturbed: bytes, tmp_path: Path, settings: ScanSettings
):
    output = tmp_path / "out.parquet"
    scan([str(archive)], output, settings, After(4, kill_workers))
    assert output.read_bytes() == undisturbed


def test_number_of_workers_changes_nothing(archive: Path, undisturbed: bytes, tmp_path: Path):
    output = tmp_path / "out.parquet"
    scan([str(archive)], output, ScanSettings(jobs=1), Progress())
    assert output.read_bytes() == undisturbed


def test_slow_file_is_a_row(archive: Path, settings: ScanSettings):
    tally = scan([str(archive / "2024/02/0.wav")], None, replace(settings, time_limit_s=1e-6), Progress())
    assert tally.errors == {"timed_out": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not keep memory limits")
def test_file_that_needs_too_much_memory_is_a_row(
    archive: Path, tmp_path: Path, settings: ScanSettings, speech_pieces: list[np.ndarray]
):
    long = tmp_path / "long.wav"
    soundfile.write(long, np.tile(speech_pieces[0], 1200), 8000, subtype="ULAW")
    good = archive / "2024/02/0.wav"
    limited = replace(settings, jobs=1, memory_limit_bytes=64 << 20)
    tally = scan([str(long), str(good)], None, limited, Progress())
    assert tally.errors.keys() <= {"out_of_memory", "recording_too_large"}
    assert tally.failed == 1
    assert tally.recordings == 2


def test_files_that_the_file_system_withholds_are_rows(tmp_path: Path, settings: ScanSettings):
    listing = tmp_path / "list"
    listing.write_text(f"{tmp_path}/gone.wav\n/dev/null\n{tmp_path}/broken link.wav")
    (tmp_path / "broken link.wav").symlink_to("nowhere")
    tally = scan([f"@{listing}"], None, settings, Progress())
    assert tally.errors == {"not_found": 2, "not_a_file": 1}


def test_empty_folder_gives_an_empty_output(tmp_path: Path, settings: ScanSettings):
    (tmp_path / "calls").mkdir()
    tally = scan([str(tmp_path / "calls")], tmp_path / "out.parquet", settings, Progress())
    assert tally.recordings == 0
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


@pytest.mark.parametrize("name", ["out.txt", "out", "nowhere/out.csv", "folder.csv"])
def test_impossible_output_is_refused_before_the_work(
    archive: Path, tmp_path: Path, settings: ScanSettings, name: str
):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OutputError):
        scan([str(archive)], tmp_path / name, settings, After(1, interrupt))


def test_missing_detector_is_said(archive: Path, tmp_path: Path, settings: ScanSettings):
    with pytest.raises(ModelError):
        scan([str(archive)], None, replace(settings, model_dir=tmp_path), Progress())


def test_output_inside_the_archive_is_not_scanned(archive: Path, tmp_path: Path, settings: ScanSettings):
    root = tmp_path / "calls"
    root.mkdir()
    shutil.copy(archive / "2024/02/0.wav", root)
    output = root / "out.csv"
    for _ in range(2):
        assert scan([str(root)], output, settings, Progress()).recordings == 1
