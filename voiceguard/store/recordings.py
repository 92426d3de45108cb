"""The recordings, each kept once under the SHA-256 of its bytes, in a folder or a bucket.

A recording arrives as a `Upload`: a temporary file on this machine that is hashed while it is written.
`Recordings.put` moves it to its place and returns when it is durable there. What a dead process left behind
is told from what a living one is writing by a lock on the file, so no clock is asked.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import fcntl
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import fsspec
import fsspec.utils

from voiceguard.errors import RecordingMissing, RecordingsUnavailable, StorageFull

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Upload:
    """A recording on its way in: a locked temporary file and the hash of what it holds so far.

    A context manager; at its end the file is gone unless `Recordings.put` has taken it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{uuid.uuid4().hex}.part"
        self.size_bytes = 0
        self._hash = hashlib.sha256()
        with _translated("The folder for incoming recordings does not answer."):
            self._file = self.path.open("xb", buffering=0)
            fcntl.flock(self._file, fcntl.LOCK_EX)

    @property
    def sha256(self) -> str:
        """Hash of the bytes so far, in lower-case hexadecimal."""
        return self._hash.hexdigest()

    def write(self, data: bytes | bytearray) -> None:
        """Append ``data``."""
        view = memoryview(data)
        self._hash.update(view)
        self.size_bytes += len(view)
        with _translated("The folder for incoming recordings does not answer."):
            while view:
                view = view[self._file.write(view) :]

    def sync(self) -> None:
        """Return when every byte is on the disk."""
        with _translated("The folder for incoming recordings does not answer."):
            os.fsync(self._file.fileno())

    def __enter__(self) -> Upload:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        self._file.close()


class Recordings:
    """The store behind a URL: ``/folder``, ``file:///folder`` or ``s3://bucket/prefix``.

    Parameters
    ----------
    url
        Where the recordings lie.
    data_dir
        Folder on this machine that takes uploads when ``url`` is a bucket. A folder store takes them inside
        itself, since only a rename within one file system is atomic.
    """

    def __init__(self, url: str, data_dir: Path) -> None:
        self._fs, root = fsspec.url_to_fs(url)
        self._root = str(root).rstrip("/")
        self.is_local = "file" in (
            self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,)
        )
        self.incoming = (Path(self._root) if self.is_local else data_dir) / "incoming"
        if self.is_local and not Path(self._root).exists():
            Path(self._root).mkdir(parents=True, mode=0o700)
        self.incoming.mkdir(parents=True, exist_ok=True, mode=0o700)

    def upload(self) -> Upload:
        """Begin to receive a recording."""
        return Upload(self.incoming)

    def put(self, upload: Upload) -> None:
        """Move a synced upload to its place; return when it is durable there.

        Raises
        ------
        RecordingsUnavailable, StorageFull
            Nothing was stored.
        """
        place = self._place(upload.sha256)
        with _translated("The recordings store does not answer."):
            if not self.is_local:
                self._fs.put_file(str(upload.path), place)
                return
            target = Path(place)
            _make_durable_folders(target.parent, Path(self._root))
            upload.path.chmod(0o400)
            upload.path.replace(target)
            _sync_folder(target.parent)

    def exists(self, sha256: str) -> bool:
        """Say whether the store holds the recording now."""
        with _translated("The recordings store does not answer."):
            self._fs.invalidate_cache()
            return bool(self._fs.exists(self._place(sha256)))

    def read(self, sha256: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes ``start`` to ``stop`` (not included; None is the end).

        Raises
        ------
        RecordingMissing
            The store answers but holds no such recording.
        RecordingsUnavailable
            The store does not answer.
        """
        with _translated("The recordings store does not answer."):
            try:
                return bytes(self._fs.cat_file(self._place(sha256), start=start, end=stop))
            except FileNotFoundError:
                self.check()
                raise RecordingMissing from None

    def delete(self, sha256: str) -> None:
        """Remove the recording; one that is not there is fine."""
        with _translated("The recordings store does not answer."), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._place(sha256))

    def keep(self, name: str, data: bytes) -> None:
        """Put a file that is no recording beside them, whole or not at all."""
        place = f"{self._root}/{name}"
        with _translated("The recordings store does not answer."):
            if not self.is_local:
                self._fs.pipe_file(place, data)
                return
            target = Path(place)
            _make_durable_folders(target.parent, Path(self._root))
            part = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
            part.write_bytes(data)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(target)
            _sync_folder(target.parent)

    def kept(self, name: str) -> bytes | None:
        """Return a file that `keep` put there, None if there is none."""
        with _translated("The recordings store does not answer."):
            try:
                return bytes(self._fs.cat_file(f"{self._root}/{name}"))
            except FileNotFoundError:
                return None

    def walk(self) -> Iterator[tuple[str, dt.datetime]]:
        """Yield each recording's SHA-256 and the time it was stored."""
        with _translated("The recordings store does not answer."):
            self._fs.invalidate_cache()
            for path, info in self._fs.find(f"{self._root}/sha256", detail=True).items():
                name = path.rsplit("/", 1)[-1]
                if _SHA256.fullmatch(name):
                    modified = info.get("LastModified") or dt.datetime.fromtimestamp(info["mtime"], dt.UTC)
                    yield name, modified

    def check(self) -> None:
        """Raise `RecordingsUnavailable` unless the store answers."""
        with _translated("The recordings store does not answer."):
            if self.is_local:
                if not self.incoming.is_dir() or not os.access(self.incoming, os.W_OK):
                    raise RecordingsUnavailable(
                        f"Expected a writable folder, but {self.incoming.name}/ is none."
                    )
            else:
                self._fs.invalidate_cache()
                self._fs.call_s3("head_bucket", Bucket=self._root.split("/", 1)[0])

    def free_bytes(self) -> int:
        """Return the free space where uploads arrive."""
        with _translated("The folder for incoming recordings does not answer."):
            return shutil.disk_usage(self.incoming).free

    def sweep(self) -> int:
        """Remove the uploads that dead processes left behind; return how many."""
        swept = 0
        for path in self.incoming.glob("*.part"):
            with contextlib.suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its writer lives
                path.unlink()
                swept += 1
        return swept

    def _place(self, sha256: str) -> str:
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"expected a SHA-256 in lower-case hexadecimal, got {sha256!r}")
        return f"{self._root}/sha256/{sha256[:2]}/{sha256}"


def _make_durable_folders(folder: Path, root: Path) -> None:
    """Make ``folder`` under ``root`` so that a power cut does not take its name away again."""
    if folder.is_dir():
        return
    if not root.is_dir():  # an unmounted disk must not come back as a folder of the same name
        raise RecordingsUnavailable
    if folder.parent != root:
        _make_durable_folders(folder.parent, root)
    folder.mkdir(exist_ok=True, mode=0o700)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _translated(message: str) -> Iterator[None]:
    """Turn what disks and buckets raise into VoiceGuard's errors."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull from error
        raise RecordingsUnavailable(message) from error
    except Exception as error:
        # botocore's exceptions have no common base with ours and s3fs lets some of them through
        if type(error).__module__.partition(".")[0] in ("botocore", "aiobotocore", "aiohttp"):
            raise RecordingsUnavailable(message) from error
        raise
