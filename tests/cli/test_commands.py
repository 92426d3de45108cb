from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from voiceguard import __version__
from voiceguard.cli import app


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def clip(audio_samples: Path) -> Path:
    return sorted(audio_samples.glob("human-*-ulaw.wav"))[0]


def test_version():
    assert run("--version").stdout == f"voiceguard {__version__}\n"


def test_help_lists_every_command():
    listed = run("--help").stdout
    for name in ("screen", "scan", "serve", "key", "db"):
        assert f"\n  {name} " in listed


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["serve", "--help"], "--port"),
        (["key", "--help"], "revoke"),
        (["key", "create", "--help"], "--scope"),
        (["db", "--help"], "upgrade"),
    ],
)
def test_commands_from_elsewhere_answer(words: list[str], expected: str):
    result = run(*words)
    assert result.exit_code == 0
    assert expected in result.stdout


def test_screen_says_what_it_found(clip: Path):
    result = run("screen", clip)
    assert result.exit_code == 0
    for words in (clip.name, "Score", "Speech", "g711_ulaw", "Pitch, median", "flag"):
        assert words in result.stdout
    assert "illegal" not in result.stdout


def test_screen_prints_json(clip: Path):
    found = json.loads(run("screen", clip, "--json").stdout)
    assert found["file"] == str(clip)
    assert found["codec"] == "g711_ulaw"
    assert found["verdict"] == found["channels"][found["deciding_channel"]]["verdict"]
    (channel,) = found["channels"]
    assert channel["windows"][0].keys() == {"start_s", "end_s", "score"}
    assert 50 < channel["cues"]["pitch_median_hz"] < 500
    assert channel["quality"]["speech_s"] > 2


def test_screen_judges_the_channel_that_is_named(audio_samples: Path):
    (call,) = audio_samples.glob("dual-channel-*.wav")
    for channel in (0, 1):
        found = json.loads(run("screen", call, "--json", "--remote-channel", str(channel)).stdout)
        assert found["deciding_channel"] == channel
        assert found["score"] == found["channels"][channel]["score"]


def test_screen_saves_a_picture(clip: Path, tmp_path: Path):
    assert run("screen", clip, "--picture", tmp_path / "a.png").exit_code == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_screen_without_speech_says_so(audio_samples: Path):
    result = run("screen", audio_samples / "ringing-ulaw.wav")
    assert result.exit_code == 0
    assert "there is no speech" in result.stdout


def test_screen_reads_standard_input(clip: Path):
    command = [sys.executable, "-m", "voiceguard", "screen", "-", "--json"]
    found = json.loads(subprocess.run(command, input=clip.read_bytes(), capture_output=True).stdout)
    assert found["sha256"] == json.loads(run("screen", clip, "--json").stdout)["sha256"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["screen", "gone.wav"], 2, "no such file: gone.wav"),
        (["screen", "."], 2, "voiceguard scan ."),
        (["screen", "notes.wav"], 1, "unsupported_format"),
        (["screen", "notes.wav", "--picture", "gone/a.png"], 2, "gone does not exist"),
        (["screen", "notes.wav", "--picture", "a.jpg"], 2, "ends in .png"),
        (["screen", "notes.wav", "--model", "."], 1, "model.json"),
        (["screen"], 2, "FILE"),
        (["scan"], 2, "PATH"),
        (["scan", "gone"], 2, "no such file or folder: gone"),
        (["scan", "gone*.wav"], 2, "nothing matches"),
        (["scan", "@gone"], 2, "list of paths"),
        (["scan", ".", "-o", "a.txt"], 2, ".parquet"),
        (["scan", ".", "-o", "gone/a.csv"], 2, "does not exist"),
        (["scan", ".", "--jobs", "0"], 2, "jobs"),
        (["scan", ".", "--model", "."], 1, "model.json"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_errors_are_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, said: str
):
    (tmp_path / "notes.wav").write_text("no audio")
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert sorted(tmp_path.iterdir()) == [tmp_path / "notes.wav"]


def test_scan_of_readable_files_succeeds(clip: Path):
    result = run("scan", clip)
    assert result.exit_code == 0
    assert "1 recordings" in result.stdout


def test_scan_knows_its_engine(clip: Path):
    assert run("scan", clip, "--engine", "local").exit_code == 0
    refused = run("scan", clip, "--engine", "spark")
    assert refused.exit_code == 2
    assert "local" in refused.stderr


def test_engine_that_is_not_installed_is_said(clip: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "voiceguard.archive.ray_engine", raising=False)
    refused = run("scan", clip, "--engine", "ray")
    assert refused.exit_code == 2
    assert "voiceguard-screening[ray]" in refused.stderr


def test_scan_with_a_broken_file_prints_its_reason_and_fails(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Short names: a table breaks long ones.
    monkeypatch.chdir(tmp_path)
    Path("whole.wav").write_bytes(clip.read_bytes())
    Path("broken.wav").write_bytes(clip.read_bytes()[:20])
    result = run("scan", "whole.wav", "broken.wav")
    assert result.exit_code == 1
    assert "damaged_recording: " in result.stdout
    assert "whole.wav" in result.stdout


def test_scan_writes_where_it_is_told(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    result = run("scan", clip, "-o", "rows.jsonl", "--jobs", "1")
    assert result.exit_code == 0
    assert "rows.jsonl" in result.stdout
    assert json.loads(Path("rows.jsonl").read_text())["path"] == str(clip)


def test_scan_reads_paths_from_standard_input(clip: Path, tmp_path: Path):
    output = tmp_path / "rows.jsonl"
    command = [sys.executable, "-m", "voiceguard", "scan", "-", "-o", output]
    found = subprocess.run(command, input=f"{clip}\n".encode(), capture_output=True)
    assert found.returncode == 0
    assert json.loads(output.read_text())["path"] == str(clip)


def test_scan_gives_back_the_signal_handler(clip: Path):
    before = signal.getsignal(signal.SIGTERM)
    run("scan", clip)
    assert signal.getsignal(signal.SIGTERM) is before


def test_file_name_can_not_steer_the_terminal(clip: Path, tmp_path: Path):
    odd = tmp_path / "a\x1b[31m[bold]b\n.wav"
    odd.write_bytes(clip.read_bytes())
    for words in (["scan", odd], ["screen", odd]):
        result = run(*words)
        assert result.exit_code == 0
        assert "\x1b" not in result.stdout
        assert "[bold]" in result.stdout.replace("\n", "")


def test_closed_pipe_ends_quietly(audio_samples: Path):
    reader, writer = os.pipe()
    os.close(reader)
    command = [
        sys.executable,
        "-m",
        "voiceguard",
        "screen",
        str(audio_samples / "ringing-ulaw.wav"),
        "--json",
    ]
    found = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert found.returncode != 0
    assert b"Traceback" not in found.stderr
