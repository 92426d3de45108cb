"""Which recordings a scan scores.

A path that is named is always tried, whatever it is called. In a folder, a bucket or an archive, everything is
tried but what is plainly not a recording: hidden files and the notes, tables and pictures that lie beside
recordings. An unknown extension is tried, since recorders name files as they like; what was left out is counted,
so that nothing is lost in silence. A tar or zip file stands for its members, wherever it lies.
"""

from __future__ import annotations

import glob
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from voiceguard.archive import packed, storage
from voiceguard.archive.jobs import MEMBER_SIGN, Job

# fmt: off
_COMPANION_SUFFIXES = frozenset({
    # notes and pages
    ".md", ".rst", ".txt", ".pdf", ".html", ".htm", ".doc", ".docx", ".odt", ".rtf", ".eml",
    # tables, settings, transcripts
    ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg",
    ".conf", ".xls", ".xlsx", ".ods", ".parquet", ".arrow", ".sqlite", ".sqlite3", ".db", ".sql", ".log",
    ".srt", ".vtt", ".lab", ".textgrid",
    # programs
    ".py", ".ipynb", ".sh", ".bat", ".js", ".css",
    # pictures
    ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".bmp", ".tif", ".tiff",
    # checksums and signatures
    ".md5", ".sha1", ".sha256", ".sha512", ".sig", ".asc", ".pem",
    # what is not finished
    ".partial", ".tmp", ".part", ".crdownload",
})
_COMPANION_NAMES = frozenset({
    "license", "licence", "copying", "notice", "readme", "authors", "changelog", "contributing",
    "manifest", "makefile", "md5sums", "sha1sums", "sha256sums", "sha512sums", "thumbs.db", "desktop.ini",
})
# fmt: on
_COMPANION_FOLDERS = frozenset({"license", "licenses", "licence", "licences", "__pycache__", "__macosx"})
_GLOB_SIGNS = frozenset("*?[")
_LIST_BLOCK_BYTES = 65536


class NothingThere(Exception):
    """A path that was asked for does not exist, or a pattern matches nothing."""


