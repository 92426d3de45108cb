"""Results into a file: Parquet, CSV or JSON lines, whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import enum
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voiceguard.archive.rows import COLUMNS, SCHEMA_VERSION, Row, Scored

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_PER_GROUP = 10_000


class Layout(enum.StrEnum):
    """What an output looks like."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"
    PODONOS = "podonos"
    """CSV as the Podonos Deepfake Audio Detection Benchmark takes it."""


LAYOUTS = {".parquet": Layout.PARQUET, ".csv": Layout.CSV, ".jsonl": Layout.JSONL}
"""By the output's extension."""


def write_results(results: Iterable[Scored], output: Path, layout: Layout) -> None:
    """Write the rows of results to ``output``.

    The file appears under its name only when it is complete and on disk; until then, what was there stays.
    The same results give the same bytes.

    Raises
    ------
    OSError
        The folder can't be written or the disk is full.
    """
    unfinished = output.with_name(f".{output.name}.unfinished")
    try:
        _WRITERS[layout](results, unfinished)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
    _sync_folder(output.parent)


def schema() -> pa.Schema:
    """Build the Parquet schema, with its version in the metadata (``voiceguard.schema_version``)."""
    import pyarrow as pa

    window = pa.struct([("start_s", pa.float64()), ("end_s", pa.float64()), ("score", pa.float64())])
    types = {
        "channel": pa.int32(),
        "duration_s": pa.float64(),
        "speech_s": pa.float64(),
        "score": pa.float64(),
        "probability": pa.float64(),
        "threshold": pa.float64(),
        "rate_hz": pa.int32(),
        "windows": pa.list_(window),
    }
    return pa.schema(
        [pa.field(name, types.get(name, pa.string()), nullable=name != "path") for name in COLUMNS],
        metadata={"voiceguard.schema_version": str(SCHEMA_VERSION)},
    )


def _write_parquet(results: Iterable[Scored], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, schema(), compression="zstd") as writer:
        # One group after the other, so that memory does not grow with the archive.
        for group in _groups(_rows(results)):
            writer.write_table(pa.Table.from_pylist([_plain(row) for row in group], schema=writer.schema))


def _write_csv(results: Iterable[Scored], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in _rows(results):
            plain = _plain(row)
            if row.windows is not None:
                plain["windows"] = json.dumps(plain["windows"])
            writer.writerow(plain.values())


def _write_jsonl(results: Iterable[Scored], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in _rows(results):
            file.write(json.dumps(_plain(row), ensure_ascii=False, allow_nan=False) + "\n")


_PODONOS_LABELS = {"synthetic": "fake", "human": "real", "inconclusive": "NOT_APPLICABLE", None: "error"}


def _write_podonos(results: Iterable[Scored], path: Path) -> None:
    """Write the submission of the Podonos Deepfake Audio Detection Benchmark: a line for each recording."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("filename", "label", "latency_ms", "audio_duration_sec"))
        for result in results:
            row = result.rows[0]
            writer.writerow(
                (
                    row.path.rsplit("/", 1)[-1],
                    _PODONOS_LABELS[result.verdict],
                    "" if result.seconds is None else f"{1000 * result.seconds:.1f}",
                    "" if row.duration_s is None else f"{row.duration_s:.3f}",
                )
            )


def _rows(results: Iterable[Scored]) -> Iterator[Row]:
    for result in results:
        yield from result.rows


_WRITERS: dict[Layout, Callable[[Iterable[Scored], Path], None]] = {
    Layout.PARQUET: _write_parquet,
    Layout.CSV: _write_csv,
    Layout.JSONL: _write_jsonl,
    Layout.PODONOS: _write_podonos,
}


def _plain(row: Row) -> dict[str, Any]:
    plain = {name: getattr(row, name) for name in COLUMNS}
    if row.windows is not None:
        plain["windows"] = [
            {"start_s": window.start_s, "end_s": window.end_s, "score": window.score}
            for window in row.windows
        ]
    return plain


def _groups(rows: Iterable[Row]) -> Iterable[list[Row]]:
    iterator = iter(rows)
    while group := list(itertools.islice(iterator, _ROWS_PER_GROUP)):
        yield group


def _sync_folder(folder: Path) -> None:
    # The new name must survive a power cut too. Some network file systems refuse this, having no need.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
