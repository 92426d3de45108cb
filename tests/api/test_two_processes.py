"""Two servers on one PostgreSQL behave as one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from tests.api.conftest import STARTED_AT, unlike
from tests.api.server import Server
from voiceguard.store import keys, schema
from voiceguard.store.keys import Scope

pytestmark = [pytest.mark.slow]
only_postgres = pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)


@pytest.fixture
def servers(engine: sa.Engine, database_url: str, tmp_path: Path) -> Iterator[list[Server]]:
    both = [Server(tmp_path, database_url=database_url, rate_limit="40/hour") for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(Server.start, both))
    yield both
    for server in both:
        server.kill()


def _post(server: Server, secret: str, audio: bytes, key: str) -> Any:
    return httpx2.post(
        f"{server.url}/v1/calls",
        files={"audio": ("a.wav", audio), "call": (None, f'{{"started_at": "{STARTED_AT}"}}')},
        headers={"Authorization": f"Bearer {secret}", "Idempotency-Key": f'"{key}"'},
        timeout=60,
    )


@only_postgres
def test_idempotency_and_limits_hold_across_both(
    engine: sa.Engine, servers: list[Server], clip: bytes
) -> None:
    _, secret = keys.create(engine, "t", carrier="c", scopes=frozenset({Scope.CALLS_READ, Scope.CALLS_WRITE}))
    for number in range(5):
        together, responses = threading.Barrier(2), []

        def _together(
            server: Server, number: int = number, together: Any = together, responses: list[Any] = responses
        ) -> None:
            together.wait()
            responses.append(_post(server, secret, unlike(clip, number), str(number)))

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(_together, servers))
        assert {response.status_code for response in responses} <= {201, 409}
        again = [_post(server, secret, unlike(clip, number), str(number)) for server in servers]
        made = [response.json()["id"] for response in (*responses, *again) if response.status_code == 201]
        assert len(set(made)) == 1
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.calls)) == 5
    # 20 requests were made above.
    for number in range(20):
        headers = {"Authorization": f"Bearer {secret}"}
        response = httpx2.get(f"{servers[number % 2].url}/v1/calls", headers=headers, timeout=60)
        assert response.status_code == 200
    for server in servers:
        response = httpx2.get(f"{server.url}/v1/calls", headers=headers, timeout=60)
        assert response.status_code == 429
