from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceguard.archive.find import Finder, NothingThere


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "calls"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "LICENSES").mkdir()
    names = "a.wav deep/b.gsm deep/er/c README.md table.CSV .hidden.wav LICENSE LICENSES/CC0.wav notice.wav"
    for name in names.split():
        (root / name).touch()
    return root


def test_folder_gives_recordings_and_counts_the_rest(folder: Path):
    finder = Finder()
    found = sorted(finder.files([str(folder)]))
    assert found == [str(folder / name) for name in ("a.wav", "deep/b.gsm", "deep/er/c", "notice.wav")]
    assert finder.left_out == {".md": 1, ".csv": 1, ".hidden.wav": 1, "LICENSE": 1, "LICENSES/": 1}


def test_named_file_is_always_tried(folder: Path):
    readme = str(folder / "README.md")
    assert list(Finder().files([readme])) == [readme]


def test_glob(folder: Path):
    found = sorted(Finder().files([str(folder / "**" / "*.gsm"), str(folder / "de*")]))
    assert found == [str(folder / "deep/b.gsm"), str(folder / "deep/b.gsm"), str(folder / "deep/er/c")]


def test_file_whose_name_looks_like_a_pattern(tmp_path: Path):
    odd = tmp_path / "call [1]*.wav"
    odd.touch()
    assert list(Finder().files([str(odd)])) == [str(odd)]


@pytest.mark.parametrize("source", ["nothing-here.wav", "nothing-*.wav", "@nothing.txt"])
def test_what_is_not_there_is_said(tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NothingThere, match="nothing"):
        list(Finder().files([source]))


def test_list_names_folders_and_missing_files(folder: Path, tmp_path: Path):
    listing = tmp_path / "list.txt"
    listing.write_bytes(f"{folder}/deep\r\n\r\n{folder}/gone.wav".encode())
    found = sorted(Finder().files([f"@{listing}"]))
    assert found == [f"{folder}/deep/b.gsm", f"{folder}/deep/er/c", f"{folder}/gone.wav"]


@given(
    names=st.lists(st.binary(min_size=1, max_size=40).filter(lambda n: b"\0" not in n), min_size=1),
    end=st.booleans(),
)
def test_list_of_any_names_ended_by_nul(tmp_path_factory: pytest.TempPathFactory, names, end):
    listing = tmp_path_factory.mktemp("list") / "list"
    # None of these exist, so each comes back as it is; the first tells NUL from newline.
    paths = [b"/nowhere/" + name for name in names]
    listing.write_bytes(b"\0".join(paths) + (b"\0" if end or len(paths) == 1 else b""))
    assert [os.fsencode(path) for path in Finder().files([f"@{listing}"])] == paths


def test_list_longer_than_a_block(tmp_path: Path):
    paths = [f"/nowhere/{'x' * 90}/{index}.wav" for index in range(5000)]
    listing = tmp_path / "list.txt"
    listing.write_text("\n".join(paths))
    assert list(Finder().files([f"@{listing}"])) == paths


def test_own_output_is_not_found(folder: Path):
    own = folder / "deep" / "er" / "c"
    assert str(own) not in list(Finder(exclude=[str(own)]).files([str(folder)]))


def test_pipe_in_a_folder_is_left_out(folder: Path):
    os.mkfifo(folder / "pipe.wav")
    finder = Finder()
    assert str(folder / "pipe.wav") not in list(finder.files([str(folder)]))
    assert finder.left_out["not a regular file"] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="macOS refuses names that are not UTF-8")
def test_name_that_is_not_utf8(tmp_path: Path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    Path(os.fsdecode(path)).touch()
    assert [os.fsencode(found) for found in Finder().files([str(tmp_path)])] == [path]
