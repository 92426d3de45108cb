"""A recording's bytes, wherever it lies."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass

from voiceguard.archive import packed, storage
from voiceguard.archive.jobs import Job
from voiceguard.audio import Limits
from voiceguard.errors import RecordingTooLarge

_HELD_BYTES = 64 << 20
"""Of several recordings that a worker reads at once; what comes beyond is read again when it is its turn."""


class NotAFile(Exception):
    """A path that is no regular file."""


@dataclass(frozen=True, slots=True)
class Held:
    """A recording that was read."""

    job: Job
    sha256: str
    data: bytes | None
    """None where it is not kept in memory."""


class Reader:
    """Reads recordings for one worker."""

    def __init__(self) -> None:
        self._members = packed.MemberReader()
        self._held_bytes = 0

    def read(self, job: Job) -> Held:
        """Read and hash a recording.

        Raises
        ------
        NotAFile, ArchiveError, AddressError, OSError
            There are no bytes.
        RecordingTooLarge
            There are too many.
        """
        data = self._read(job)
        keep = not self._held_bytes or self._held_bytes + len(data) <= _HELD_BYTES
        if keep:
            self._held_bytes += len(data)
        return Held(job, hashlib.sha256(data).hexdigest(), data if keep else None)

    def bytes_of(self, held: Held) -> bytes:
        """Return the bytes of what was read; they no longer count as held."""
        if held.data is None:
            return self._read(held.job)
        return held.data

    def forget(self) -> None:
        """Count what is held anew: the worker has done with it."""
        self._held_bytes = 0

    def close(self) -> None:
        """Let go of the archive that was read last."""
        self._members.close()

    def _read(self, job: Job) -> bytes:
        if job.member is not None:
            return self._members.read(job.member)
        if packed.is_archive(job.path):
            # The scan could not list it to its end; say why.
            for _ in packed.entries(job.path):
                pass
            raise packed.ArchiveError("The archive was changed while the scan ran; scan it again.")
        if storage.is_address(job.path):
            size_bytes = storage.size_of(job.path)
            _check(size_bytes)
            return storage.read_range(job.path, 0, size_bytes)
        return _read_file(job.path)


def _read_file(path: str) -> bytes:
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        os.listdir(path)  # says why the folder can't be listed, which is why it came here
        raise NotAFile("Expected a file, but this is a folder.")
    if not stat.S_ISREG(status.st_mode):
        raise NotAFile("Expected a regular file, but this is a pipe, a socket or a device.")
    _check(status.st_size)
    with open(path, "rb") as file:
        return file.read(status.st_size + 1)


def _check(size_bytes: int) -> None:
    most = Limits().max_bytes
    if size_bytes > most:
        raise RecordingTooLarge(f"Expected at most {most} bytes, but the file has {size_bytes}.")
