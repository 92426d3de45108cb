from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from voiceguard.errors import DatabaseUnavailable
from voiceguard.store import migrate, schema
from voiceguard.store.engine import connect, reading


def test_migrations_make_the_tables_of_the_code(engine: sa.Engine) -> None:
    with reading(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


def test_backwards_leaves_nothing_and_forwards_works_again(engine: sa.Engine) -> None:
    migrate.downgrade(engine, "base")
    left = set(sa.inspect(engine).get_table_names()) - {"alembic_version", "sqlite_sequence"}
    assert left == set()
    migrate.upgrade(engine)
    migrate.check(engine)


def test_upgrade_twice_changes_nothing(engine: sa.Engine) -> None:
    migrate.upgrade(engine)
    migrate.check(engine)


def test_check_says_what_to_do_with_an_empty_database(database_url: str) -> None:
    engine = connect(database_url)
    with pytest.raises(DatabaseUnavailable, match="voiceguard db upgrade"):
        migrate.check(engine)
    engine.dispose()
