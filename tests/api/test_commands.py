from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from voiceguard.api.commands import db_app, key_app
from voiceguard.store import keys, migrate
from voiceguard.store.engine import connect

runner = CliRunner()


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    monkeypatch.setenv("VOICEGUARD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    engine = connect(f"sqlite:///{tmp_path / 'voiceguard.db'}")
    yield engine
    engine.dispose()


def test_a_key_needs_no_set_up_and_is_all_that_stdout_says(database: sa.Engine) -> None:
    result = runner.invoke(
        key_app, ["create", "recorder", "--carrier", "First Telecom", "--expires-days", "30"]
    )
    assert result.exit_code == 0, result.output
    secret = result.stdout.strip()
    assert keys.well_formed(secret)
    (key,) = keys.all_keys(database)
    assert (key.name, key.carrier_name, key.scopes) == (
        "recorder",
        "First Telecom",
        {"calls:read", "calls:write"},
    )
    assert key.expires_at is not None
    assert (key.expires_at - key.created_at).days in (29, 30)


def test_keys_are_listed_without_their_secrets_and_revoked(database: sa.Engine) -> None:
    secret = runner.invoke(key_app, ["create", "recorder", "--scope", "calls:read"]).stdout.strip()
    listed = runner.invoke(key_app, ["list"]).stdout
    assert secret[:11] in listed
    assert secret not in listed
    assert "usable" in listed
    assert runner.invoke(key_app, ["revoke", secret[:11]]).exit_code == 0
    assert "revoked" in runner.invoke(key_app, ["list"]).stdout
    assert runner.invoke(key_app, ["revoke", secret[:11]]).exit_code == 2


def test_wrong_use_is_exit_code_2(database: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runner.invoke(key_app, ["create", "recorder", "--scope", "moon:walk"]).exit_code == 2
    monkeypatch.setenv("VOICEGUARD_RATE_LIMIT", "often")
    result = runner.invoke(key_app, ["list"])
    assert result.exit_code == 2
    assert "6000/minute" in result.output


def test_db_upgrade_makes_a_database_that_fits(database: sa.Engine) -> None:
    assert runner.invoke(db_app, ["upgrade"]).exit_code == 0
    migrate.check(database)


def test_the_api_loads_neither_torch_nor_librosa() -> None:
    code = (
        "import sys, voiceguard.api.commands; "
        "print({'torch', 'torchaudio', 'librosa', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
