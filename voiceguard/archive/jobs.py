"""What travels between the processes of a scan: where a recording lies, never its sound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

MEMBER_SIGN = "!/"
"""Stands between an archive's path and a member's name, as in a Java archive's address."""


@dataclass(frozen=True, slots=True)
class Member:
    """Where in a tar or zip file a recording lies.

    Attributes
    ----------
    archive
        The archive's path or address.
    place
        Where the member's bytes begin in the unpacked tar, or its header in the zip.
    size_bytes
        Its size, unpacked, as the archive says.
    """

    archive: str
    place: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Job:
    """A recording to score.

    Attributes
    ----------
    path
        As the rows show it: a path, an address such as ``s3://bucket/a.wav``, or ``calls.tar!/a.wav``.
    state
        What the file, or the archive that holds it, was when the scan looked at it: size and time, or the
        store's own tag. None when it was not there.
    member
        Where it lies in an archive; None for a file of its own.
    """

    path: str
    state: str | None
    member: Member | None = None

    @property
    def name(self) -> str:
        """The file's own name, which decides between formats without a header."""
        return PurePosixPath(self.path).name

    @property
    def suffix(self) -> str:
        """The name's extension, in lower case."""
        return PurePosixPath(self.path).suffix.lower()
