"""Tar and zip files as streams: what they hold, and a member's bytes. Nothing is unpacked to the disk.

Archives come from strangers, so what one may cost is bounded whatever it says of itself: bytes of a member's
header, of a zip's directory, what a compressed tar may grow to, and memory of the decompressors. A member's name
is never used as a path: it only names the row.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from voiceguard.archive import storage
from voiceguard.archive.jobs import Member
from voiceguard.audio import Limits
from voiceguard.errors import AudioError, RecordingTooLarge

_HEADER_BYTES = 1 << 20
_DIRECTORY_BYTES = 64 << 20
"""Of a zip's directory: half a million members."""
_GROWTH_FREE_BYTES = 1 << 30
_MOST_GROWTH = 2000
"""A compressed tar beyond the first GiB may be so many times as long unpacked; gzip can't do more than 1032."""
_LZMA_BYTES = 256 << 20
_SKIP_BYTES = 1 << 20
_PACKED_BYTES = 1 << 16
_LOCAL_HEADER_BYTES = 30
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1


class ArchiveError(Exception):
    """A tar or zip file can't be read: it is none, or damaged, or a trap."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A member as the archive lists it; ``member`` is None for what is no regular file."""

    name: str
    member: Member | None


def _plain(file: BinaryIO) -> Any:
    return file


def _gzip(file: BinaryIO) -> Any:
    return gzip.GzipFile(fileobj=file, mode="rb")


def _bzip2(file: BinaryIO) -> Any:
    return _Unpacked(file, bz2.BZ2Decompressor)


def _xz(file: BinaryIO) -> Any:
    return _Unpacked(file, lambda: lzma.LZMADecompressor(memlimit=_LZMA_BYTES))


def _zstd(file: BinaryIO) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")


_TARS: dict[str, Callable[[BinaryIO], Any]] = {
    ".tar": _plain,
    ".tar.gz": _gzip,
    ".tgz": _gzip,
    ".tar.bz2": _bzip2,
    ".tbz2": _bzip2,
    ".tar.xz": _xz,
    ".txz": _xz,
    ".tar.zst": _zstd,
    ".tzst": _zstd,
}
_ZIP = ".zip"
_SUFFIXES = (*_TARS, _ZIP)


def is_archive(path: str) -> bool:
    """Whether the name is that of a tar or zip file."""
    return path.lower().endswith(_SUFFIXES)


def entries(archive: str) -> Iterator[Entry]:
    """List an archive in its own order, folders left out.

    Raises
    ------
    ArchiveError
        The archive can't be read, or no further.
    OSError, storage.AddressError
        The file can't be opened.
    """
    if archive.lower().endswith(_ZIP):
        with _open_zip(archive) as opened:
            yield from _zip_entries(archive, opened)
        return
    with storage.open_binary(archive) as file:
        yield from _tar_entries(archive, _Forward(file, _unpacker(archive)))


