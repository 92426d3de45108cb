from __future__ import annotations

import datetime as dt
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from voiceguard.errors import DatabaseUnavailable, StorageFull
from voiceguard.store import migrate, schema
from voiceguard.store.engine import connect, reading, writing

only_postgres = pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)


def _names(engine: sa.Engine) -> list[str]:
    with reading(engine) as connection:
        return list(connection.scalars(sa.select(schema.carriers.c.name).order_by(schema.carriers.c.name)))


def _add(engine: sa.Engine, name: str) -> None:
    with writing(engine) as connection:
        connection.execute(sa.insert(schema.carriers).values(name=name))


def test_a_failed_transaction_leaves_nothing(engine: sa.Engine) -> None:
    def _fail_half_way() -> None:
        with writing(engine) as connection:
            connection.execute(sa.insert(schema.carriers).values(name="a"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        _fail_half_way()
    assert _names(engine) == []


def test_writers_wait_for_each_other(engine: sa.Engine) -> None:
    threads = [threading.Thread(target=_add, args=(engine, f"{n:02}")) for n in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(_names(engine)) == 30


def test_times_come_back_in_utc(engine: sa.Engine) -> None:
    moment = dt.datetime(2026, 3, 1, 15, 5, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    with writing(engine) as connection:
        connection.execute(sa.insert(schema.carriers).values(name="a", created_at=moment))
        assert (
            connection.scalar(sa.select(schema.carriers.c.created_at)).isoformat()
            == "2026-03-01T14:05:00+00:00"
        )


def test_a_time_without_a_zone_is_refused(engine: sa.Engine) -> None:
    with pytest.raises(sa.exc.StatementError, match="zone"), writing(engine) as connection:
        connection.execute(sa.insert(schema.carriers).values(name="a", created_at=dt.datetime(2026, 3, 1)))


def test_sqlite_commits_are_on_disk(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    engine.dispose()


def test_a_sqlite_file_moved_away_is_an_error_until_it_is_back(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    engine = connect(f"sqlite:///{file}")
    migrate.upgrade(engine)
    _add(engine, "before")
    file.rename(tmp_path / "away.db")
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable):
            _add(engine, "lost")
    assert not file.exists()
    (tmp_path / "away.db").rename(file)
    _add(engine, "after")
    assert _names(engine) == ["after", "before"]
    engine.dispose()


def test_a_full_sqlite_file_is_storage_full(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'a.db'}", pool_size=1)
    migrate.upgrade(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql(
            f"PRAGMA max_page_count={connection.exec_driver_sql('PRAGMA page_count').scalar()}"
        )
    many = [{"name": f"{n:0200}"} for n in range(500)]
    with pytest.raises(StorageFull), writing(engine) as connection:
        connection.execute(sa.insert(schema.carriers), many)
    assert _names(engine) == []
    engine.dispose()


def test_memory_databases_are_refused() -> None:
    with pytest.raises(ValueError, match="SQLite file"):
        connect("sqlite://")


@only_postgres
def test_a_server_that_drops_its_connections_costs_no_request(engine: sa.Engine) -> None:
    _add(engine, "a")
    other = connect(engine.url.render_as_string(hide_password=False))
    with other.connect() as connection:
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    other.dispose()
    _add(engine, "b")
    assert _names(engine) == ["a", "b"]
