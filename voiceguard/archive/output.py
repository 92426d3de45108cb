"""Where a scan's rows go, and where it keeps what it has done so far.

Beside a file on this machine lies the journal itself. A store can't hold one, since an object is written whole
or not at all: beside an address lie its parts, each the results of half a minute. Whatever machine goes on with
the scan reads them all.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from voiceguard.archive import storage
from voiceguard.archive.journal import Journal, KeptRow, delete_journal, journal_files
from voiceguard.archive.rows import Scored
from voiceguard.archive.write import LAYOUTS, Layout, write_results

_SAVE_EVERY_S = 30.0
_ROWS_PER_PART = 20_000


class OutputError(Exception):
    """The scan's output can't be written where it is asked for."""


class Output(Protocol):
    """Where rows go."""

    own_files: list[str]
    """What the scan itself writes, and must not score."""

    def open_journal(self) -> Journal:
        """Open the journal, with what an earlier scan did."""

    def saving(self) -> contextlib.AbstractContextManager[None]:
        """Save what is done when the block ends, however it does."""

    def save_sometimes(self) -> None:
        """Save what is done if the last time was a while ago."""

    def write(self, results: Iterable[Scored]) -> None:
        """Write all rows, whole or not at all."""

    def forget(self) -> None:
        """Delete what was kept to go on from: the output is complete."""


def output_at(where: Path | str | None, layout: Layout | None = None) -> Output:
    """Return the output at a path or an address.

    Raises
    ------
    OutputError
        A scan could not end with this output.
    """
    if where is None:
        return NoOutput()
    name = str(where).rstrip("/")
    suffix = os.path.splitext(name)[1].lower()
    if layout is None:
        if suffix not in LAYOUTS:
            raise OutputError(
                f"expected an output that ends in {', '.join(LAYOUTS)}, but got {os.path.basename(name)}"
            )
        layout = LAYOUTS[suffix]
    elif layout not in (LAYOUTS.get(suffix), Layout.PODONOS) or (
        layout is Layout.PODONOS and suffix != ".csv"
    ):
        wanted = ".csv" if layout is Layout.PODONOS else f".{layout}"
        raise OutputError(f"expected an output that ends in {wanted}, but got {os.path.basename(name)}")
    return RemoteOutput(name, layout) if storage.is_address(name) else LocalOutput(Path(where), layout)


class NoOutput:
    """Rows that nobody keeps."""

    def __init__(self) -> None:
        self.own_files: list[str] = []

    def open_journal(self) -> Journal:
        """Open a journal that vanishes with the scan."""
        return Journal(None)

    def saving(self) -> contextlib.AbstractContextManager[None]:
        """Save nothing."""
        return contextlib.nullcontext()

    def save_sometimes(self) -> None:
        """Save nothing."""

    def write(self, results: Iterable[Scored]) -> None:
        """Let the results pass, so that they are counted."""
        for _ in results:
            pass

    def forget(self) -> None:
        """Do nothing."""


class LocalOutput(NoOutput):
    """A file of this machine, and the journal beside it."""

    def __init__(self, path: Path, layout: Layout) -> None:
        super().__init__()
        if path.is_dir():
            raise OutputError(f"expected a file for the output, but {path} is a folder")
        if not path.parent.is_dir():
            raise OutputError(f"the output's folder {path.parent} does not exist")
        if not os.access(path.parent, os.W_OK):
            raise OutputError(f"the output's folder {path.parent} can't be written")
        self._path, self._layout = path, layout
        self._journal_path = path.with_name(f"{path.name}.partial")
        names = (path, *journal_files(self._journal_path))
        self.own_files = [os.path.abspath(name) for name in names]

    def open_journal(self) -> Journal:
        """Open the journal beside the output: SQLite keeps it whole."""
        return Journal(self._journal_path)

    def write(self, results: Iterable[Scored]) -> None:
        """Replace the file."""
        try:
            write_results(results, self._path, self._layout)
        except OSError as error:
            raise OutputError(f"can't write {self._path}: {error.strerror or error}") from error

    def forget(self) -> None:
        """Delete the journal."""
        delete_journal(self._journal_path)


class RemoteOutput:
    """An object of a store, and the parts of the journal beside it."""

    def __init__(self, address: str, layout: Layout) -> None:
        storage.file_system(address)  # raises for what can't be an output, before the work
        self._address, self._layout = address, layout
        self._parts = f"{address}.partial"
        self._run = secrets.token_hex(4)
        self._journal: Journal | None = None
        self._saved_at = time.monotonic()
        self._saved_number = 0
        self._part_count = 0
        self.own_files = [address]

    def open_journal(self) -> Journal:
        """Open a journal on this machine that holds what the parts do."""
        self._journal = Journal(None)
        try:
            for part in sorted(path for path, _ in storage.objects_below(self._parts)):
                self._saved_number = self._journal.keep(_read_part(part))
        except FileNotFoundError as error:  # an empty prefix is none: the bucket is missing
            self._journal.close()
            raise OutputError(f"nothing takes {self._address}: make the bucket first") from error
        return self._journal

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Save at the end, also of a scan that is stopped."""
        try:
            yield
        finally:
            self._save()

    def save_sometimes(self) -> None:
        """Save every half minute."""
        if time.monotonic() - self._saved_at >= _SAVE_EVERY_S:
            self._save()

    def _save(self) -> None:
        assert self._journal is not None
        while True:
            rows, number = self._journal.kept_after(self._saved_number, _ROWS_PER_PART)
            if not rows:
                break
            # The run's name keeps two scans of one output from writing one part.
            _write_part(rows, f"{self._parts}/{self._run}-{self._part_count:06}.parquet")
            self._saved_number = number
            self._part_count += 1
        self._saved_at = time.monotonic()

    def write(self, results: Iterable[Scored]) -> None:
        """Write a temporary file, then put it where it belongs."""
        with tempfile.TemporaryDirectory(prefix="voiceguard-") as folder:
            file = Path(folder) / "rows"
            try:
                write_results(results, file, self._layout)
            except OSError as error:
                raise OutputError(f"can't write {file}: {error.strerror or error}") from error
            storage.upload(file, self._address)

    def forget(self) -> None:
        """Delete the parts."""
        storage.delete_below(self._parts)


_PART_COLUMNS = ("path", "state", "made_by", "content", "result", "fingerprint")


def _write_part(rows: list[KeptRow], address: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = (pa.binary(), pa.string(), pa.string(), pa.string(), pa.string(), pa.binary())
    columns = [pa.array(values, kind) for values, kind in zip(zip(*rows, strict=True), types, strict=True)]
    with tempfile.TemporaryDirectory(prefix="voiceguard-") as folder:
        file = Path(folder) / "part.parquet"
        pq.write_table(pa.table(columns, names=_PART_COLUMNS), file, compression="zstd")
        storage.upload(file, address)


def _read_part(address: str) -> list[KeptRow]:
    import pyarrow.parquet as pq

    with storage.open_binary(address) as file:
        table = pq.read_table(file)
    columns = [table.column(name).to_pylist() for name in _PART_COLUMNS]
    return list(zip(*columns, strict=True))
