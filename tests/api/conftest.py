from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from fastapi.testclient import TestClient

from voiceguard.api.app import create_app
from voiceguard.settings import Settings
from voiceguard.store import keys, migrate
from voiceguard.store.engine import connect
from voiceguard.store.keys import Scope

STARTED_AT = "2026-03-01T14:05:00Z"
Response = Any


@dataclass
class Api:
    """A running API and a key that opens it."""

    client: TestClient
    engine: sa.Engine
    settings: Settings
    secret: str = ""

    def key(self, *scopes: Scope, carrier: str = "First Telecom", **options: Any) -> str:
        chosen = frozenset(scopes or (Scope.CALLS_READ, Scope.CALLS_WRITE))
        return keys.create(self.engine, "test", carrier=carrier, scopes=chosen, **options)[1]

    def post(
        self,
        audio: bytes,
        call: dict[str, Any] | str | None = None,
        *,
        key: str | None = None,
        path: str = "/v1/calls",
        filename: str = "call.wav",
        **headers: str,
    ) -> Response:
        text = call if isinstance(call, str) else json.dumps({"started_at": STARTED_AT, **(call or {})})
        return self.client.post(
            path,
            files={"audio": (filename, audio), "call": (None, text, "application/json")},
            headers={**self.auth(key), **{name.replace("_", "-"): value for name, value in headers.items()}},
        )

    def get(self, path: str, *, key: str | None = None, **options: Any) -> Response:
        headers = {**self.auth(key), **options.pop("headers", {})}
        return self.client.get(path, headers=headers, **options)

    def auth(self, key: str | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {key or self.secret}"}

    @property
    def recordings_folder(self) -> Path:
        return Path(self.settings.recordings_url)

    @property
    def recordings(self) -> list[Path]:
        """Every recording of the store, those on their way too; not the models that are kept beside them."""
        folder = self.recordings_folder
        return [
            path for part in ("sha256", "incoming") for path in (folder / part).rglob("*") if path.is_file()
        ]


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    """Without this, structlog draws each traceback with all its locals, which takes many seconds."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@contextlib.contextmanager
def running(folder: Path, **settings: Any) -> Iterator[Api]:
    chosen = Settings(**{"data_dir": folder, "screening_workers": 1, "min_free_bytes": 0, **settings})
    engine = connect(chosen.database_url)
    migrate.upgrade(engine)
    with TestClient(create_app(chosen), raise_server_exceptions=False) as client:
        api = Api(client, engine, chosen)
        api.secret = api.key()
        yield api
    engine.dispose()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One API for a module's tests, on SQLite and files; each test makes what it looks for."""
    with running(tmp_path_factory.mktemp("api")) as api:
        yield api


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Api]]:
    """Start an API of the test's own, with settings of its own."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(running(tmp_path, **settings))


@pytest.fixture(scope="session")
def clip(audio_samples: Path) -> bytes:
    """22 seconds of speech, G.711."""
    return (audio_samples / "human-asterisk-en-ulaw.wav").read_bytes()


@pytest.fixture(scope="session")
def short_clip(audio_samples: Path) -> bytes:
    """12 seconds of ringing, which is screened in no time."""
    return (audio_samples / "ringing-ulaw.wav").read_bytes()


def unlike(clip: bytes, number: int) -> bytes:
    """The same call with other bytes at its end, so that it is another recording."""
    return clip[:-8] + number.to_bytes(8, "big")


def problem_of(response: Response) -> str:
    """Check that a response is a problem of the right form; return its code."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body = response.json()
    assert body["status"] == response.status_code
    assert {"type", "title", "status", "detail", "remedy", "request_id"} <= set(body)
    assert all(isinstance(body[name], str) and body[name] for name in ("title", "detail", "remedy"))
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["type"].startswith("/problems/")
    return str(body["type"].removeprefix("/problems/"))
