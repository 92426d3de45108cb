"""Setting up sign-in by OpenID Connect: the settings, the commands and what docs/review/oidc.md says of them."""

from __future__ import annotations

import datetime as dt
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import sqlalchemy as sa
from pydantic import ValidationError
from typer.testing import CliRunner

from voiceguard.review.commands import user_app
from voiceguard.review.openid import CALLBACK, open_service
from voiceguard.settings import Settings
from voiceguard.store import identities, migrate, people
from voiceguard.store.engine import connect
from voiceguard.store.identities import Identity, Refusal
from voiceguard.store.people import Role

PAGE = (Path(__file__).parents[2] / "docs" / "review" / "oidc.md").read_text()
ISSUER = "https://id.example.org/realms/staff"
GOOD = {
    "oidc_issuer": ISSUER,
    "oidc_client_id": "voiceguard",
    "oidc_client_secret": "s3cret-of-the-client",
    "oidc_roles": {"vg-admins": "admin"},
}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("VOICEGUARD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("VOICEGUARD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "300")


def exported(text: str) -> dict[str, str]:
    lines = [shlex.split(line, comments=True) for line in text.splitlines() if line.startswith("export ")]
    return dict(line[1].split("=", 1) for line in lines)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"oidc_issuer": None}, "oidc_issuer with oidc_client_id"),
        ({"oidc_client_id": None}, "oidc_client_id with oidc_issuer"),
        ({"oidc_client_secret": None}, "oidc_client_secret or oidc_client_secret_file"),
        ({"oidc_client_secret_file": "secret"}, "oidc_client_secret or oidc_client_secret_file"),
        ({"oidc_roles": {}}, "nobody has a role"),
        ({"oidc_roles": {"vg-admins": "owner"}}, "'auditor', 'analyst', 'supervisor' or 'admin'"),
        ({"oidc_issuer": "http://id.example.org"}, "https://"),
        ({"oidc_issuer": "id.example.org"}, "an issuer such as"),
        ({"oidc_issuer": ISSUER + "?a=b"}, "an issuer such as"),
        ({"oidc_scopes": "profile email"}, "pattern"),
        (dict.fromkeys(GOOD, None) | {"oidc_roles": {}, "password_sign_in": False}, "nobody could sign in"),
    ],
)
def test_settings_that_can_not_work_say_so_without_the_secret(
    changes: dict[str, object], expected: str
) -> None:
    Settings(**GOOD)
    with pytest.raises(ValidationError, match=re.escape(expected)) as caught:
        Settings(**{**GOOD, **changes})
    assert "s3cret" not in str(caught.value)


def test_roles_of_the_settings_are_those_of_people() -> None:
    annotation = Settings.model_fields["oidc_roles"].annotation
    assert set(get_args(get_args(annotation)[1])) == set(Role)


def test_the_settings_of_the_page_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written = PAGE.split("<!-- settings -->")[1].split("```")[1]
    secret = tmp_path / "oidc-secret"
    secret.write_text("s3cret")
    for name, value in exported(written).items():
        monkeypatch.setenv(name, str(secret) if name.endswith("_FILE") else value)
    settings = Settings()
    service = open_service(settings)
    assert service is not None
    assert service.redirect_uri in PAGE
    assert service.redirect_uri.endswith(CALLBACK)
    assert (settings.oidc_issuer, set(settings.oidc_roles.values())) == (ISSUER, set(Role))


def test_every_setting_that_the_page_names_is_one() -> None:
    known = {f"VOICEGUARD_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"VOICEGUARD_[A-Z_]+", PAGE)) <= known
    second = PAGE.split("## The second factor")[1]
    assert exported(second) == {"VOICEGUARD_OIDC_AMR": '["mfa"]', "VOICEGUARD_OIDC_ACR": '["gold"]'}


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    engine = connect(f"sqlite:///{tmp_path / 'voiceguard.db'}")
    migrate.upgrade(engine)
    return engine


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(user_app, words)
    return result.exit_code, result.output


def test_the_commands_of_the_page_link_and_unlink(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"^voiceguard user (link (\S+) (\S+))$", PAGE, re.MULTILINE)
    assert found is not None
    name, subject = found[2], found[3]
    made = people.create(engine, name, Role.SUPERVISOR, password="correct horse battery")
    code, output = run(*found[1].split())
    assert (code, "VOICEGUARD_OIDC_ISSUER" in output) == (2, True)
    monkeypatch.setenv("VOICEGUARD_OIDC_ISSUER", ISSUER)
    monkeypatch.setenv("VOICEGUARD_OIDC_CLIENT_ID", "voiceguard")
    monkeypatch.setenv("VOICEGUARD_OIDC_CLIENT_SECRET", "s3cret")
    monkeypatch.setenv("VOICEGUARD_OIDC_ROLES", '{"x": "analyst"}')
    code, output = run(*found[1].split(), "--keep-password")
    assert (code, "a password still opens it" in output) == (0, True)
    assert "password or OIDC" in run("list")[1]
    code, output = run(*found[1].split())
    assert (code, "a password opens it no more" in output) == (0, True)
    now = dt.datetime.now(dt.UTC)
    opened = identities.sign_in(engine, Identity(ISSUER, subject), "other", Role.SUPERVISOR, now)
    assert not isinstance(opened, Refusal)
    assert opened[0].user.id == made.user.id
    assert f"voiceguard user unlink {name}" in PAGE
    assert run("unlink", name) == (0, f"unlinked {name}; nothing opens it now\n")
    assert people.session(engine, opened[1], now) is None
    assert run("unlink", name)[0] == 2
    assert run("link", "nobody", subject, "--issuer", ISSUER)[0] == 2
    engine.dispose()


def test_a_server_that_can_not_read_the_secret_does_not_start(tmp_path: Path) -> None:
    environment = os.environ | {
        "VOICEGUARD_OIDC_ISSUER": ISSUER,
        "VOICEGUARD_OIDC_CLIENT_ID": "voiceguard",
        "VOICEGUARD_OIDC_CLIENT_SECRET_FILE": str(tmp_path / "gone"),
        "VOICEGUARD_OIDC_ROLES": '{"x": "analyst"}',
    }
    command = [sys.executable, "-m", "voiceguard", "serve", "--port", "0"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert "Expected the client's secret" in ended.stderr
    assert "Traceback" not in ended.stderr
