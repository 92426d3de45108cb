from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from voiceguard.settings import Settings

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in os.environ:
        if name.startswith("VOICEGUARD_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_every_setting_is_documented_as_the_code_describes_it() -> None:
    rows = dict(re.findall(r"^\| `(VOICEGUARD_\w+)` \| [^|]* \| (.*) \|$", DOCS.read_text(), re.MULTILINE))
    described = {
        f"VOICEGUARD_{name.upper()}": field.description for name, field in Settings.model_fields.items()
    }
    assert rows == described


def test_without_settings_everything_lies_in_one_folder(tmp_path: Path) -> None:
    settings = Settings()
    assert settings.data_dir == tmp_path / "voiceguard-data"
    assert settings.database_url == f"sqlite:///{tmp_path}/voiceguard-data/voiceguard.db"
    assert settings.recordings_url == f"{tmp_path}/voiceguard-data/recordings"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICEGUARD_DATABASE_URL", "postgresql://db/voiceguard")
    monkeypatch.setenv("VOICEGUARD_RECORDINGS_URL", "s3://bucket/recordings")
    monkeypatch.setenv("VOICEGUARD_RETENTION_DAYS", '{"human": 90}')
    settings = Settings()
    assert settings.database_url == "postgresql://db/voiceguard"
    assert settings.recordings_url == "s3://bucket/recordings"
    assert settings.retention_days == {"human": 90}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("RATE_LIMIT", "often", "6000/minute"),
        ("RETENTION_DAYS", '{"maybe": 1}', "by verdict"),
        ("RETENTION_DAYS", '{"human": -1}', "by verdict"),
        ("RECORDINGS_URL", "gopher://x", "s3://bucket/prefix"),
        ("SCREENING_WORKERS", "0", "greater than 0"),
        ("LOG_LEVEL", "loud", "pattern"),
    ],
)
def test_a_wrong_setting_says_what_was_expected(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(f"VOICEGUARD_{name}", value)
    with pytest.raises(ValidationError, match=expected):
        Settings()
