"""Files of this machine and objects of a store that fsspec knows, in one way.

An address has a scheme, ``s3://bucket/key``; everything else is a path of this machine. Whoever reads an address
opens it for itself: addresses travel between processes, as paths do.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_REFUSED = {
    "memory": "what memory:// holds is seen by one process alone",
    "file": "a file of this machine goes by its path",
    "local": "a file of this machine goes by its path",
}
_BLOCK_BYTES = 4 << 20
_PAGE_OBJECTS = 1000
_STRANGERS = ("botocore", "aiobotocore", "aiohttp", "google", "azure", "gcsfs", "adlfs", "s3fs")


class AddressError(Exception):
    """An address can't be listed, read or written."""


def is_address(path: str) -> bool:
    """Whether this is the address of an object, and no path of this machine."""
    return _SCHEME.match(path) is not None


def file_system(address: str) -> tuple[Any, str]:
    """Return fsspec's file system for an address, and the address as that system has it.

    Raises
    ------
    AddressError
        The scheme is unknown, not allowed, or needs a package that is not installed.
    """
    match = _SCHEME.match(address)
    assert match is not None
    scheme = match[1].lower()
    if scheme in _REFUSED or "::" in address:
        why = _REFUSED.get(scheme, "addresses that stand on one another are not read")
        raise AddressError(f"can't use {address}: {why}")
    return _file_system(scheme), address


@functools.cache
def _file_system(scheme: str) -> Any:
    import fsspec

    try:
        # A listing of a million objects must not stay in memory, nor an old one be believed.
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        extra = "pip install 'voiceguard-screening[s3]' brings it" if scheme == "s3" else str(error)
        raise AddressError(f"{scheme}:// needs a package that is not installed: {extra}") from error
    except ValueError as error:
        raise AddressError(f"expected an address of a known kind, but got {scheme}://") from error


@contextlib.contextmanager
def explained(address: str) -> Iterator[None]:
    """Turn what stores raise into AddressError; what is missing stays a FileNotFoundError."""
    try:
        yield
    except (FileNotFoundError, AddressError):
        raise
    except Exception as error:
        if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _STRANGERS:
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise AddressError(f"{address}: {said}") from error
        raise


def open_binary(path: str) -> BinaryIO:
    """Open a file or an object to read it from any place on."""
    if not is_address(path):
        return open(path, "rb")
    fs, address = file_system(path)
    with explained(path):
        opened: BinaryIO = fs.open(address, "rb", block_size=_BLOCK_BYTES, cache_type="readahead")
    return opened


def read_range(path: str, start: int, size: int) -> bytes:
    """Read up to ``size`` bytes from ``start`` on."""
    if not is_address(path):
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(size)
    fs, address = file_system(path)
    with explained(path):
        return bytes(fs.cat_file(address, start=start, end=start + size)) if size else b""


def state_of(path: str) -> str | None:
    """Say what a file is at this moment, so that a change is seen; None when it is not there."""
    if is_address(path):
        fs, address = file_system(path)
        try:
            with explained(path):
                return _object_state(fs.info(address))
        except FileNotFoundError:
            return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    return f"{status.st_size} {status.st_mtime_ns}"


def size_of(address: str) -> int:
    """Bytes of an object."""
    fs, place = file_system(address)
    with explained(address):
        return int(fs.info(place)["size"] or 0)


def written_at(address: str) -> dt.datetime | None:
    """Return when an object was last written, if its store says so."""
    fs, place = file_system(address)
    with explained(address):
        written = fs.info(place).get("LastModified")
    return written if isinstance(written, dt.datetime) else None


def is_folder(address: str) -> bool:
    """Whether objects lie below an address.

    Raises
    ------
    FileNotFoundError
        Nothing lies there.
    """
    fs, place = file_system(address)
    with explained(address):
        return bool(fs.info(place)["type"] == "directory")


def objects_below(address: str) -> Iterator[tuple[str, str | None]]:
    """Yield every object below an address, and its state."""
    fs, place = file_system(address)
    scheme = address.partition("://")[0]
    with explained(address):
        found = _s3_objects(fs, place) if scheme in ("s3", "s3a") else _listed(fs.find(place, detail=True))
        for name, state in found:
            yield f"{scheme}://{name}", state


def matching(pattern: str) -> Iterator[tuple[str, str | None]]:
    """Yield the objects that a pattern matches, and their states; folders with None and a slash."""
    fs, place = file_system(pattern)
    scheme = pattern.partition("://")[0]
    with explained(pattern):
        for name, info in fs.glob(place, detail=True).items():
            if info["type"] == "directory":
                yield f"{scheme}://{name}/", None
            else:
                yield f"{scheme}://{name}", _object_state(info)


def upload(file: Path, address: str) -> None:
    """Put a file where the address says, whole or not at all."""
    fs, place = file_system(address)
    try:
        with explained(address):
            fs.put_file(str(file), place)
    except FileNotFoundError as error:
        raise AddressError(f"{address}: the bucket is gone") from error


def delete_below(address: str) -> None:
    """Delete every object below an address."""
    fs, place = file_system(address)
    with explained(address), contextlib.suppress(FileNotFoundError):
        fs.rm(place, recursive=True)


def _s3_objects(fs: Any, address: str) -> Iterator[tuple[str, str | None]]:
    """List page by page: fsspec's own listing would hold the whole bucket in memory."""
    bucket, _, prefix = address.partition("://")[2].partition("/")
    prefix = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
    token: dict[str, str] = {}
    while True:
        page = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=_PAGE_OBJECTS, **token)
        for item in page.get("Contents", ()):
            if not item["Key"].endswith("/"):
                yield f"{bucket}/{item['Key']}", _object_state(item)
        if not page.get("IsTruncated"):
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}


def _listed(found: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str | None]]:
    for name, info in found.items():
        yield name, _object_state(info)


def _object_state(info: dict[str, Any]) -> str:
    size = info.get("size", info.get("Size"))
    tag = info.get("ETag") or info.get("etag") or info.get("LastModified") or info.get("mtime") or ""
    return f"{size} {tag}"
