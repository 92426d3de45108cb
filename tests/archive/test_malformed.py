"""Five hundred malformed recordings through a scan: a row each, no crash, no hang, bounded memory."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.audio.malformed import malformed_files
from voiceguard.archive.progress import Progress
from voiceguard.archive.scan import ScanSettings, scan
from voiceguard.audio import decode
from voiceguard.errors import AudioError


@pytest.mark.slow
def test_every_malformed_file_has_its_row(tmp_path: Path) -> None:
    folder = tmp_path / "calls"
    folder.mkdir()
    unreadable = {}
    for index, (name, data) in enumerate(malformed_files(seed=11, count=500)):
        path = folder / f"{index:03}-{name}"
        path.write_bytes(data)
        try:
            decode(path)
        except AudioError as error:
            unreadable[str(path)] = error.code
    output = tmp_path / "out.parquet"
    # What would need more memory than this, or more time, would have another error than decoding gave it.
    settings = ScanSettings(jobs=2, time_limit_s=120, memory_limit_bytes=1 << 30)
    scan([f"{folder}/*"], output, settings, Progress())
    rows = pq.read_table(output).to_pylist()
    assert {row["path"] for row in rows} == {str(path) for path in folder.iterdir()}
    errors = {row["path"]: row["error"].split(":")[0] for row in rows if row["error"]}
    assert errors == unreadable
    assert len(errors) > 50
    assert all(re.fullmatch(r"[a-z_]+: .+", row["error"], re.DOTALL) for row in rows if row["error"])
    assert all((row["verdict"] is None) == bool(row["error"]) for row in rows)