class MemberReader:
    """Reads members; best in the order of their places, since a compressed tar can only be read forward."""

    def __init__(self) -> None:
        self._archive = ""
        self._file: BinaryIO | None = None
        self._stream: _Forward | None = None
        self._zip: zipfile.ZipFile | None = None
        self._infos: dict[int, zipfile.ZipInfo] = {}

    def read(self, member: Member) -> bytes:
        """Return a member's bytes.

        Raises
        ------
        ArchiveError
            The archive can't be read there.
        RecordingTooLarge
            The member is larger than a recording may be.
        OSError, storage.AddressError
            The file can't be opened.
        """
        most = Limits().max_bytes
        if member.size_bytes > most:
            raise RecordingTooLarge(f"Expected at most {most} bytes, but the member has {member.size_bytes}.")
        if member.archive.lower().endswith(_ZIP):
            return self._read_zip(member)
        if _unpacker(member.archive) is _plain:
            data = storage.read_range(member.archive, member.place, member.size_bytes)
        else:
            data = self._read_forward(member)
        if len(data) < member.size_bytes:
            raise ArchiveError(
                f"Expected {member.size_bytes} bytes, but the archive ends after {len(data)} of them."
            )
        return data

    def close(self) -> None:
        """Let go of the archive that was read last."""
        if self._zip is not None:
            self._zip.close()
        if self._file is not None:
            self._file.close()
        self._archive, self._file, self._stream, self._zip, self._infos = "", None, None, None, {}

    def _read_forward(self, member: Member) -> bytes:
        if self._archive != member.archive or self._stream is None or self._stream.tell() > member.place:
            self.close()
            self._file = storage.open_binary(member.archive)
            self._stream = _Forward(self._file, _unpacker(member.archive))
            self._archive = member.archive
        try:
            with _blamed():
                self._stream.seek(member.place)
                return self._stream.take(member.size_bytes)
        except BaseException:
            self.close()
            raise

    def _read_zip(self, member: Member) -> bytes:
        if self._archive != member.archive:
            self.close()
            self._zip = _open_zip(member.archive)
            self._infos = {info.header_offset: info for info in self._zip.infolist()}
            self._archive = member.archive
        assert self._zip is not None
        info = self._infos.get(member.place)
        if info is None or info.file_size != member.size_bytes:
            raise ArchiveError("The archive was changed while the scan ran.")
        if info.flag_bits & _ENCRYPTED:
            raise ArchiveError("Expected a member without encryption, but this one needs a password.")
        if info.compress_type not in _METHODS:
            raise ArchiveError(
                "Expected a stored or deflated member, but this one is compressed by method"
                f" {info.compress_type}; pack it anew."
            )
        with _blamed(), self._zip.open(info) as file:
            # Sized, not to the end: what follows beyond the announced size is nobody's recording.
            return file.read(member.size_bytes) if member.size_bytes else b""


def _tar_entries(archive: str, stream: _Forward) -> Iterator[Entry]:
    count = 0
    with _blamed():
        tar = tarfile.open(fileobj=stream, mode="r:")  # type: ignore[call-overload]  # noqa: SIM115
    while True:
        with _blamed():
            info = tar.next()
            tar.members.clear()  # or the list of a million members would grow in memory
            stream.new_header()
        if info is None:
            break
        count += 1
        if info.isdir():
            continue
        regular = info.isreg() and info.sparse is None
        yield Entry(info.name, Member(archive, info.offset_data, info.size) if regular else None)
    # tarfile takes a damaged header in the middle for the end.
    if stream.last.strip(b"\0"):
        raise ArchiveError(f"Expected a tar file's end or next member after {count} of them.")


def _zip_entries(archive: str, opened: zipfile.ZipFile) -> Iterator[Entry]:
    infos = sorted(opened.infolist(), key=lambda info: info.header_offset)
    end = 0
    for info in infos:
        # Members that share their bytes make a small file cost more than its size allows.
        if info.header_offset < end:
            raise ArchiveError("Expected members that lie side by side, but they overlap.")
        end = info.header_offset + _LOCAL_HEADER_BYTES + info.compress_size
    for info in infos:
        if info.is_dir():
            continue
        mode = info.external_attr >> 16
        regular = stat.S_IFMT(mode) in (0, stat.S_IFREG)
        yield Entry(info.filename, Member(archive, info.header_offset, info.file_size) if regular else None)


def _open_zip(archive: str) -> zipfile.ZipFile:
    file = storage.open_binary(archive)
    try:
        with _blamed():
            return _ClosingZip(_Capped(file))
    except BaseException:
        file.close()
        raise


class _ClosingZip(zipfile.ZipFile):
    """Closes its file too."""

    def __init__(self, file: _Capped) -> None:
        self._inner = file
        super().__init__(file)
        file.cap_bytes = None

    def close(self) -> None:
        super().close()
        self._inner.close()


