from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.archive.test_packed import pack
from voiceguard.archive import worker
from voiceguard.archive.rows import COLUMNS
from voiceguard.cli import app

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def page() -> str:
    return (DOCS / "scan-an-archive.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_is_documented(page: str, column: str):
    assert f"`{column}`" in page.split("## The rows")[1]


def test_every_error_code_is_documented(page: str):
    codes = re.findall(r"``(\w+)``", worker.__doc__ or "")
    assert len(codes) == 8
    for code in codes:
        assert f"`{code}`" in page


def blocks(page: str) -> list[str]:
    """The indented blocks of a page, as they would be typed."""
    found: list[str] = []
    inside = False
    for line in page.splitlines():
        if line.startswith("    "):
            found = [*found[:-1], f"{found[-1]}\n{line[4:]}"] if inside else [*found, line[4:]]
        inside = line.startswith("    ")
    return found


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory, audio_samples: Path) -> Path:
    """A folder as the pages have it: recordings in calls/, and what a scan of them wrote."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "calls").mkdir()
    for name in ("human-asterisk-en-ulaw.wav", "synthetic-flite-slt-pcm.wav"):
        shutil.copy(audio_samples / name, folder / "calls")
        shutil.copy(audio_samples / name, folder / "calls" / f"again-{name}")
    result = run_scan(folder, "scan calls/ -o calls.parquet")
    assert result == 0
    return folder


def run_scan(folder: Path, words: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("VOICEGUARD_DATA_DIR", str(folder / "data"))
        patch.delenv("VOICEGUARD_DATABASE_URL", raising=False)
        patch.delenv("VOICEGUARD_RECORDINGS_URL", raising=False)
        return CliRunner().invoke(app, [*shlex.split(words), "--jobs", "1"]).exit_code


def test_duckdb_reads_the_rows(page: str, scanned: Path, monkeypatch: pytest.MonkeyPatch):
    import duckdb

    monkeypatch.chdir(scanned)
    lines = [line for block in blocks(page) for line in block.splitlines() if line.startswith("duckdb -c ")]
    queries = [shlex.split(line)[2] for line in lines]
    queries += [block for block in blocks(page) if block.startswith("SELECT")]
    assert len(queries) == 3
    answers = [duckdb.sql(query).fetchall() for query in queries]
    assert dict(answers[0]) == {"human": 2, "synthetic": 2}
    assert answers[1][0][0].endswith("synthetic-flite-slt-pcm.wav")
    assert [copies for _, copies, _ in answers[2]] == [2, 2]


def test_pandas_reads_the_rows(page: str, scanned: Path):
    (line,) = (line for block in blocks(page) for line in block.splitlines() if line.startswith("python -c "))
    command = [sys.executable, *shlex.split(line)[1:]]
    printed = subprocess.run(command, cwd=scanned, check=True, capture_output=True, text=True).stdout
    assert re.search(r"^synthetic +2$", printed, re.MULTILINE)


@pytest.mark.parametrize("name", ["tar-and-zip", "import", "podonos"])
def test_commands_of_the_page_work(name: str, scanned: Path, tmp_path: Path):
    shutil.copytree(scanned / "calls", tmp_path / "calls")
    shutil.copytree(scanned / "calls", tmp_path / "clips")
    files = {path.name: path.read_bytes() for path in (scanned / "calls").iterdir()}
    for archive in ("calls.tar.gz", "more-calls.zip"):
        pack(tmp_path / archive, files)
    text = (DOCS / "archive" / f"{name}.md").read_text(encoding="utf-8")
    commands = [
        line for block in blocks(text) for line in block.splitlines() if line.startswith("voiceguard ")
    ]
    assert commands
    for command in commands:
        assert run_scan(tmp_path, command.removeprefix("voiceguard ")) == 0
        (output,) = re.findall(r"-o (\S+)", command)
        assert (tmp_path / output).stat().st_size > 100


def test_options_of_the_pages_exist():
    helped = CliRunner().invoke(app, ["scan", "--help"], env={"COLUMNS": "200"}).stdout
    for path in (DOCS / "archive").glob("*.md"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if "voiceguard scan" in line:
                for option in re.findall(r"--[a-z-]+", line.split("voiceguard scan")[1]):
                    assert option in helped, f"{path.name}: {option}"
