"""Which files a scan scores.

A path that is named is always tried, whatever it is called. In a folder, everything is tried but what is
plainly not a recording: hidden files and the notes, tables and pictures that lie beside recordings. An
unknown extension is tried, since recorders name files as they like; what was left out is counted, so that
nothing is lost in silence.
"""

from __future__ import annotations

import glob
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import BinaryIO

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
    """Finds the files that sources mean.

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

    def files(self, sources: Iterable[str]) -> Iterator[str]:
        """Find the files that sources mean, in no particular order, some perhaps twice.

        Parameters
        ----------
        sources
            Files, folders (walked recursively, without following links to folders), glob patterns, ``@LIST``
            (a file that lists files and folders: one a line, or each ended by NUL as ``find -print0`` writes
            them) or ``-`` (such a list from standard input). What a list names need not exist: it becomes a
            row with an error.

        Raises
        ------
        NothingThere
            A source does not exist or a pattern matches nothing.
        """
        for source in sources:
            if source == "-":
                yield from self._listed(sys.stdin.buffer)
            elif os.path.lexists(source):
                yield from self._file_or_folder(source)
            elif source.startswith("@"):
                try:
                    with open(source[1:], "rb") as file:
                        yield from self._listed(file)
                except OSError as error:
                    raise NothingThere(
                        f"can't read the list of paths {source[1:]}: {error.strerror}"
                    ) from error
            elif _GLOB_SIGNS & set(source):
                matches = glob.glob(source, recursive=True)
                if not matches:
                    raise NothingThere(f"nothing matches {source}")
                for match in matches:
                    yield from self._file_or_folder(match)
            else:
                raise NothingThere(f"no such file or folder: {source}")

    def _listed(self, stream: BinaryIO) -> Iterator[str]:
        for path in _split(stream):
            if path:
                yield from self._file_or_folder(os.fsdecode(path))

    def _file_or_folder(self, path: str) -> Iterator[str]:
        if os.path.isdir(path):
            yield from self._walk(path)
        else:
            yield path

    def _walk(self, folder: str) -> Iterator[str]:
        unreadable: list[str] = []
        for parent, folders, names in os.walk(folder, onerror=lambda e: unreadable.append(e.filename)):
            companions = {name for name in folders if _is_companion_folder(name)}
            self.left_out.update(f"{name}/" for name in companions)
            folders[:] = [name for name in folders if name not in companions]
            for name in names:
                path = os.path.join(parent, name)
                if self._is_recording(path, name):
                    yield path
        # A folder that can't be listed is tried like a file, so that it ends as a row with an error.
        yield from unreadable

    def _is_recording(self, path: str, name: str) -> bool:
        suffix = os.path.splitext(name.lower())[1]
        if suffix in _COMPANION_SUFFIXES:
            self.left_out[suffix] += 1
        elif name.lower() in _COMPANION_NAMES or name.startswith("."):
            self.left_out[name] += 1
        elif os.path.abspath(path) in self._exclude:
            return False
        elif _is_special(path):
            self.left_out["not a regular file"] += 1
        else:
            return True
        return False


def _is_companion_folder(name: str) -> bool:
    return name.startswith(".") or name.lower() in _COMPANION_FOLDERS


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