class _Capped(io.RawIOBase):
    """A file of which no more than ``cap_bytes`` may be read at once: a zip's directory comes in one piece."""

    def __init__(self, file: BinaryIO) -> None:
        self._inner = file
        self.cap_bytes: int | None = _DIRECTORY_BYTES

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self.cap_bytes is None:
            return self._inner.read(size)
        data = self._inner.read(min(size, self.cap_bytes + 1) if size >= 0 else self.cap_bytes + 1)
        if len(data) > self.cap_bytes:
            raise ArchiveError(f"Expected a directory of at most {self.cap_bytes} bytes.")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._inner.seek(offset, whence)

    def tell(self) -> int:
        return self._inner.tell()

    def close(self) -> None:
        self._inner.close()
        super().close()


class _Forward:
    """A tar's bytes, unpacked, read forward only; as much of a file as tarfile asks of one."""

    def __init__(self, file: BinaryIO, unpack: Callable[[BinaryIO], Any]) -> None:
        self._file = file
        self._plain = unpack is _plain
        with _blamed():
            self._stream = unpack(file)
        self._position = 0
        self._header_bytes = 0
        self.last = b""
        """The last header block that was read."""

    def new_header(self) -> None:
        """Count header bytes anew."""
        self._header_bytes = 0

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        """Skip to a place further on; a plain file is not read on the way."""
        if position < self._position:
            raise ArchiveError("Expected members one after the other.")
        if self._plain:
            self._stream.seek(position)
            self._position = position
        while self._position < position:
            if not self.take(min(_SKIP_BYTES, position - self._position)):
                raise ArchiveError("Expected more members, but the archive ends.")

    def read(self, size: int) -> bytes:
        """Read a header."""
        self._header_bytes += size
        if size < 0 or self._header_bytes > _HEADER_BYTES:
            raise ArchiveError(f"Expected a member's header below {_HEADER_BYTES} bytes.")
        self.last = self.take(size)
        return self.last

    def take(self, size: int) -> bytes:
        """Read ``size`` bytes, fewer only at the end."""
        blocks = []
        while size > 0:
            block = self._stream.read(min(size, _SKIP_BYTES))
            if not block:
                break
            blocks.append(bytes(block))
            size -= len(block)
            self._position += len(block)
            self._check_growth()
        return b"".join(blocks)

    def _check_growth(self) -> None:
        if self._plain or self._position < _GROWTH_FREE_BYTES:
            return
        if self._position > _MOST_GROWTH * max(self._file.tell(), 1):
            raise ArchiveError(
                f"Expected a tar that grows at most {_MOST_GROWTH} times when it is unpacked; this one is a trap."
            )


class _Unpacked(io.RawIOBase):
    """Unpacks bzip2 and xz with bounded memory; several streams in a row are one."""

    def __init__(self, file: BinaryIO, new: Callable[[], Any]) -> None:
        self._inner, self._new = file, new
        self._decompressor = new()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        packed = b""
        while True:
            if self._decompressor.eof:
                packed = self._decompressor.unused_data.lstrip(b"\0") or self._inner.read(_PACKED_BYTES)
                if not packed.strip(b"\0"):
                    return 0
                self._decompressor = self._new()
            elif self._decompressor.needs_input and not packed:
                packed = self._inner.read(_PACKED_BYTES)
                if not packed:
                    raise EOFError("the compressed file was cut off")
            found = self._decompressor.decompress(packed, len(buffer))
            packed = b""
            if found:
                buffer[: len(found)] = found
                return len(found)


def _unpacker(archive: str) -> Callable[[BinaryIO], Any]:
    name = archive.lower()
    return next(unpack for suffix, unpack in _TARS.items() if name.endswith(suffix))


@contextmanager
def _blamed() -> Iterator[None]:
    """Turn whatever tarfile, zipfile and decompressors raise into ArchiveError: on strangers' bytes, anything."""
    try:
        yield
    except (ArchiveError, AudioError, MemoryError, storage.AddressError):
        raise
    except Exception as error:
        said = str(error).strip().rstrip(".") or type(error).__name__
        raise ArchiveError(f"Expected a tar or zip file that can be read to its end, but: {said}.") from error
