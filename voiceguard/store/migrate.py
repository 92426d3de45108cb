"""Bringing a database to a version of the schema, forwards and backwards, with Alembic."""

from __future__ import annotations

from pathlib import Path

import alembic.command
import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from voiceguard.errors import DatabaseUnavailable
from voiceguard.store.engine import reading, writing

_LOCK = 0x766F6963  # any number, but the same in all processes


def upgrade(engine: sa.Engine, revision: str = "head") -> None:
    """Migrate forwards; processes that start together do it one after the other."""
    with writing(engine) as connection:
        alembic.command.upgrade(_config(connection), revision)


def downgrade(engine: sa.Engine, revision: str) -> None:
    """Migrate backwards; ``base`` is the empty database."""
    with writing(engine) as connection:
        alembic.command.downgrade(_config(connection), revision)


def check(engine: sa.Engine) -> None:
    """Raise `DatabaseUnavailable` unless the database answers and has the version that this code expects."""
    wanted = ScriptDirectory.from_config(_config(None)).get_current_head()
    with reading(engine) as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found != wanted:
        raise DatabaseUnavailable(
            f"Expected a database of version {wanted}, got {found or 'none'}: run voiceguard db upgrade."
        )


def _config(connection: sa.Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    if connection is not None:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        config.attributes["connection"] = connection
    return config
