"""What the API does while something under it is gone, and that it works again by itself."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.api.conftest import Api, problem_of, running, unlike
from voiceguard.store import keys, schema


def _count(api: Api) -> int:
    with api.engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(schema.calls)) or 0


def test_without_disk_space_uploads_are_refused_and_reading_goes_on(
    start: Callable[..., Api], short_clip: bytes
) -> None:
    api = start(min_free_bytes=2**60)
    response = api.post(short_clip)
    assert (response.status_code, problem_of(response)) == (507, "storage_full")
    assert "retry-after" in response.headers
    assert api.get("/v1/calls").json()["data"] == []
    assert api.recordings == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 megabytes: the model is kept on it too."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a small disk needs root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up_stores_nothing_by_halves(
    small_disk: Path, start: Callable[..., Api], short_clip: bytes
) -> None:
    api = start(recordings_url=str(small_disk / "recordings"))
    filler = small_disk / "filler"
    filler.write_bytes(bytes(small_disk_free(small_disk) - 50_000))
    response = api.post(short_clip)
    assert (response.status_code, problem_of(response)) == (507, "storage_full")
    assert api.recordings == []
    filler.unlink()
    assert api.post(short_clip).status_code == 201


def small_disk_free(disk: Path) -> int:
    return shutil.disk_usage(disk).free


def test_while_the_sqlite_file_is_gone_every_answer_is_503(
    start: Callable[..., Api], short_clip: bytes, tmp_path: Path
) -> None:
    api = start()
    first = api.post(short_clip).json()["id"]
    file = tmp_path / "voiceguard.db"
    file.rename(tmp_path / "away")
    for response in (api.post(unlike(short_clip, 1)), api.get("/v1/calls"), api.get(f"/v1/calls/{first}")):
        assert (response.status_code, problem_of(response)) == (503, "database_unavailable")
        assert "retry-after" in response.headers
    ready = api.client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]["recordings"]) == (503, "ok")
    assert api.client.get("/livez").status_code == 200
    assert api.client.get("/metrics").status_code == 200
    (tmp_path / "away").rename(file)
    assert api.post(unlike(short_clip, 1)).status_code == 201
    assert api.client.get("/readyz").status_code == 200
    assert _count(api) == 2


def test_while_the_recordings_are_gone_nothing_is_stored(
    start: Callable[..., Api], short_clip: bytes, tmp_path: Path
) -> None:
    api = start()
    first = api.post(short_clip).json()["id"]
    folder = tmp_path / "recordings"
    folder.rename(tmp_path / "away")
    for response in (
        api.post(short_clip),
        api.post(short_clip, "{}", path="/v1/screen"),
        api.get(f"/v1/calls/{first}/audio"),
    ):
        assert (response.status_code, problem_of(response)) == (503, "recordings_unavailable")
    assert "recordings" in api.client.get("/readyz").text
    assert api.get(f"/v1/calls/{first}").status_code == 200
    assert not folder.exists()
    (tmp_path / "away").rename(folder)
    assert api.get(f"/v1/calls/{first}/audio").content == short_clip
    assert api.post(short_clip).status_code == 201
    assert _count(api) == 2


@pytest.mark.postgres
def test_while_postgres_takes_no_connections_every_answer_is_503(tmp_path: Path, short_clip: bytes) -> None:
    from tests.conftest import new_postgres_database

    server = sa.make_url(os.environ["VOICEGUARD_TEST_POSTGRES_URL"]).set(drivername="postgresql+psycopg")
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with new_postgres_database() as url, running(tmp_path, database_url=url) as api:
        name = sa.make_url(url).database
        assert api.post(short_clip).status_code == 201

        def _allow(allowed: bool) -> None:
            with admin.connect() as connection:
                connection.execute(sa.text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}"))
                connection.execute(
                    sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
                    {"name": name},
                )

        _allow(False)
        for _ in range(3):
            response = api.post(unlike(short_clip, 1), Idempotency_Key='"later"')
            assert (response.status_code, problem_of(response)) == (503, "database_unavailable")
        assert api.client.get("/readyz").status_code == 503
        _allow(True)
        assert api.post(unlike(short_clip, 1), Idempotency_Key='"later"').status_code == 201
        assert _count(api) == 2


def test_a_clock_set_back_by_an_hour_harms_nothing(start: Callable[..., Api], short_clip: bytes) -> None:
    api = start(rate_limit="10/minute")
    calls = [api.post(short_clip, Idempotency_Key=f'"{n}"').json()["id"] for n in range(3)]
    later = dt.timedelta(hours=1)
    with api.engine.begin() as connection:  # as if all of this had been written before the clock was set back
        for table, column in (
            (schema.calls, "received_at"),
            (schema.idempotency, "created_at"),
            (schema.api_keys, "last_used_at"),
        ):
            key = next(iter(table.primary_key.columns))
            for row in connection.execute(sa.select(table)).all():
                moved = getattr(row, column) + later
                connection.execute(
                    sa.update(table).where(key == getattr(row, key.name)).values({column: moved})
                )
    counters = sa.create_engine(f"{api.settings.database_url}-limits")
    with counters.begin() as connection:
        connection.execute(
            sa.update(schema.rate_limits).values(hits=10, expires_at=schema.rate_limits.c.expires_at + 3600)
        )
    counters.dispose()
    assert api.post(short_clip, Idempotency_Key='"0"').json()["id"] == calls[0]
    calls.append(api.post(short_clip).json()["id"])
    first = api.get("/v1/calls?limit=2").json()
    second = api.get(f"/v1/calls?limit=2&cursor={first['next_cursor']}").json()
    assert [call["id"] for call in first["data"] + second["data"]] == calls[::-1]


def test_a_screening_process_that_is_killed_costs_no_request(start: Callable[..., Api], clip: bytes) -> None:
    api = start()
    responses = []
    threads = [
        threading.Thread(target=lambda n=n: responses.append(api.post(unlike(clip, n)))) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    killed = 0
    while any(thread.is_alive() for thread in threads) and not killed:
        for lane in api.client.app.state.service.pool._lanes:  # type: ignore[attr-defined]
            os.kill(lane.worker.pid, signal.SIGKILL)
            killed += 1
    for thread in threads:
        thread.join()
    assert killed == 1
    assert [response.status_code for response in responses] == [201] * 4


def test_a_screening_that_takes_too_long_is_ended(
    start: Callable[..., Api], clip: bytes, short_clip: bytes
) -> None:
    api = start(screening_timeout_s=0.001)
    response = api.post(clip)
    assert (response.status_code, problem_of(response)) == (422, "damaged_recording")
    assert api.recordings == []


def test_more_uploads_at_once_than_allowed_are_told_to_come_back(
    start: Callable[..., Api], clip: bytes
) -> None:
    api = start(max_in_flight=2, max_in_flight_per_carrier=1)
    key, other = api.key(carrier="a"), api.key(carrier="b")
    carrier = {one.carrier_name: one.carrier_id for one in keys.all_keys(api.engine)}
    admission = api.client.app.state.service.admission  # type: ignore[attr-defined]
    with admission.enter(carrier["a"]):
        too_many = api.post(clip, "{}", path="/v1/screen", key=key)
        assert (too_many.status_code, problem_of(too_many)) == (429, "too_many_uploads")
        assert api.post(clip, "{}", path="/v1/screen", key=other).status_code == 200
        with admission.enter(carrier["b"]):
            overloaded = api.post(clip, "{}", path="/v1/screen")
            assert (overloaded.status_code, problem_of(overloaded)) == (503, "overloaded")
    for response in (too_many, overloaded):
        assert int(response.headers["retry-after"]) >= 1
    assert api.post(clip, "{}", path="/v1/screen", key=key).status_code == 200