class Finder:
    """Finds the recordings that sources mean.

    Attributes
    ----------
    left_out : Counter[str]
        How many files and folders, in the folders walked so far, hold no recordings: by extension, or by
        name where there is none.
    """

    def __init__(self, *, exclude: Iterable[str] = ()) -> None:
        """Take absolute paths that are never found in a folder, such as the scan's own output."""
        self.left_out: Counter[str] = Counter()
        self._exclude = frozenset(exclude)

    def jobs(self, sources: Iterable[str]) -> Iterator[Job]:
        """Find the recordings that sources mean, in no particular order, some perhaps twice.

        An archive that can't be read to its end comes as a job of its own after the members that were found:
        its row will say why.

        Parameters
        ----------
        sources
            As :meth:`files` says.

        Raises
        ------
        NothingThere, AddressError
            As :meth:`files` says.
        """
        for path, state in self._found(sources):
            if packed.is_archive(path):
                yield from self._members(path, storage.state_of(path) if state is None else state)
            elif state is None and not storage.is_address(path):
                yield Job(path, storage.state_of(path))
            else:
                yield Job(path, state)

    def files(self, sources: Iterable[str]) -> Iterator[str]:
        """Find the files that sources mean, archives as one.

        Parameters
        ----------
        sources
            Files, folders (walked recursively, without following links to folders), glob patterns, addresses
            (``s3://bucket/prefix``, also with a pattern), ``@LIST`` (a file that lists files, folders and
            addresses: one a line, or each ended by NUL as ``find -print0`` writes them) or ``-`` (such a list
            from standard input). What a list names need not exist: it becomes a row with an error.

        Raises
        ------
        NothingThere
            A source does not exist or a pattern matches nothing.
        AddressError
            A store does not answer.
        """
        return (path for path, _ in self._found(sources))

    def _found(self, sources: Iterable[str]) -> Iterator[tuple[str, str | None]]:
        """Yield paths and, where it is known without asking again, their state."""
        for source in sources:
            if source == "-":
                yield from self._listed(sys.stdin.buffer)
            elif os.path.lexists(source):
                yield from self._file_or_folder(source)
            elif source.startswith("@"):
                try:
                    with storage.open_binary(source[1:]) as file:
                        yield from self._listed(file)
                except OSError as error:
                    raise NothingThere(
                        f"can't read the list of paths {source[1:]}: {error.strerror or error}"
                    ) from error
            elif storage.is_address(source):
                yield from self._named_address(source)
            elif _GLOB_SIGNS & set(source):
                matches = glob.glob(source, recursive=True)
                if not matches:
                    raise NothingThere(f"nothing matches {source}")
                for match in matches:
                    yield from self._file_or_folder(match)
            else:
                raise NothingThere(f"no such file or folder: {source}")

    def _listed(self, stream: BinaryIO) -> Iterator[tuple[str, str | None]]:
        for line in _split(stream):
            path = os.fsdecode(line)
            if storage.is_address(path):
                # To ask the store about each of a million objects would take longer than to score them.
                yield from self._below(path) if path.endswith("/") else [(path, "listed")]
            elif path:
                yield from self._file_or_folder(path)

    def _named_address(self, source: str) -> Iterator[tuple[str, str | None]]:
        try:
            if storage.is_folder(source):
                yield from self._below(source)
            else:
                yield source, storage.state_of(source)
            return
        except FileNotFoundError:
            if not _GLOB_SIGNS & set(source):
                raise NothingThere(f"nothing lies at {source}") from None
        matches = list(storage.matching(source))
        if not matches:
            raise NothingThere(f"nothing matches {source}")
        for match, state in matches:
            yield from self._below(match) if match.endswith("/") else [(match, state)]

    def _below(self, address: str) -> Iterator[tuple[str, str | None]]:
        for path, state in storage.objects_below(address):
            if path not in self._exclude and self._is_no_companion(path[len(address.rstrip("/")) + 1 :]):
                yield path, state

    def _file_or_folder(self, path: str) -> Iterator[tuple[str, str | None]]:
        if os.path.isdir(path):
            for found in self._walk(path):
                yield found, None
        else:
            yield path, None

    def _members(self, archive: str, state: str | None) -> Iterator[Job]:
        try:
            for entry in packed.entries(archive):
                if entry.member is None:
                    self.left_out["not a regular file"] += 1
                elif self._is_no_companion(entry.name):
                    yield Job(f"{archive}{MEMBER_SIGN}{entry.name}", state, entry.member)
        except (packed.ArchiveError, storage.AddressError, OSError):
            yield Job(archive, None)

    def _walk(self, folder: str) -> Iterator[str]:
        unreadable: list[str] = []
        for parent, folders, names in os.walk(folder, onerror=lambda e: unreadable.append(e.filename)):
            companions = {name for name in folders if _is_companion_folder(name)}
            self.left_out.update(f"{name}/" for name in companions)
            folders[:] = [name for name in folders if name not in companions]
            for name in names:
                path = os.path.join(parent, name)
                if os.path.abspath(path) in self._exclude or not self._is_no_companion(name):
                    continue
                if _is_special(path):
                    self.left_out["not a regular file"] += 1
                else:
                    yield path
        # A folder that can't be listed is tried like a file, so that it ends as a row with an error.
        yield from unreadable

    def _is_no_companion(self, path: str) -> bool:
        """Whether a path below a folder, a bucket or an archive may be a recording; counts it if not."""
        *folders, name = path.split("/")
        suffix = os.path.splitext(name.lower())[1]
        companion = next((f"{folder}/" for folder in folders if _is_companion_folder(folder)), None)
        if companion is None and suffix in _COMPANION_SUFFIXES:
            companion = suffix
        elif companion is None and (name.lower() in _COMPANION_NAMES or name.startswith(".")):
            companion = name
        if companion is not None:
            self.left_out[companion] += 1
        return companion is None


def _is_companion_folder(name: str) -> bool:
    return name.strip(".") != "" and (name.startswith(".") or name.lower() in _COMPANION_FOLDERS)


def _is_special(path: str) -> bool:
    """Whether a path is a pipe, socket or device, whose reading might never end."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False  # a broken link: the scan reports it
    return not stat.S_ISREG(mode)


def _split(stream: BinaryIO) -> Iterator[bytes]:
    block = stream.read(_LIST_BLOCK_BYTES)
    separator = b"\0" if b"\0" in block else b"\n"
    rest = b""
    while block:
        *whole, rest = (rest + block).split(separator)
        for path in whole:
            yield path.removesuffix(b"\r") if separator == b"\n" else path
        block = stream.read(_LIST_BLOCK_BYTES)
    if rest:
        yield rest.removesuffix(b"\r") if separator == b"\n" else rest
