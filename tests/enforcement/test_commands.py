"""``voiceguard campaign`` on a database with calls in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from tests.enforcement.conftest import Desk
from voiceguard.audio import RATE_HZ
from voiceguard.enforcement.commands import campaign_app

WIDE = {"COLUMNS": "250"}


@pytest.fixture
def run(engine: sa.Engine, database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VOICEGUARD_DATABASE_URL", database_url)
    runner = CliRunner()

    def _run(*arguments: str) -> Result:
        return runner.invoke(campaign_app, list(arguments), env=WIDE)

    return _run


def document(result: Result) -> dict:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_list_and_show(run, desk: Desk, voices: list[np.ndarray]) -> None:
    _, joined = desk.post(voices[0], score=7.0)
    call, _ = desk.post(voices[0] * np.float32(0.5), score=6.0)
    single, _ = desk.post(voices[1])
    listed = document(run("list", "--json"))
    assert [one["id"] for one in listed["data"]] == [joined.campaign_id]
    assert len(document(run("list", "--json", "--min-calls", "1"))["data"]) == 2
    first = document(run("list", "--json", "--min-calls", "1", "--limit", "1"))
    rest = document(run("list", "--json", "--min-calls", "1", "--cursor", first["next_cursor"]))
    assert [one["id"] for one in rest["data"]] == [joined.campaign_id]
    assert joined.campaign_id in run("list", "--verdict", "synthetic").stdout
    assert joined.campaign_id not in run("list", "--verdict", "human").stdout
    shown = document(run("show", str(joined.campaign_id), "--json"))
    assert (shown["calls"], shown["prerecorded"], shown["verdict"]) == (2, True, "synthetic")
    assert len(shown["copies"]) == 2
    assert call.id in [one["id"] for one in shown["calls_shown"]]
    text = run("show", str(joined.campaign_id)).stdout
    assert "prerecorded" in text
    assert call.id in text
    assert single.id not in text


def test_merge_split_and_their_history(run, desk: Desk, voices: list[np.ndarray]) -> None:
    _, first = desk.post(voices[0])
    call, second = desk.post(voices[1])
    merged = run(
        "merge", str(first.campaign_id), str(second.campaign_id), "--reason", "one text", "--by", "Ann"
    )
    assert merged.stdout.strip() == first.campaign_id
    assert f"was merged into {first.campaign_id}" in run("show", str(second.campaign_id)).stdout
    split = run("split", str(first.campaign_id), call.id, "--reason", "two texts", "--by", "Ann")
    assert split.stdout.startswith("campaign_")
    history = document(run("show", str(first.campaign_id), "--json"))["history"]
    assert [(one["action"], one["actor"], one["reason"]) for one in history] == [
        ("merge", "Ann", "one text"),
        ("split", "Ann", "two texts"),
    ]


def test_announce_list_and_forget(run, desk: Desk, voices: list[np.ndarray], tmp_path: Path) -> None:
    file = tmp_path / "not in service.wav"
    soundfile.write(file, voices[0], RATE_HZ)
    desk.post(voices[0])
    taught = run("announce", str(file), "--by", "Ann")
    assert taught.stdout == "Taught not in service.wav; 1 stored recordings are it.\n"
    assert "not in service.wav" in run("announce").stdout
    assert run("announce", "--forget", "not in service.wav").exit_code == 0
    assert "not in service.wav" not in run("announce").stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("show", "campaign_0"), 1),
        (("merge", "campaign_0", "campaign_1", "--reason", "x"), 1),
        (("split", "campaign_0", "call_0", "--reason", "x"), 1),
        (("list", "--cursor", "nonsense"), 2),
        (("announce", "no such file.wav"), 2),
        (("announce", "--forget", "nothing"), 1),
    ],
)
def test_what_can_not_be_done_says_so(run, arguments: tuple[str, ...], code: int) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert result.output.startswith("voiceguard: ")
