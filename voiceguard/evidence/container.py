"""The container of a package: a zip file that can be written in one way only.

Readers of zip files pass over much: times, flags, extra fields, comments, bytes between the entries, a local
header that differs from the directory. So a package with a changed bit might still unpack to the same files,
and two programs might unpack different ones. `Writer` therefore writes every header in one fixed form (stored,
not compressed: 1 January 1980, no extra fields, ASCII names), and `read` builds the headers anew from names, sizes
and checksums and accepts these very bytes only. The form is the standard's (PKWARE's APPNOTE 6.3.3, sections 4.3.7,
4.3.12 and 4.3.16): any program unpacks it. It is written here and not by `zipfile`, whose headers differ
between versions of Python.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAX_NAME_BYTES = 200
MAX_ENTRIES = 65_535
MAX_BYTES = 2**32 - 1
"""Most bytes of a package: beyond it a zip file needs other headers."""
_CHUNK = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_VERSION, _UNIX = 20, 3 << 8
_TIME, _DATE = 0, 0x21  # midnight, 1 January 1980: the first day that zip knows
_MODE = 0o100644 << 16


class ContainerError(Exception):
    """A package's container is not as `Writer` writes it; ``where`` names the file, if it is about one."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what


@dataclass(frozen=True)
class Entry:
    """A file inside a package."""

    name: str
    size_bytes: int
    crc32: int
    sha256: str
    """Of the content; empty where only the directory was read."""
    header_at: int
    """Where its local header begins."""

    @property
    def data_at(self) -> int:
        """Where its content begins."""
        return self.header_at + _LOCAL.size + len(self.name)

    @property
    def end(self) -> int:
        """Where its content ends."""
        return self.data_at + self.size_bytes

    def local_header(self) -> bytes:
        """Return the header before the content."""
        return (
            _LOCAL.pack(
                b"PK\3\4", _VERSION, 0, 0, _TIME, _DATE, self.crc32, self.size_bytes, self.size_bytes,
                len(self.name), 0,
            )
            + self.name.encode("ascii")
        )  # fmt: skip

    def central_header(self) -> bytes:
        """Return the entry of the directory at the end."""
        return (
            _CENTRAL.pack(
                b"PK\1\2", _UNIX | _VERSION, _VERSION, 0, 0, _TIME, _DATE, self.crc32, self.size_bytes,
                self.size_bytes, len(self.name), 0, 0, 0, 0, _MODE, self.header_at,
            )
            + self.name.encode("ascii")
        )  # fmt: skip


class Writer:
    """Writes a package to a binary file, one file after the other."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 0
        self._folded: set[str] = set()
        self.entries: list[Entry] = []

    def add(self, name: str, data: bytes) -> Entry:
        """Write a file; raise ValueError for a name or a size that a package can't hold."""
        if not _good_name(name) or name.lower() in self._folded:
            raise ValueError(f"expected a new, plain, relative name, got {name!r}")
        crc32 = zlib.crc32(data)
        entry = Entry(name, len(data), crc32, hashlib.sha256(data).hexdigest(), self._at)
        if entry.end > MAX_BYTES or len(self.entries) >= MAX_ENTRIES:
            raise ValueError("expected a package of less than 4 GiB and 65,535 files, got more")
        self._file.write(entry.local_header())
        self._file.write(data)
        self._at = entry.end
        self._folded.add(name.lower())
        self.entries.append(entry)
        return entry

    def close(self) -> None:
        """Write the directory; the file itself stays open."""
        self._file.write(_directory(self.entries))


def _directory(entries: list[Entry]) -> bytes:
    begin = entries[-1].end if entries else 0
    records = b"".join(entry.central_header() for entry in entries)
    count = len(entries)
    return records + _END.pack(b"PK\5\6", 0, 0, count, count, len(records), begin, 0)


def read(file: BinaryIO) -> list[Entry]:
    """Read the directory and check every header; the contents are not looked at.

    Raises
    ------
    ContainerError
        Any byte outside of the contents is not as `Writer` writes it.
    """
    size = file.seek(0, 2)
    if size < _END.size:
        raise ContainerError("the package", "is no zip file, or its end is missing")
    file.seek(size - _END.size)
    mark, _, _, _, count, length, begin, _ = _END.unpack(file.read(_END.size))
    if mark != b"PK\5\6" or begin + length + _END.size != size:
        raise ContainerError("the package", "is no zip file, its end is missing, or bytes were added at it")
    file.seek(begin)
    records = file.read(size - begin)
    entries = _entries(records[:length])
    expected = 0
    for entry in entries:
        if entry.header_at != expected:
            raise ContainerError(entry.name, "does not begin where the file before it ends")
        file.seek(entry.header_at)
        header = entry.local_header()
        if entry.end > begin or file.read(len(header)) != header:
            raise ContainerError(entry.name, "its zip header was changed")
        expected = entry.end
    if expected != begin or len(entries) != count or _directory(entries) != records:
        raise ContainerError("the package", "its zip directory was changed, or bytes stand before it")
    return entries


def _entries(records: bytes) -> list[Entry]:
    entries: list[Entry] = []
    at = 0
    seen: set[str] = set()
    while at < len(records):
        if len(records) - at < _CENTRAL.size:
            raise ContainerError("the package", "its zip directory is cut off")
        fields = _CENTRAL.unpack_from(records, at)
        crc32, size, name_bytes, header_at = fields[7], fields[8], fields[10], fields[16]
        name = records[at + _CENTRAL.size : at + _CENTRAL.size + name_bytes].decode("latin-1")
        if not _good_name(name):
            raise ContainerError(f"file {len(entries) + 1}", "has a name that no package has")
        entry = Entry(name, size, crc32, "", header_at)
        if records[at : at + _CENTRAL.size + name_bytes] != entry.central_header():
            raise ContainerError(name, "its entry in the zip directory was changed")
        if name.lower() in seen:
            raise ContainerError(name, "is there twice")
        seen.add(name.lower())
        entries.append(entry)
        at += _CENTRAL.size + name_bytes
    return entries


def chunks(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    """Yield a file's content piece by piece."""
    file.seek(entry.data_at)
    left = entry.size_bytes
    while left:
        piece = file.read(min(left, _CHUNK))
        if not piece:
            return
        left -= len(piece)
        yield piece


def content(file: BinaryIO, entry: Entry) -> bytes:
    """Return a file's content."""
    return b"".join(chunks(file, entry))


def _good_name(name: str) -> bool:
    return len(name) <= MAX_NAME_BYTES and _NAME.fullmatch(name) is not None
