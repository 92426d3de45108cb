from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from voiceguard.archive.rows import COLUMNS, SCHEMA_VERSION, Row, Scored
from voiceguard.archive.write import LAYOUTS, Layout, write_results
from voiceguard.screening import Window

ROWS = [
    Row(
        path='calls/ä, "b"\n.wav',
        channel=1,
        sha256="0f" * 32,
        duration_s=12.5,
        speech_s=7.25,
        verdict="synthetic",
        score=5.0000000000000001e-1,
        probability=0.1 + 0.2,
        threshold=4.0,
        model="m",
        codec="g711_ulaw",
        rate_hz=8000,
        windows=(Window(0.0, 4.1, 1 / 3), Window(4.1, 8.0, -2.0)),
    ),
    Row(path="b.wav", channel=0, verdict="inconclusive", reason="no_speech", windows=()),
    Row(path="c.wav", error="empty_recording: It holds no bytes."),
]


def write_rows(rows: Iterable[Row], output: Path) -> None:
    write_results((Scored(row.verdict, (row,)) for row in rows), output, LAYOUTS[output.suffix])


def as_plain(row: Row) -> dict:
    plain = {name: getattr(row, name) for name in COLUMNS}
    if row.windows is not None:
        plain["windows"] = [{"start_s": w.start_s, "end_s": w.end_s, "score": w.score} for w in row.windows]
    return plain


EXPECTED = [as_plain(row) for row in ROWS]


def test_parquet_reads_back(tmp_path: Path):
    write_rows(ROWS, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.to_pylist() == EXPECTED
    assert table.schema.metadata[b"voiceguard.schema_version"] == str(SCHEMA_VERSION).encode()


def test_jsonl_reads_back(tmp_path: Path):
    write_rows(ROWS, tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == EXPECTED


def test_csv_reads_back(tmp_path: Path):
    write_rows(ROWS, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    for row, expected in zip(found, EXPECTED, strict=True):
        assert list(row) == list(COLUMNS)
        assert row["path"] == expected["path"]
        for name in ("duration_s", "score", "probability"):
            assert (float(row[name]) if row[name] else None) == expected[name]
        assert (json.loads(row["windows"]) if row["windows"] else None) == expected["windows"]


@pytest.mark.parametrize("suffix", LAYOUTS)
def test_same_rows_same_bytes(tmp_path: Path, suffix: str):
    for name in ("one", "two"):
        write_rows(ROWS * 20, tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", LAYOUTS)
def test_output_of_no_rows_is_readable(tmp_path: Path, suffix: str):
    write_rows([], tmp_path / f"out{suffix}")
    if suffix == ".parquet":
        assert pq.read_table(tmp_path / "out.parquet").column_names == list(COLUMNS)


@pytest.mark.parametrize("suffix", LAYOUTS)
def test_interrupted_writing_leaves_what_was_there(tmp_path: Path, suffix: str):
    def broken() -> Iterator[Row]:
        yield from ROWS
        raise KeyboardInterrupt

    output = tmp_path / f"out{suffix}"
    output.write_bytes(b"earlier")
    with pytest.raises(KeyboardInterrupt):
        write_rows(broken(), output)
    assert output.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [output]


def test_more_rows_than_a_group(tmp_path: Path):
    rows = [Row(path=f"{index:06}.wav", channel=0, score=index / 7, windows=()) for index in range(10_001)]
    write_rows(iter(rows), tmp_path / "out.parquet")
    file = pq.ParquetFile(tmp_path / "out.parquet")
    assert file.num_row_groups == 2
    assert file.read(columns=["path"]).column("path").to_pylist() == [row.path for row in rows]


def test_podonos_has_a_line_for_each_recording(tmp_path: Path):
    call = Scored("synthetic", (ROWS[1], ROWS[0]), 1, seconds=0.0125)
    results = [call, Scored("inconclusive", (ROWS[1],)), Scored(None, (ROWS[2],))]
    write_results(results, tmp_path / "out.csv", Layout.PODONOS)
    with (tmp_path / "out.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines == [
        ["filename", "label", "latency_ms", "audio_duration_sec"],
        ["b.wav", "fake", "12.5", ""],
        ["b.wav", "NOT_APPLICABLE", "", ""],
        ["c.wav", "error", "", ""],
    ]
