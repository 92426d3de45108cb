"""Buckets: recordings read from one, rows written to one, and going on from there."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.archive.test_packed import pack
from tests.archive.test_scan import After, interrupt
from voiceguard.archive import storage
from voiceguard.archive.find import Finder, NothingThere
from voiceguard.archive.output import OutputError
from voiceguard.archive.progress import Progress
from voiceguard.archive.scan import ScanSettings, scan
from voiceguard.archive.storage import AddressError


@pytest.fixture
def prefix(s3_url: str) -> str:
    return f"{s3_url}/{secrets.token_hex(4)}"


@pytest.fixture
def bucket(prefix: str, archive: Path, tmp_path: Path) -> str:
    """The small archive in a bucket, some of it in a tar and a zip."""
    for path in archive.rglob("*"):
        if path.is_file():
            storage.upload(path, f"{prefix}/calls/{path.relative_to(archive)}")
    files = {path.name: path.read_bytes() for path in sorted((archive / "2023").glob("*.wav"))}
    for suffix in (".tar.gz", ".zip"):
        storage.upload(pack(tmp_path / f"more{suffix}", files), f"{prefix}/calls/more{suffix}")
    return f"{prefix}/calls"


def content(address: str) -> bytes:
    with storage.open_binary(address) as file:
        return file.read()


def local_copy(bucket: str, folder: Path) -> Path:
    for path, _ in storage.objects_below(bucket):
        target = folder / path[len(bucket) + 1 :]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content(path))
    return folder


@pytest.mark.s3
def test_bucket_is_scanned_like_a_folder(bucket: str, tmp_path: Path):
    copy = local_copy(bucket, tmp_path / "copy")
    settings = ScanSettings(jobs=2)
    found = scan([bucket], None, settings, Progress())
    expected = scan([str(copy)], None, settings, Progress())
    assert [row.path.replace(bucket, str(copy)) for row in found.rows] == [row.path for row in expected.rows]
    assert [(row.sha256, row.score, row.error) for row in found.rows] == [
        (row.sha256, row.score, row.error) for row in expected.rows
    ]
    assert found.left_out == expected.left_out


@pytest.mark.s3
def test_stopped_scan_goes_on_from_the_bucket(bucket: str, prefix: str):
    name, settings = "out.parquet", ScanSettings(jobs=2)
    scan([bucket], f"{prefix}/undisturbed/{name}", settings, Progress())
    output = f"{prefix}/{name}"
    for stop_after in (3, 6):
        with pytest.raises(KeyboardInterrupt):
            scan([bucket], output, settings, After(stop_after, interrupt))
    last = After(0, interrupt)
    scan([bucket], output, settings, last)
    assert last.done_before == 9
    assert content(output) == content(f"{prefix}/undisturbed/{name}")
    assert [path for path, _ in storage.objects_below(prefix) if ".partial" in path] == []


@pytest.mark.s3
def test_changed_object_is_scored_again(bucket: str, prefix: str, archive: Path):
    settings = ScanSettings(jobs=1)
    with pytest.raises(KeyboardInterrupt):
        scan([bucket], f"{prefix}/out.csv", settings, After(10, interrupt))
    changed = min(path for path, _ in storage.objects_below(bucket) if path.endswith("/0.wav"))
    storage.upload(archive / "2024/02/2.wav", changed)
    last = After(0, interrupt)
    scan([bucket], f"{prefix}/out.csv", settings, last)
    assert last.done_before in (9, 10)
    assert f"{changed},0," in content(f"{prefix}/out.csv").decode()


@pytest.mark.s3
def test_what_addresses_mean(bucket: str, prefix: str, tmp_path: Path):
    def paths(*sources: str) -> list[str]:
        return sorted(Finder().files(sources))

    assert paths(f"{bucket}/2023/another twin.wav") == [f"{bucket}/2023/another twin.wav"]
    assert paths(f"{bucket}/more.*") == [f"{bucket}/more.tar.gz", f"{bucket}/more.zip"]
    assert paths(f"{bucket}/2023") == paths(f"{bucket}/2023/") == paths(f"{bucket}/2023/*")
    listing = tmp_path / "list.txt"
    listing.write_text(f"{bucket}/2023/\n{bucket}/gone.wav\n")
    assert paths(f"@{listing}") == sorted([*paths(f"{bucket}/2023"), f"{bucket}/gone.wav"])
    storage.upload(listing, f"{prefix}/list.txt")
    assert paths(f"@{prefix}/list.txt") == paths(f"@{listing}")
    for nothing in (f"{bucket}/gone", f"{bucket}/gone/*.wav", f"@{prefix}/gone.txt"):
        with pytest.raises(NothingThere):
            paths(nothing)


@pytest.mark.s3
def test_missing_object_is_a_row(bucket: str, tmp_path: Path):
    listing = tmp_path / "list.txt"
    listing.write_text(f"{bucket}/gone.wav\ns3://no-such-bucket-here/a.wav\n")
    tally = scan([f"@{listing}"], None, ScanSettings(jobs=1), Progress())
    assert tally.errors == {"not_found": 2}


@pytest.mark.s3
def test_output_without_a_bucket_is_refused_before_the_work(bucket: str):
    with pytest.raises(OutputError, match="make the bucket first"):
        scan([bucket], "s3://no-such-bucket-here/out.csv", ScanSettings(jobs=1), After(1, interrupt))


@pytest.mark.s3
def test_listing_goes_page_by_page(bucket: str, monkeypatch: pytest.MonkeyPatch):
    whole = list(storage.objects_below(bucket))
    monkeypatch.setattr(storage, "_PAGE_OBJECTS", 4)
    assert len(whole) > 12
    assert list(storage.objects_below(bucket)) == whole


@pytest.mark.parametrize("address", ["memory://a", "file:///a.wav", "zip://a::s3://b/c.zip", "nothing://a"])
def test_addresses_that_can_not_be_used_are_said(address: str):
    with pytest.raises(AddressError):
        list(Finder().files([address]))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s3://a/b", True),
        ("/a/b", False),
        ("a.wav", False),
        ("c:/x", False),
        ("https://a/b", True),
        ("://", False),
    ],
)
def test_what_is_an_address(path: str, expected: bool):
    assert storage.is_address(path) is expected
