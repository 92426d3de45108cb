from __future__ import annotations

import contextlib
import datetime as dt
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyotp
import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import Api, clip, short_clip, unlike
from tests.api.conftest import running as running_api
from voiceguard.store import people
from voiceguard.store.people import NewAccount, Role

__all__ = ["clip", "short_clip", "unlike"]

PASSWORD = "correct horse battery"


@dataclass
class Desk:
    """A running service and people who sign in to it."""

    api: Api
    accounts: dict[str, NewAccount] = field(default_factory=dict)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def account(self, name: str, role: Role) -> NewAccount:
        if name not in self.accounts:
            self.accounts[name] = people.create(self.api.engine, name, role, password=PASSWORD)
        return self.accounts[name]

    def browser(self) -> TestClient:
        """A client with cookies of its own on the same service."""
        return TestClient(self.api.client.app, raise_server_exceptions=False, follow_redirects=False)

    def signed_in(self, name: str, role: Role = Role.ANALYST) -> TestClient:
        """A client whose session was opened in the store: a code is good for one sign-in only."""
        account = self.account(name, role)
        browser = self.browser()
        now = dt.datetime.now(dt.UTC)
        step = max(int(now.timestamp()) // 30, self._step(account) + 1)
        at = dt.datetime.fromtimestamp(step * 30, dt.UTC)
        code = pyotp.TOTP(account.totp_secret or "").at(step * 30)
        found = people.sign_in(self.api.engine, name, PASSWORD, code, at)
        assert found is not None
        browser.cookies.set("vg_session", found[1])
        return browser

    def _step(self, account: NewAccount) -> int:
        import sqlalchemy as sa

        from voiceguard.store import schema
        from voiceguard.store.engine import reading

        with reading(self.api.engine) as connection:
            column = schema.users.c
            return connection.scalar(sa.select(column.totp_step).where(column.id == account.user.id)) or 0

    def call(self, audio: bytes, **said: Any) -> str:
        answer = self.api.post(audio, said)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


def csrf(page: Any) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found, page.text[:2000]
    return html.unescape(found[1])


def version(page: Any) -> str:
    found = re.search(r'name="version" value="(\d+)"', page.text)
    assert found, page.text[:2000]
    return found[1]


@contextlib.contextmanager
def running(folder: Path, **settings: Any) -> Iterator[Desk]:
    with running_api(folder, **{"review_random_share": 0.0, "review_second_share": 0.0, **settings}) as api:
        yield Desk(api)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with running(tmp_path_factory.mktemp("review")) as desk:
        yield desk


@pytest.fixture(scope="session")
def flagged(audio_samples: Path) -> bytes:
    """A clip that the shipped detector flags."""
    return (audio_samples / "synthetic-hibari-heart-flac.flac").read_bytes()
