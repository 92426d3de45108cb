from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceguard.evidence import container
from voiceguard.evidence.container import ContainerError, Writer

NAMES = st.from_regex(r"\A[A-Za-z0-9_]{1,8}(/[A-Za-z0-9_]{1,8}){0,2}\Z")
FILES = st.dictionaries(NAMES.map(str.lower), st.binary(max_size=200), min_size=1, max_size=5)


def written(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    writer = Writer(out)
    for name, data in files.items():
        writer.add(name, data)
    writer.close()
    return out.getvalue()


@given(FILES)
def test_any_program_reads_what_is_written(files: dict[str, bytes]) -> None:
    data = written(files)
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert file.testzip() is None
        assert {name: file.read(name) for name in file.namelist()} == files
    entries = container.read(io.BytesIO(data))
    assert {one.name: container.content(io.BytesIO(data), one) for one in entries} == files


@given(FILES, st.data())
def test_no_byte_outside_of_the_contents_can_differ(files: dict[str, bytes], choose: st.DataObject) -> None:
    data = bytearray(written(files))
    at = choose.draw(st.integers(0, len(data) - 1))
    data[at] ^= 1 << choose.draw(st.integers(0, 7))
    inside = any(one.data_at <= at < one.end for one in container.read(io.BytesIO(written(files))))
    if inside:
        container.read(io.BytesIO(data))
    else:
        with pytest.raises(ContainerError):
            container.read(io.BytesIO(data))


@given(st.binary(max_size=300))
def test_anything_else_is_refused_as_such(data: bytes) -> None:
    empty = written({})
    if data != empty:
        with pytest.raises(ContainerError):
            container.read(io.BytesIO(data))


@given(FILES, st.binary(min_size=1, max_size=40), st.booleans())
def test_nothing_can_stand_before_or_behind(files: dict[str, bytes], more: bytes, before: bool) -> None:
    data = written(files)
    with pytest.raises(ContainerError):
        container.read(io.BytesIO(more + data if before else data + more))


@pytest.mark.parametrize("name", ["../x", "/x", "a/../b", "a//b", "", ".x", "a\\b", "é", "a" * 201, "C:x"])
def test_a_name_that_leads_elsewhere_is_not_written(name: str) -> None:
    with pytest.raises(ValueError, match="relative name"):
        Writer(io.BytesIO()).add(name, b"")


def test_two_names_that_some_systems_take_for_one_are_not_written() -> None:
    writer = Writer(io.BytesIO())
    writer.add("a", b"")
    with pytest.raises(ValueError, match="relative name"):
        writer.add("A", b"")


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil", "a/../../evil"])
def test_a_foreign_zip_that_leads_elsewhere_is_refused(name: str) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(name, b"x")
    with pytest.raises(ContainerError, match="name"):
        container.read(out)


def test_a_zip_bomb_is_refused_unread() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(50_000_000))
    with pytest.raises(ContainerError, match="zeros"):
        container.read(out)
