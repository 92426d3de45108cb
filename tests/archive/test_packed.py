"""Tar and zip files: what is in them is scored, what they pretend costs nothing."""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voiceguard.archive import packed
from voiceguard.archive.find import Finder
from voiceguard.archive.packed import ArchiveError, MemberReader, entries
from voiceguard.archive.progress import Progress
from voiceguard.archive.scan import ScanSettings, scan
from voiceguard.errors import RecordingTooLarge

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")
FILES = {f"2024/{index}.wav": bytes([index]) * (1000 + index) for index in range(20)}


def tar_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened:
        for index, (name, data) in enumerate(files.items()):
            method = zipfile.ZIP_DEFLATED if index % 2 else zipfile.ZIP_STORED
            opened.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return out.getvalue()


def pack(path: Path, files: dict[str, bytes]) -> Path:
    packers: dict[str, Callable[[bytes], bytes]] = {
        ".tar": bytes,
        ".gz": gzip.compress,
        ".tgz": gzip.compress,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
        ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    }
    data = zip_of(files) if path.suffix == ".zip" else packers[path.suffix](tar_of(files))
    path.write_bytes(data)
    return path


def read_all(archive: Path) -> dict[str, bytes]:
    reader = MemberReader()
    found = {entry.name: reader.read(entry.member) for entry in entries(str(archive)) if entry.member}
    reader.close()
    return found


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_members_come_back_whole(tmp_path: Path, suffix: str):
    assert read_all(pack(tmp_path / f"calls{suffix}", FILES)) == FILES


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_members_are_read_in_any_order(tmp_path: Path, suffix: str):
    archive = pack(tmp_path / f"calls{suffix}", FILES)
    found = [entry for entry in entries(str(archive)) if entry.member]
    reader = MemberReader()
    for entry in [*found[::-1], found[3], found[3]]:
        assert entry.member is not None
        assert reader.read(entry.member) == FILES[entry.name]
    reader.close()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_cut_off_is_said_after_what_can_be_read(tmp_path: Path, suffix: str):
    # Random bytes do not compress: half the file is about half the members.
    files = {f"{index}.wav": index.to_bytes(2, "big") + bytes(range(256)) * 40 for index in range(20)}
    archive = pack(tmp_path / f"calls{suffix}", files)
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    finder = Finder()
    jobs = list(finder.jobs([str(archive)]))
    assert jobs[-1].path == str(archive)
    with pytest.raises(ArchiveError):
        list(entries(str(archive)))
    if suffix == ".tar":
        assert 5 < len(jobs) < 20


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("data", [b"", b"no archive at all\n" * 100, b"\xff" * 5000])
def test_what_is_no_archive_is_said(tmp_path: Path, suffix: str, data: bytes):
    archive = tmp_path / f"calls{suffix}"
    archive.write_bytes(data)
    with pytest.raises(ArchiveError):
        list(entries(str(archive)))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_raises_nothing_else(tmp_path: Path, data: st.DataObject):
    suffix = data.draw(st.sampled_from(SUFFIXES))
    archive = pack(tmp_path / f"calls{suffix}", dict(list(FILES.items())[:4]))
    raw = bytearray(archive.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    archive.write_bytes(raw)
    reader = MemberReader()
    try:
        for entry in entries(str(archive)):
            if entry.member:
                reader.read(entry.member)
    except (ArchiveError, RecordingTooLarge):
        pass
    finally:
        reader.close()


def test_only_recordings_are_found_and_the_rest_counted(tmp_path: Path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("a.wav", "notes.txt", ".hidden.wav", "LICENSES/x.wav", "deep/er/b"):
            tar.addfile(tarfile.TarInfo(name))
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"odd{kind!r}.wav")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    (tmp_path / "calls.tar").write_bytes(out.getvalue())
    finder = Finder()
    found = [job.path for job in finder.jobs([str(tmp_path)])]
    assert found == [f"{tmp_path}/calls.tar!/a.wav", f"{tmp_path}/calls.tar!/deep/er/b"]
    assert finder.left_out == {".txt": 1, ".hidden.wav": 1, "LICENSES/": 1, "not a regular file": 3}


def test_names_that_climb_are_only_names(tmp_path: Path, archive: Path):
    tricks = ("../../../up.wav", "/etc/absolute.wav", "a\x1b[31m.wav", "x/../../y.wav")
    whole = (archive / "2024/02/0.wav").read_bytes()
    folder = tmp_path / "in"
    folder.mkdir()
    pack(folder / "tricks.tar.gz", dict.fromkeys(tricks, whole))
    pack(folder / "tricks.zip", dict.fromkeys(tricks, whole))
    before = set(tmp_path.rglob("*"))
    tally = scan([str(folder)], None, ScanSettings(jobs=1), Progress())
    assert set(tmp_path.rglob("*")) == before
    assert tally.recordings == 2 * len(tricks)
    assert tally.failed == 0
    assert {row.path for row in tally.rows} == {
        f"{folder}/tricks.{kind}!/{name}" for kind in ("tar.gz", "zip") for name in tricks
    }


def test_scan_of_archives_gives_the_rows_of_their_files(archive: Path, tmp_path: Path):
    files = {
        str(path.relative_to(archive)): path.read_bytes()
        for path in sorted(archive.rglob("*"))
        if path.is_file()
    }
    plain = tmp_path / "plain.parquet"
    scan([str(archive)], plain, ScanSettings(jobs=2), Progress())
    expected = {row.pop("path")[len(str(archive)) + 1 :]: row for row in pq.read_table(plain).to_pylist()}
    for suffix in (".tar", ".tar.xz", ".zip"):
        source = pack(tmp_path / f"calls{suffix}", files)
        output = tmp_path / f"packed{suffix}.parquet"
        scan([str(source)], output, ScanSettings(jobs=2), Progress())
        rows = pq.read_table(output).to_pylist()
        assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
        found = {row.pop("path").split("!/")[1]: row for row in rows}
        for row in (*found.values(), *expected.values()):
            row.pop("campaign", None)  # made from the first recording's path
        assert found == expected


def test_tar_that_grows_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packed, "_GROWTH_FREE_BYTES", 1 << 20)
    bomb = pack(tmp_path / "bomb.tar.bz2", {"a.wav": bytes(64 << 20), "b.wav": b"x"})
    assert bomb.stat().st_size < 20_000
    with pytest.raises(ArchiveError, match="trap"):
        list(entries(str(bomb)))


