from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.store.conftest import keep
from voiceguard.errors import RecordingMissing, RecordingsUnavailable, StorageFull
from voiceguard.store.recordings import Recordings, Upload

AUDIO = bytes(range(256)) * 10


def test_a_recording_comes_back_whole_and_in_parts(recordings: Recordings) -> None:
    sha256 = keep(recordings, AUDIO)
    assert sha256 == hashlib.sha256(AUDIO).hexdigest()
    assert recordings.read(sha256) == AUDIO
    assert recordings.read(sha256, 100, 300) == AUDIO[100:300]
    assert recordings.read(sha256, 2500) == AUDIO[2500:]
    assert recordings.exists(sha256)


def test_the_same_bytes_are_kept_once(recordings: Recordings) -> None:
    assert keep(recordings, AUDIO) == keep(recordings, AUDIO)
    assert [sha256 for sha256, _ in recordings.walk()] == [hashlib.sha256(AUDIO).hexdigest()]


def test_nothing_is_left_of_an_upload_that_was_not_put(recordings: Recordings) -> None:
    with recordings.upload() as upload:
        upload.write(AUDIO)
    assert list(recordings.incoming.iterdir()) == []
    assert not recordings.exists(hashlib.sha256(AUDIO).hexdigest())


def test_delete_is_final_and_may_be_repeated(recordings: Recordings) -> None:
    sha256 = keep(recordings, AUDIO)
    recordings.delete(sha256)
    recordings.delete(sha256)
    assert not recordings.exists(sha256)
    with pytest.raises(RecordingMissing):
        recordings.read(sha256)


def test_check_passes_while_the_store_answers(recordings: Recordings) -> None:
    recordings.check()


def test_what_is_no_hash_is_no_name(recordings: Recordings) -> None:
    for name in ("", "../../etc/passwd", "A" * 64, "a" * 63):
        with pytest.raises(ValueError, match="SHA-256"):
            recordings.read(name)


def test_stored_files_are_read_only_and_private(tmp_path: Path) -> None:
    recordings = Recordings(str(tmp_path / "r"), tmp_path)
    sha256 = keep(recordings, AUDIO)
    path = tmp_path / "r" / "sha256" / sha256[:2] / sha256
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert stat.S_IMODE((tmp_path / "r").stat().st_mode) == 0o700


def test_sweep_takes_what_dead_processes_left_and_spares_the_living(tmp_path: Path) -> None:
    recordings = Recordings(str(tmp_path / "r"), tmp_path)
    code = (
        "import os, sys; from pathlib import Path; from voiceguard.store.recordings import Upload\n"
        "Upload(Path(sys.argv[1])).write(b'half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(recordings.incoming)], check=False)
    assert len(list(recordings.incoming.iterdir())) == 1
    with recordings.upload() as living:
        living.write(b"more")
        assert recordings.sweep() == 1
        assert list(recordings.incoming.iterdir()) == [living.path]


def test_a_store_that_went_away_is_unavailable_until_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    recordings = Recordings(str(folder), tmp_path)
    sha256 = keep(recordings, AUDIO)
    folder.rename(tmp_path / "away")
    with pytest.raises(RecordingsUnavailable):
        recordings.check()
    with pytest.raises(RecordingsUnavailable):
        recordings.read(sha256)
    with pytest.raises(RecordingsUnavailable):
        recordings.upload()
    assert not folder.exists()
    (tmp_path / "away").rename(folder)
    assert recordings.read(sha256) == AUDIO


@pytest.mark.s3
def test_a_bucket_that_is_not_there_is_unavailable(s3_url: str, tmp_path: Path) -> None:
    recordings = Recordings("s3://no-such-bucket/x", tmp_path)
    with pytest.raises(RecordingsUnavailable):
        recordings.check()
    with pytest.raises(RecordingsUnavailable):
        keep(recordings, AUDIO)
    with pytest.raises(RecordingsUnavailable):
        recordings.read("0" * 64)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="mounting a small disk needs root")
def test_a_full_disk_is_storage_full_and_leaves_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        with Upload(disk) as upload, pytest.raises(StorageFull):
            upload.write(bytes(1_000_000))
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