def test_header_of_many_megabytes_is_refused(tmp_path: Path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("a.wav")
        info.pax_headers = {"comment": "x" * (4 << 20)}
        tar.addfile(info)
    bomb = tmp_path / "bomb.tar.gz"
    bomb.write_bytes(gzip.compress(out.getvalue()))
    with pytest.raises(ArchiveError, match="header below"):
        list(entries(str(bomb)))


def test_zip_whose_members_overlap_is_refused(tmp_path: Path):
    raw = zip_of({"a.wav": bytes(100), "b.wav": bytes(100)})
    directory = raw.index(b"PK\x01\x02")
    second = raw.index(b"PK\x01\x02", directory + 1)
    # The second member's header then lies within the first one's data.
    moved = raw[: second + 42] + struct.pack("<I", 10) + raw[second + 46 :]
    (tmp_path / "bomb.zip").write_bytes(moved)
    with pytest.raises(ArchiveError):
        list(entries(str(tmp_path / "bomb.zip")))


def test_member_larger_than_a_recording_is_refused_unread(tmp_path: Path):
    archive = pack(tmp_path / "calls.zip", {"a.wav": b"x"})
    (entry,) = entries(str(archive))
    assert entry.member is not None
    archive.unlink()
    with pytest.raises(RecordingTooLarge):
        MemberReader().read(dataclasses.replace(entry.member, size_bytes=(512 << 20) + 1))


def test_encrypted_and_oddly_compressed_members_are_said(tmp_path: Path):
    path = tmp_path / "odd.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("a.wav", b"x" * 100, compress_type=zipfile.ZIP_LZMA)
        opened.writestr("b.wav", b"x" * 100)
    raw = path.read_bytes()
    second = raw.index(b"PK\x01\x02", raw.index(b"PK\x01\x02") + 1)
    path.write_bytes(raw[: second + 8] + b"\x01\x00" + raw[second + 10 :])
    reader = MemberReader()
    for entry, said in zip(entries(str(path)), ("compressed by method 14", "password"), strict=True):
        assert entry.member is not None
        with pytest.raises(ArchiveError, match=said):
            reader.read(entry.member)
    reader.close()
